#include "route/redirect.h"

#include "route/slot.h"

#include <stdbool.h>
#include <string.h>

enum { HOST_MAX = 255 };

/* The first row whose words the error begins with decides, so the longer ones stand first.
 * An error that only mentions such a word, as EXECABORT does, is not one. */
static const struct {
    const char *words;
    enum redirect_action action;
} table[] = {
    {"MOVED", REDIRECT_MOVED},
    {"ASK", REDIRECT_ASK},
    {"TRYAGAIN", REDIRECT_TRYAGAIN},
    {"CLUSTERDOWN Hash slot not served", REDIRECT_UNBOUND},
    {"CLUSTERDOWN", REDIRECT_CLUSTERDOWN},
    {"LOADING", REDIRECT_LOADING},
    {"MASTERDOWN", REDIRECT_MASTERDOWN},
    {"READONLY", REDIRECT_READONLY},
    {"UNBLOCKED force unblock from blocking operation,", REDIRECT_UNBLOCKED},
    {"NOSCRIPT No matching script.", REDIRECT_NOSCRIPT},
};

static bool begins_with_words(struct bytes text, const char *words)
{
    size_t length = strlen(words);

    return text.length >= length && memcmp(text.data, words, length) == 0 &&
           (text.length == length || text.data[length] == ' ');
}

static enum redirect_action action_of(struct bytes error)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (begins_with_words(error, table[i].words))
            return table[i].action;
    return REDIRECT_NONE;
}

/* The text up to the next space, which is taken off `rest`. */
static struct bytes next_word(struct bytes *rest)
{
    const char *space = memchr(rest->data, ' ', rest->length);
    struct bytes word = {rest->data, space ? (size_t)(space - rest->data) : rest->length};
    size_t taken = word.length + (space != NULL);

    rest->data += taken;
    rest->length -= taken;
    return word;
}

/* A decimal number of no more than `most`, and nothing else. */
static bool number_of(struct bytes text, unsigned most, uint16_t *number)
{
    unsigned value = 0;

    if (text.length == 0)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        unsigned digit = (unsigned)(text.data[i] - '0');

        if (digit > 9)
            return false;
        value = value * 10 + digit;
        if (value > most)
            return false;
    }
    *number = (uint16_t)value;
    return true;
}

/* "host:port"; the host may be an IPv6 address, which has colons of its own. */
static bool address_of(struct bytes text, struct redirect *out)
{
    size_t colon = text.length;

    while (colon > 0 && text.data[colon - 1] != ':')
        colon--;
    if (colon == 0 || colon - 1 > HOST_MAX || memchr(text.data, '\0', colon) != NULL)
        return false;
    out->host = (struct bytes){text.data, colon - 1};
    if (out->host.length == 1 && out->host.data[0] == '?')
        out->host.length = 0;
    return number_of((struct bytes){text.data + colon, text.length - colon}, UINT16_MAX,
                     &out->port) &&
           out->port > 0;
}

/* "MOVED 3999 127.0.0.1:6381" */
static bool parse_address(struct bytes error, struct redirect *out)
{
    struct bytes slot, address;

    next_word(&error);
    slot = next_word(&error);
    address = next_word(&error);
    return number_of(slot, SLOT_COUNT - 1, &out->slot) && address_of(address, out);
}

void redirect_parse(const char *error, size_t length, struct redirect *out)
{
    static const struct redirect nothing = {.action = REDIRECT_NONE, .slot = SLOT_NONE};
    struct bytes text = {error, length};

    *out = nothing;
    out->action = action_of(text);
    if (out->action != REDIRECT_MOVED && out->action != REDIRECT_ASK)
        return;
    if (!parse_address(text, out))
        *out = nothing;
}
