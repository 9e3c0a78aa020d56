/* Slots that travel between masters and back, on a thread of its own, in step with a client: each
 * phase of a move (announced, one key over, another, handed over) is held until the client has gone
 * through it with whole batches of commands.
 *
 * Why in step: commands on the wire in the moment a slot starts or stops to migrate may overtake
 * each other in any client, when the slot comes back while they are under way. A slot that rests in
 * each phase until the batches of that phase are answered cannot do that, and every reply can be
 * foretold. */
#ifndef SUPPORT_MIGRATOR_H
#define SUPPORT_MIGRATOR_H

#include <stdbool.h>

struct cluster;
struct migrator;

struct migrator_options {
    const int *slots; /* each moves on to the next master, again and again */
    int count;
    int moves;       /* in all */
    int patience_ms; /* 0: waits for the client in any case. Else no longer than this, for clients
                        whose commands cannot be served while their keys are on two nodes. */
};

struct migrator *migrator_start(struct cluster *cluster, const struct migrator_options *options);

/* The client tells that a batch has been answered; false once all moves are made. */
bool migrator_tick(struct migrator *migrator);
void migrator_stop(struct migrator *migrator);

#endif
