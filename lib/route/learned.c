#include "route/learned.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 256, ABSENT_MAX = 32 };

struct entry {
    struct entry *next; /* in its bucket; constant */
    const struct command *row;
    struct arena arena; /* of the row, and of this entry */
};

struct absent {
    int64_t until_ms;
    size_t length; /* 0: nobody's */
    char name[COMMAND_NAME_MAX];
};

struct learned {
    struct entry *_Atomic bucket[BUCKETS];
    pthread_mutex_t lock; /* for those who add, and for everything below */
    unsigned rows;
    unsigned absent_next;
    struct absent absent[ABSENT_MAX];
};

struct learned *learned_create(void)
{
    struct learned *l = calloc(1, sizeof *l);

    if (l != NULL)
        pthread_mutex_init(&l->lock, NULL);
    return l;
}

void learned_destroy(struct learned *l)
{
    if (l == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        struct entry *e = atomic_load(&l->bucket[i]), *next;

        for (; e != NULL; e = next) {
            next = e->next;
            arena_deinit(&e->arena);
            free(e);
        }
    }
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void learned_lock(struct learned *l)
{
    pthread_mutex_lock(&l->lock);
}

void learned_unlock(struct learned *l)
{
    pthread_mutex_unlock(&l->lock);
}

static struct entry *_Atomic *bucket_of(struct learned *l, struct bytes name)
{
    uint32_t hash = 2166136261U;

    for (size_t i = 0; i < name.length; i++)
        hash = (hash ^ (unsigned char)name.data[i]) * 16777619U;
    return &l->bucket[(hash ^ hash >> 16) % BUCKETS];
}

const struct command *learned_find(struct learned *l, struct bytes name)
{
    const struct entry *e = atomic_load_explicit(bucket_of(l, name), memory_order_acquire);

    while (e != NULL && !bytes_equal_ignoring_case(name, e->row->name))
        e = e->next;
    return e != NULL ? e->row : NULL;
}

/* Under the lock. What another thread learned meanwhile stays. */
static const struct command *add(struct learned *l, struct entry *e, struct bytes name,
                                 unsigned rows)
{
    const struct command *known = learned_find(l, name);
    struct entry *_Atomic *bucket = bucket_of(l, name);

    if (known != NULL || l->rows + rows > LEARNED_ROWS_MAX)
        return known;
    l->rows += rows;
    e->next = atomic_load_explicit(bucket, memory_order_relaxed);
    atomic_store_explicit(bucket, e, memory_order_release);
    return e->row;
}

const struct command *learned_take(struct learned *l, struct bytes name,
                                   const struct command *container, const char *reply,
                                   size_t length)
{
    struct entry *e = calloc(1, sizeof *e);
    const struct command *row = NULL;
    unsigned rows;

    if (e == NULL)
        return NULL;
    e->row = command_info_parse(reply, length, name, container, &e->arena, &rows);
    if (e->row != NULL) {
        learned_lock(l);
        row = add(l, e, name, rows);
        learned_unlock(l);
    }
    if (row == NULL || row != e->row) {
        arena_deinit(&e->arena);
        free(e);
    }
    return row;
}

/* Under the lock. */
static struct absent *find_absent(struct learned *l, struct bytes name)
{
    for (size_t i = 0; i < ABSENT_MAX; i++)
        if (l->absent[i].length == name.length && name.length > 0 &&
            memcmp(l->absent[i].name, name.data, name.length) == 0)
            return &l->absent[i];
    return NULL;
}

void learned_set_absent(struct learned *l, struct bytes name, int64_t now_ms)
{
    struct absent *a;

    if (name.length > COMMAND_NAME_MAX)
        return;
    learned_lock(l);
    a = find_absent(l, name);
    if (a == NULL)
        a = &l->absent[l->absent_next++ % ABSENT_MAX];
    a->until_ms = now_ms + LEARNED_ABSENT_MS;
    a->length = name.length;
    memcpy(a->name, name.data, name.length);
    learned_unlock(l);
}

bool learned_is_absent(struct learned *l, struct bytes name, int64_t now_ms)
{
    const struct absent *a;
    bool is;

    learned_lock(l);
    a = find_absent(l, name);
    is = a != NULL && now_ms < a->until_ms;
    learned_unlock(l);
    return is;
}
