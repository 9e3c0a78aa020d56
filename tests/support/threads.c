#define _GNU_SOURCE
#include "threads.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "die.h"

static bool is_asleep(const char *thread)
{
    char path[300], text[512] = "";
    const char *name_end;
    FILE *file;

    snprintf(path, sizeof path, "/proc/self/task/%s/stat", thread);
    file = fopen(path, "r");
    if (file == NULL)
        return true; /* it has ended */
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    name_end = strrchr(text, ')'); /* the state is behind it */
    return name_end != NULL && strncmp(name_end, ") S", 3) == 0;
}

bool threads_are_asleep(void)
{
    DIR *tasks = opendir("/proc/self/task");
    const struct dirent *entry;
    bool asleep = true;

    MUST(tasks);
    while ((entry = readdir(tasks)) != NULL)
        if (entry->d_name[0] != '.' && strtol(entry->d_name, NULL, 10) != gettid())
            asleep &= is_asleep(entry->d_name);
    closedir(tasks);
    return asleep;
}
