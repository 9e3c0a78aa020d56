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
    s->guards &= GUARD_CONFIG;
    s->tracks = false;
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

static void refuse_tracking(struct session *s, const struct line *line, const char *why)
{
    struct request *r = order_issue(s, line->command);

    if (r != NULL)
        order_complete_error(s, r, "-UNSUPPORTED redisroute: CLIENT TRACKING %s", why);
}

void plan_tracking(struct session *s, const struct line *line)
{
    if (has_word(s, "redirect"))
        refuse_tracking(s, line, "with REDIRECT names a client of one node, and keys are on several");
    else if (has_word(s, "bcast"))
        refuse_tracking(s, line, "with BCAST needs a connection to every master at all times");
    else if (has_word(s, "optin"))
        refuse_tracking(s, line, "with OPTIN needs CLIENT CACHING, which is about one connection");
    else
        plan_state(s, line);
}

void client_link_lost(struct session *s)
{
    static const char all[] = ">2\r\n$10\r\ninvalidate\r\n_\r\n";

    if (s->tracks && greet_protocol(s) == 3)
        order_push_copy(s, all, sizeof all - 1);
}

void client_noted(struct session *s, const char *command, size_t length)
{
    /* CLIENT TRACKING ON … or OFF: the third word. */
    s->tracks = memmem(command, length, "\r\n$2\r\n", 6) != NULL;
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
