#include <errno.h>

#include "route/mirror.h"
#include "session/copy.h"
#include "session/reads.h"
#include "session/volley.h"

/* By the read policy, when it can take the command right now. */
static struct link *ready_reader(struct session *s, const struct command *c, uint16_t slot)
{
    struct link *link = s->overrides == NULL ? reads_express(s, c, slot) : NULL;

    if (link != NULL && link->state == LINK_UP && link_is_at_rest(link))
        return link;
    if (s->overrides == NULL)
        reads_express_undo(s);
    return NULL;
}

/* The link of a slot, when it can take a command right now. */
static struct link *ready_link(struct session *s, const struct command *c, uint16_t slot)
{
    struct link *link;

    if (s->reads != NULL)
        return ready_reader(s, c, slot);
    link = dispatch_owner(s, slot);
    return link != NULL && link->state == LINK_UP && link_is_at_rest(link) ? link : NULL;
}

/* The row and the key of a single whole command that goes to the node of its only key. NULL: it
 * is not one. */
static const struct command *read_single(struct session *s, const char *bytes, size_t length,
                                         struct bytes *key)
{
    const struct command *c;
    const char *why;
    size_t used = shape_read(&s->shapes, bytes, length, &c, key);

    if (used > 0)
        return used == length ? c : NULL;
    if (bytes[0] != '*' ||
        parse_command(&s->argv, bytes, length, &used, &why) != PARSE_WHOLE || used != length)
        return NULL;
    c = command_lookup(s->argv.words, s->argv.count);
    if (c == NULL || c->only_key == 0 || c->only_key >= s->argv.count ||
        c->klass != COMMAND_KEYED || (c->flags & COMMAND_BLOCKING) != 0)
        return NULL;
    *key = s->argv.words[c->only_key];
    shape_learn(&s->shapes, c, bytes, s->argv.words, s->argv.count);
    return c;
}

struct link *session_express(struct session *s, const char *bytes, size_t length)
{
    const struct command *c;
    struct bytes key;
    struct link *link;
    uint16_t slot;

    if (!session_is_quiet(s) || (c = read_single(s, bytes, length, &key)) == NULL)
        return NULL;
    slot = slot_of_key(key.data, key.length);
    link = ready_link(s, c, slot);
    if (link == NULL || !buffer_append(&link->out, bytes, length))
        return NULL;
    if (mirror_is_on())
        copy_command(s, c, bytes, length);
    link_count(&link->asked, 1);
    s->express = (struct express){.link = link, .command = c, .length = length, .issued = stats_issue(), .slot = slot};
    return link;
}

bool session_express_answered(struct session *s, const char *reply, size_t length)
{
    struct link *link = s->express.link;

    if (frame_quick(reply, length) != length) /* of an error it knows nothing */
        return false;
    link_count(&link->replied, 1);
    link->out_base += s->express.length;
    link->out.head = link->out.tail = 0;
    if (link->out.capacity > LINK_KEEP)
        buffer_relax(&link->out, LINK_KEEP);
    s->express.link = NULL;
    if (__builtin_expect(s->express.issued != 0, 0))
        order_count(s, s->express.command, s->express.issued, 1, true);
    if (s->reads != NULL)
        reads_wrote(s, s->express.command, s->express.slot);
    return true;
}

void session_unexpress(struct session *s)
{
    struct express e = s->express;
    struct request *r;

    volley_break(s);
    if (e.link == NULL)
        return;
    s->express.link = NULL;
    r = order_issue(s, e.command);
    if (r == NULL)
        return;
    r->issued = e.issued;
    r->part.slot = e.slot;
    r->part.repeatable = command_repeatable(e.command);
    if (s->reads != NULL)
        reads_resume(s, &r->part, e.link);
    link_resume(e.link, &r->part, e.link->out_base, e.length);
    session_touch(s, e.link);
}
