#include "keeper/report.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "config/config.h"
#include "keeper/file.h"
#include "keeper/replay.h"
#include "stats/stats.h"

static pthread_mutex_t lock =
    PTHREAD_MUTEX_INITIALIZER; /* the end of the process may come between */
static _Atomic pid_t owner;    /* a child that uses no server leaves its parent's file alone */
static int64_t due_ms;
static bool complained;

void report_configure(void)
{
    if (config_get()->any_command_stats)
        stats_set_commands(true);
}

bool report_is_wanted(void)
{
    return config_get()->stats_file[0] != '\0';
}

static bool replace_file(const struct buffer *text)
{
    char path[PATH_MAX];

    if (!file_name(path, sizeof path, config_get()->stats_file)) {
        errno = ENAMETOOLONG;
        return false;
    }
    return file_replace(path, text);
}

static void write_report(void)
{
    struct buffer text;
    bool ok;

    buffer_init(&text);
    pthread_mutex_lock(&lock);
    ok = stats_append_text(&text) && replace_file(&text);
    if (!ok && !complained)
        log_write(LOG_WARNING, "the statistics cannot be written to %s: %s",
                  config_get()->stats_file, strerror(errno));
    complained = !ok;
    pthread_mutex_unlock(&lock);
    buffer_deinit(&text);
}

int64_t report_advance(int64_t now_ms)
{
    if (!report_is_wanted())
        return -1;
    if (atomic_exchange(&owner, getpid()) != getpid())
        due_ms = now_ms + config_get()->stats_interval_ms;
    if (now_ms >= due_ms) {
        write_report();
        due_ms = now_ms + config_get()->stats_interval_ms;
    }
    return due_ms;
}

/* What becomes of the mirror's queue is part of it. */
__attribute__((destructor)) static void report_at_exit(void)
{
    if (atomic_load(&owner) != getpid())
        return;
    replay_flush();
    write_report();
}
