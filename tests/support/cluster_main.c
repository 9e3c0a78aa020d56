/* cluster_main [MASTERS [REPLICAS [tls]]]: a cluster for shell scripts. Prints the ports of all nodes
 * on one line, masters first, and keeps the cluster until its standard input ends. With tls its nodes
 * speak nothing else, and a second line is the folder of the certificates (certificates.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certificates.h"
#include "cluster.h"

int main(int argc, char **argv)
{
    char ignored[64];
    struct cluster_options options = {.masters = argc > 1 ? atoi(argv[1]) : 0,
                                      .replicas = argc > 2 ? atoi(argv[2]) : 0,
                                      .partial_coverage = true};
    struct certificates *certificates = NULL;

    if (argc > 3 && strcmp(argv[3], "tls") == 0)
        options.tls = certificates = certificates_create();
    struct cluster *cluster = cluster_start(&options);
    for (int i = 0; i < cluster_size(cluster); i++)
        printf("%s%d", i ? " " : "", cluster_port(cluster, i));
    printf("\n");
    if (certificates)
        printf("%s\n", certificates_path(certificates));
    fflush(stdout);
    while (read(0, ignored, sizeof ignored) > 0)
        ;
    cluster_stop(cluster);
    certificates_remove(certificates);
    return 0;
}
