/* A move: the configuration leads a session that is open to another cluster.
 *
 *   issued before ─> order ─> answered by the old cluster
 *   issued after  ─> in (held back) ─> when nothing is unanswered any more ─> the new one
 *
 * The session notices by itself (session_configure), and holds back its input. A transaction that
 * is open is finished first. When nothing is unanswered, the owner makes a fresh session as for a
 * connection that is dialled now, and the old one becomes that: what the application said of its
 * connection, its subscriptions, and what is not delivered stay, the rest is left behind.
 *
 * Whether endpoints that the configuration did not name before are those of another cluster the
 * keeper has found out (route/lead.h). Until somebody answers there, the session stays where it is.
 *
 * In the same way a session becomes a front, when its listener has its first routes, and a front
 * becomes an ordinary session again. A pipe to a server that is no cluster cannot move: what it
 * owes is not known. */
#ifndef REDISROUTE_SESSION_MOVE_H
#define REDISROUTE_SESSION_MOVE_H

#include "route/lead.h"
#include "session/session.h"

/* The configuration names other endpoints than those the session was found by. */
bool move_is_wanted(const struct session *);
/* The configuration, or what is known of its endpoints, has changed. */
void move_look(struct session *);
/* The same for a session that takes nothing else of a newer configuration yet. */
void move_peek(struct session *);

/* From now on nothing more is issued here, once an open transaction is finished. */
void move_begin(struct session *);

/* The session is leaving, and may go now. */
static inline bool move_is_due(const struct session *s)
{
    return s->leaving && s->unanswered == 0 && s->state != SESSION_TRANSACTING &&
           s->state != SESSION_ENDED && !s->ending && !s->homeless && s->express.link == NULL &&
           !session_volleys(s) && (s->home == NULL || s->home->state != LINK_CONNECTING);
}
/* Where it is to go. False: that is not known any more. */
bool move_find(const struct session *, struct lead_end *);
/* `s` becomes `fresh`, a session to which nothing has happened yet; `fresh` has what is left
 * behind, its links with their sockets among it. False: out of memory, and `s` has ended. */
bool move_to(struct session *s, struct session *fresh);
/* What was held back goes on. */
void move_resume(struct session *);
/* It cannot go there now, and stays until the configuration changes again. */
void move_cancel(struct session *);

#endif
