#include "keeper/dial.h"

enum wire_result dial_open(struct link *link, struct cluster *cluster)
{
    char dialled[CLUSTER_DIALLED_SIZE];
    struct wire_settings settings = {.tls = cluster_tls(cluster, dialled), .tls_dialled = dialled};
    enum wire_result r = wire_open(link, &settings);

    tls_profile_unref(settings.tls);
    return r;
}
