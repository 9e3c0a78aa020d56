/* The session of an endpoint: made as the configuration says of the address that was dialled, and
 * given the program's own connection. */
#include "socket/endpoint_state.h"

#include "config/config.h"
#include "session/front.h"
#include "socket/inner.h"
#include "socket/sockaddr.h"

/* What the configuration says of connections to the dialled address. */
static void configure(struct session_settings *settings)
{
    const struct config *config = config_get();
    const struct config_listener *l =
        config_listener(config, settings->dialled_host, settings->dialled_port);

    settings->op_timeout_ms = l->op_timeout_ms;
    settings->failover_timeout_ms = l->failover_timeout_ms;
    settings->connect_timeout_ms = l->connect_timeout_ms;
    settings->link_idle_timeout_ms = config->link_idle_timeout_ms;
    settings->reconnect = l->reconnect;
    settings->read_policy = (enum read_policy)l->read_policy;
    settings->read_your_writes_ms = config->read_your_writes_ms;
    settings->zone = config->zone;
    settings->no_redirection = !l->redirection;
    settings->logins = config->off ? NULL : l->logins;
    settings->mirrors = l->mirrors;
    settings->tls = l->tls;
    settings->refresh = (struct config_refresh){.redirect_threshold = -1};
    if (l->cluster != NULL)
        settings->refresh = l->cluster->refresh;
    settings->seeds = l->cluster;
    settings->has_routes = !config->off && config_has_routes(l);
}

bool endpoint_has_routes(const struct sockaddr *address)
{
    const struct config *config = config_get();
    char host[INET6_ADDRSTRLEN];
    uint16_t port;

    return !config->off && config->listeners != NULL && sockaddr_text(address, host, &port) &&
           config_has_routes(config_listener(config, host, port));
}

static struct session *create_front(struct session_settings *settings)
{
    struct cluster *upstreams = upstreams_cluster(settings->dialled_host, settings->dialled_port);
    struct session *s;
    struct topology *t;
    uint64_t version;

    if (upstreams == NULL)
        return NULL;
    t = cluster_topology(upstreams, &version);
    settings->host = UPSTREAM_HOST;
    settings->port = (uint16_t)(t->upstreams->own + 1);
    topology_unref(t);
    settings->configure = inner_configure_front;
    inner_configure_front(settings);
    s = session_create(settings);
    if (s != NULL && !front_begin(s, upstreams)) {
        session_destroy(s);
        s = NULL;
    }
    return s;
}

struct session *endpoint_create_reached(const struct endpoint *ep, const struct seed *seed,
                                        struct session_settings *settings)
{
    char host[INET6_ADDRSTRLEN];
    struct session *s;

    if (!sockaddr_text(seed_address(seed), host, &settings->port))
        return NULL;
    settings->host = host;
    settings->led_by = seed->cluster;
    settings->name = seed->name != NULL && resolver_is_name(seed->name) ? seed->name : NULL;
    settings->tls_dialled = seed->name;
    settings->tls_is_own = ep->own_tls != NULL;
    if (settings->tls_is_own)
        settings->tls = ep->own_tls;
    s = session_create(settings);
    if (s == NULL)
        return NULL;
    s->home->address = seed->address;
    s->home->address_length = seed->length;
    return s;
}

static struct seed seed_of(const struct endpoint *ep)
{
    return (struct seed){.address = ep->seed,
                         .length = ep->seed_length,
                         .name = ep->name,
                         .cluster = ep->seed_cluster};
}

/* The program's own connection is that of the first inner session. */
static bool connect_front(struct endpoint *ep)
{
    struct session *s = ep->session;
    const struct seed seed = seed_of(ep);

    if (!inner_open_at(ep, s->home, &seed))
        return false;
    session_link_opened(s, s->home);
    return true;
}

struct session *endpoint_create_session(const struct endpoint *ep, bool is_seen)
{
    const struct seed seed = seed_of(ep);
    struct session_settings settings = {
        .clock = clock_now_ms, .configure = configure, .led_by = seed.cluster, .is_seen = is_seen};

    sockaddr_text((const struct sockaddr *)&ep->address, settings.dialled_host,
                  &settings.dialled_port);
    if (endpoint_has_routes((const struct sockaddr *)&ep->address))
        return create_front(&settings);
    configure(&settings);
    return endpoint_create_reached(ep, &seed, &settings);
}

bool endpoint_make_session(struct endpoint *ep)
{
    keeper_prepare();
    ep->session = endpoint_create_session(ep, false);
    if (ep->session == NULL)
        return false;
    ep->session->fd = ep->fd;
    if (ep->session->front != NULL)
        return ep->awaits_seed || connect_front(ep);
    if (ep->awaits_seed)
        session_await_home(ep->session);
    return true;
}

int64_t endpoint_handshake_by_ms(const struct endpoint *ep, const struct session *s)
{
    return clock_now_ms() + (ep->wire.connect_timeout_ms > 0 ? ep->wire.connect_timeout_ms
                                                             : s->settings.connect_timeout_ms);
}

void endpoint_adopt_home(struct endpoint *ep, int fd, bool connecting)
{
    struct link *home = endpoint_home(ep);
    enum wire_result r;

    home->session = ep->session->front != NULL ? ep->session->home->inner : ep->session;
    ep->wire.tls = home->session->settings.tls;
    ep->wire.tls_dialled = home->session->settings.tls_dialled;
    r = wire_adopt(home, fd, &ep->wire);
    keeper_watch(home, NULL);
    home->state = connecting || r != WIRE_DONE ? LINK_CONNECTING : LINK_UP;
    home->connect_by_ms = -1; /* hiredis sets no limit here */
    if (r == WIRE_AGAIN)
        home->connect_by_ms = endpoint_handshake_by_ms(ep, home->session);
    else if (r == WIRE_LOST)
        session_end(home->session, home->error);
}
