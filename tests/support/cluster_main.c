/* cluster_main [MASTERS [REPLICAS]]: a cluster for shell scripts. Prints the ports of all nodes on
 * one line, masters first, and keeps the cluster until its standard input ends. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cluster.h"

int main(int argc, char **argv)
{
    char ignored[64];
    struct cluster_options options = {.masters = argc > 1 ? atoi(argv[1]) : 0,
                                      .replicas = argc > 2 ? atoi(argv[2]) : 0,
                                      .partial_coverage = true};
    struct cluster *cluster = cluster_start(&options);
    for (int i = 0; i < cluster_size(cluster); i++)
        printf("%s%d", i ? " " : "", cluster_port(cluster, i));
    printf("\n");
    fflush(stdout);
    while (read(0, ignored, sizeof ignored) > 0)
        ;
    cluster_stop(cluster);
    return 0;
}
