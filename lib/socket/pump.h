/* The pump moves bytes between the links of an endpoint and their sockets, and
 * carries out what its session wants done to connections. */
#ifndef REDISROUTE_SOCKET_PUMP_H
#define REDISROUTE_SOCKET_PUMP_H

#include "socket/endpoint.h"

/* How long a read waits for the rest of a pipeline's replies, once it has the first. */
enum { PUMP_GATHER_MS = 250 };

enum pump_result {
    PUMP_MOVED, /* something happened: look at the session */
    PUMP_TIMEOUT,
    PUMP_INTERRUPTED,
};

/* Opens, closes and flushes what the session wants. Does not wait. */
void pump_orders(struct endpoint *);
/* Handles all links that are ready, timers, and the orders that follow. Needs a
 * poller. Does not wait. True: a link was ready, and may still be. */
bool pump_ready(struct endpoint *);
/* The same, but waits until there is one of these, or poller_interrupt is called. Needs a poller.
 */
enum pump_result pump_wait_ready(struct endpoint *, int64_t deadline_ms);
/* Sets the poller's timer for what the session has to do next. Needs a poller. */
void pump_set_timer(struct endpoint *);
/* Waits until the link can be read from. Needs a poller. WIRE_AGAIN: something else is to be looked
 * at, or the time is over. */
enum wire_result pump_await_answer(struct endpoint *, const struct link *, int64_t deadline_ms);
/* Waits until something happens; *deadline_ms is when to give up, -1 for never, and
 * is looked at only where the socket's own timeout does not do it. */
enum pump_result pump_wait(struct endpoint *, int64_t deadline_ms);
/* The same for any kind of context, and without trusting the socket's own timeout. */
enum pump_result pump_wait_any(struct endpoint *, int64_t deadline_ms);
/* Takes what has arrived on the link whose answer is the next to be delivered. False: nothing, or
 * it is not the only thing to look at. */
bool pump_next_answer(struct endpoint *);
/* Sends what a volley has put on links. False: not all of it could be, or a link has to be looked
 * at first: it has to go the long way. */
bool pump_volley(struct endpoint *);
/* Waits for more of that link, but not for long without a look at the others. */
enum wire_result pump_volley_wait(struct endpoint *, struct link *);
/* That ended with WIRE_AGAIN, and the long way is gone by now. As pump_waited. */
int64_t pump_volley_waited(struct endpoint *, struct link *);
/* Takes what has come, or comes until *until_ms, which is set when it has to be waited for. */
enum wire_result pump_volley_gather(struct link *, int64_t *until_ms);
/* A wait for the link's next byte ended without one: because nobody watches over it, who is called
 * now, or because an operation takes no longer. How long it lasted; 0: that was the program's own
 * time limit. */
int64_t pump_waited(struct endpoint *, struct link *);
/* Some bytes that the kernel has not taken. */
bool pump_unflushed(const struct endpoint *);
/* Closes the link's socket and tells the session why; what was sent may have been received. */
void pump_lose(struct endpoint *, struct link *, int why);
/* Closes the link's socket and tells nobody. */
void pump_close(struct endpoint *, struct link *);

#endif
