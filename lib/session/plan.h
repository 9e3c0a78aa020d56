/* Planning: what a command of the application becomes. plan.c has the ways that most classes of
 * commands go; files of their own have the others. */
#ifndef REDISROUTE_SESSION_PLAN_H
#define REDISROUTE_SESSION_PLAN_H

#include "session/request.h"

/* A command that is being planned: its row (NULL: not in the table), its words (s->argv) and its
 * bytes, an array of bulk strings. */
struct line {
    const struct command *command;
    const char *bytes;
    size_t length;
};

/* One part for its slot; SLOT_NONE: for any node. */
void plan_whole(struct session *, const struct line *, uint16_t slot);
/* A request of so many parts, none of which is sent yet. NULL: out of memory. */
struct request *plan_fanout(struct session *, const struct line *, size_t count);
/* Sends the groups of fanout->split, whose keys are words of the line. */
void plan_send_groups(struct session *, struct request *, const struct key_range *keys);
/* To the dialled node, which is the connection that the application knows of. */
void plan_connection(struct session *, const struct line *);
/* To every node, or every shard, with another merge than the table's when `merge` says so. */
void plan_nodes(struct session *, const struct line *, bool shards, const enum merge_kind *merge);
/* Its success is remembered and told to every link. */
void plan_state(struct session *, const struct line *);
/* Answered from here with a whole reply. */
void plan_answer(struct session *, const struct line *, const char *reply);

/* The mode of the connection (session.guards) has a word in what becomes of the command. True: it
 * was planned, or refused. */
bool plan_guarded(struct session *, const struct line *);

/* Classes with a file of their own: subscribe.c, monitor.c, client.c. */
void plan_subscribe(struct session *, const struct line *);
void plan_unsubscribe(struct session *, const struct line *);
void plan_monitor(struct session *, const struct line *);
void plan_reset(struct session *, const struct line *);
void plan_reply_mode(struct session *, const struct line *);
void plan_tracking(struct session *, const struct line *);
void plan_caching(struct session *, const struct line *);
void plan_kill(struct session *, const struct line *);

#endif
