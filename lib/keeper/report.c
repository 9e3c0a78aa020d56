#include "keeper/report.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "keeper/file.h"
#include "keeper/replay.h"
#include "stats/stats.h"

enum { END_WAIT_MS = 2000 };

static _Atomic bool writing; /* the end of the process may come between, but no lock: a disk may be
                              * slow, and a fork waits for nobody */
static _Atomic pid_t owner;  /* a child that uses no server leaves its parent's file alone */
static int64_t due_ms;
static _Atomic bool complained;

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

/* False: somebody is at it. */
static bool write_report(void)
{
    struct buffer text;
    bool ok;

    if (atomic_exchange(&writing, true))
        return false;
    buffer_init(&text);
    ok = stats_append_text(&text) && replace_file(&text);
    if (!ok && !complained)
        log_write(LOG_WARNING, "the statistics cannot be written to %s: %s",
                  config_get()->stats_file, strerror(errno));
    complained = !ok;
    buffer_deinit(&text);
    atomic_store(&writing, false);
    return true;
}

void report_begin(void)
{
    if (report_is_wanted() && atomic_exchange(&owner, getpid()) != getpid())
        due_ms = clock_now_ms() + config_get()->stats_interval_ms;
}

int64_t report_advance(int64_t now_ms)
{
    if (!report_is_wanted())
        return -1;
    report_begin();
    if (now_ms >= due_ms) {
        (void)write_report();
        due_ms = now_ms + config_get()->stats_interval_ms;
    }
    return due_ms;
}

/* What becomes of the mirror's queue is part of it. */
__attribute__((destructor)) static void report_at_exit(void)
{
    static const struct timespec pause = {.tv_nsec = 1000 * 1000};
    int64_t until;

    if (atomic_load(&owner) != getpid())
        return;
    replay_flush();
    until = clock_now_ms() + END_WAIT_MS;
    while (!write_report() && clock_now_ms() < until)
        nanosleep(&pause, NULL);
}

void report_forget_all(void)
{
    atomic_store(&writing, false);
}
