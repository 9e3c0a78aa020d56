#define _GNU_SOURCE
#include "folder.h"

#include <ftw.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "die.h"

struct folder {
    char path[64];
    pid_t janitor;
};

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status, (void)kind, (void)place;
    return remove(path);
}

/* Waits for SIGTERM, which comes from folder_remove or from the kernel when the parent dies. Its
 * own session, because Check kills the process group of a test, and a terminal its foreground. */
static _Noreturn void janitor(const char *path, pid_t parent)
{
    sigset_t set;
    int received;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_SETMASK, &set, NULL);
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_NAME, "janitor");
    close_range(0, ~0U, 0);
    if (getppid() == parent)
        sigwait(&set, &received);
    /* A server on its way out may still write a file into the folder: look again. */
    for (int i = 0; i < 100 && nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS) != 0; i++)
        usleep(20000);
    _exit(0);
}

struct folder *folder_create(void)
{
    struct folder *folder = calloc(1, sizeof *folder);
    MUST(folder);
    strcpy(folder->path, "/tmp/redisroute-test-XXXXXX");
    MUST(mkdtemp(folder->path));
    pid_t parent = getpid();
    folder->janitor = fork();
    MUST(folder->janitor >= 0);
    if (folder->janitor == 0)
        janitor(folder->path, parent);
    return folder;
}

const char *folder_path(const struct folder *folder)
{
    return folder->path;
}

void folder_remove(struct folder *folder)
{
    kill(folder->janitor, SIGTERM);
    waitpid(folder->janitor, NULL, 0);
    free(folder);
}
