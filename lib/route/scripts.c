#include "route/scripts.h"

#include <ctype.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha1.h"

enum { BUCKETS = 256 };

struct script {
    struct script *next;  /* in its bucket */
    struct script *later; /* in the order of arrival */
    char sha[SHA1_HEX + 1];
    size_t length;
    char text[];
};

struct scripts {
    _Atomic uint64_t version;
    pthread_mutex_t lock; /* for everything below */
    struct script *bucket[BUCKETS];
    struct script *oldest;
    struct script *newest;
    size_t count;
    size_t bytes;
};

struct scripts *scripts_create(void)
{
    struct scripts *s = calloc(1, sizeof *s);

    if (s != NULL)
        pthread_mutex_init(&s->lock, NULL);
    return s;
}

void scripts_lock(struct scripts *s)
{
    pthread_mutex_lock(&s->lock);
}

void scripts_unlock(struct scripts *s)
{
    pthread_mutex_unlock(&s->lock);
}

static bool sha_of(struct bytes bytes, char sha[SHA1_HEX + 1])
{
    if (bytes.length != SHA1_HEX)
        return false;
    for (int i = 0; i < SHA1_HEX; i++)
        sha[i] = (char)tolower((unsigned char)bytes.data[i]);
    sha[SHA1_HEX] = '\0';
    return true;
}

/* The digits of a SHA-1 are as good as random. */
static struct script **bucket_of(struct scripts *s, const char *sha)
{
    return &s->bucket[((unsigned)sha[0] * 16 + (unsigned)sha[1] + (unsigned)sha[2] * 64) % BUCKETS];
}

static struct script *find(struct scripts *s, const char *sha)
{
    struct script *script = *bucket_of(s, sha);

    while (script != NULL && memcmp(script->sha, sha, SHA1_HEX) != 0)
        script = script->next;
    return script;
}

static void drop_oldest(struct scripts *s)
{
    struct script *oldest = s->oldest, **at = bucket_of(s, oldest->sha);

    while (*at != oldest)
        at = &(*at)->next;
    *at = oldest->next;
    s->oldest = oldest->later;
    s->count--;
    s->bytes -= oldest->length;
    atomic_fetch_add(&s->version, 1);
    free(oldest);
}

static void add(struct scripts *s, struct script *script)
{
    struct script **bucket = bucket_of(s, script->sha);

    while (s->count > 0 &&
           (s->count >= SCRIPTS_MAX || s->bytes + script->length > SCRIPTS_BYTES_MAX))
        drop_oldest(s);
    script->next = *bucket;
    *bucket = script;
    if (s->oldest == NULL)
        s->oldest = script;
    else
        s->newest->later = script;
    s->newest = script;
    s->count++;
    s->bytes += script->length;
}

void scripts_remember(struct scripts *s, struct bytes text)
{
    struct script *script;

    if (text.length > SCRIPTS_BYTES_MAX)
        return;
    script = malloc(sizeof *script + text.length);
    if (script == NULL)
        return;
    *script = (struct script){.length = text.length};
    memcpy(script->text, text.data, text.length);
    sha1_hex(text, script->sha);
    scripts_lock(s);
    if (find(s, script->sha) == NULL) {
        add(s, script);
        script = NULL;
    }
    scripts_unlock(s);
    free(script);
}

bool scripts_know(struct scripts *s, struct bytes sha)
{
    char digits[SHA1_HEX + 1];
    bool known;

    if (!sha_of(sha, digits))
        return false;
    scripts_lock(s);
    known = find(s, digits) != NULL;
    scripts_unlock(s);
    return known;
}

char *scripts_text(struct scripts *s, struct bytes sha, size_t *length)
{
    char digits[SHA1_HEX + 1], *copy = NULL;
    const struct script *script;

    if (!sha_of(sha, digits))
        return NULL;
    scripts_lock(s);
    script = find(s, digits);
    if (script != NULL && (copy = malloc(script->length + 1)) != NULL) {
        memcpy(copy, script->text, script->length);
        *length = script->length;
    }
    scripts_unlock(s);
    return copy;
}

uint64_t scripts_version(const struct scripts *s)
{
    return atomic_load_explicit(&s->version, memory_order_relaxed);
}

void scripts_forget(struct scripts *s)
{
    scripts_lock(s);
    while (s->oldest != NULL)
        drop_oldest(s);
    s->newest = NULL;
    scripts_unlock(s);
}

void scripts_destroy(struct scripts *s)
{
    if (s == NULL)
        return;
    scripts_forget(s);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
