#include "route/audit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct audit recorded;

/* --- a table --- */

static struct audit_entry *find(const struct audit *a, const char *name, enum audit_finding finding)
{
    for (size_t i = 0; i < a->count; i++)
        if (a->entries[i].finding == finding && strcmp(a->entries[i].name, name) == 0)
            return &a->entries[i];
    return NULL;
}

static bool grow(struct audit *a)
{
    size_t capacity = a->capacity > 0 ? 2 * a->capacity : 16;
    struct audit_entry *entries;

    if (a->count < a->capacity)
        return true;
    entries = realloc(a->entries, capacity * sizeof *entries);
    if (entries == NULL)
        return false;
    a->entries = entries;
    a->capacity = capacity;
    return true;
}

static bool append(struct audit *a, const struct audit_entry *e)
{
    if (!grow(a))
        return false;
    a->entries[a->count++] = *e;
    return true;
}

/* Room is left for the others of every finding. */
static bool is_full(const struct audit *a)
{
    return a->count >= AUDIT_ENTRIES_MOST - AUDIT_FINDINGS;
}

bool audit_add(struct audit *a, const struct audit_entry *e)
{
    struct audit_entry *known = find(a, e->name, e->finding);
    struct audit_entry others = {.count = e->count, .finding = e->finding, .name = AUDIT_OTHERS};

    if (known == NULL && is_full(a)) {
        e = &others;
        known = find(a, others.name, others.finding);
    }
    if (known == NULL)
        return append(a, e);
    known->count += e->count;
    return true;
}

bool audit_merge(struct audit *a, const struct audit *from)
{
    for (size_t i = 0; i < from->count; i++)
        if (!audit_add(a, &from->entries[i]))
            return false;
    return true;
}

void audit_deinit(struct audit *a)
{
    free(a->entries);
    *a = (struct audit){0};
}

static size_t escape_byte(char *to, unsigned char c)
{
    if (c >= ' ' && c <= '~' && c != '"' && c != '\\') {
        *to = (char)c;
        return 1;
    }
    return (size_t)snprintf(to, 5, "\\x%02x", c);
}

void audit_escape(char to[AUDIT_ESCAPED], struct bytes bytes)
{
    size_t shown = bytes.length < AUDIT_KEY_BYTES ? bytes.length : AUDIT_KEY_BYTES, at = 0;

    for (size_t i = 0; i < shown; i++)
        at += escape_byte(to + at, (unsigned char)bytes.data[i]);
    strcpy(to + at, shown < bytes.length ? "..." : "");
}

/* --- of the process --- */

void audit_record(const struct audit_entry *e)
{
    pthread_mutex_lock(&lock);
    (void)audit_add(&recorded, e); /* where memory is out, a command goes uncounted */
    pthread_mutex_unlock(&lock);
}

bool audit_take(struct audit *into)
{
    pthread_mutex_lock(&lock);
    *into = recorded;
    recorded = (struct audit){0};
    pthread_mutex_unlock(&lock);
    return into->count > 0;
}

void audit_give_back(struct audit *a)
{
    pthread_mutex_lock(&lock);
    (void)audit_merge(&recorded, a);
    pthread_mutex_unlock(&lock);
    audit_deinit(a);
}

bool audit_is_empty(void)
{
    bool empty;

    pthread_mutex_lock(&lock);
    empty = recorded.count == 0;
    pthread_mutex_unlock(&lock);
    return empty;
}

void audit_lock_all(void)
{
    pthread_mutex_lock(&lock);
}

void audit_unlock_all(void)
{
    pthread_mutex_unlock(&lock);
}

void audit_forget_all(void)
{
    audit_deinit(&recorded);
}
