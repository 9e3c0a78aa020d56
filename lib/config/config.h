/* The configuration of the process: a checked, immutable snapshot, made from, the later wins,
 *
 *     defaults ─> files (REDISROUTE_CONFIG) ─> environment (REDISROUTE_…)
 *
 * What is given in code is its session's own. doc/configuration.md says what each field means. */
#ifndef REDISROUTE_CONFIG_CONFIG_H
#define REDISROUTE_CONFIG_CONFIG_H

#include "base/buffer.h"
#include "config/complaint.h"
#include "config/login.h"
#include "config/read_policy.h"
#include "config/tls.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONFIG_MIRRORS_MOST = 8, CONFIG_RECONNECTS_MOST = 1000000 };

struct config_address {
    const char *host; /* a name, or an address */
    uint16_t port;
};

/* Where a node is, whatever it says itself. */
struct config_zone {
    struct config_zone *next;
    struct config_address address;
    const char *zone;
};

enum { CONFIG_ZONE_SIZE = 64 };

/* How often a cluster is asked for its topology; as in Envoy's cluster of type redis. */
struct config_refresh {
    int64_t rate_ms;              /* 0: not said */
    int64_t timeout_ms;           /* 0: not said */
    int64_t redirect_interval_ms; /* 0: not said */
    int64_t redirect_threshold;   /* redirects; -1: not said; 0: they bring no refresh */
};

/* How fast one process connects anew to a node that was lost. */
struct config_reconnect {
    int64_t rate;  /* connections a second; 0: any number */
    int64_t burst; /* … and so many at once, when there were fewer before */
};

struct config_cluster {
    struct config_cluster *next;
    const char *name;
    struct config_address *endpoints; /* any one that is alive will do */
    int endpoint_count;
    struct config_zone *zones;  /* of endpoints; NULL: nothing is said of any */
    int64_t connect_timeout_ms; /* 0: the process' own */
    struct config_refresh refresh;
    struct config_login *logins;      /* those for one server first; NULL: none */
    struct login_text login;          /* the short form, while it is being read */
    struct config_tls tls;
    const struct reader_place *place; /* NULL: named by nobody but those who use it */
};

struct config_mirror {
    struct config_mirror *next;
    const struct config_cluster *cluster;
    bool exclude_reads;
    uint32_t fraction;  /* of a million */
    _Atomic int target; /* of route/mirror.h, plus one; 0: not asked for yet */
    const char *cluster_name;
    const struct reader_place *place;
};

/* A cluster that is named somewhere. */
struct config_named_cluster {
    const struct config_cluster *cluster;
    const char *name; /* NULL: none is */
    const struct reader_place *place;
};

/* Where keys go that begin with a prefix. */
struct config_route {
    struct config_route *next;
    const char *prefix;
    bool remove_prefix; /* before the key is sent */
    struct config_named_cluster all;
    struct config_named_cluster reads; /* commands that only read; none: as all */
    struct config_mirror *mirrors;
    const struct reader_place *place;
};

/* What happens to connections to one address. */
struct config_listener {
    struct config_listener *next;
    const char *host; /* as numbers, in the form of inet_ntop; empty: any */
    uint16_t port;
    struct config_route *routes;    /* by prefix, in the order of the file */
    struct config_route *catch_all; /* keys without any of them; NULL: they are refused */
    bool case_insensitive;          /* of prefixes */
    /* Of the catch-all, or else of the first route: the connection itself is there. NULL: what is
     * at the address. */
    const struct config_cluster *cluster;
    const char *stat_prefix;
    int64_t op_timeout_ms; /* 0: none */
    bool redirection;      /* MOVED and ASK are followed */
    bool command_stats;
    int read_policy; /* enum read_policy; while it is being read, -1: the process' own */
    struct config_mirror *mirrors;     /* of the same route */
    const struct config_login *logins; /* the cluster's, or the process' */
    int64_t failover_timeout_ms; /* these two: the process', bounded by what is said here */
    int64_t connect_timeout_ms;
    struct config_reconnect reconnect; /* while it is being read, -1: the process' own */
    struct tls_profile *tls; /* NULL: none. The configuration's own */
    const struct reader_place *place;
};

/* Keys of one connection may go to several clusters. */
static inline bool config_has_routes(const struct config_listener *l)
{
    return l->routes != NULL || (l->catch_all != NULL && l->catch_all->reads.name != NULL);
}

/* A file beside those that REDISROUTE_CONFIG names, whose content is part of the configuration. */
struct config_file {
    struct config_file *next;
    const char *path;
};

/* What the descriptor of an asynchronous context is. */
enum config_descriptor {
    DESCRIPTOR_AUTO, /* a socket for programs that are known to need one */
    DESCRIPTOR_EPOLL,
    DESCRIPTOR_SOCKET,
};

struct config {
    bool off; /* REDISROUTE_OFF=1: hiredis as it was */
    bool is_makeshift; /* what was to be read at first was refused: there is nothing of it in here */
    int descriptor; /* enum config_descriptor */
    bool background_thread;
    int64_t op_timeout_ms; /* 0: none */
    int64_t failover_timeout_ms;
    int64_t connect_timeout_ms;
    int64_t link_idle_timeout_ms; /* 0: links are kept */
    struct config_reconnect reconnect;
    int read_policy;              /* enum read_policy */
    int64_t read_your_writes_ms;
    const char *zone; /* our availability zone; empty: unknown */
    struct config_address mirrors[CONFIG_MIRRORS_MOST];
    int mirror_count;
    bool mirror_exclude_reads;
    uint32_t mirror_fraction; /* of a million */
    int64_t mirror_flush_timeout_ms;
    int64_t mirror_queue_bytes; /* for each target */
    struct login_text login;
    struct login_text mirror_login; /* for `mirrors` */
    struct config_tls tls;
    bool command_stats;
    const char *stats_file; /* empty: none */
    int64_t stats_interval_ms;
    const char *audit; /* the file of the audit; empty: none. As it was at the start */
    int64_t audit_interval_ms;

    struct config_listener *listeners;
    bool logins_are_environments;     /* the process' logins are, and so come before a cluster's */
    struct config_listener elsewhere; /* connections to addresses that no listener has */
    struct config_cluster *clusters;
    bool any_mirror;        /* some listener, or `elsewhere`, has one */
    bool any_command_stats; /* the setting, or some listener's */
    struct config_file *watched;
    uint64_t sum;     /* of the content of all files that it was made from */
    uint64_t version; /* grows with every change; the first is 1 */
    const struct config *before; /* the snapshot that this one replaced, which stays */

    struct arena *arena; /* which holds all of it */
};

/* The snapshot in force. A snapshot stays as long as the process: sessions and the keeper point
 * into it, and it changes rarely. Thread-safe. The first call reads the files and the environment;
 * what is wrong there is said in the log, and is as if it were not. */
const struct config *config_get(void);

/* Nothing is routed, and what programs write is looked at. */
static inline bool config_audits(const struct config *config)
{
    return !config->off && config->audit[0] != '\0';
}

/* Reads everything once more and puts it in force. 1: there is a new snapshot; 0: the files say
 * what they said before; -1, and a complaint: refused, and all is as it was. One thread at a time.
 */
int config_reload(struct complaint *);

/* Appends what a file contains, `most` bytes at most, and adds it to config->sum (NULL: to none).
 * 0, or an errno value. */
int config_read_file(const char *path, size_t most, struct buffer *text, struct config *);

/* Into the log, when it holds for everybody. */
void config_say_active(const struct config *);

/* What REDISROUTE_CONFIG was at the first look: file names separated by ':'. NULL: none. */
const char *config_files(void);

/* What holds for connections to an address; never NULL. `host` in the form of inet_ntop. */
const struct config_listener *config_listener(const struct config *, const char *host,
                                              uint16_t port);

/* What is said first on connections to a cluster; NULL: nothing. */
const struct config_login *config_logins(const struct config *, const struct config_cluster *);
/* How connections to a cluster are secured; NULL: not at all. */
struct tls_profile *config_tls_of(const struct config *, const struct config_cluster *);

/* Reads files as REDISROUTE_CONFIG names them, and nothing else: no environment. NULL, and a
 * complaint: refused. To be given to config_destroy. */
struct config *config_load(const char *files, struct complaint *);

/* The same from memory, as one file. */
struct config *config_parse(const char *file, const char *bytes, size_t length, struct complaint *);
void config_destroy(struct config *);

#endif
