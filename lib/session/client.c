/* RESET, and what CLIENT says of the connection that a session does not say to every link as it is. */
#include <errno.h>

#include "session/feed.h"
#include "session/plan.h"
#include "session/transaction.h"

static bool word_is(const struct session *s, int i, const char *lower)
{
    return i < s->argv.count && bytes_equal_ignoring_case(s->argv.words[i], lower);
}

static bool has_word(const struct session *s, const char *lower)
{
    for (int i = 2; i < s->argv.count; i++)
        if (word_is(s, i, lower))
            return true;
    return false;
}

/* Everything is as on a connection that has just been made, authentication included. */
void plan_reset(struct session *s, const struct line *line)
{
    if (s->argv.count != 1) {
        plan_whole(s, line, SLOT_NONE);
        return;
    }
    transaction_reset(s);
    s->guards &= GUARD_CONFIG | GUARD_ROUTES;
    s->tracking = 0;
    if (s->feeds != NULL)
        feeds_reset(s);
    greet_reset(s);
    plan_answer(s, line, "+RESET\r\n");
}

/* Servers go on answering: what they say may be a redirection, and a command that nobody saw fail
 * would be lost. Their replies end here. */
void plan_reply_mode(struct session *s, const struct line *line)
{
    if (s->argv.count == 3 && word_is(s, 2, "on")) {
        s->guards &= (uint8_t)~(GUARD_SILENT | GUARD_SKIP);
        plan_answer(s, line, "+OK\r\n");
    } else if (s->argv.count == 3 && word_is(s, 2, "off")) {
        s->guards |= GUARD_SILENT;
    } else if (s->argv.count == 3 && word_is(s, 2, "skip")) {
        s->guards |= (s->guards & GUARD_SILENT) == 0 ? GUARD_SKIP : 0;
    } else {
        plan_connection(s, line); /* the server says what is wrong with it */
    }
}

/* --- client side caching --- */

/* How often a session that is told of all keys looks whether there are new masters, and any that
 * tracks whether its files have changed. */
enum { TRACKING_TICK_MS = 1000, TRACKING_TICK_OF_FILES_MS = 300 };

/* Masters tell of what was not read, too: each has to have heard of it before the answer, since a
 * change in between would be told to nobody. */
static void plan_broadcast(struct session *s, const struct line *line)
{
    static const enum merge_kind all = MERGE_ALL_SUCCEEDED;
    struct request *r;

    plan_nodes(s, line, true, &all);
    r = s->order_tail;
    if (s->state == SESSION_ENDED || r->done)
        return;
    r->kind = REQUEST_STATE;
    s->barrier = r;
}

void plan_tracking(struct session *s, const struct line *line)
{
    struct request *r;

    if (has_word(s, "redirect")) {
        r = order_issue(s, line->command);
        if (r != NULL)
            order_complete_error(s, r, "-UNSUPPORTED redisroute: CLIENT TRACKING with REDIRECT "
                                       "names a client of one node, and keys are on several");
    } else if (has_word(s, "bcast") && session_routes(s) && !s->single) {
        plan_broadcast(s, line);
    } else {
        plan_state(s, line);
    }
}

/* Goes with the next command, to whichever link that goes. What does not fit the mode, the server
 * has words for. */
void plan_caching(struct session *s, const struct line *line)
{
    bool yes = word_is(s, 2, "yes"), no = word_is(s, 2, "no");

    if (s->argv.count != 3 || (yes && (s->tracking & TRACKING_OPT_IN) == 0) ||
        (no && (s->tracking & TRACKING_OPT_OUT) == 0) || !(yes || no)) {
        plan_connection(s, line);
        return;
    }
    plan_answer(s, line, "+OK\r\n");
    s->guards |= GUARD_CACHING;
    s->caches = yes;
}

void client_forget(struct session *s, const struct link *link)
{
    static const char all[] = ">2\r\n$10\r\ninvalidate\r\n_\r\n";

    if (s->tracking != 0 && greet_protocol(s) == 3)
        order_push_behind(s, link, all, sizeof all - 1);
}

/* Prefixes add up, and nothing else does. */
bool client_tracks(struct session *s, const struct argv *argv)
{
    static const struct {
        const char *word;
        enum session_tracking mode;
    } modes[] = {
        {"on", TRACKING_ON},
        {"bcast", TRACKING_BROADCAST},
        {"optin", TRACKING_OPT_IN},
        {"optout", TRACKING_OPT_OUT},
    };
    uint8_t before = s->tracking;

    s->tracking = 0;
    for (int i = 2; i < argv->count; i++) {
        if (bytes_equal_ignoring_case(argv->words[i], "prefix"))
            i++;
        else
            for (size_t k = 0; k < sizeof modes / sizeof *modes; k++)
                if (bytes_equal_ignoring_case(argv->words[i], modes[k].word))
                    s->tracking |= (uint8_t)modes[k].mode;
    }
    s->tracking_tick_ms = session_now(s);
    return (before & s->tracking & TRACKING_BROADCAST) == 0;
}

bool client_listens(const struct session *s, const struct link *link)
{
    return (s->tracking & TRACKING_BROADCAST) != 0 && session_routes(s) && !link->probe &&
           !link->reader && link->feed == NULL && node_is_masters(s, link->node);
}

void client_listen(struct session *s)
{
    if ((s->tracking & TRACKING_BROADCAST) == 0 || !session_routes(s))
        return;
    for (uint16_t node = 0; node < s->topology->node_count; node++) {
        struct link *link;

        if (!node_is_masters(s, node))
            continue;
        link = dispatch_link_of_node(s, node);
        if (link == NULL) {
            session_end(s, ENOMEM);
            return;
        }
        if (link->state != LINK_IDLE)
            continue;
        link->state = LINK_WANTED;
        session_touch(s, link);
    }
}

/* Whoever has cached what it read may ask no more, and is to hear that it is another cluster now. */
int64_t client_due(const struct session *s)
{
    bool looks =
        (s->tracking & TRACKING_BROADCAST) != 0 || (s->tracking != 0 && session_has_files(s));

    return looks ? s->tracking_tick_ms : -1;
}

void client_advance(struct session *s)
{
    int64_t now = session_now(s);

    if (s->tracking == 0 || s->tracking_tick_ms > now)
        return;
    s->tracking_tick_ms =
        now + (session_has_files(s) ? TRACKING_TICK_OF_FILES_MS : TRACKING_TICK_MS);
    client_listen(s);
}

/* An id is one node's own: the one that CLIENT ID gives is the dialled node's. */
void plan_kill(struct session *s, const struct line *line)
{
    static const enum merge_kind one = MERGE_ONE_SUCCEEDED, sum = MERGE_SUM;

    if (has_word(s, "id"))
        plan_connection(s, line);
    else
        plan_nodes(s, line, false, s->argv.count == 3 ? &one : &sum);
}
