#include "session/move.h"

#include <errno.h>

#include "session/feed.h"
#include "session/front.h"
#include "session/override.h"
#include "session/transaction.h"

/* What the configuration says is about servers or about the connection; these are the connection's.
 */
enum { GUARDS_KEPT = GUARD_SUBSCRIBED | GUARD_MONITOR | GUARD_SILENT | GUARD_SKIP | GUARD_CACHING };

/* --- whether --- */

static bool changes_kind(const struct session *s)
{
    return !s->settings.is_inner && s->settings.has_routes != (s->front != NULL);
}

bool move_is_wanted(const struct session *s)
{
    if (s->settings.configure == NULL)
        return false;
    return changes_kind(s) ||
           (s->front == NULL && !lead_is_same(s->settings.led_by, s->settings.seeds));
}

bool move_find(const struct session *s, struct lead_end *end)
{
    *end = (struct lead_end){.cluster = NULL};
    return (changes_kind(s) && s->front == NULL) || /* a front's own sessions find their way */
           lead_find(s->settings.seeds, s->settings.dialled_host, s->settings.dialled_port, end);
}

static bool is_led_away(struct session *s)
{
    struct lead_end end;

    s->awaits_lead = move_is_wanted(s);
    if (!s->awaits_lead || !move_find(s, &end))
        return false;
    s->awaits_lead = false;
    if (changes_kind(s) || end.cluster == NULL || end.cluster != s->cluster)
        return true;
    s->settings.led_by = s->settings.seeds; /* one more endpoint of the same cluster */
    return false;
}

void move_begin(struct session *s)
{
    s->leaving = true;
    s->stalled |= s->state != SESSION_TRANSACTING;
}

void move_look(struct session *s)
{
    bool was_leaving = s->leaving;

    if (s->state == SESSION_PLAIN || s->state == SESSION_ENDED)
        return;
    if (is_led_away(s))
        move_begin(s);
    else if (was_leaving)
        move_cancel(s);
}

void move_peek(struct session *s)
{
    struct session_settings now = s->settings;

    if (now.configure == NULL || (s->configured == config_get()->version && !s->awaits_lead))
        return;
    now.configure(&now);
    s->settings.seeds = now.seeds;
    s->settings.has_routes = now.has_routes;
    move_look(s);
}

void move_cancel(struct session *s)
{
    s->leaving = false;
    if (s->probe == NULL)
        session_unstall(s);
    plan_input(s);
}

/* --- what goes along --- */

#define TAKE(fresh, s, field)                                                                      \
    do {                                                                                           \
        (fresh)->field = (s)->field;                                                               \
        memset(&(s)->field, 0, sizeof(s)->field);                                                  \
    } while (0)

static void take_order(struct session *fresh, struct session *s)
{
    TAKE(fresh, s, order_head);
    TAKE(fresh, s, order_tail);
    TAKE(fresh, s, spare);
    TAKE(fresh, s, slabs);
    fresh->delivered = s->delivered;
    fresh->sequence = s->sequence;
}

static void take_input(struct session *fresh, struct session *s)
{
    TAKE(fresh, s, in);
    fresh->planned = s->planned;
    TAKE(fresh, s, overrides);
}

/* What was said in code counts; else what the configuration says of the new cluster. */
static void take_policy(struct session *fresh, const struct session *s)
{
    enum read_policy always =
        s->policy_is_own ? (s->once ? s->policy_before : s->policy) : fresh->policy;

    fresh->policy_is_own = s->policy_is_own;
    fresh->once = s->once;
    fresh->policy = s->once ? s->policy : always;
    fresh->policy_before = always;
}

static void take_connection(struct session *fresh, struct session *s)
{
    TAKE(fresh, s, greetings);
    TAKE(fresh, s, feeds);
    fresh->fd = s->fd;
    fresh->guards |= s->guards & GUARDS_KEPT;
    fresh->caches = s->caches;
    fresh->tracking = s->tracking;
    fresh->tracking_tick_ms = s->tracking_tick_ms;
}

/* A front has its inner sessions, and an inner session its place among them. */
static void keep_place(struct session *fresh, struct session *s)
{
    fresh->front_of = s->front_of;
    if (s->front_of != NULL)
        TAKE(fresh, s, next);
}

/* Others may stay with the cluster that is left, and it is not to be looked for at the new one's.
 */
static void restore_seeds(const struct session *left)
{
    static const struct config_refresh unsaid = {.redirect_threshold = -1};
    const struct config_cluster *seeds = left->settings.led_by;

    if (left->cluster != NULL && left->front == NULL)
        cluster_configure(left->cluster, seeds != NULL ? &seeds->refresh : &unsaid, seeds);
}

bool move_to(struct session *s, struct session *fresh)
{
    struct session left;

    if (s->feeds != NULL)
        feeds_leave(s);
    if (!order_leave(s) || (transaction_is_guarded(s) && !transaction_lose_guard(fresh))) {
        session_end(s, ENOMEM);
        return false;
    }
    take_order(fresh, s);
    take_input(fresh, s);
    take_policy(fresh, s);
    take_connection(fresh, s);
    keep_place(fresh, s);
    left = *s;
    *s = *fresh;
    *fresh = left;
    restore_seeds(fresh);
    return true;
}

void move_resume(struct session *s)
{
    session_raise(s, EVENT_TOPOLOGY, "the configuration leads to another cluster");
    client_forget(s, NULL);
    if (s->feeds != NULL)
        feeds_arrived(s);
    if (s->state == SESSION_DISCOVERING)
        discover_begin(s);
    if (!session_routes(s))
        return;
    if (s->feeds != NULL)
        feeds_adopted(s);
    client_listen(s);
    plan_input(s);
}
