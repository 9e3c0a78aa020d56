/* What a mode of the connection (subscribed, monitoring, CLIENT REPLY) makes of a command before
 * its class is asked. */
#include "session/front.h"

#include <errno.h>
#include <stdlib.h>

#include "base/resp.h"

/* As the server names it: a subcommand with its container. */
static struct bytes name_of(const struct session *s, const struct line *line)
{
    if (line->command != NULL)
        return (struct bytes){line->command->name, strlen(line->command->name)};
    return s->argv.words[0];
}

static void refuse(struct session *s, const struct line *line, const char *format)
{
    struct bytes name = name_of(s, line);
    struct request *r = order_issue(s, line->command);

    if (r != NULL)
        order_complete_error(s, r, format, (int)(name.length < 128 ? name.length : 128), name.data);
}

static bool has_wrong_arity(const struct session *s, const struct command *c)
{
    return c->arity >= 0 ? s->argv.count != c->arity : s->argv.count < -c->arity;
}

static bool is_named(const struct line *line, const char *name)
{
    return line->command != NULL && strcmp(line->command->name, name) == 0;
}

/* A server's own answer on a connection that receives messages. */
static void pong(struct session *s, const struct line *line)
{
    struct request *r = order_issue(s, line->command);
    struct buffer reply;
    struct bytes text = s->argv.count > 1 ? s->argv.words[1] : (struct bytes){"", 0};

    if (r == NULL)
        return;
    buffer_init(&reply);
    if (buffer_append_text(&reply, "*2\r\n$4\r\npong\r\n") && resp_append_bulk(&reply, text))
        order_complete_with(s, r, reply.data, buffer_length(&reply));
    else
        session_end(s, ENOMEM);
}

static bool is_subscription(const struct command *c)
{
    return c != NULL && (c->klass == COMMAND_SUBSCRIBE || c->klass == COMMAND_UNSUBSCRIBE);
}

static bool guard_subscribed(struct session *s, const struct line *line)
{
    if (is_subscription(line->command) || is_named(line, "quit") || is_named(line, "reset"))
        return false;
    if (line->command != NULL && has_wrong_arity(s, line->command))
        refuse(s, line, "-ERR wrong number of arguments for '%.*s' command");
    else if (is_named(line, "ping") && s->argv.count > 2)
        refuse(s, line, "-ERR wrong number of arguments for '%.*s' command");
    else if (is_named(line, "ping"))
        pong(s, line);
    else
        refuse(s, line,
               "-ERR Can't execute '%.*s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
               "RESET are allowed in this context");
    return true;
}

/* To a server, whoever monitors it is a kind of replica. */
static bool guard_monitor(struct session *s, const struct line *line)
{
    if (line->command == NULL || (line->command->flags & (COMMAND_READONLY | COMMAND_WRITE |
                                                          COMMAND_MAY_REPLICATE)) == 0)
        return false;
    plan_answer(s, line, "-ERR Replica can't interact with the keyspace\r\n");
    return true;
}

bool plan_guarded(struct session *s, const struct line *line)
{
    if ((s->guards & GUARD_SUBSCRIBED) != 0)
        return guard_subscribed(s, line);
    if ((s->guards & GUARD_MONITOR) != 0 && guard_monitor(s, line))
        return true;
    return (s->guards & GUARD_ROUTES) != 0 && front_plan(s, line);
}
