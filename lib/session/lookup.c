#include "session/lookup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/resp.h"
#include "route/learned.h"
#include "route/slot.h"
#include "session/request.h"

enum { TRIES = 4 };

enum question { QUESTION_INFO, QUESTION_KEYS };

/* A name that is looked up, in lower case; a subcommand's with its container. */
struct name {
    char text[COMMAND_NAME_MAX];
    size_t length; /* 0: no server would know it */
};

struct lookup {
    bool asking;
    bool settled; /* the command at the head of the input was asked about, and this is known: */
    enum question question;
    struct name name;
    const struct command *container;
    bool crosses;  /* its keys are in several slots, … */
    uint16_t slot; /* … of which this is the first; SLOT_NONE: it has none */
    unsigned tries;
    unsigned node; /* of the snapshot: the next to be asked */
    int64_t until_ms;
    struct buffer bytes; /* of the question */
};

static bool append_word(struct name *name, struct bytes word)
{
    if (name->length + word.length > sizeof name->text)
        return false;
    for (size_t i = 0; i < word.length; i++) {
        char c = word.data[i];

        if (c <= ' ' || c > '~')
            return false;
        name->text[name->length++] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    return true;
}

static struct name name_of(const struct session *s, bool with_subcommand)
{
    struct name name = {.length = 0};
    bool ok = append_word(&name, s->argv.words[0]);

    if (ok && with_subcommand)
        ok = append_word(&name, (struct bytes){"|", 1}) && append_word(&name, s->argv.words[1]);
    if (!ok)
        name.length = 0;
    return name;
}

static struct bytes bytes_of(const struct name *name)
{
    return (struct bytes){name->text, name->length};
}

/* --- asking --- */

static struct link *find_probe(const struct session *s, const char *host, uint16_t port)
{
    struct link *link = s->links;

    while (link != NULL &&
           (!link->probe || link->must_close || !link_is(link, host, strlen(host), port) ||
            (link->state != LINK_IDLE && link->state != LINK_UP)))
        link = link->next;
    return link;
}

static struct link *make_probe(struct session *s, const char *host, uint16_t port)
{
    struct link *link = link_create(host, port);

    if (link == NULL)
        return NULL;
    link->probe = true;
    link->node = NODE_NONE;
    link->next = s->links;
    s->links = link;
    return link;
}

/* The master that was asked last, and when that failed the next; those that the cluster calls dead
 * come last. NULL: there is none. */
static const struct node *choose_node(struct session *s)
{
    const struct topology *t = s->topology;
    const struct node *dead = NULL;

    if (s->lookup->tries > 1)
        s->lookup->node++;
    for (unsigned i = 0; i < t->node_count; i++, s->lookup->node++) {
        const struct node *n = &t->nodes[s->lookup->node % t->node_count];

        if (!n->master)
            continue;
        if (!cluster_is_dead(s->cluster, n->host, n->port))
            return n;
        dead = n;
    }
    return dead;
}

static void give_up(struct session *s)
{
    struct lookup *l = s->lookup;

    if (l->question == QUESTION_INFO)
        learned_set_absent(cluster_learned(s->cluster), bytes_of(&l->name), session_now(s));
    l->asking = false;
    l->settled = true;
    s->probe = NULL;
    session_unstall(s);
}

static void say(struct session *s, struct link *link)
{
    const struct buffer *bytes = &s->lookup->bytes;

    if (link_send_raw(link, buffer_bytes(bytes), buffer_length(bytes)))
        session_touch(s, link);
    else
        session_end(s, ENOMEM);
}

static void ask_next(struct session *s)
{
    struct lookup *l = s->lookup;
    const struct node *node = l->tries++ < TRIES ? choose_node(s) : NULL;
    struct link *link;

    if (node == NULL) {
        give_up(s);
        return;
    }
    link = find_probe(s, node->host, node->port);
    if (link == NULL && (link = make_probe(s, node->host, node->port)) == NULL) {
        session_end(s, ENOMEM);
        return;
    }
    s->probe = link;
    l->until_ms = session_now(s) + s->settings.connect_timeout_ms;
    if (link->state == LINK_UP) {
        say(s, link);
        return;
    }
    link->state = LINK_WANTED;
    session_touch(s, link);
}

/* False: memory is out. */
static bool write_question(struct session *s, enum question question)
{
    struct buffer *out = &s->lookup->bytes;
    static const char *const words[] = {[QUESTION_INFO] = "INFO", [QUESTION_KEYS] = "GETKEYS"};
    struct bytes name = bytes_of(&s->lookup->name);
    int count = question == QUESTION_INFO ? 1 : s->argv.count;
    bool ok;

    out->head = out->tail = 0;
    ok = resp_append_header(out, '*', 2 + count) &&
         resp_append_bulk(out, (struct bytes){"COMMAND", 7}) &&
         resp_append_bulk(out, (struct bytes){words[question], strlen(words[question])});
    for (int i = 0; ok && i < count; i++)
        ok = resp_append_bulk(out, question == QUESTION_INFO ? name : s->argv.words[i]);
    return ok;
}

/* True: it is settled all the same. */
static bool ask(struct session *s, enum question question)
{
    struct lookup *l = s->lookup;

    l->question = question;
    l->tries = 0;
    l->settled = false;
    l->slot = SLOT_NONE;
    l->crosses = false;
    if (!write_question(s, question)) {
        session_end(s, ENOMEM);
        return false;
    }
    l->asking = true;
    s->stalled = true;
    ask_next(s);
    return l->settled;
}

static bool is_settled(const struct session *s, enum question question)
{
    return s->lookup->settled && s->lookup->question == question;
}

/* --- what a command is --- */

static bool find_row(struct session *s, const struct command **c)
{
    const struct command *container = *c, *known;
    struct name name;
    struct learned *learned = cluster_learned(s->cluster);

    if (container != NULL && s->argv.count < 2)
        return true;
    name = name_of(s, container != NULL);
    if (name.length == 0)
        return true;
    known = learned_find(learned, bytes_of(&name));
    if (known != NULL) {
        *c = known->subcommand_count > 0 ? command_subcommand(known, s->argv.words, s->argv.count)
                                         : known;
        return true;
    }
    if (is_settled(s, QUESTION_INFO) || learned_is_absent(learned, bytes_of(&name), session_now(s)))
        return true;
    s->lookup->name = name;
    s->lookup->container = container;
    return ask(s, QUESTION_INFO);
}

bool lookup_command(struct session *s, const struct command **c)
{
    if (s->lookup == NULL && (s->lookup = calloc(1, sizeof *s->lookup)) == NULL) {
        session_end(s, ENOMEM);
        return false;
    }
    if (!find_row(s, c))
        return false;
    return *c == NULL || (*c)->klass != COMMAND_KEYED || ((*c)->flags & COMMAND_ASK_KEYS) == 0 ||
           s->single || is_settled(s, QUESTION_KEYS) || ask(s, QUESTION_KEYS);
}

void lookup_settle(struct session *s)
{
    if (s->lookup != NULL)
        s->lookup->settled = false;
}

bool lookup_slot(const struct session *s, uint16_t *slot)
{
    *slot = s->lookup->slot;
    return !s->lookup->crosses;
}

/* --- the answer --- */

static void take_keys(struct lookup *l, const char *reply, size_t length)
{
    struct resp_item item;
    size_t at, used;

    if (!resp_read_value(reply, length, &item, &at) || item.type != '*')
        return;
    for (uint64_t keys = item.values; keys > 0; keys--, at += used) {
        uint16_t slot;

        if (!resp_read_value(reply + at, length - at, &item, &used) || item.values > 0)
            return;
        slot = slot_of_key(item.text.data, item.text.length);
        if (l->slot == SLOT_NONE)
            l->slot = slot;
        l->crosses |= l->slot != slot;
    }
}

static void take_info(struct session *s, const char *reply, size_t length)
{
    struct lookup *l = s->lookup;
    struct learned *learned = cluster_learned(s->cluster);

    if (learned_take(learned, bytes_of(&l->name), l->container, reply, length) == NULL)
        learned_set_absent(learned, bytes_of(&l->name), session_now(s));
}

void lookup_reply(struct session *s, struct link *link, const char *reply, size_t length)
{
    struct lookup *l = s->lookup;

    link_forget_flushed(link);
    s->probe = NULL;
    session_unstall(s);
    l->asking = false;
    l->settled = true;
    if (l->question == QUESTION_KEYS)
        take_keys(l, reply, length);
    else
        take_info(s, reply, length);
}

/* --- the link --- */

bool lookup_is_asking(const struct session *s)
{
    return s->lookup != NULL && s->lookup->asking;
}

void lookup_opened(struct session *s, struct link *link)
{
    if (greet_link(s, link))
        say(s, link);
    else
        session_end(s, ENOMEM);
}

/* A link that was there already may have been closed by its server long ago. */
void lookup_lost(struct session *s)
{
    link_cut(s->probe);
    s->probe = NULL;
    ask_next(s);
    plan_input(s);
}

int64_t lookup_due(const struct session *s)
{
    return lookup_is_asking(s) ? s->lookup->until_ms : -1;
}

void lookup_advance(struct session *s)
{
    if (!lookup_is_asking(s) || session_now(s) < s->lookup->until_ms || s->probe->must_close)
        return;
    s->probe->must_close = true;
    s->probe->error = ETIMEDOUT;
    session_touch(s, s->probe);
}

void lookup_destroy(struct session *s)
{
    if (s->lookup != NULL)
        buffer_deinit(&s->lookup->bytes);
    free(s->lookup);
    s->lookup = NULL;
}
