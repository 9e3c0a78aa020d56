#include "route/seen_scripts.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha1.h"
#include "route/command.h"
#include "route/lua.h"

struct entry {
    char sha[SHA1_HEX + 1];
    struct seen_script script;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry *ring[SEEN_SCRIPTS_MOST];
static unsigned next;

static const struct entry *find(struct bytes sha)
{
    for (unsigned i = 0; i < SEEN_SCRIPTS_MOST && ring[i] != NULL; i++)
        if (bytes_equal_ignoring_case(sha, ring[i]->sha))
            return ring[i];
    return NULL;
}

static void look(struct entry *e, struct bytes text)
{
    struct lua_look found = lua_look(text);

    e->script = (struct seen_script){.calls = found.calls > 0};
    audit_escape(e->script.outside, found.outside);
}

/* Where memory is out, the next one looks again. */
static void remember(const struct entry *e)
{
    if (ring[next] == NULL)
        ring[next] = malloc(sizeof *e);
    if (ring[next] == NULL)
        return;
    *ring[next] = *e;
    next = (next + 1) % SEEN_SCRIPTS_MOST;
}

struct seen_script seen_script_look(struct bytes text)
{
    struct entry e;
    const struct entry *known;

    sha1_hex(text, e.sha);
    pthread_mutex_lock(&lock);
    known = find((struct bytes){e.sha, SHA1_HEX});
    if (known != NULL) {
        e = *known;
    } else {
        look(&e, text);
        remember(&e);
    }
    pthread_mutex_unlock(&lock);
    return e.script;
}

bool seen_script_find(struct bytes sha, struct seen_script *script)
{
    const struct entry *known;

    pthread_mutex_lock(&lock);
    known = find(sha);
    if (known != NULL)
        *script = known->script;
    pthread_mutex_unlock(&lock);
    return known != NULL;
}

void seen_scripts_lock_all(void)
{
    pthread_mutex_lock(&lock);
}

void seen_scripts_unlock_all(void)
{
    pthread_mutex_unlock(&lock);
}
