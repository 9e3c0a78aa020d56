#include "keeper/file.h"
#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

bool file_name(char *to, size_t size, const char *name)
{
    char path[PATH_MAX];
    const char *pattern = path_of(name, path);
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

bool file_replace(const char *path, const struct buffer *text)
{
    char beside[PATH_MAX + 32];
    int error;

    snprintf(beside, sizeof beside, "%s.%d.tmp", path, (int)getpid());
    if (write_whole(beside, text) && rename(beside, path) == 0)
        return true;
    error = errno;
    unlink(beside);
    errno = error;
    return false;
}
