#define _GNU_SOURCE
#include "migrator.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "cluster.h"
#include "die.h"
#include "until.h"

enum { BATCHES_A_PHASE = 2, KEYS_A_PHASE = 3 };

struct migrator {
    struct cluster *cluster;
    struct migrator_options options;
    pthread_t thread;
    atomic_int batches;
    atomic_bool is_done;
};

static void rest(struct migrator *migrator)
{
    int until = migrator->batches + BATCHES_A_PHASE;
    int64_t start = now_ms();
    int patience_ms = migrator->options.patience_ms;
    UNTIL(migrator->batches >= until || (patience_ms && now_ms() - start > patience_ms));
}

static void move_on(struct migrator *migrator, int slot)
{
    struct cluster *cluster = migrator->cluster;
    int from = cluster_owner_of_slot(cluster, 0, slot);
    int to = (from + 1) % cluster_masters(cluster);
    cluster_migrate_begin(cluster, slot, from, to);
    rest(migrator);
    while (cluster_migrate_keys(cluster, slot, from, to, KEYS_A_PHASE) > 0)
        rest(migrator);
    cluster_migrate_finish(cluster, slot, from, to);
    rest(migrator);
}

static void *run(void *arg)
{
    struct migrator *migrator = arg;
    const struct migrator_options *options = &migrator->options;
    for (int i = 0; i < options->moves; i++)
        move_on(migrator, options->slots[i % options->count]);
    migrator->is_done = true;
    return NULL;
}

struct migrator *migrator_start(struct cluster *cluster, const struct migrator_options *options)
{
    struct migrator *migrator = calloc(1, sizeof *migrator);
    MUST(migrator);
    migrator->cluster = cluster;
    migrator->options = *options;
    MUST(pthread_create(&migrator->thread, NULL, run, migrator) == 0);
    return migrator;
}

bool migrator_tick(struct migrator *migrator)
{
    migrator->batches++;
    return !migrator->is_done;
}

void migrator_stop(struct migrator *migrator)
{
    pthread_join(migrator->thread, NULL);
    free(migrator);
}
