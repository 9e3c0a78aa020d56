#include "base/path.h"

#include <stdio.h>
#include <unistd.h>

static char folder[PATH_MAX]; /* empty: unknown */

void path_begin(void)
{
    if (getcwd(folder, sizeof folder) == NULL || folder[0] != '/')
        folder[0] = '\0';
}

const char *path_of(const char *name, char to[PATH_MAX])
{
    int length;

    if (name[0] == '/' || name[0] == '\0' || folder[0] == '\0')
        return name;
    length = snprintf(to, PATH_MAX, "%s/%s", folder, name);
    return length > 0 && length < PATH_MAX ? to : name;
}
