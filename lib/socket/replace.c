#include "socket/replace.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* A number can be in so many sets at once; more are left as they are. */
enum { SETS_MOST = 16 };

struct registration {
    int set;
    struct epoll_event event;
};

static bool is_epoll(DIR *descriptors, const char *name)
{
    static const char kind[] = "anon_inode:[eventpoll]";
    char target[sizeof kind];
    ssize_t length = readlinkat(dirfd(descriptors), name, target, sizeof target);

    return length == sizeof kind - 1 && memcmp(target, kind, sizeof kind - 1) == 0;
}

/* The kernel says of an epoll descriptor, a line for each file in it:
 * "tfd:        3 events:       19 data:                3 …", all but the first in base 16. */
static bool find_in_set(int set, int number, struct registration *found)
{
    char name[64], line[256];
    bool is_there = false;
    FILE *info;

    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", set);
    info = fopen(name, "re");
    if (info == NULL)
        return false;
    while (!is_there && fgets(line, sizeof line, info) != NULL) {
        uint32_t events;
        uint64_t data;
        int fd;

        if (sscanf(line, "tfd: %d events: %" SCNx32 " data: %" SCNx64, &fd, &events, &data) == 3 &&
            fd == number) {
            *found = (struct registration){set, {.events = events, .data.u64 = data}};
            is_there = true;
        }
    }
    fclose(info);
    return is_there;
}

static int find_registrations(int number, struct registration *found)
{
    DIR *descriptors = opendir("/proc/self/fd");
    struct dirent *entry;
    int count = 0;

    if (descriptors == NULL)
        return 0;
    while (count < SETS_MOST && (entry = readdir(descriptors)) != NULL)
        if (is_epoll(descriptors, entry->d_name) &&
            find_in_set(atoi(entry->d_name), number, &found[count]))
            count++;
    closedir(descriptors);
    return count;
}

bool replace_descriptor(int number, int with, int flags)
{
    struct registration found[SETS_MOST];
    int count = find_registrations(number, found);
    bool ok;

    for (int i = 0; i < count; i++)
        epoll_ctl(found[i].set, EPOLL_CTL_DEL, number, NULL);
    ok = dup3(with, number, flags) != -1;
    for (int i = 0; i < count; i++)
        epoll_ctl(found[i].set, EPOLL_CTL_ADD, number, &found[i].event);
    return ok;
}
