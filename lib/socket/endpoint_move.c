/* Sessions that the configuration leads to another cluster (see session/move.h): the fresh ones are
 * made here, and what is left behind is closed. */
#include <stdlib.h>

#include "base/log.h"
#include "session/front.h"
#include "session/move.h"
#include "socket/endpoint_state.h"
#include "socket/face.h"
#include "socket/inner.h"
#include "socket/pump.h"

static struct link *link_of_inner(const struct session *inner)
{
    struct link *link = inner->front_of->links;

    while (link->inner != inner)
        link = link->next;
    return link;
}

static struct session *create_inner(const struct endpoint *ep, const struct session *s,
                                    const struct lead_end *to)
{
    const struct seed seed = {.address = to->address,
                              .length = to->length,
                              .name = to->name,
                              .cluster = s->settings.seeds};

    return inner_create(ep, link_of_inner(s), &seed);
}

/* The endpoint's own: it is as if that had been connected to. What was looked up for the session
 * before is still in use. */
static struct session *create_own(struct endpoint *ep, const struct session *s,
                                  const struct lead_end *to)
{
    const struct endpoint before = *ep;
    struct session *fresh;

    if (to->length > 0) {
        ep->name = to->name != NULL ? strdup(to->name) : NULL;
        ep->seed = to->address;
        ep->seed_length = to->length;
        ep->seed_cluster = s->settings.seeds;
    }
    fresh = endpoint_create_session(ep, true);
    if (fresh == NULL && to->length > 0) {
        free(ep->name);
        ep->name = before.name;
        ep->seed = before.seed;
        ep->seed_length = before.seed_length;
        ep->seed_cluster = before.seed_cluster;
    }
    if (fresh != NULL)
        ep->awaits_seed = false;
    if (fresh != NULL && fresh->front != NULL)
        fresh->front->connected = true;
    return fresh;
}

/* Whoever is at the other end of a front's links goes with it. */
static void leave_behind(struct endpoint *ep, struct session *left)
{
    for (struct session *s = left; s != NULL; s = s->next)
        for (struct link *link = s->links; link != NULL; link = link->next)
            pump_close(ep, link);
    session_destroy(left);
}

static void move(struct endpoint *ep, struct session *s)
{
    char *name = ep->name;
    struct lead_end to;
    struct session *fresh = NULL;

    if (move_find(s, &to))
        fresh = s->front_of != NULL ? create_inner(ep, s, &to) : create_own(ep, s, &to);
    if (fresh == NULL) {
        move_cancel(s);
        return;
    }
    if (s == ep->session && ep->kind != ENDPOINT_ASYNC)
        face_pair_up(ep); /* the number is not to go with the connection */
    log_write(LOG_INFO, "a connection to %s port %u goes to another cluster now",
              s->settings.dialled_host, s->settings.dialled_port);
    if (move_to(s, fresh)) {
        leave_behind(ep, fresh);
        move_resume(s);
    } else {
        session_destroy(fresh);
    }
    if (name != ep->name)
        free(name);
}

bool endpoint_move(struct endpoint *ep)
{
    for (struct session *s = ep->session; s != NULL; s = s->next)
        if (move_is_due(s)) {
            move(ep, s);
            return true;
        }
    return false;
}
