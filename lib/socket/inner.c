#include "socket/inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "session/front.h"
#include "socket/endpoint_state.h"

static void set_common(struct session_settings *settings, const struct config *config,
                       const struct config_listener *l)
{
    settings->op_timeout_ms = l->op_timeout_ms;
    settings->failover_timeout_ms = l->failover_timeout_ms;
    settings->connect_timeout_ms = l->connect_timeout_ms;
    settings->link_idle_timeout_ms = config->link_idle_timeout_ms;
    settings->reconnect = l->reconnect;
    settings->refresh = (struct config_refresh){.redirect_threshold = -1};
    settings->seeds = l->cluster;
    settings->has_routes = config_has_routes(l);
}

/* Nothing of what is about single nodes: its inner sessions have that. */
void inner_configure_front(struct session_settings *settings)
{
    const struct config *config = config_get();

    set_common(settings, config,
               config_listener(config, settings->dialled_host, settings->dialled_port));
    settings->read_policy = READ_MASTER;
    settings->mirrors = NULL;
}

static void configure(struct session_settings *settings)
{
    const struct config *config = config_get();
    const struct config_listener *l =
        config_listener(config, settings->dialled_host, settings->dialled_port);
    struct upstream u;

    (void)upstreams_cluster(settings->dialled_host, settings->dialled_port); /* of this version */
    u = upstreams_find(settings->dialled_host, settings->dialled_port, settings->upstream);
    set_common(settings, config, l);
    settings->read_policy = (enum read_policy)l->read_policy;
    settings->read_your_writes_ms = config->read_your_writes_ms;
    settings->zone = config->zone;
    settings->no_redirection = !l->redirection;
    settings->mirrors = u.mirrors;
    settings->tls = config_tls_of(config, u.cluster);
    if (u.cluster == NULL)
        return;
    settings->cluster_name = u.cluster->name;
    settings->logins = config_logins(config, u.cluster);
    settings->refresh = u.cluster->refresh;
    settings->seeds = u.cluster;
    if (u.cluster->connect_timeout_ms > 0)
        settings->connect_timeout_ms = u.cluster->connect_timeout_ms;
}

/* Errors name the cluster. */
static bool name_link(struct link *link, const char *name)
{
    char *copy;

    if (strcmp(link->name, name) == 0)
        return true;
    copy = strdup(name);
    if (copy == NULL)
        return false;
    free(link->name);
    link->name = copy;
    return true;
}

struct session *inner_create(const struct endpoint *ep, const struct link *link,
                             const struct seed *seed)
{
    const struct session *front = ep->session;
    struct session_settings settings = {.clock = front->settings.clock,
                                        .configure = configure,
                                        .is_inner = true,
                                        .upstream = (uint16_t)(link->port - 1),
                                        .dialled_port = front->settings.dialled_port};
    struct session *inner;

    memcpy(settings.dialled_host, front->settings.dialled_host, sizeof settings.dialled_host);
    configure(&settings);
    inner = endpoint_create_reached(ep, seed, &settings);
    if (inner != NULL)
        inner->fd = front->fd;
    return inner;
}

bool inner_open_at(struct endpoint *ep, struct link *link, const struct seed *seed)
{
    struct session *front = ep->session;
    const struct upstream *u = &front_upstreams(front)->list[link->port - 1];
    struct session *inner = name_link(link, u->cluster->name) ? inner_create(ep, link, seed) : NULL;

    if (inner == NULL) {
        link->error = ENOMEM;
        return false;
    }
    front_attach(front, link, inner);
    return true;
}

bool inner_open(struct endpoint *ep, struct link *link)
{
    const struct upstream *u = &front_upstreams(ep->session)->list[link->port - 1];
    const struct config_listener *l = config_listener(
        config_get(), ep->session->settings.dialled_host, ep->session->settings.dialled_port);
    const bool async = ep->kind != ENDPOINT_BLOCKING;
    const struct seed_wishes wishes = {.async = async, .limit_ms = seed_limit_ms(l, async)};
    struct seed seed = {.length = 0};
    enum seed_result result = seed_choose_of(&seed, u->cluster, &wishes);

    if (result == SEED_CHOSEN)
        return inner_open_at(ep, link, &seed);
    (void)name_link(link, u->cluster->name);
    link->error = result == SEED_PENDING ? EAGAIN : EHOSTUNREACH;
    return false;
}
