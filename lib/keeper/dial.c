#include "keeper/dial.h"

#include "base/clock.h"
#include "link/bucket.h"

/* The keeper's few connections are part of what its process opens, and wait for nobody: what they
 * find out is what sessions wait for. */
static void take_token(const struct link *link)
{
    (void)bucket_take(link->host, link->port, &config_get()->reconnect, clock_now_ms());
}

enum wire_result dial_open(struct link *link, struct cluster *cluster)
{
    char dialled[CLUSTER_DIALLED_SIZE];
    struct wire_settings settings = {.tls = cluster_tls(cluster, dialled), .tls_dialled = dialled};
    enum wire_result r;

    take_token(link);
    r = wire_open(link, &settings);
    tls_profile_unref(settings.tls);
    return r;
}
