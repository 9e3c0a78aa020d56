#include "keeper/report.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "config/config.h"
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

/* "%p" is the process id. False: too long. */
static bool name_file(char *to, size_t size, const char *pattern)
{
    size_t at = 0;

    while (*pattern != '\0' && at < size) {
        if (pattern[0] == '%' && pattern[1] == 'p') {
            at += (size_t)snprintf(to + at, size - at, "%d", (int)getpid());
            pattern += 2;
        } else {
            to[at++] = *pattern++;
        }
    }
    if (at >= size)
        return false;
    to[at] = '\0';
    return true;
}

static bool write_whole(const char *path, const struct buffer *text)
{
    const char *bytes = buffer_bytes(text);
    size_t left = buffer_length(text);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644);

    if (fd == -1)
        return false;
    while (left > 0) {
        ssize_t n = write(fd, bytes, left);

        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            break;
        bytes += n;
        left -= (size_t)n;
    }
    return close(fd) == 0 && left == 0;
}

/* Whoever reads the file finds the old text or the new one, never half of it. */
static bool replace_file(const struct buffer *text)
{
    char path[PATH_MAX], beside[PATH_MAX + 32];

    if (!name_file(path, sizeof path, config_get()->stats_file)) {
        errno = ENAMETOOLONG;
        return false;
    }
    snprintf(beside, sizeof beside, "%s.%d.tmp", path, (int)getpid());
    if (write_whole(beside, text) && rename(beside, path) == 0)
        return true;
    unlink(beside);
    return false;
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

__attribute__((destructor)) static void report_at_exit(void)
{
    if (atomic_load(&owner) == getpid())
        write_report();
}
