#include "keeper/reload.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/path.h"
#include "config/config.h"
#include "keeper/replay.h"
#include "keeper/scout.h"
#include "route/cluster.h"
#include "stats/stats.h"

/* A look is a stat() a file: it sees every way of changing one, symlinks that are swapped and
 * network file systems included. Two in a row that agree are needed, since a file may be half
 * written; behind one that saw something new the next comes sooner. */
enum { LOOK_MS = 350, AGREE_MS = 150 };

struct look {
    uint64_t sum; /* of what stat() says of all files */
};

static struct look in_force, last;
static bool begun;
static int64_t due_ms;

bool reload_is_wanted(void)
{
    const struct config *config = config_get();

    return (config_files() != NULL || config->watched != NULL) && !config->off;
}

static uint64_t mix(uint64_t sum, uint64_t value)
{
    return (sum ^ value) * UINT64_C(1099511628211);
}

static void look_at(struct look *l, const char *path)
{
    char whole[PATH_MAX];
    struct stat st;

    if (*path != '\0' && stat(path_of(path, whole), &st) == 0) {
        l->sum = mix(mix(l->sum, (uint64_t)st.st_dev), (uint64_t)st.st_ino);
        l->sum = mix(mix(l->sum, (uint64_t)st.st_size), (uint64_t)st.st_mtim.tv_sec);
        l->sum = mix(l->sum, (uint64_t)st.st_mtim.tv_nsec);
    }
    l->sum = mix(l->sum, 1);
}

static struct look look(void)
{
    const char *files = config_files();
    struct look l = {0};

    while (files != NULL && *files != '\0') {
        size_t length = strcspn(files, ":");
        char *path = strndup(files, length);

        look_at(&l, path != NULL ? path : "");
        free(path);
        files += length + (files[length] == ':');
    }
    for (const struct config_file *f = config_get()->watched; f != NULL; f = f->next)
        look_at(&l, f->path);
    return l;
}

void reload_configure(void)
{
    stats_add(config_get()->is_makeshift ? STATS_CONFIG_REFUSED : STATS_CONFIG_IN_FORCE, 1);
}

static void put_in_force(void (*wake)(void))
{
    replay_configure(wake);
    stats_set_commands(config_get()->any_command_stats);
    for (struct cluster *c = cluster_first(); c != NULL; c = c->next)
        cluster_config_changed(c);
}

static void reload(void (*wake)(void))
{
    struct complaint complaint = {""};

    switch (config_reload(&complaint)) {
    case 1:
        stats_add(STATS_CONFIG_IN_FORCE, 1);
        scout_configure(config_get());
        put_in_force(wake);
        config_say_active(config_get());
        break;
    case -1:
        stats_add(STATS_CONFIG_REFUSED, 1);
        log_write(LOG_ERROR, "%s; what was in force stays", complaint.text);
        break;
    default:
        break;
    }
}

int64_t reload_advance(int64_t now_ms, void (*wake)(void))
{
    struct look now;

    if (!reload_is_wanted())
        return -1;
    if (begun && now_ms < due_ms)
        return due_ms;
    now = look();
    due_ms = now_ms + (begun && now.sum != last.sum ? AGREE_MS : LOOK_MS);
    /* What the files said when they were read is not known: the first time they are read again. */
    if (now.sum != in_force.sum && begun && now.sum == last.sum) {
        in_force = now;
        reload(wake);
    }
    last = now;
    begun = true;
    return due_ms;
}
