/* A volley begins where express.c ends: several commands at once, to links that have nothing else under
 * way. Nothing is kept of each but its place in the order:
 *
 *     entries   GET a  GET b  GET c        link 1 out: GET a GET c     in: $1 x $1 z
 *                 │      │      │          link 2 out: GET b           in:
 *               link 1 link 2 link 1                          ▲ next: waits for link 2
 *
 * The commands stay in the `out` of their links until all are answered, so that they can be made
 * requests at any moment; replies stay in `in` until it is their turn, and are looked at only then. */
#include "session/volley.h"

#include <errno.h>
#include <stdlib.h>

#include "route/mirror.h"
#include "session/copy.h"

/* More commands than MOST at once go the long way. Memory for more than KEEP is given back. */
enum { VOLLEY_MOST = 4096, VOLLEY_KEEP = 128, VOLLEY_FIRST = 32 };

struct volley_entry {
    struct link *link;
    const struct command *command;
};

void volley_destroy(struct volley *v)
{
    free(v->entries);
    *v = (struct volley){0};
}

static bool grow(struct volley *v)
{
    uint32_t capacity = v->capacity ? 2 * v->capacity : VOLLEY_FIRST;
    struct volley_entry *entries;

    if (v->capacity >= VOLLEY_MOST)
        return false;
    entries = realloc(v->entries, capacity * sizeof *entries);
    if (entries == NULL)
        return false;
    v->entries = entries;
    v->capacity = capacity;
    return true;
}

/* The link of a slot, when it has nothing but what this volley gave it: then it is dirty. */
static inline struct link *link_of(struct session *s, uint16_t slot)
{
    struct link *link = dispatch_owner(s, slot);

    if (link == NULL || link->dirty)
        return link;
    if (link->state != LINK_UP || !link_is_at_rest(link))
        return NULL;
    session_touch(s, link);
    return link;
}

static inline bool add(struct session *s, const struct command *c, struct bytes key,
                       const char *bytes, size_t length)
{
    struct volley *v = &s->volley;
    struct link *link;

    if (v->count == v->capacity && !grow(v))
        return false;
    link = link_of(s, slot_of_key(key.data, key.length));
    if (link == NULL || !buffer_append(&link->out, bytes, length))
        return false;
    if (mirror_is_on())
        copy_command(s, c, bytes, length);
    link_count(&link->asked, 1);
    v->entries[v->count++] = (struct volley_entry){link, c};
    return true;
}

size_t session_volley(struct session *s, const char *bytes, size_t length)
{
    const struct command *c;
    size_t done = 0, used;
    struct bytes key;

    if (!session_is_quiet(s) || s->dirty != NULL || s->reads != NULL || s->overrides != NULL)
        return 0;
    s->volley.count = s->volley.next = 0;
    s->volley.issued = stats_issue();
    while (done < length &&
           (used = shape_read(&s->shapes, bytes + done, length - done, &c, &key)) > 0 &&
           add(s, c, key, bytes + done, used))
        done += used;
    return done;
}

/* All is answered. */
static void end(struct session *s)
{
    struct volley *v = &s->volley;

    for (struct link *link = s->links; link != NULL; link = link->next)
        if (link->out.head != link->out.tail) {
            link_answered_up_to(link, link->out_flushed, 0);
            buffer_relax(&link->in, LINK_KEEP);
        }
    v->count = v->next = 0;
    if (v->capacity > VOLLEY_KEEP)
        volley_destroy(v);
}

/* As link_next_reply: what is in `in` begins with the next reply here. */
static inline int64_t next_reply(struct link *link)
{
    size_t quick = link->frame.needed == 0
                       ? frame_quick(buffer_bytes(&link->in), buffer_length(&link->in))
                       : 0;

    return quick > 0 ? (int64_t)quick : link_next_reply(link);
}

static inline void answered(struct link *link, size_t length)
{
    buffer_consume(&link->in, length);
    link->in_base = link->in_scanned = link->in_base + length;
    link_count(&link->replied, 1);
}

/* Errors may be redirections, and a push is nobody's answer. */
static inline bool is_answer(const char *reply)
{
    return reply[0] != '-' && reply[0] != '!' && reply[0] != '>' && reply[0] != '|';
}

/* Issued together, and answered together as far as anybody can tell: from that one on, commands of
 * one kind are counted at once. */
static __attribute__((noinline)) void count(struct session *s, uint32_t from)
{
    const struct volley *v = &s->volley;

    while (from < v->next) {
        const struct command *c = v->entries[from].command;
        uint32_t first = from;

        while (from < v->next && v->entries[from].command == c)
            from++;
        order_count(s, c, v->issued, from - first, true);
    }
}

static size_t take(struct session *s, char *to, size_t size, struct link **waits_for)
{
    struct volley *v = &s->volley;
    size_t taken = 0;

    *waits_for = NULL;
    while (v->next < v->count) {
        struct link *link = v->entries[v->next].link;
        const char *reply = buffer_bytes(&link->in);
        int64_t length = next_reply(link);

        if (length == 0)
            *waits_for = link;
        if (length <= 0 || (size_t)length > size - taken || !is_answer(reply))
            return taken;
        memcpy(to + taken, reply, (size_t)length);
        taken += (size_t)length;
        answered(link, (size_t)length);
        v->next++;
    }
    return taken;
}

size_t session_volley_take(struct session *s, char *to, size_t size, struct link **waits_for)
{
    struct volley *v = &s->volley;
    uint32_t from = v->next;
    size_t taken = take(s, to, size, waits_for);

    if (__builtin_expect(v->issued != 0, 0))
        count(s, from);
    if (v->next == v->count)
        end(s);
    return taken;
}

/* The command at `resumed` of the link's stream becomes a request. */
static bool resume(struct session *s, const struct volley_entry *e, size_t length,
                   const struct bytes *key)
{
    struct request *r = order_issue(s, e->command);

    if (r == NULL)
        return false;
    r->issued = s->volley.issued;
    r->part.slot = slot_of_key(key->data, key->length);
    r->part.repeatable = command_repeatable(e->command);
    link_resume(e->link, &r->part, e->link->resumed, length);
    return true;
}

/* Those that are not answered become requests. The bytes of the others go with the next answer. */
static bool resume_all(struct session *s)
{
    const struct volley *v = &s->volley;
    const struct command *c;
    struct bytes key = {NULL, 0};

    for (struct link *link = s->links; link != NULL; link = link->next)
        link->resumed = link->out_base;
    for (uint32_t i = 0; i < v->count; i++) {
        struct link *link = v->entries[i].link;
        size_t at = (size_t)(link->resumed - link->out_base);
        size_t length = shape_read(&s->shapes, buffer_bytes(&link->out) + at,
                                   buffer_length(&link->out) - at, &c, &key);

        if (i >= v->next && !resume(s, &v->entries[i], length, &key))
            return false;
        link->resumed += length;
    }
    return true;
}

void volley_break(struct session *s)
{
    bool ok;

    if (!session_volleys(s))
        return;
    ok = resume_all(s);
    s->volley.count = s->volley.next = 0;
    for (struct link *link = s->links; ok && link != NULL; link = link->next) {
        if (link->sent.head != NULL)
            session_touch(s, link);
        if (buffer_length(&link->in) > 0)
            session_link_received(s, link);
    }
}
