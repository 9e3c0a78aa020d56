#include "base/log.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum log_level log_level = LOG_NONE;
static char log_file[4096]; /* empty: stderr */
static const char *const name_of[] = {"none", "error", "warning", "info", "debug"};

void log_open(const char *setting)
{
    size_t length = setting ? strcspn(setting, ":") : 0;

    for (int level = LOG_NONE; length > 0 && level <= LOG_DEBUG; level++)
        if (strlen(name_of[level]) == length && strncmp(setting, name_of[level], length) == 0)
            log_level = (enum log_level)level;
    if (length > 0 && setting[length] == ':')
        snprintf(log_file, sizeof log_file, "%s", setting + length + 1);
}

/* Opened for each line: a daemon that closes all descriptors, or that was forked,
 * must not find our lines in a file of its own. */
static void put(const char *text, size_t length)
{
    int fd = STDERR_FILENO, ignored;
    char path[PATH_MAX];

    if (log_file[0] != '\0')
        fd = open(path_of(log_file, path), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd == -1)
        return;
    ignored = (int)write(fd, text, length);
    (void)ignored;
    if (fd != STDERR_FILENO)
        close(fd);
}

/* The C library takes a lock to know the local time, which a fork does not give back. */
static pthread_mutex_t stamping = PTHREAD_MUTEX_INITIALIZER;

static void stamp_now(char *to, size_t size)
{
    time_t now = time(NULL);
    struct tm local;

    pthread_mutex_lock(&stamping);
    strftime(to, size, "%Y-%m-%dT%H:%M:%S", localtime_r(&now, &local));
    pthread_mutex_unlock(&stamping);
}

void log_lock_all(void)
{
    pthread_mutex_lock(&stamping);
}

void log_unlock_all(void)
{
    pthread_mutex_unlock(&stamping);
}

void log_line(enum log_level level, const char *format, ...)
{
    int saved_errno = errno;
    char line[1024], stamp[32];
    va_list arguments;
    int length, more;

    stamp_now(stamp, sizeof stamp);
    length = snprintf(line, sizeof line, "%s redisroute[%d] %s: ", stamp, (int)getpid(),
                      name_of[level]);
    va_start(arguments, format);
    more = vsnprintf(line + length, sizeof line - (size_t)length - 1, format, arguments);
    va_end(arguments);
    length += more;
    if (length > (int)sizeof line - 2)
        length = (int)sizeof line - 2;
    line[length++] = '\n';
    put(line, (size_t)length);
    errno = saved_errno;
}
