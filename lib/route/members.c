#include "route/members.h"

#include <string.h>

#include "route/slot.h"

/* Takes the text before `separator` off `from`; all of it where there is none. */
static struct bytes take(struct bytes *from, char separator)
{
    const char *at = memchr(from->data, separator, from->length);
    struct bytes head = {from->data, at ? (size_t)(at - from->data) : from->length};
    size_t used = head.length + (at != NULL);

    from->data += used;
    from->length -= used;
    return head;
}

static bool same(struct bytes a, const char *b)
{
    return a.length == strlen(b) && memcmp(a.data, b, a.length) == 0;
}

static bool number(struct bytes text, uint32_t limit, uint32_t *value)
{
    uint32_t n = 0;

    if (text.length == 0 || text.length > 9)
        return false;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        n = n * 10 + (uint32_t)(text.data[i] - '0');
    }
    *value = n;
    return n < limit;
}

/* "host:port@busport[,hostname…]": the last colon before the '@' ends the host. */
static bool address(struct bytes field, struct member *m)
{
    struct bytes endpoint = take(&field, '@');
    uint32_t port;
    size_t colon = endpoint.length;

    while (colon > 0 && endpoint.data[colon - 1] != ':')
        colon--;
    if (colon == 0 ||
        !number((struct bytes){endpoint.data + colon, endpoint.length - colon}, 65536, &port))
        return false;
    m->host = (struct bytes){endpoint.data, colon - 1};
    take(&field, ','); /* the port of the bus */
    m->name = take(&field, ',');
    if (memchr(m->name.data, '=', m->name.length) != NULL)
        m->name.length = 0; /* there is no name, and this is something else */
    m->port = (uint16_t)port;
    return true;
}

static void flags(struct bytes field, struct member *m)
{
    while (field.length > 0) {
        struct bytes flag = take(&field, ',');

        m->myself |= same(flag, "myself");
        m->suspected |= same(flag, "fail?");
        m->failed |= same(flag, "fail");
        m->replica |= same(flag, "slave");
        m->absent |= same(flag, "noaddr") || same(flag, "handshake");
    }
}

bool members_next(struct bytes *text, struct member *m)
{
    while (text->length > 0) {
        struct bytes line = take(text, '\n');

        *m = (struct member){0};
        if (line.length > 0 && line.data[line.length - 1] == '\r')
            line.length--;
        m->id = take(&line, ' ');
        if (!address(take(&line, ' '), m))
            continue;
        flags(take(&line, ' '), m);
        m->master = take(&line, ' ');
        for (int skipped = 0; skipped < 4; skipped++) /* ping pong epoch link-state */
            take(&line, ' ');
        m->slots = line;
        return true;
    }
    return false;
}

bool members_next_migrating(struct member *m, uint16_t *slot)
{
    while (m->slots.length > 0) {
        struct bytes word = take(&m->slots, ' '), digits;
        uint32_t n;

        if (word.length < 2 || word.data[0] != '[')
            continue;
        word.data++;
        word.length--;
        digits = take(&word, '-');
        if (word.length > 0 && word.data[0] == '>' && number(digits, SLOT_COUNT, &n)) {
            *slot = (uint16_t)n;
            return true;
        }
    }
    return false;
}
