/* The reply to CLUSTER SLOTS:
 *
 *   array of ranges: [first slot, last slot, master, replica …]
 *   each node:       [host, port, id, [metadata pairs] …], of later servers more and more
 *
 * A node occurs once for every range of its shard, so it is looked up by a hash of its
 * address. Nodes are collected in the order of their appearance and sorted at the end. */
#include "route/topology.h"

#include "base/resp.h"
#include "route/topology_build.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 32, BUCKETS_PER_NODE = 2 };

struct found {
    struct bytes host; /* inside the reply, or the asked one */
    struct bytes id;
    uint16_t port;
    uint16_t master; /* that of its shard, itself for a master; NODE_NONE: not said yet */
    uint16_t index;  /* its place before sorting */
};

struct survey {
    const char *data;
    size_t length;
    size_t at;
    struct found *found;
    uint16_t *buckets; /* index + 1 of a found node; 0: free */
    size_t count;
    size_t capacity;
    struct bytes asked_host;
    uint16_t asked_port;
    char *why;
    size_t why_size;
    uint16_t owner[SLOT_COUNT];
};

/* Says why, and is false. */
__attribute__((format(printf, 2, 3))) static bool fail(struct survey *s, const char *format, ...)
{
    int used = snprintf(s->why, s->why_size, "%.*s:%u: ", (int)s->asked_host.length,
                        s->asked_host.data, s->asked_port);
    va_list arguments;

    if (used < 0 || (size_t)used >= s->why_size)
        return false;
    va_start(arguments, format);
    vsnprintf(s->why + used, s->why_size - (size_t)used, format, arguments);
    va_end(arguments);
    return false;
}

static bool next(struct survey *s, struct resp_item *item)
{
    size_t used;

    if (!resp_read_value(s->data + s->at, s->length - s->at, item, &used))
        return fail(s, "the reply is cut short or broken at byte %zu", s->at);
    s->at += used;
    return true;
}

static bool skip(struct survey *s, uint64_t values)
{
    size_t used;

    if (!resp_skip(s->data + s->at, s->length - s->at, values, &used))
        return fail(s, "the reply is cut short or broken behind byte %zu", s->at);
    s->at += used;
    return true;
}

static bool next_array(struct survey *s, uint64_t least, uint64_t *values, const char *what)
{
    struct resp_item item;

    if (!next(s, &item))
        return false;
    if (item.type != '*' || resp_is_null(&item) || item.values < least)
        return fail(s, "%s is not an array of at least %llu elements", what,
                    (unsigned long long)least);
    *values = item.values;
    return true;
}

static bool next_integer(struct survey *s, long long least, long long most, uint16_t *number,
                         const char *what)
{
    struct resp_item item;

    if (!next(s, &item))
        return false;
    if (item.type != ':' || item.number < least || item.number > most)
        return fail(s, "%s is not a number from %lld to %lld", what, least, most);
    *number = (uint16_t)item.number;
    return true;
}

/* A text, or nothing for whatever else stands there. */
static bool next_text(struct survey *s, struct bytes *text)
{
    struct resp_item item;

    if (!next(s, &item))
        return false;
    *text = item.text;
    return skip(s, item.values);
}

static uint32_t hash_of(struct bytes host, uint16_t port)
{
    uint32_t hash = 2166136261u ^ port; /* FNV-1a */

    for (size_t i = 0; i < host.length; i++)
        hash = (hash ^ (unsigned char)host.data[i]) * 16777619u;
    return hash ^ hash >> 15;
}

/* The bucket of this address: its own, or the free one that it would take. */
static uint16_t *bucket_of(const struct survey *s, struct bytes host, uint16_t port)
{
    size_t mask = s->capacity * BUCKETS_PER_NODE - 1, at = hash_of(host, port) & mask;

    while (s->buckets[at] != 0) {
        const struct found *f = &s->found[s->buckets[at] - 1];

        if (topology_compare(f->host, f->port, host, port) == 0)
            break;
        at = (at + 1) & mask;
    }
    return &s->buckets[at];
}

static bool grow(struct survey *s)
{
    size_t capacity = s->capacity ? s->capacity * 2 : FIRST_CAPACITY;
    struct found *found = realloc(s->found, capacity * sizeof *found);

    if (found == NULL)
        return fail(s, "out of memory");
    s->found = found;
    free(s->buckets);
    s->capacity = capacity;
    s->buckets = calloc(capacity * BUCKETS_PER_NODE, sizeof *s->buckets);
    if (s->buckets == NULL)
        return fail(s, "out of memory");
    for (size_t i = 0; i < s->count; i++)
        *bucket_of(s, found[i].host, found[i].port) = (uint16_t)(i + 1);
    return true;
}

static bool find_or_add(struct survey *s, struct found *node, uint16_t *index)
{
    uint16_t *bucket;

    if (s->count == s->capacity && !grow(s))
        return false;
    bucket = bucket_of(s, node->host, node->port);
    if (*bucket == 0) {
        if (s->count == NODE_MAX)
            return fail(s, "more than %d nodes", NODE_MAX);
        node->index = (uint16_t)s->count;
        s->found[s->count++] = *node;
        *bucket = (uint16_t)s->count;
    }
    *index = (uint16_t)(*bucket - 1);
    return true;
}

static bool is_text(struct bytes text, const char *expected)
{
    return text.length == strlen(expected) && memcmp(text.data, expected, text.length) == 0;
}

/* The metadata are pairs, in RESP3 a map. Of them only the IP address is of use. */
static bool parse_metadata(struct survey *s, struct bytes *ip)
{
    struct resp_item item;
    struct bytes name, value;

    if (!next(s, &item))
        return false;
    for (uint64_t pairs = item.values / 2; pairs > 0; pairs--) {
        if (!next_text(s, &name) || !next_text(s, &value))
            return false;
        if (is_text(name, "ip"))
            *ip = value;
    }
    return skip(s, item.values % 2);
}

static bool is_host(struct bytes text)
{
    if (text.length == 0 || text.length > NODE_HOST_MAX)
        return false;
    for (size_t i = 0; i < text.length; i++)
        if ((unsigned char)text.data[i] <= ' ')
            return false;
    return true;
}

/* Null and empty mean the host that was asked, by the server's documentation. "?" is said
 * when the host name is preferred and the node has none: its IP address comes as metadata. */
static bool choose_host(struct survey *s, struct bytes *host, struct bytes ip)
{
    if (is_text(*host, "?"))
        *host = ip;
    if (host->length == 0 || is_text(*host, "?"))
        *host = s->asked_host;
    return is_host(*host) || fail(s, "the host of a node is missing or malformed");
}

static bool parse_node(struct survey *s, uint16_t *index)
{
    struct found node = {.master = NODE_NONE};
    struct bytes ip = {0};
    uint64_t values = 0;

    if (!next_array(s, 2, &values, "a node") || !next_text(s, &node.host) ||
        !next_integer(s, 1, UINT16_MAX, &node.port, "a port"))
        return false;
    values -= 2;
    if (values > 0 && values-- && !next_text(s, &node.id))
        return false;
    if (values > 0 && values-- && !parse_metadata(s, &ip))
        return false;
    return skip(s, values) && choose_host(s, &node.host, ip) && find_or_add(s, &node, index);
}

static bool own(struct survey *s, uint16_t first, uint16_t last, uint16_t node)
{
    for (uint16_t slot = first; slot <= last; slot++) {
        if (s->owner[slot] != NODE_NONE)
            return fail(s, "slot %u is in two ranges", slot);
        s->owner[slot] = node;
    }
    return true;
}

/* Contradictions are settled for the master: a node that owns slots is one, whatever else
 * is said of it, and a replica belongs to the shard that named it first. */
static bool parse_range(struct survey *s)
{
    uint16_t first = 0, last = 0, master, replica;
    uint64_t values = 0;

    if (!next_array(s, 3, &values, "a range") ||
        !next_integer(s, 0, SLOT_COUNT - 1, &first, "a first slot") ||
        !next_integer(s, first, SLOT_COUNT - 1, &last, "a last slot") || !parse_node(s, &master) ||
        !own(s, first, last, master))
        return false;
    s->found[master].master = master;
    for (values -= 3; values > 0; values--) {
        if (!parse_node(s, &replica))
            return false;
        if (s->found[replica].master == NODE_NONE)
            s->found[replica].master = master;
    }
    return true;
}

static bool parse_reply(struct survey *s)
{
    struct resp_item item;

    if (!next(s, &item))
        return false;
    if (resp_is_error(&item))
        return fail(s, "%.*s", (int)(item.text.length < 256 ? item.text.length : 256),
                    item.text.data);
    if (item.type != '*' || resp_is_null(&item))
        return fail(s, "the reply is not an array");
    for (uint64_t ranges = item.values; ranges > 0; ranges--)
        if (!parse_range(s))
            return false;
    return s->at == s->length || fail(s, "the reply goes on behind its end");
}

static int by_address(const void *a, const void *b)
{
    const struct found *left = a, *right = b;

    return topology_compare(left->host, left->port, right->host, right->port);
}

static void copy_node(struct node *to, const struct found *from, char **room)
{
    to->host = *room;
    to->port = from->port;
    to->master = from->master == from->index;
    to->shard = from->master;
    memcpy(*room, from->host.data, from->host.length);
    *room += from->host.length + 1;
    if (from->id.length < NODE_ID_SIZE && from->id.length > 0)
        memcpy(to->id, from->id.data, from->id.length);
}

/* Sorting moves nodes: `place_of` says where to, by the index they had. */
static void fill(struct survey *s, struct topology *t, uint16_t *place_of)
{
    char *room = t->hosts;

    for (uint16_t i = 0; i < t->node_count; i++) {
        place_of[s->found[i].index] = i;
        copy_node(&t->nodes[i], &s->found[i], &room);
    }
    for (uint16_t slot = 0; slot < SLOT_COUNT; slot++)
        if (s->owner[slot] != NODE_NONE)
            t->owner[slot] = place_of[s->owner[slot]];
    topology_settle(t);
}

static struct topology *build(struct survey *s)
{
    size_t hosts_size = 0;
    struct topology *t;
    uint16_t *place_of = calloc(s->count + 1, sizeof *place_of);

    for (size_t i = 0; i < s->count; i++)
        hosts_size += s->found[i].host.length + 1;
    t = topology_create((uint16_t)s->count, hosts_size);
    if (t == NULL || place_of == NULL) {
        fail(s, "out of memory");
        topology_unref(t);
        t = NULL;
    } else {
        if (s->count > 0)
            qsort(s->found, s->count, sizeof *s->found, by_address);
        fill(s, t, place_of);
    }
    free(place_of);
    return t;
}

struct topology *topology_parse(const char *reply, size_t length, const char *asked_host,
                                uint16_t asked_port, char *why, size_t why_size)
{
    struct survey *s = calloc(1, sizeof *s);
    struct topology *t = NULL;

    if (s == NULL) {
        snprintf(why, why_size, "out of memory");
        return NULL;
    }
    if (asked_host == NULL)
        asked_host = "";
    s->data = reply;
    s->length = length;
    s->asked_host = (struct bytes){asked_host, strlen(asked_host)};
    s->asked_port = asked_port;
    s->why = why;
    s->why_size = why_size;
    memset(s->owner, 0xFF, sizeof s->owner); /* NODE_NONE */
    if (parse_reply(s))
        t = build(s);
    free(s->found);
    free(s->buckets);
    free(s);
    return t;
}

struct topology *topology_single(const char *host, uint16_t port)
{
    char reply[NODE_HOST_MAX + 128], why[128];
    struct topology *t;
    int length = snprintf(reply, sizeof reply,
                          "*1\r\n*3\r\n:0\r\n:%d\r\n*2\r\n$%zu\r\n%s\r\n:%u\r\n",
                          SLOT_COUNT - 1, strlen(host), host, (unsigned)port);

    if (length < 0 || (size_t)length >= sizeof reply)
        return NULL;
    t = topology_parse(reply, (size_t)length, host, port, why, sizeof why);
    if (t != NULL)
        t->masters_only = true;
    return t;
}
