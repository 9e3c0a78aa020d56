#include "keeper/audit_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/config.h"
#include "keeper/file.h"
#include "route/audit.h"

/* A process that lives for less than FIRST_MS writes when it ends. How long another process is
 * waited for: where there is a next time, and where there is none. */
enum { FIRST_MS = 1000, WAIT_MS = 50, WAIT_AT_EXIT_MS = 2000, RETRY_MS = 5 };
enum { LINES_MOST = 16 << 20 };

struct paths {
    char report[PATH_MAX];
    char lines[PATH_MAX + 8];
    char lock[PATH_MAX + 8];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t owner;
static int64_t due_ms;
static bool complained;

bool audit_file_is_wanted(void)
{
    return config_audits(config_get());
}

static bool name_files(struct paths *paths)
{
    if (!file_name(paths->report, sizeof paths->report, config_get()->audit)) {
        errno = ENAMETOOLONG;
        return false;
    }
    snprintf(paths->lines, sizeof paths->lines, "%s.jsonl", paths->report);
    snprintf(paths->lock, sizeof paths->lock, "%s.lock", paths->report);
    return true;
}

/* The lock, or -1 and errno. It is held until it is closed. */
static int lock_files(const char *path, int64_t wait_ms)
{
    static const struct timespec pause = {0, RETRY_MS * 1000 * 1000};
    int64_t until = clock_now_ms() + wait_ms;
    int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644), error;

    while (fd != -1 && flock(fd, LOCK_EX | LOCK_NB) == -1) {
        error = errno;
        if ((error == EWOULDBLOCK || error == EINTR) && clock_now_ms() < until) {
            nanosleep(&pause, NULL);
            continue;
        }
        close(fd);
        fd = -1;
        errno = error;
    }
    return fd;
}

/* A file that is not there is empty. */
static bool read_file(const char *path, struct buffer *text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    ssize_t n = 1;
    char *room;

    if (fd == -1)
        return errno == ENOENT;
    if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) || st.st_size > LINES_MOST) {
        close(fd);
        errno = EFBIG;
        return false;
    }
    while (n > 0 && buffer_length(text) <= LINES_MOST) {
        room = buffer_reserve(text, 16384);
        n = room != NULL ? read(fd, room, 16384) : -1;
        text->tail += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    return n == 0;
}

/* What other processes, and this one before, have written. What is not ours stays as it is. */
static bool read_lines(struct audit *audit, const char *path)
{
    struct buffer text;
    bool ok;

    buffer_init(&text);
    ok = read_file(path, &text);
    if (ok && buffer_length(&text) > 0 &&
        !audit_read_lines(audit, buffer_bytes(&text), buffer_length(&text))) {
        errno = EEXIST;
        ok = false;
    }
    buffer_deinit(&text);
    return ok;
}

static bool write_files(const struct audit *audit, const struct paths *paths)
{
    struct buffer lines, report;
    bool ok;

    buffer_init(&lines);
    buffer_init(&report);
    ok = audit_append_lines(audit, &lines) && audit_append_report(audit, &report);
    if (!ok)
        errno = ENOMEM;
    ok = ok && file_replace(paths->lines, &lines) && file_replace(paths->report, &report);
    buffer_deinit(&lines);
    buffer_deinit(&report);
    return ok;
}

/* False: errno. */
static bool add_to_files(const struct audit *fresh, int64_t wait_ms)
{
    struct paths paths;
    struct audit all = {0};
    int fd, error;
    bool ok;

    if (!name_files(&paths) || (fd = lock_files(paths.lock, wait_ms)) == -1)
        return false;
    ok = read_lines(&all, paths.lines) && audit_merge(&all, fresh) && write_files(&all, &paths);
    error = errno;
    audit_deinit(&all);
    close(fd);
    errno = error;
    return ok;
}

static void report_error(int error)
{
    if (!complained)
        log_write(LOG_WARNING, "the audit cannot be written to %s: %s", config_get()->audit,
                  error == EEXIST        ? "its .jsonl is no audit, and is left alone"
                  : error == EWOULDBLOCK ? "another process holds its .lock"
                                         : strerror(error));
    complained = true;
}

static void add(int64_t wait_ms)
{
    struct audit fresh = {0};

    pthread_mutex_lock(&lock);
    if (audit_take(&fresh)) {
        if (add_to_files(&fresh, wait_ms)) {
            complained = false;
            audit_deinit(&fresh);
        } else {
            report_error(errno);
            audit_give_back(&fresh);
        }
    }
    pthread_mutex_unlock(&lock);
}

int64_t audit_file_advance(int64_t now_ms)
{
    int64_t interval_ms;

    if (!audit_file_is_wanted())
        return -1;
    interval_ms = config_get()->audit_interval_ms;
    if (owner != getpid()) {
        owner = getpid();
        due_ms = now_ms + (interval_ms < FIRST_MS ? interval_ms : FIRST_MS);
    }
    if (now_ms >= due_ms) {
        add(WAIT_MS);
        due_ms = now_ms + interval_ms;
    }
    return due_ms;
}

__attribute__((destructor)) static void add_at_exit(void)
{
    if (!audit_is_empty() && audit_file_is_wanted())
        add(WAIT_AT_EXIT_MS);
}

void audit_file_lock_all(void)
{
    pthread_mutex_lock(&lock);
}

void audit_file_unlock_all(void)
{
    pthread_mutex_unlock(&lock);
}
