#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/resp.h"
#include "route/command.h"
#include "route/slot.h"

struct key {
    int slot;
    int index;
    bool list;
    uint32_t tag;
};

/* A command for keys that this node is to run. */
struct call {
    struct model *m;
    struct model_client *client;
    const struct argv *argv;
    struct buffer *reply;
    struct key keys[32];
    int count;
    int shard; /* whose values are meant */
};

static void say(struct buffer *reply, const char *text)
{
    if (!buffer_append_text(reply, text))
        abort();
}

static void say_number(struct buffer *reply, char type, long long number)
{
    if (!resp_append_header(reply, type, number))
        abort();
}

static void say_bulk(struct buffer *reply, long long number)
{
    char text[24];
    int length = snprintf(text, sizeof text, "%lld", number);

    if (!resp_append_bulk(reply, (struct bytes){text, (size_t)length}))
        abort();
}

static int owner_of(const struct model *m, uint16_t slot)
{
    for (int i = 0; i < MODEL_SLOTS; i++)
        if (m->slots[i].slot == slot)
            return m->slots[i].announced;
    return slot * m->shard_count / SLOT_COUNT;
}

void model_init(struct model *m, const char *host, uint16_t first_port, int shards)
{
    *m = (struct model){.shard_count = shards, .node_count = 2 * shards};
    snprintf(m->host, sizeof m->host, "%s", host);
    for (int i = 0; i < m->node_count; i++)
        m->nodes[i] = (struct model_node){
            .alive = true, .shard = i % shards, .port = (uint16_t)(first_port + i)};
    for (int i = 0; i < shards; i++)
        m->shards[i] = (struct model_shard){.master = i, .announced = i};
    for (int i = 0; i < MODEL_SLOTS; i++) {
        struct model_slot *s = &m->slots[i];

        s->target = MODEL_NOWHERE;
        snprintf(s->tag, sizeof s->tag, "t%d", i);
        s->slot = slot_of_key(s->tag, strlen(s->tag));
        s->owner = s->announced = s->slot * shards / SLOT_COUNT;
    }
}

void model_deinit(struct model *m)
{
    free(m->log);
}

void model_client_init(struct model_client *c, int node)
{
    *c = (struct model_client){
        .node = node, .waits_for = MODEL_NOWHERE, .watched = {MODEL_NOWHERE, 0}};
}

void model_client_deinit(struct model_client *c)
{
    buffer_deinit(&c->queue);
}

int model_node_at(const struct model *m, uint16_t port)
{
    for (int i = 0; i < m->node_count; i++)
        if (m->nodes[i].port == port)
            return i;
    return -1;
}

bool model_is_master(const struct model *m, int node)
{
    return m->shards[m->nodes[node].shard].master == node;
}

static void enter(struct model *m, const struct model_client *c, uint32_t tag, bool null,
                  long long result)
{
    if (m->log_count == m->log_capacity) {
        m->log_capacity = m->log_capacity ? 2 * m->log_capacity : 128;
        m->log = realloc(m->log, m->log_capacity * sizeof *m->log);
        if (m->log == NULL)
            abort();
    }
    m->log[m->log_count++] = (struct model_entry){
        .tag = tag, .node = c->node, .name = c->name, .null = null, .result = result};
}

void model_touch(struct model *m, int slot, int key)
{
    const struct model_client nobody = {.node = -1};

    m->touched[slot][key]++;
    enter(m, &nobody, 0, false, slot * MODEL_KEYS + key);
}

/* --- commands --- */

typedef void run(struct call *);

static struct model_value *value_of(struct call *c, const struct key *k)
{
    return &c->m->slots[k->slot].values[c->shard][k->index];
}

static void run_get(struct call *c)
{
    const struct model_value *v = value_of(c, &c->keys[0]);

    enter(c->m, c->client, c->keys[0].tag, !v->exists, v->number);
    if (v->exists)
        say_bulk(c->reply, v->number);
    else
        say(c->reply, "$-1\r\n");
}

static void run_mget(struct call *c)
{
    say_number(c->reply, '*', c->count);
    for (int i = 0; i < c->count; i++) {
        const struct model_value *v = value_of(c, &c->keys[i]);

        enter(c->m, c->client, c->keys[i].tag, !v->exists, v->number);
        if (v->exists)
            say_bulk(c->reply, v->number);
        else
            say(c->reply, "$-1\r\n");
    }
}

/* SET and MSET: each key stands before its value. */
static void run_set(struct call *c)
{
    for (int i = 0; i < c->count; i++) {
        struct model_value *v = value_of(c, &c->keys[i]);

        *v = (struct model_value){true, atoll(c->argv->words[2 + 2 * i].data)};
        enter(c->m, c->client, c->keys[i].tag, false, 0);
    }
    say(c->reply, "+OK\r\n");
}

static void run_incr(struct call *c)
{
    struct model_value *v = value_of(c, &c->keys[0]);

    v->number = v->exists ? v->number + 1 : 1;
    v->exists = true;
    enter(c->m, c->client, c->keys[0].tag, false, v->number);
    say_number(c->reply, ':', v->number);
}

static void run_del(struct call *c)
{
    int deleted = 0;

    for (int i = 0; i < c->count; i++) {
        struct model_value *v = value_of(c, &c->keys[i]);

        deleted += v->exists;
        enter(c->m, c->client, c->keys[i].tag, false, v->exists);
        *v = (struct model_value){false, 0};
    }
    say_number(c->reply, ':', deleted);
}

static void run_blpop(struct call *c)
{
    const struct bytes *word = &c->argv->words[1];

    c->client->waits_for = c->keys[0].slot;
    c->client->tag = c->keys[0].tag;
    snprintf(c->client->key, sizeof c->client->key, "%.*s", (int)word->length, word->data);
    if (c->m->slots[c->keys[0].slot].pushed > 0)
        model_wake(c->m, c->client, c->reply);
}

static void run_watch(struct call *c)
{
    const struct key *k = &c->keys[0];

    c->client->watched[0] = k->slot;
    c->client->watched[1] = k->index;
    c->client->watched_at = c->m->touched[k->slot][k->index];
    enter(c->m, c->client, k->tag, false, 0);
    say(c->reply, "+OK\r\n");
}

static const struct {
    const char *name;
    run *run;
    int step;   /* from key to key */
    int behind; /* words that stand behind the keys */
    bool reads;
} calls[] = {
    {"get", run_get, 1, 0, true},      {"mget", run_mget, 1, 0, true},
    {"set", run_set, 2, 0, false},     {"mset", run_set, 2, 0, false},
    {"incr", run_incr, 1, 0, false},   {"del", run_del, 1, 0, false},
    {"blpop", run_blpop, 1, 1, false}, {"watch", run_watch, 1, 0, false},
};

void model_wake(struct model *m, struct model_client *c, struct buffer *reply)
{
    struct model_slot *s = &m->slots[c->waits_for];
    bool null = s->pushed == 0;

    enter(m, c, c->tag, null, null ? 0 : ++m->next_element);
    c->waits_for = MODEL_NOWHERE;
    if (null) {
        say(reply, "*-1\r\n");
        return;
    }
    s->pushed--;
    say(reply, "*2\r\n");
    if (!resp_append_bulk(reply, (struct bytes){c->key, strlen(c->key)}))
        abort();
    say_bulk(reply, m->next_element);
}

/* --- where a command may run --- */

static void redirect(const struct call *c, const char *word, int node)
{
    char text[96];

    snprintf(text, sizeof text, "-%s %u %s:%u\r\n", word,
             (unsigned)c->m->slots[c->keys[0].slot].slot, c->m->host,
             (unsigned)c->m->nodes[node].port);
    say(c->reply, text);
}

/* What this node believes. Of itself it knows the truth. */
static void say_moved(const struct call *c)
{
    const struct model *m = c->m;
    const struct model_slot *s = &m->slots[c->keys[0].slot];
    int me = c->client->node, shard = s->announced, node;

    if (s->owner == MODEL_NOWHERE) {
        say(c->reply, "-CLUSTERDOWN Hash slot not served\r\n");
        return;
    }
    if (shard == MODEL_NOWHERE || shard == m->nodes[me].shard)
        shard = s->owner;
    node = m->shards[shard].announced;
    if (node == me || shard == m->nodes[me].shard)
        node = m->shards[shard].master;
    redirect(c, "MOVED", node);
}

static int missing(const struct call *c, int shard)
{
    int count = 0;

    for (int i = 0; i < c->count; i++)
        count += !c->keys[i].list &&
                 !c->m->slots[c->keys[i].slot].values[shard][c->keys[i].index].exists;
    return count;
}

/* True: it may run here. Else the reply says why not. */
static bool admit(struct call *c, bool asking, bool reads)
{
    const struct model *m = c->m;
    const struct model_slot *s = &m->slots[c->keys[0].slot];
    bool master = model_is_master(m, c->client->node);
    int gone;

    for (int i = 1; i < c->count; i++)
        if (c->keys[i].slot != c->keys[0].slot) {
            say(c->reply, "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
            return false;
        }
    c->shard = m->nodes[c->client->node].shard;
    gone = missing(c, c->shard);
    if (m->nodes[c->client->node].minority) {
        say(c->reply, "-CLUSTERDOWN The cluster is down\r\n");
        return false;
    }
    if (master && s->owner == c->shard) {
        if (s->target == MODEL_NOWHERE || gone == 0)
            return true;
        if (gone < c->count)
            say(c->reply, "-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
        else
            redirect(c, "ASK", m->shards[s->target].master);
        return false;
    }
    if (master && s->target == c->shard && asking) {
        if (c->count == 1 || gone == 0)
            return true;
        say(c->reply, "-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
        return false;
    }
    /* Replicas are in step at once: that is what makes a write overtake a read. */
    if (!master && reads && c->client->readonly && s->owner == c->shard &&
        (s->target == MODEL_NOWHERE || gone == 0))
        return true;
    say_moved(c);
    return false;
}

static bool read_key(struct bytes word, struct key *key)
{
    char text[64];
    unsigned slot, index, tag;
    char kind;

    snprintf(text, sizeof text, "%.*s", (int)word.length, word.data);
    if (sscanf(text, "{t%u}%c%u#%u", &slot, &kind, &index, &tag) != 4 || slot >= MODEL_SLOTS ||
        index >= MODEL_KEYS)
        return false;
    *key = (struct key){(int)slot, (int)index, kind == 'l', tag};
    return true;
}

static bool read_keys(struct call *c, size_t kind)
{
    for (int i = 1; i < c->argv->count - calls[kind].behind; i += calls[kind].step)
        if (!read_key(c->argv->words[i], &c->keys[c->count++])) {
            say(c->reply, "-ERR no key of the model\r\n");
            return false;
        }
    return true;
}

static enum model_outcome execute_keyed(struct call *c, size_t kind, bool asking)
{
    if (read_keys(c, kind) && admit(c, asking, calls[kind].reads))
        calls[kind].run(c);
    return c->client->waits_for == MODEL_NOWHERE ? MODEL_ANSWERED : MODEL_BLOCKED;
}

static bool named(const struct argv *argv, int word, const char *lower)
{
    return argv->count > word && bytes_equal_ignoring_case(argv->words[word], lower);
}

/* Commands about the connection, and without keys. False: it is neither. */
static bool execute_here(struct call *c)
{
    const struct argv *argv = c->argv;

    if (named(argv, 0, "client") && named(argv, 1, "setname")) {
        c->client->name = atoi(argv->words[2].data + 1);
        say(c->reply, "+OK\r\n");
    } else if (named(argv, 0, "info")) {
        say(c->reply, "$21\r\nmaster_link_status:up\r\n");
    } else if (named(argv, 0, "readonly")) {
        c->client->readonly = true;
        say(c->reply, "+OK\r\n");
    } else if (c->m->nodes[c->client->node].loading) {
        say(c->reply, "-LOADING Redis is loading the dataset in memory\r\n");
    } else if (named(argv, 0, "ping")) {
        enter(c->m, c->client, (uint32_t)atoi(argv->words[1].data), false,
              atoi(argv->words[1].data));
        say_bulk(c->reply, atoi(argv->words[1].data));
    } else if (named(argv, 0, "dbsize")) {
        say(c->reply, ":1\r\n");
    } else if (named(argv, 0, "cluster")) {
        model_slots_reply(c->m, c->reply);
    } else {
        return false;
    }
    return true;
}

/* --- transactions --- */

static size_t kind_of(const struct argv *argv)
{
    size_t kind = 0;

    while (kind < sizeof calls / sizeof calls[0] && !named(argv, 0, calls[kind].name))
        kind++;
    return kind;
}

static void end_transaction(struct model_client *c)
{
    c->multi = c->multi_asking = c->dirty = false;
    c->watched[0] = MODEL_NOWHERE;
    c->queue.head = c->queue.tail = 0;
}

/* Refused now, or queued. */
static void queue(struct call *c)
{
    size_t before = buffer_length(c->reply), kind = kind_of(c->argv);

    if (c->m->nodes[c->client->node].loading)
        say(c->reply, "-LOADING Redis is loading the dataset in memory\r\n");
    else if (kind < sizeof calls / sizeof calls[0] && read_keys(c, kind))
        admit(c, c->client->multi_asking, false);
    c->client->dirty |= buffer_length(c->reply) > before;
    if (buffer_length(c->reply) > before)
        return;
    if (!argv_format(c->argv, &c->client->queue))
        abort();
    say(c->reply, "+QUEUED\r\n");
}

/* Calls fn for each queued command. */
static int each_queued(struct call *c, void (*fn)(struct call *))
{
    const struct argv *argv = c->argv;
    const struct buffer *queued = &c->client->queue;
    struct argv own = {0};
    const char *why;
    size_t at = 0, used;
    int count = 0;

    c->argv = &own;
    for (; at < buffer_length(queued) &&
           parse_command(&own, buffer_bytes(queued) + at, buffer_length(queued) - at, &used, &why) ==
               PARSE_WHOLE;
         at += used, count++)
        fn(c);
    argv_deinit(&own);
    c->argv = argv;
    return count;
}

static void collect_keys(struct call *c)
{
    if (kind_of(c->argv) < sizeof calls / sizeof calls[0])
        read_keys(c, kind_of(c->argv));
}

static void run_queued(struct call *c)
{
    struct call one = *c;

    one.count = 0;
    if (execute_here(&one))
        return;
    read_keys(&one, kind_of(c->argv));
    calls[kind_of(c->argv)].run(&one);
}

static void count_queued(struct call *c)
{
    (void)c;
}

static bool is_touched(const struct call *c)
{
    const struct model_client *client = c->client;

    return client->watched[0] != MODEL_NOWHERE &&
           c->m->touched[client->watched[0]][client->watched[1]] != client->watched_at;
}

static void exec(struct call *c)
{
    each_queued(c, collect_keys);
    if (c->client->dirty)
        say(c->reply, "-EXECABORT Transaction discarded because of previous errors.\r\n");
    else if (c->m->nodes[c->client->node].loading)
        say(c->reply, "-EXECABORT Transaction discarded because of: LOADING Redis is loading\r\n");
    else if (c->count > 0 && !admit(c, c->client->multi_asking, false))
        ; /* it has said why not */
    else if (is_touched(c))
        say(c->reply, "*-1\r\n");
    else {
        say_number(c->reply, '*', each_queued(c, count_queued));
        each_queued(c, run_queued);
    }
    end_transaction(c->client);
}

/* False: it is for the others. */
static bool execute_transaction(struct call *c, bool asking)
{
    bool multi = c->client->multi;

    if (named(c->argv, 0, "multi") && !multi) {
        c->client->multi = true;
        c->client->multi_asking = asking;
        say(c->reply, "+OK\r\n");
    } else if (named(c->argv, 0, "unwatch") && !multi) {
        c->client->watched[0] = MODEL_NOWHERE;
        say(c->reply, "+OK\r\n");
    } else if (named(c->argv, 0, "exec") && multi) {
        exec(c);
    } else if (named(c->argv, 0, "discard") && multi) {
        end_transaction(c->client);
        say(c->reply, "+OK\r\n");
    } else if (multi) {
        queue(c);
    } else {
        return false;
    }
    return true;
}

enum model_outcome model_execute(struct model *m, struct model_client *client,
                                 const struct argv *argv, struct buffer *reply)
{
    struct call c = {.m = m, .client = client, .argv = argv, .reply = reply};
    bool asking = client->asking;

    client->asking = named(argv, 0, "asking");
    if (client->asking) {
        say(reply, "+OK\r\n");
        return MODEL_ANSWERED;
    }
    if (execute_transaction(&c, asking) || execute_here(&c))
        return MODEL_ANSWERED;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        if (named(argv, 0, calls[i].name))
            return execute_keyed(&c, i, asking);
    say(reply, "-ERR unknown command of the model\r\n");
    return MODEL_ANSWERED;
}

bool model_evict(struct model *m, struct model_client *client, struct buffer *reply)
{
    struct call c = {.m = m, .client = client, .reply = reply, .count = 1};
    const struct model_slot *s;

    if (client->waits_for == MODEL_NOWHERE)
        return false;
    s = &m->slots[client->waits_for];
    if (s->owner == m->nodes[client->node].shard && model_is_master(m, client->node))
        return false;
    c.keys[0].slot = client->waits_for;
    client->waits_for = MODEL_NOWHERE;
    say_moved(&c);
    return true;
}

/* --- the topology --- */

static void say_node(const struct model *m, int node, struct buffer *reply)
{
    char id[48];

    snprintf(id, sizeof id, "%040d", node);
    say(reply, "*3\r\n");
    if (!resp_append_bulk(reply, (struct bytes){m->host, strlen(m->host)}))
        abort();
    say_number(reply, ':', m->nodes[node].port);
    if (!resp_append_bulk(reply, (struct bytes){id, 40}))
        abort();
}

static void say_range(const struct model *m, int from, int to, int shard, struct buffer *reply)
{
    int master = m->shards[shard].announced;

    say(reply, "*4\r\n");
    say_number(reply, ':', from);
    say_number(reply, ':', to);
    say_node(m, master, reply);
    say_node(m, (master + m->shard_count) % m->node_count, reply);
}

void model_slots_reply(const struct model *m, struct buffer *reply)
{
    struct buffer ranges;
    int count = 0;

    buffer_init(&ranges);
    for (int from = 0, to; from < SLOT_COUNT; from = to) {
        int shard = owner_of(m, (uint16_t)from);

        for (to = from + 1; to < SLOT_COUNT && owner_of(m, (uint16_t)to) == shard;)
            to++;
        if (shard == MODEL_NOWHERE)
            continue;
        say_range(m, from, to - 1, shard, &ranges);
        count++;
    }
    say_number(reply, '*', count);
    if (!buffer_append(reply, buffer_bytes(&ranges), buffer_length(&ranges)))
        abort();
    buffer_deinit(&ranges);
}

struct topology *model_topology(const struct model *m)
{
    struct buffer reply;
    struct topology *t;
    char why[128];

    buffer_init(&reply);
    model_slots_reply(m, &reply);
    t = topology_parse(buffer_bytes(&reply), buffer_length(&reply), m->host, m->nodes[0].port, why,
                       sizeof why);
    buffer_deinit(&reply);
    if (t == NULL)
        abort();
    return t;
}

void model_migrate(struct model *m, int slot, int to)
{
    m->slots[slot].target = to;
}

bool model_migrate_key(struct model *m, int slot)
{
    struct model_slot *s = &m->slots[slot];

    for (int i = 0; i < MODEL_KEYS; i++)
        if (s->values[s->owner][i].exists) {
            s->values[s->target][i] = s->values[s->owner][i];
            s->values[s->owner][i] = (struct model_value){false, 0};
            return true;
        }
    return false;
}

void model_migrate_end(struct model *m, int slot)
{
    struct model_slot *s = &m->slots[slot];

    while (model_migrate_key(m, slot))
        ;
    s->owner = s->target;
    s->target = MODEL_NOWHERE;
}

void model_fail_over(struct model *m, int shard)
{
    m->shards[shard].master = (m->shards[shard].master + m->shard_count) % m->node_count;
}

void model_announce(struct model *m)
{
    for (int i = 0; i < m->shard_count; i++)
        m->shards[i].announced = m->shards[i].master;
    for (int i = 0; i < MODEL_SLOTS; i++)
        m->slots[i].announced = m->slots[i].owner;
}
