#include "route/mirror.h"

#include <pthread.h>
#include <string.h>

#include "base/chance.h"
#include "stats/stats.h"

_Atomic unsigned mirror_mode;

static _Atomic uint64_t outstanding;
static _Atomic bool urgent;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for all below */
static struct buffer queue;
static size_t bytes_most;
static bool keeper_sleeps = true;
static void (*wake)(void);

void mirror_turn_on(size_t most, void (*wake_keeper)(void))
{
    pthread_mutex_lock(&lock);
    bytes_most = most;
    wake = wake_keeper;
    pthread_mutex_unlock(&lock);
    atomic_store(&mirror_mode, 1);
}

void mirror_turn_off(void)
{
    atomic_store(&mirror_mode, 0);
}

/* --- which --- */

static bool is_about_data(const struct command *c)
{
    static const bool about_connection[COMMAND_UNSUPPORTED + 1] = {
        [COMMAND_STATE] = true,      [COMMAND_READ_MODE] = true, [COMMAND_CONNECTION] = true,
        [COMMAND_QUIT] = true,       [COMMAND_RESET] = true,     [COMMAND_TRANSACTION] = true,
        [COMMAND_SUBSCRIBE] = true,  [COMMAND_MONITOR] = true,   [COMMAND_UNSUBSCRIBE] = true,
        [COMMAND_REPLY_MODE] = true, [COMMAND_KILL] = true,      [COMMAND_TRACKING] = true,
    };

    return !about_connection[c->klass];
}

/* Without the script at the mirror EVALSHA would fail there. */
static bool is_script(const struct command *c)
{
    return strcmp(c->name, "script|load") == 0 || strcmp(c->name, "script|flush") == 0;
}

bool mirror_is_write(const struct command *c)
{
    if (c == NULL)
        return true;
    if (!is_about_data(c))
        return false;
    return (c->flags & COMMAND_WRITE) != 0 ||
           ((c->flags & COMMAND_MAY_REPLICATE) != 0 && (c->flags & COMMAND_READONLY) == 0) ||
           is_script(c);
}

bool mirror_wants(const struct config_mirror *mirror, const struct command *c)
{
    return mirror_is_write(c) ||
           (!mirror->exclude_reads && (c->flags & COMMAND_READONLY) != 0 && is_about_data(c));
}

bool mirror_is_chosen(const struct config_mirror *mirror)
{
    return mirror->fraction >= MIRROR_FRACTION_WHOLE ||
           chance_draw() % MIRROR_FRACTION_WHOLE < mirror->fraction;
}

/* --- targets --- */

/* Filled from the front. Snapshots of the configuration stay, and so does what is pointed to. */
static const struct config_cluster *_Atomic targets[MIRROR_TARGETS_MOST];

const struct config_cluster *mirror_target_cluster(int target)
{
    return target < MIRROR_TARGETS_MOST ? atomic_load(&targets[target]) : NULL;
}

static int find_target(const struct config_cluster *cluster)
{
    const struct config_cluster *there;

    for (int i = 0; i < MIRROR_TARGETS_MOST; i++) {
        there = mirror_target_cluster(i);
        if (there == NULL || strcmp(there->name, cluster->name) == 0) {
            atomic_store(&targets[i], cluster);
            return i;
        }
    }
    return -1;
}

uint32_t mirror_target(struct config_mirror *mirror)
{
    int known = atomic_load_explicit(&mirror->target, memory_order_relaxed);

    if (known == 0) {
        pthread_mutex_lock(&lock);
        known = find_target(mirror->cluster) + 1;
        pthread_mutex_unlock(&lock);
        atomic_store(&mirror->target, known);
    }
    return known > 0 ? UINT32_C(1) << (known - 1) : 0;
}

/* --- the queue --- */

static bool append(const char *bytes, size_t length, uint32_t commands, uint32_t to)
{
    struct mirror_entry entry = {(uint32_t)length, commands, to};

    if (length > bytes_most || buffer_length(&queue) + sizeof entry + length > bytes_most ||
        buffer_reserve(&queue, sizeof entry + length) == NULL)
        return false;
    return buffer_append(&queue, &entry, sizeof entry) && buffer_append(&queue, bytes, length);
}

void mirror_push(const char *bytes, size_t length, uint32_t commands, uint32_t to)
{
    void (*to_wake)(void) = NULL;
    bool queued;

    pthread_mutex_lock(&lock);
    queued = append(bytes, length, commands, to);
    if (queued && (keeper_sleeps || buffer_length(&queue) > bytes_most / 2)) {
        keeper_sleeps = false;
        to_wake = wake;
    }
    pthread_mutex_unlock(&lock);
    mirror_count(queued ? MIRROR_QUEUED : MIRROR_DROPPED_FULL, commands);
    if (to_wake != NULL) {
        atomic_store(&urgent, true);
        to_wake();
    }
}

bool mirror_is_urgent(void)
{
    return atomic_load(&urgent);
}

void mirror_hurry(void)
{
    void (*to_wake)(void);

    pthread_mutex_lock(&lock);
    to_wake = wake;
    pthread_mutex_unlock(&lock);
    atomic_store(&urgent, true);
    if (to_wake != NULL)
        to_wake();
}

bool mirror_take(struct buffer *into, bool sleeping)
{
    struct buffer empty = *into;
    bool any;

    atomic_store(&urgent, false);
    pthread_mutex_lock(&lock);
    any = buffer_length(&queue) > 0;
    if (any) {
        *into = queue;
        queue = empty;
        /* Nobody may take the time between queue and target for idleness. */
        atomic_fetch_add(&outstanding, 1);
    }
    keeper_sleeps = !any && sleeping;
    pthread_mutex_unlock(&lock);
    return any;
}

/* --- counting --- */

_Static_assert((int)STATS_COUNTERS - (int)STATS_MIRROR_QUEUED == (int)MIRROR_COUNTS,
               "the counters of the mirror are the last of all");

void mirror_count(enum mirror_count what, uint64_t how_many)
{
    stats_add(STATS_MIRROR_QUEUED + what, how_many);
}

void mirror_set_outstanding(uint64_t entries)
{
    atomic_store(&outstanding, entries);
}

bool mirror_is_idle(void)
{
    bool empty;

    pthread_mutex_lock(&lock);
    empty = buffer_length(&queue) == 0 && atomic_load(&outstanding) == 0;
    pthread_mutex_unlock(&lock);
    return empty;
}

void mirror_lock_all(void)
{
    pthread_mutex_lock(&lock);
}

void mirror_unlock_all(void)
{
    pthread_mutex_unlock(&lock);
}

void mirror_forget_all(void)
{
    queue.head = queue.tail = 0;
    keeper_sleeps = true;
    atomic_store(&outstanding, 0);
    atomic_store(&urgent, false);
}
