/* Says whether a configuration would be taken, before it is rolled out:
 *
 *     cc check-config.c $(pkg-config --cflags --libs redisroute) -o check-config
 *     ./check-config redisroute.yaml [more.yaml ...]
 *
 * The answer is the library's own. Ends with 0 when it would be, with 1 when it would not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <redisroute/redisroute.h>

/* As REDISROUTE_CONFIG has them. */
static char *join(int count, char **names)
{
    size_t length = 1;
    char *all;

    for (int i = 0; i < count; i++)
        length += strlen(names[i]) + 1;
    all = calloc(1, length);
    for (int i = 0; all && i < count; i++) {
        strcat(all, i > 0 ? ":" : "");
        strcat(all, names[i]);
    }
    return all;
}

int main(int argc, char **argv)
{
    char why[1024], *files;
    int refused;

    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE...\n", argv[0]);
        return 2;
    }
    files = join(argc - 1, argv + 1);
    if (!files)
        return 2;
    refused = redisRouteCheckConfig(files, why, sizeof why);
    if (refused)
        fprintf(stderr, "%s\n", why);
    else
        printf("%s: good\n", files);
    free(files);
    return refused ? 1 : 0;
}
