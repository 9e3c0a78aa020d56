#define _GNU_SOURCE
#include "cluster.h"

#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "die.h"
#include "server.h"
#include "until.h"
#include "wire.h"

enum { DEFAULT_MASTERS = 3, DEFAULT_NODE_TIMEOUT_MS = 5000, ID_LENGTH = 40 };

struct node {
    struct server *server;
    char id[ID_LENGTH + 1];
    bool is_down; /* killed or stopped by us: not asked */
};

struct cluster {
    struct cluster_options options;
    int size;
    struct node *nodes;
};

/* --- starting --- */

static void start_nodes(struct cluster *cluster)
{
    const struct cluster_options *options = &cluster->options;
    char extra[1024];
    snprintf(extra, sizeof extra,
             "cluster-node-timeout %d\ncluster-require-full-coverage %s\n"
             "cluster-replica-validity-factor 0\ncluster-migration-barrier 100\n"
             "cluster-allow-replica-migration no\ncluster-announce-ip 127.0.0.1\n%s\n",
             options->node_timeout_ms ? options->node_timeout_ms : DEFAULT_NODE_TIMEOUT_MS,
             options->partial_coverage ? "no" : "yes", options->extra ? options->extra : "");
    struct server_options server_options = {
        .is_cluster = true,
        .requirepass = options->requirepass,
        .extra = extra,
        .tls = options->tls,
        .tls_asks_clients = options->tls_asks_clients,
        .tls_beside = options->tls_beside};
    for (int i = 0; i < cluster->size; i++) {
        cluster->nodes[i].server = server_start(&server_options);
        char *id = cluster_command(cluster, i, "CLUSTER MYID");
        memcpy(cluster->nodes[i].id, id, ID_LENGTH);
        free(id);
    }
}

struct cluster *cluster_start(const struct cluster_options *options)
{
    struct cluster *cluster = calloc(1, sizeof *cluster);
    MUST(cluster);
    if (options)
        cluster->options = *options;
    if (!cluster->options.masters)
        cluster->options.masters = DEFAULT_MASTERS;
    cluster->size = cluster->options.masters * (1 + cluster->options.replicas);
    cluster->nodes = calloc((size_t)cluster->size, sizeof *cluster->nodes);
    MUST(cluster->nodes);
    start_nodes(cluster);
    if (!cluster->options.is_unformed)
        cluster_form(cluster);
    return cluster;
}

void cluster_stop(struct cluster *cluster)
{
    if (!cluster)
        return;
    for (int i = 0; i < cluster->size; i++)
        server_stop(cluster->nodes[i].server);
    free(cluster->nodes);
    free(cluster);
}

/* --- forming --- */

static int first_slot(const struct cluster *cluster, int master)
{
    /* Rounded as redis-cli does it, so that both put the same keys on the same masters. */
    return (int)((double)CLUSTER_SLOTS / cluster->options.masters * master + 0.5);
}

static void must_say_ok(const struct cluster *cluster, int node, const char *format, ...)
{
    char *command;
    va_list args;
    va_start(args, format);
    MUST(vasprintf(&command, format, args) >= 0);
    va_end(args);
    char *reply = cluster_command(cluster, node, "%s", command);
    if (strcmp(reply, "OK"))
        die("node %d answered %s to %s", node, reply, command);
    free(reply);
    free(command);
}

static void add_range(const struct cluster *cluster, int master, int first, int end)
{
    if (first < end)
        must_say_ok(cluster, master, "CLUSTER ADDSLOTSRANGE %d %d", first, end - 1);
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int most(int a, int b)
{
    return a > b ? a : b;
}

static void add_slots(const struct cluster *cluster, int master)
{
    int hole = cluster->options.unassigned_count ? cluster->options.unassigned_first : 0;
    int hole_end = hole + cluster->options.unassigned_count;
    int first = first_slot(cluster, master), end = first_slot(cluster, master + 1);
    add_range(cluster, master, first, least(end, hole));
    add_range(cluster, master, most(first, hole_end), end);
}

static int master_of_replica(const struct cluster *cluster, int replica)
{
    return (replica - cluster->options.masters) / cluster->options.replicas;
}

static bool knows_everybody(const struct cluster *cluster, int node)
{
    char *nodes = cluster_command(cluster, node, "CLUSTER NODES");
    bool is_known = !strstr(nodes, "handshake");
    for (int i = 0; i < cluster->size && is_known; i++)
        is_known = strstr(nodes, cluster->nodes[i].id) != NULL;
    free(nodes);
    return is_known;
}

/* One CLUSTER NODES line: the node is linked, well, and what it was made to be. */
static bool is_line_right(const struct cluster *cluster, const char *nodes, int node)
{
    char line[512];
    const char *found = strstr(nodes, cluster->nodes[node].id);
    /* The id of a master also stands in the lines of its replicas. */
    while (found && found != nodes && found[-1] != '\n')
        found = strstr(found + 1, cluster->nodes[node].id);
    if (!found)
        return false;
    snprintf(line, sizeof line, "%.*s", (int)strcspn(found, "\n"), found);
    if (strstr(line, "fail") || strstr(line, "noaddr"))
        return false;
    if (!strstr(line, " connected"))
        return false;
    if (node >= cluster->options.masters)
        return strstr(line, cluster->nodes[master_of_replica(cluster, node)].id) != NULL;
    return strstr(line, "master") && strchr(strstr(line, " connected") + 1, ' ');
}

static bool sees_all_right(const struct cluster *cluster, int node)
{
    char *nodes = cluster_command(cluster, node, "CLUSTER NODES");
    bool is_right = true;
    for (int i = 0; i < cluster->size && is_right; i++)
        is_right = is_line_right(cluster, nodes, i);
    free(nodes);
    return is_right;
}

static bool is_state_ok(const struct cluster *cluster, int node)
{
    char *info = cluster_command(cluster, node, "CLUSTER INFO");
    bool is_ok = strstr(info, "cluster_state:ok") != NULL;
    free(info);
    return is_ok;
}

/* A cluster with a hole in its slots is "fail" by Redis' default, and stays so. */
static bool can_be_ok(const struct cluster *cluster)
{
    return !cluster->options.unassigned_count || cluster->options.partial_coverage;
}

static bool is_in_step(const struct cluster *cluster, int replica)
{
    char *info = cluster_command(cluster, replica, "INFO replication");
    bool is_up = strstr(info, "master_link_status:up") != NULL;
    free(info);
    return is_up;
}

/* A replica that has loaded all data may still wait for its master to begin with what came since. */
static bool feeds_replicas(const struct cluster *cluster, int master)
{
    char *info = cluster_command(cluster, master, "INFO replication");
    int online = 0;
    for (const char *at = info; (at = strstr(at, ",state=online,")); at++)
        online++;
    free(info);
    return online == cluster->options.replicas;
}

void cluster_form(struct cluster *cluster)
{
    int masters = cluster->options.masters;
    for (int i = 0; i < cluster->size; i++)
        must_say_ok(cluster, i, "CLUSTER SET-CONFIG-EPOCH %d", i + 1);
    for (int i = 0; i < masters; i++)
        add_slots(cluster, i);
    /* Everybody is introduced to everybody: gossip would get there too, in seconds. */
    for (int i = 0; i < cluster->size; i++)
        for (int j = i + 1; j < cluster->size; j++)
            must_say_ok(cluster, i, "CLUSTER MEET 127.0.0.1 %d", cluster_port(cluster, j));
    for (int i = 0; i < cluster->size; i++)
        UNTIL(knows_everybody(cluster, i));
    for (int i = masters; i < cluster->size; i++)
        must_say_ok(cluster, i, "CLUSTER REPLICATE %s",
                    cluster->nodes[master_of_replica(cluster, i)].id);
    for (int i = 0; i < cluster->size; i++) {
        UNTIL(sees_all_right(cluster, i));
        UNTIL(!can_be_ok(cluster) || is_state_ok(cluster, i));
        UNTIL(i < masters || is_in_step(cluster, i));
    }
    for (int i = 0; i < masters; i++)
        UNTIL(feeds_replicas(cluster, i));
}

/* --- looking --- */

int cluster_size(const struct cluster *cluster)
{
    return cluster->size;
}

int cluster_masters(const struct cluster *cluster)
{
    return cluster->options.masters;
}

int cluster_port(const struct cluster *cluster, int node)
{
    return server_port(cluster->nodes[node].server);
}

struct server *cluster_server(const struct cluster *cluster, int node)
{
    return cluster->nodes[node].server;
}

char *cluster_command(const struct cluster *cluster, int node, const char *format, ...)
{
    char *command;
    va_list args;
    va_start(args, format);
    MUST(vasprintf(&command, format, args) >= 0);
    va_end(args);
    char *reply = server_command(cluster->nodes[node].server, "%s", command);
    free(command);
    return reply;
}

bool cluster_says(const struct cluster *cluster, int node, const char *expected, const char *format,
                  ...)
{
    char *command;
    va_list args;
    va_start(args, format);
    MUST(vasprintf(&command, format, args) >= 0);
    va_end(args);
    char *reply = cluster_command(cluster, node, "%s", command);
    bool is_equal = !strcmp(reply, expected);
    free(command);
    free(reply);
    return is_equal;
}

/* CRC16 bit by bit, and on purpose not the library's: two who agree are more than one. */
int cluster_slot(const char *key)
{
    const char *open = strchr(key, '{');
    const char *shut = open ? strchr(open + 1, '}') : NULL;
    size_t length = strlen(key);
    if (shut && shut > open + 1) {
        key = open + 1;
        length = (size_t)(shut - key);
    }
    unsigned crc = 0;
    for (size_t i = 0; i < length; i++) {
        crc ^= (unsigned)(uint8_t)key[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
    }
    return (int)(crc % CLUSTER_SLOTS);
}

static int node_with_id(const struct cluster *cluster, const char *id)
{
    for (int i = 0; i < cluster->size; i++)
        if (!strncmp(cluster->nodes[i].id, id, ID_LENGTH))
            return i;
    return -1;
}

/* CLUSTER SLOTS as text: first, last, then host, port, id of the master, then its replicas. Both
 * slots end where their line ends, or the "127" of a host would pass for one. */
int cluster_owner_of_slot(const struct cluster *cluster, int asked, int slot)
{
    char *slots = cluster_command(cluster, asked, "CLUSTER SLOTS");
    int owner = -1;
    for (char *line = slots; line && owner < 0;) {
        int first, last;
        char end[2], id[ID_LENGTH + 1];
        if (sscanf(line, "%d%1[\n]%d%1[\n]%*[^\n]\n%*d\n%40[0-9a-f]", &first, end, &last, end,
                   id) == 5 &&
            first <= slot && slot <= last)
            owner = node_with_id(cluster, id);
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    free(slots);
    return owner;
}

char *cluster_key_in_slot(int slot, int nth)
{
    char key[24];
    for (int i = 0;; i++) {
        snprintf(key, sizeof key, "k:%d", i);
        if (cluster_slot(key) == slot && nth-- == 0)
            return strdup(key);
    }
}

char *cluster_key_for(const struct cluster *cluster, int master, int nth)
{
    char key[24];
    for (int i = 0;; i++) {
        snprintf(key, sizeof key, "k:%d", i);
        int slot = cluster_slot(key);
        if (first_slot(cluster, master) <= slot && slot < first_slot(cluster, master + 1) &&
            nth-- == 0)
            return strdup(key);
    }
}

/* --- migration --- */

void cluster_migrate_begin(struct cluster *cluster, int slot, int from, int to)
{
    must_say_ok(cluster, to, "CLUSTER SETSLOT %d IMPORTING %s", slot, cluster->nodes[from].id);
    must_say_ok(cluster, from, "CLUSTER SETSLOT %d MIGRATING %s", slot, cluster->nodes[to].id);
}

int cluster_migrate_keys(struct cluster *cluster, int slot, int from, int to, int most_keys)
{
    char *keys = cluster_command(cluster, from, "CLUSTER GETKEYSINSLOT %d %d", slot, most_keys);
    const char *password = cluster->options.requirepass;
    int count = 0;
    for (char *at = keys; *at; at++)
        if (*at == '\n') {
            *at = ' ';
            count++;
        }
    if (*keys) {
        count++;
        char *reply = cluster_command(cluster, from, "MIGRATE 127.0.0.1 %d  0 60000 %s%s%sKEYS %s",
                                      cluster_port(cluster, to), password ? "AUTH " : "",
                                      password ? password : "", password ? " " : "", keys);
        /* NOKEY: they expired or were deleted since. */
        if (strcmp(reply, "OK") && strcmp(reply, "NOKEY"))
            die("MIGRATE of slot %d: %s", slot, reply);
        free(reply);
    }
    free(keys);
    return count;
}

/* What a node believes of all nodes and their slots, as one number: ids, epochs and slot ranges, in
 * any order; without times, flags, and the slots that only it knows to be on the move. */
static unsigned long view_of(const struct cluster *cluster, int node)
{
    char *nodes = cluster_command(cluster, node, "CLUSTER NODES");
    unsigned long view = 0;
    for (char *rest = nodes, *line; (line = strsep(&rest, "\n"));) {
        char id[ID_LENGTH + 1], slots[4096] = "";
        int epoch;
        unsigned long hash = 5381;
        if (sscanf(line, "%40s %*s %*s %*s %*s %*s %d %*s %4095[^[]", id, &epoch, slots) < 2)
            continue;
        for (char *end = slots + strlen(slots); end > slots && end[-1] == ' ';)
            *--end = '\0';
        for (const char *at = id; *at; at++)
            hash = hash * 33 + (unsigned char)*at;
        for (const char *at = slots; *at; at++)
            hash = hash * 33 + (unsigned char)*at;
        view += hash * 33 + (unsigned)epoch;
    }
    free(nodes);
    return view;
}

static bool do_views_agree(const struct cluster *cluster)
{
    for (int i = 1; i < cluster->size; i++)
        if (!cluster->nodes[i].is_down && view_of(cluster, i) != view_of(cluster, 0))
            return false;
    return true;
}

/* The new owner first: from then on the old one has somewhere to send its clients. The next move
 * has to wait until everybody knows the epoch that came of this one: an owner that takes a slot
 * with an epoch that is not the latest would lose it again, and the nodes disagree for good. */
void cluster_migrate_finish(struct cluster *cluster, int slot, int from, int to)
{
    const char *id = cluster->nodes[to].id;
    must_say_ok(cluster, to, "CLUSTER SETSLOT %d NODE %s", slot, id);
    must_say_ok(cluster, from, "CLUSTER SETSLOT %d NODE %s", slot, id);
    for (int i = 0; i < cluster->options.masters; i++)
        if (i != from && i != to)
            must_say_ok(cluster, i, "CLUSTER SETSLOT %d NODE %s", slot, id);
    UNTIL(do_views_agree(cluster));
}

void cluster_migrate(struct cluster *cluster, int slot, int from, int to)
{
    cluster_migrate_begin(cluster, slot, from, to);
    while (cluster_migrate_keys(cluster, slot, from, to, 100) > 0)
        ;
    cluster_migrate_finish(cluster, slot, from, to);
}

/* --- failure --- */

void cluster_signal(struct cluster *cluster, int node, int signal)
{
    cluster->nodes[node].is_down = signal != SIGCONT;
    server_signal(cluster->nodes[node].server, signal);
}

void cluster_restart(struct cluster *cluster, int node)
{
    server_restart(cluster->nodes[node].server);
    cluster->nodes[node].is_down = false;
}

/* The owner of a slot on which all living nodes agree, -1 while they do not. */
static int agreed_owner(const struct cluster *cluster, int slot)
{
    int owner = -1;
    for (int i = 0; i < cluster->size; i++) {
        if (cluster->nodes[i].is_down)
            continue;
        int its_owner = cluster_owner_of_slot(cluster, i, slot);
        if (its_owner < 0 || (owner >= 0 && its_owner != owner))
            return -1;
        owner = its_owner;
    }
    return owner;
}

static bool is_all_ok(const struct cluster *cluster)
{
    for (int i = 0; i < cluster->size; i++)
        if (!cluster->nodes[i].is_down && !is_state_ok(cluster, i))
            return false;
    return true;
}

static int times_in_slots(struct cluster *cluster, int node, const char *word)
{
    char *slots = cluster_command(cluster, node, "CLUSTER SLOTS");
    int times = 0;

    for (const char *at = slots; (at = strstr(at, word)) != NULL; at++)
        times++;
    free(slots);
    return times;
}

void cluster_await_in_slots(struct cluster *cluster, const char *word)
{
    for (int node = 0; node < cluster_masters(cluster); node++)
        UNTIL(times_in_slots(cluster, node, word) >= cluster_masters(cluster));
}

int cluster_await_failover(struct cluster *cluster, int dead)
{
    int slot = first_slot(cluster, dead), owner;
    UNTIL((owner = agreed_owner(cluster, slot)) >= 0 && owner != dead && is_all_ok(cluster));
    return owner;
}

void cluster_failover(struct cluster *cluster, int replica)
{
    int slot = first_slot(cluster, master_of_replica(cluster, replica));
    must_say_ok(cluster, replica, "CLUSTER FAILOVER");
    UNTIL(agreed_owner(cluster, slot) == replica && is_all_ok(cluster));
}

/* --- counting --- */

long cluster_calls(const struct cluster *cluster, int node, const char *command)
{
    return server_calls(cluster->nodes[node].server, command);
}

long cluster_calls_of_masters(const struct cluster *cluster, const char *command)
{
    long calls = 0;
    for (int i = 0; i < cluster->options.masters; i++)
        calls += cluster_calls(cluster, i, command);
    return calls;
}
