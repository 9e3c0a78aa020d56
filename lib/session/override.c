#include "session/override.h"

#include <errno.h>
#include <stdlib.h>

#include "session/reads.h"

/* The policy from a position of the application's stream on, or for one command. */
struct override {
    struct override *next;
    uint64_t position;
    enum read_policy policy;
    bool stays;
};

static bool add(struct session *s, enum read_policy policy, size_t ahead, bool stays)
{
    struct override *o, **at = &s->overrides;

    bool nothing_new = s->reads == NULL && s->overrides == NULL && policy == s->policy;

    if (s->state == SESSION_ENDED || s->state == SESSION_PLAIN || nothing_new)
        return true;
    session_unexpress(s);
    o = malloc(sizeof *o);
    if (o == NULL)
        return false;
    *o = (struct override){.position = s->planned + buffer_length(&s->in) + ahead,
                           .policy = policy,
                           .stays = stays};
    while (*at != NULL)
        at = &(*at)->next;
    *at = o;
    return reads_begin_late(s);
}

bool session_set_read_policy(struct session *s, enum read_policy policy, size_t ahead, bool stays)
{
    s->policy_is_own |= stays;
    return add(s, policy, ahead, stays);
}

/* Of what follows all that is known by now. */
static enum read_policy last_policy(const struct session *s)
{
    enum read_policy policy = s->once ? s->policy_before : s->policy;

    for (const struct override *o = s->overrides; o != NULL; o = o->next)
        if (o->stays)
            policy = o->policy;
    return policy;
}

static void drop_last(struct session *s)
{
    struct override **at = &s->overrides;

    while ((*at)->next != NULL)
        at = &(*at)->next;
    free(*at);
    *at = NULL;
}

bool session_read_by(struct session *s, enum read_policy policy, size_t length)
{
    enum read_policy before = last_policy(s);

    if (policy == before)
        return true;
    if (!add(s, policy, 0, true))
        return false;
    if (add(s, before, length, true))
        return true;
    if (s->state != SESSION_ENDED)
        drop_last(s);
    return false;
}

void override_always(struct session *s, enum read_policy policy)
{
    if (!add(s, policy, 0, true))
        session_end(s, ENOMEM);
}

static void pop(struct session *s)
{
    struct override *o = s->overrides;

    s->overrides = o->next;
    free(o);
}

bool override_begin_command(struct session *s, uint64_t position)
{
    for (struct override *o; (o = s->overrides) != NULL && o->position <= position;) {
        enum read_policy before = s->policy;

        if (!reads_have_begun(s))
            return false;
        s->policy = o->policy;
        if (!o->stays && !s->once) {
            s->once = true;
            s->policy_before = before;
        } else if (o->stays) {
            s->policy_before = o->policy;
        }
        pop(s);
    }
    return true;
}

void override_end_command(struct session *s)
{
    if (!s->once)
        return;
    s->once = false;
    s->policy = s->policy_before;
}

void override_destroy(struct session *s)
{
    while (s->overrides != NULL)
        pop(s);
}
