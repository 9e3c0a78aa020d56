#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/resp.h"
#include "session/request.h"
#include "shortage.h"

enum { FIRST_PORT = 7000, STEPS_MOST = 200000, REFRESH_PERIOD_MS = 1000 };

int64_t world_now_ms;
enum read_policy world_policy;
bool world_policies;

/* The seed decides everything, and so it has to decide this. These two replace base/clock.c. */
static uint64_t jitter;

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state += 0x9E3779B97F4A7C15u;

    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

int64_t clock_jitter_ms(int64_t ms)
{
    return ms / 2 + (int64_t)(next_random(&jitter) % (uint64_t)(ms / 2 + 1));
}

static int64_t now(void)
{
    return world_now_ms;
}

uint32_t world_random(struct world *w, uint32_t below)
{
    return below < 2 ? 0 : (uint32_t)(next_random(&w->random) % below);
}

bool world_chance(struct world *w, uint32_t percent)
{
    return world_random(w, 100) < percent;
}

/* What of `most` is moved at once. */
static size_t piece(struct world *w, size_t most)
{
    if (!w->in_pieces || most < 2 || world_chance(w, 60))
        return most;
    return 1 + world_random(w, (uint32_t)most);
}

/* Memory may run out in here, and only in here. */
#define INSIDE(call)                                                                               \
    do {                                                                                           \
        shortage_inside(true);                                                                     \
        call;                                                                                      \
        shortage_inside(false);                                                                    \
    } while (0)

static void append(struct buffer *b, const void *bytes, size_t length)
{
    if (!buffer_append(b, bytes, length))
        abort();
}

__attribute__((format(printf, 2, 3))) static void trace(const struct world *w, const char *format,
                                                        ...)
{
    va_list arguments;

    if (!w->trace)
        return;
    va_start(arguments, format);
    fprintf(stderr, "%6lld ", (long long)world_now_ms);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

/* The command in w->argv. */
static void trace_command(const struct world *w, const struct conn *c, const char *what)
{
    char line[512] = "";
    size_t length = 0;

    for (int i = 0; i < w->argv.count && length < sizeof line; i++)
        length += (size_t)snprintf(line + length, sizeof line - length, " %.*s",
                                   (int)w->argv.words[i].length, w->argv.words[i].data);
    trace(w, "%s %d>%d:%s", what, c->session, c->node, line);
}

/* --- beginning and end --- */

static void begin_session(struct world *w, struct sim *sim)
{
    const struct session_settings settings = {.host = w->model.host,
                                              .port = FIRST_PORT,
                                              .failover_timeout_ms = w->failover_timeout_ms,
                                              .connect_timeout_ms = WORLD_CONNECT_MS,
                                              .read_policy = w->policy,
                                              .clock = now};

    INSIDE(sim->session = session_create(&settings));
    if (sim->session == NULL || w->discovers)
        return;
    sim->session->cluster = w->cluster;
    sim->session->state = SESSION_ROUTING;
    INSIDE(session_adopt(sim->session));
}

static bool steers(const struct world *w)
{
    return w->policy != READ_MASTER || w->policies;
}

void world_init(struct world *w, uint64_t seed, int shards, int sessions, bool discovers,
                int64_t failover_timeout_ms)
{
    static unsigned worlds;
    char host[24];

    *w = (struct world){.seed = seed,
                        .random = seed,
                        .sim_count = sessions,
                        .discovers = discovers,
                        .failover_timeout_ms = failover_timeout_ms,
                        .refresh_at_ms = -1,
                        .refresh_end_ms = -1,
                        .policy = world_policy,
                        .policies = world_policies};
    world_now_ms = 1000;
    jitter = seed;
    /* Clusters that were discovered are known by their addresses for ever. */
    worlds += discovers;
    snprintf(host, sizeof host, "10.0.%u.1", discovers ? worlds : 0);
    model_init(&w->model, host, FIRST_PORT, shards);
    if (!discovers)
        w->cluster = cluster_create(model_topology(&w->model));
    for (int i = 0; i < sessions; i++) {
        w->sims[i].last_blocking = -1;
        begin_session(w, &w->sims[i]);
    }
}

static void free_conn(struct conn *c)
{
    buffer_deinit(&c->sent);
    buffer_deinit(&c->back);
    model_client_deinit(&c->client);
    free(c);
}

void world_deinit(struct world *w)
{
    for (int i = 0; i < w->sim_count; i++) {
        INSIDE(session_destroy(w->sims[i].session));
        buffer_deinit(&w->sims[i].unsent);
        buffer_deinit(&w->sims[i].answered);
        free(w->sims[i].requests);
    }
    for (int i = 0; i < w->conn_count; i++)
        free_conn(w->conns[i]);
    for (int i = 0; i < w->asked_count; i++)
        free(w->asked[i].reply);
    if (w->refresh_end_ms >= 0)
        topology_unref(w->refresh_view);
    cluster_destroy(w->cluster);
    model_deinit(&w->model);
    argv_deinit(&w->argv);
    free(w->conns);
    free(w->asked);
}

/* --- the application --- */

static const struct {
    const char *name;
    bool writes;
    bool several; /* keys */
} kinds[] = {
    [ASKED_SET] = {"SET", true, false},         [ASKED_GET] = {"GET", false, false},
    [ASKED_INCR] = {"INCR", true, false},       [ASKED_DEL] = {"DEL", true, true},
    [ASKED_MGET] = {"MGET", false, true},       [ASKED_MSET] = {"MSET", true, true},
    [ASKED_PING] = {"PING", false, false},      [ASKED_BLPOP] = {"BLPOP", true, false},
    [ASKED_SETNAME] = {"CLIENT", false, false}, [ASKED_DBSIZE] = {"DBSIZE", false, false},
    [ASKED_WATCH] = {"WATCH", false, false},    [ASKED_MULTI] = {"MULTI", false, false},
    [ASKED_QUEUED] = {"INCR", true, false},     [ASKED_INSIDE] = {"PING", false, false},
    [ASKED_EXEC] = {"EXEC", false, false},      [ASKED_DISCARD] = {"DISCARD", false, false},
};

static void say_word(struct buffer *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say_word(struct buffer *out, const char *format, ...)
{
    char text[64];
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (!resp_append_bulk(out, (struct bytes){text, (size_t)length}))
        abort();
}

static bool sets(enum asked_kind kind)
{
    return kind == ASKED_SET || kind == ASKED_MSET;
}

static int words_of(const struct asked *a)
{
    switch (a->kind) {
    case ASKED_PING:
    case ASKED_INSIDE:
        return 2;
    case ASKED_BLPOP:
    case ASKED_SETNAME:
        return 3;
    case ASKED_DBSIZE:
    case ASKED_MULTI:
    case ASKED_EXEC:
    case ASKED_DISCARD:
        return 1;
    case ASKED_WATCH:
    case ASKED_QUEUED:
    case ASKED_SET:
    case ASKED_GET:
    case ASKED_INCR:
    case ASKED_DEL:
    case ASKED_MGET:
    case ASKED_MSET:
    case ASKED_KINDS:
        break;
    }
    return 1 + a->keys * (sets(a->kind) ? 2 : 1);
}

/* A SET's value leaves room for the INCRs behind it, so that every value names its SET. */
static void say_request(const struct asked *a, struct buffer *out)
{
    if (!resp_append_header(out, '*', words_of(a)))
        abort();
    say_word(out, "%s", kinds[a->kind].name);
    if (a->kind == ASKED_PING || a->kind == ASKED_INSIDE)
        say_word(out, "%u", a->tags[0]);
    if (a->kind == ASKED_SETNAME) {
        say_word(out, "SETNAME");
        say_word(out, "n%d", a->name);
    }
    for (int i = 0; i < a->keys; i++) {
        say_word(out, "{t%d}%c%d#%u", a->slots[i], a->kind == ASKED_BLPOP ? 'l' : 'k', a->index[i],
                 a->tags[i]);
        if (sets(a->kind))
            say_word(out, "%u", a->tags[i] * 1000);
    }
    if (a->kind == ASKED_BLPOP)
        say_word(out, "0");
}

struct asked *world_ask(struct world *w, int session, enum asked_kind kind, int keys,
                        const int *slots, const int *index)
{
    struct sim *sim = &w->sims[session];
    struct asked *a;
    int n = w->asked_count++;

    w->asked = realloc(w->asked, (size_t)w->asked_count * sizeof *w->asked);
    sim->requests = realloc(sim->requests, (size_t)(sim->asked + 1) * sizeof *sim->requests);
    if (w->asked == NULL || sim->requests == NULL)
        abort();
    a = &w->asked[n];
    *a = (struct asked){
        .kind = kind, .session = session, .keys = keys, .name = n + 1, .asked_ms = world_now_ms};
    for (int i = 0; i < WORLD_REQUEST_KEYS; i++)
        a->tags[i] = (uint32_t)(n * WORLD_REQUEST_KEYS + i + 1);
    for (int i = 0; i < keys; i++) {
        a->slots[i] = (uint8_t)slots[i];
        a->index[i] = (uint8_t)index[i];
    }
    if (kind == ASKED_BLPOP)
        sim->last_blocking = sim->asked;
    sim->requests[sim->asked++] = n;
    say_request(a, &sim->unsent);
    trace(w, "ask %d: %s #%u {t%d}k%d", session, kinds[kind].name, a->tags[0], a->slots[0],
          a->index[0]);
    return a;
}

static void some_policy(struct world *w, int session)
{
    enum read_policy policy = (enum read_policy)world_random(w, READ_POLICIES);
    bool stays = world_chance(w, 50), ok;

    trace(w, "%s %s", read_policy_name(policy), stays ? "from here on" : "once");
    if (w->sims[session].session == NULL)
        return;
    INSIDE(ok = session_set_read_policy(w->sims[session].session, policy,
                                        buffer_length(&w->sims[session].unsent), stays));
    if (!ok && !w->broken)
        world_fail(w, "no memory for a policy");
}

void world_ask_transaction(struct world *w, int session)
{
    int slot = (int)world_random(w, MODEL_SLOTS), first, index = session * 2, watch;
    bool watches = world_chance(w, 40), gives_up = world_chance(w, 10);
    enum asked_kind kind = gives_up ? ASKED_DISCARD : ASKED_EXEC;

    watch = watches ? w->asked_count : -1;
    if (watches)
        world_ask(w, session, ASKED_WATCH, 1, &slot, &index);
    if (watches && world_chance(w, 50))
        world_ask(w, session, ASKED_GET, 1, &slot, &index);
    first = w->asked_count;
    world_ask(w, session, ASKED_MULTI, 0, NULL, NULL);
    for (uint32_t i = world_random(w, 4); i > 0; i--) {
        index = session * 2 + (int)world_random(w, 2);
        if (world_chance(w, 80))
            world_ask(w, session, ASKED_QUEUED, 1, &slot, &index);
        else
            world_ask(w, session, ASKED_INSIDE, 0, NULL, NULL);
    }
    world_ask(w, session, kind, 0, NULL, NULL);
    for (int i = first; i < w->asked_count; i++) {
        w->asked[i].begin = first;
        w->asked[i].end = w->asked_count - 1;
        w->asked[i].watch = -1;
    }
    w->asked[w->asked_count - 1].watch = watch;
}

void world_ask_random(struct world *w, int session, bool blocking)
{
    static const uint8_t weights[ASKED_KINDS] = {
        [ASKED_SET] = 25,    [ASKED_GET] = 25,   [ASKED_INCR] = 15, [ASKED_DEL] = 8,
        [ASKED_MGET] = 8,    [ASKED_MSET] = 6,   [ASKED_PING] = 5,  [ASKED_BLPOP] = 4,
        [ASKED_SETNAME] = 1, [ASKED_DBSIZE] = 2,
    };
    int slots[WORLD_REQUEST_KEYS], index[WORLD_REQUEST_KEYS], keys = 1, kind = 0;
    uint32_t at = world_random(w, 99);

    if (world_chance(w, 10)) {
        world_ask_transaction(w, session);
        return;
    }
    while (at >= weights[kind])
        at -= weights[kind++];
    if (kind == ASKED_BLPOP && !blocking)
        kind = ASKED_INCR;
    if (kinds[kind].several)
        keys = 1 + (int)world_random(w, WORLD_REQUEST_KEYS);
    if (kind == ASKED_PING || kind == ASKED_SETNAME || kind == ASKED_DBSIZE)
        keys = 0;
    /* A key belongs to one session: order is promised within a session only. */
    for (int i = 0; i < keys; i++) {
        slots[i] = (int)world_random(w, MODEL_SLOTS);
        index[i] = session * 2 + (int)world_random(w, 2);
    }
    if (w->policies && world_chance(w, 10))
        some_policy(w, session);
    world_ask(w, session, (enum asked_kind)kind, keys, slots, index);
}

void world_pipeline(struct world *w, int session)
{
    static const enum asked_kind simple[] = {ASKED_GET, ASKED_SET, ASKED_INCR, ASKED_INCR};

    for (uint32_t i = 2 + world_random(w, 8); i > 0; i--) {
        int slot = (int)world_random(w, MODEL_SLOTS);
        int index = session * 2 + (int)world_random(w, 2);

        world_ask(w, session, simple[world_random(w, 4)], 1, &slot, &index);
    }
    world_write(w, session, SIZE_MAX);
}

/* What took the short way goes on the long one. */
static void leave_express(struct world *w, int session)
{
    if (w->sims[session].session != NULL)
        INSIDE(session_unexpress(w->sims[session].session));
}

/* True: the bytes were one command, and it could take the short way. */
static bool write_express(struct world *w, struct sim *sim, size_t length)
{
    struct link *link;

    if (!w->express || length < buffer_length(&sim->unsent) || world_chance(w, 30))
        return false;
    INSIDE(link = session_express(sim->session, buffer_bytes(&sim->unsent), length));
    if (link == NULL)
        return false;
    buffer_consume(&sim->unsent, length);
    world_flush(w, w->conns[link->fd]);
    if (link_unflushed(link))
        INSIDE(session_unexpress(sim->session));
    world_orders(w);
    return true;
}

/* Sends what a volley put on links; as soon as one does not take all, the long way is gone. */
static void send_volley(struct world *w, struct sim *sim)
{
    struct link *link;

    while ((link = session_next_dirty(sim->session)) != NULL) {
        world_flush(w, w->conns[link->fd]);
        if (link_unflushed(link)) {
            INSIDE(session_unexpress(sim->session));
            return;
        }
    }
}

/* How many bytes took the short way of pipelines. */
static size_t write_volley(struct world *w, struct sim *sim, size_t length)
{
    size_t taken;

    if (!w->express || world_chance(w, 30))
        return 0;
    INSIDE(taken = session_volley(sim->session, buffer_bytes(&sim->unsent), length));
    if (taken == 0)
        return 0;
    w->volleys += sim->session->volley.count > 1;
    buffer_consume(&sim->unsent, taken);
    if (taken < length)
        INSIDE(session_unexpress(sim->session));
    else
        send_volley(w, sim);
    world_orders(w);
    return taken;
}

/* Of these bytes only, which may end inside of a command. */
static void read_by(struct world *w, struct sim *sim, size_t length)
{
    enum read_policy policy = (enum read_policy)world_random(w, READ_POLICIES);
    bool ok;

    trace(w, "%s for %zu bytes", read_policy_name(policy), length);
    INSIDE(ok = session_read_by(sim->session, policy, length));
    if (!ok && !w->broken)
        world_fail(w, "no memory for a policy");
}

void world_write(struct world *w, int session, size_t most)
{
    struct sim *sim = &w->sims[session];
    size_t length = buffer_length(&sim->unsent);
    bool ok;

    if (sim->session == NULL || length == 0)
        return;
    leave_express(w, session);
    length = piece(w, length < most ? length : most);
    if (w->policies && world_chance(w, 10))
        read_by(w, sim, length);
    if (write_express(w, sim, length))
        return;
    length -= write_volley(w, sim, length);
    if (length == 0)
        return;
    INSIDE(ok = session_accept(sim->session, buffer_bytes(&sim->unsent), length));
    if (!ok && !w->broken)
        world_fail(w, "session_accept failed");
    buffer_consume(&sim->unsent, length);
    world_orders(w);
}

static void answered(struct world *w, struct sim *sim, const char *reply, size_t length)
{
    struct asked *a;

    if (sim->done == sim->asked)
        world_fail(w, "a reply that nothing asked for: %.*s", (int)length, reply);
    a = &w->asked[sim->requests[sim->done++]];
    a->done = true;
    a->done_ms = world_now_ms;
    a->reply = malloc(length + 1);
    a->reply_length = length;
    memcpy(a->reply, reply, length);
    a->reply[length] = '\0';
    trace(w, "answer %s #%u: %.*s", kinds[a->kind].name, a->tags[0], (int)length - 2, reply);
}

static void take_answers(struct world *w, struct sim *sim)
{
    size_t used;

    while (resp_skip(buffer_bytes(&sim->answered), buffer_length(&sim->answered), 1, &used)) {
        answered(w, sim, buffer_bytes(&sim->answered), used);
        buffer_consume(&sim->answered, used);
    }
}

void world_read(struct world *w, int session, size_t most)
{
    struct sim *sim = &w->sims[session];
    char bytes[512];
    size_t taken;

    if (sim->session == NULL)
        return;
    if (most > sizeof bytes)
        most = sizeof bytes;
    do {
        INSIDE(taken = session_take(sim->session, bytes, piece(w, most)));
        append(&sim->answered, bytes, taken);
    } while (taken > 0 && session_deliverable(sim->session));
    take_answers(w, sim);
}

bool world_is_over(const struct world *w)
{
    for (int i = 0; i < w->sim_count; i++)
        if (w->sims[i].session != NULL && w->sims[i].session->state != SESSION_ENDED)
            return false;
    return true;
}

bool world_all_answered(const struct world *w)
{
    for (int i = 0; i < w->sim_count; i++)
        if (w->sims[i].done < w->sims[i].asked)
            return false;
    return true;
}

/* --- what is on the wire --- */

/* The request with this place in the session's order is answered, delivered or not. */
static bool has_answer(const struct sim *sim, int place)
{
    const struct request *r = sim->session->order_head;

    if (place < sim->done)
        return true;
    for (place -= sim->done; place > 0 && r != NULL; place--)
        r = r->next;
    return r != NULL && r->done;
}

static int place_of(const struct sim *sim, int request)
{
    int place = sim->asked - 1;

    while (place >= 0 && sim->requests[place] != request)
        place--;
    return place;
}

static uint32_t tag_of(const struct bytes *word)
{
    const char *hash = memchr(word->data, '#', word->length);

    return hash != NULL ? (uint32_t)atoi(hash + 1) : 0;
}

/* Rule 4: nothing behind a blocking command leaves before its answer. */
static void check_barriers(struct world *w, const struct conn *c, int request)
{
    const struct sim *sim = &w->sims[c->session];
    int place = place_of(sim, request);

    for (int i = sim->done; i < place; i++)
        if (w->asked[sim->requests[i]].kind == ASKED_BLPOP && !has_answer(sim, i))
            world_fail(w, "#%u was sent before the answer to the BLPOP in front of it",
                       w->asked[request].tags[0]);
}

static void look_at_sent(struct world *w, struct conn *c)
{
    const char *why;
    size_t used;

    while (c->parsed < buffer_length(&c->sent) &&
           parse_command(&w->argv, buffer_bytes(&c->sent) + c->parsed,
                         buffer_length(&c->sent) - c->parsed, &used, &why) == PARSE_WHOLE) {
        uint32_t tag = w->argv.count > 1 ? tag_of(&w->argv.words[1]) : 0;

        c->parsed += used;
        trace_command(w, c, "sent");
        if (tag > 0 && w->sims[c->session].last_blocking >= w->sims[c->session].done)
            check_barriers(w, c, (int)((tag - 1) / WORLD_REQUEST_KEYS));
    }
}

/* --- sockets --- */

static struct conn *conn_of(const struct world *w, const struct link *link)
{
    return link->fd >= 0 ? w->conns[link->fd] : NULL;
}

static struct session *session_of(const struct world *w, const struct conn *c)
{
    return w->sims[c->session].session;
}

static void close_our_end(struct world *w, struct conn *c, int why)
{
    struct link *link = c->link;

    leave_express(w, c->session);
    c->link = NULL;
    link->fd = -1;
    link->must_close = false;
    link->error = why;
    INSIDE(session_link_lost(session_of(w, c), link, why));
}

void world_lose(struct world *w, struct conn *c, int why, bool executes)
{
    trace(w, "lost %d>%d: %d", c->session, c->node, why);
    c->closed = c->closed || !executes;
    if (c->link == NULL)
        return;
    c->link->out_received = c->link->out_flushed;
    close_our_end(w, c, why);
    world_orders(w);
}

/* The server hung up in good order: what it has not received it never will. */
static void end_of_file(struct world *w, struct conn *c)
{
    trace(w, "end %d>%d", c->session, c->node);
    c->closed = true;
    if (c->link == NULL)
        return;
    c->link->out_received = c->start + c->received;
    close_our_end(w, c, 0);
    world_orders(w);
}

static void connected(struct world *w, struct conn *c)
{
    trace(w, "connected %d>%d", c->session, c->node);
    c->connecting = false;
    if (w->rude && !w->polite && world_chance(w, 3)) {
        append(&c->back, "-ERR max number of clients reached\r\n", 36);
        c->hangs_up = true;
    }
    c->hangs_up |= w->deaf;
    leave_express(w, c->session);
    INSIDE(session_link_opened(session_of(w, c), c->link));
}

/* A conn for the link. Connecting may be over at once, for good or bad. */
static void open_link(struct world *w, int session, struct link *link)
{
    struct conn *c = calloc(1, sizeof *c);

    w->conns = realloc(w->conns, (size_t)(w->conn_count + 1) * sizeof(struct conn *));
    if (c == NULL || w->conns == NULL)
        abort();
    c->link = link;
    c->session = session;
    c->node = model_node_at(&w->model, link->port);
    c->start = link->out_flushed;
    model_client_init(&c->client, c->node);
    link->fd = w->conn_count;
    w->conns[w->conn_count++] = c;
    if (!w->model.nodes[c->node].alive && world_chance(w, 50)) {
        close_our_end(w, c, ECONNREFUSED);
        c->closed = true;
    } else if (w->model.nodes[c->node].alive && world_chance(w, 30)) {
        connected(w, c);
    } else {
        c->connecting = true;
        c->hangs = !w->model.nodes[c->node].alive && world_chance(w, 30);
        link->state = LINK_CONNECTING;
        link->connect_by_ms = world_now_ms + WORLD_CONNECT_MS;
    }
}

static bool can_flush(const struct link *link)
{
    return link->fd != -1 && (link->state == LINK_UP || link->state == LINK_GREETING) &&
           link_unflushed(link);
}

void world_flush(struct world *w, struct conn *c)
{
    struct link *link = c->link;
    size_t done = (size_t)(link->out_flushed - link->out_base);
    size_t length = piece(w, buffer_length(&link->out) - done);

    assert_true(link->out_flushed >= link->out_base);
    append(&c->sent, buffer_bytes(&link->out) + done, length);
    link->out_flushed += length;
    look_at_sent(w, c);
}

static void carry_out(struct world *w, int session, struct link *link)
{
    struct conn *c = conn_of(w, link);

    if (link->must_close && c != NULL)
        world_lose(w, c, link->error, world_chance(w, 50));
    else if (link->state == LINK_WANTED)
        open_link(w, session, link);
    else if (can_flush(link) && world_chance(w, 70))
        world_flush(w, c);
}

static void carry_out_all(struct world *w, int session)
{
    struct session *s = w->sims[session].session;
    struct link *link;

    while (s != NULL && (link = session_next_dirty(s)) != NULL)
        carry_out(w, session, link);
}

/* Our ends are closed, and nobody hears of it. */
static void leave_behind(struct world *w, struct session *left)
{
    for (struct link *link = left->links; link != NULL; link = link->next) {
        struct conn *c = conn_of(w, link);

        if (c == NULL)
            continue;
        c->link = NULL;
        c->closed = true;
    }
    INSIDE(session_destroy(left));
}

static void move_session(struct world *w, int session)
{
    struct session *s = w->sims[session].session;
    struct sim fresh = {.session = NULL};
    bool moved;

    begin_session(w, &fresh);
    if (fresh.session == NULL || fresh.session->state == SESSION_ENDED) {
        INSIDE(session_destroy(fresh.session));
        INSIDE(move_cancel(s));
        return;
    }
    trace(w, "moved %d", session);
    INSIDE(moved = move_to(s, fresh.session));
    if (!moved) {
        INSIDE(session_destroy(fresh.session));
        return;
    }
    leave_behind(w, fresh.session);
    INSIDE(move_resume(s));
    w->moves++;
}

/* To another cluster, or what a session takes for one: the servers are the same, so that all that
 * holds for one cluster has to hold throughout. */
void world_lead_away(struct world *w, int session)
{
    struct session *s = w->sims[session].session;

    if (s == NULL || !session_routes(s) || s->leaving)
        return;
    leave_express(w, session);
    trace(w, "leaves %d", session);
    INSIDE(move_begin(s));
    world_orders(w);
}

void world_orders(struct world *w)
{
    for (int i = 0; i < w->sim_count; i++) {
        carry_out_all(w, i);
        if (w->sims[i].session != NULL && move_is_due(w->sims[i].session)) {
            move_session(w, i);
            carry_out_all(w, i);
        }
    }
}

static bool node_is_dead(const struct world *w, const struct conn *c)
{
    return c->dead || !w->model.nodes[c->node].alive;
}

/* The server runs one command that it has received. */
static bool execute(struct world *w, struct conn *c)
{
    const char *why;
    size_t used, left = c->received - c->executed;

    if (left == 0 || c->hangs_up || c->closed || c->client.waits_for != MODEL_NOWHERE ||
        parse_command(&w->argv, buffer_bytes(&c->sent) + c->executed, left, &used, &why) !=
            PARSE_WHOLE)
        return false;
    c->executed += used;
    trace_command(w, c, "run");
    model_execute(&w->model, &c->client, &w->argv, &c->back);
    if (w->rude && !w->polite && world_chance(w, 1))
        append(&c->back, "?nonsense\r\n", 11);
    return true;
}

static bool receive(struct world *w, struct conn *c)
{
    size_t left = buffer_length(&c->sent) - c->received;

    if (left == 0 || c->closed || c->hangs_up)
        return false;
    c->received += piece(w, left);
    return true;
}

/* The reply to what took the short way goes past the session. */
static bool deliver_express(struct world *w, const struct conn *c, const char *bytes, size_t length)
{
    struct sim *sim = &w->sims[c->session];
    bool whole = false;

    if (sim->session->express.link == c->link)
        INSIDE(whole = session_express_answered(sim->session, bytes, length));
    if (whole) {
        append(&sim->answered, bytes, length);
        take_answers(w, sim);
    } else {
        leave_express(w, c->session);
    }
    return whole;
}

/* A reply to a volley waits in its link until it is its turn, and is not looked at before. */
static bool deliver_volley(struct world *w, const struct conn *c, const char *bytes, size_t length)
{
    struct sim *sim = &w->sims[c->session];
    struct link *waits_for;
    char taken[512];
    size_t n;

    if (!session_volleys(sim->session))
        return false;
    append(&c->link->in, bytes, length);
    do {
        INSIDE(n = session_volley_take(sim->session, taken, piece(w, sizeof taken), &waits_for));
        append(&sim->answered, taken, n);
    } while (n > 0);
    take_answers(w, sim);
    if (waits_for == NULL)
        leave_express(w, c->session);
    world_orders(w);
    return true;
}

static bool deliver(struct world *w, struct conn *c)
{
    size_t left = buffer_length(&c->back) - c->delivered;

    if (left == 0 || c->link == NULL)
        return false;
    left = piece(w, left);
    c->delivered += left;
    if (deliver_volley(w, c, buffer_bytes(&c->back) + c->delivered - left, left))
        return true;
    if (deliver_express(w, c, buffer_bytes(&c->back) + c->delivered - left, left))
        return true;
    append(&c->link->in, buffer_bytes(&c->back) + c->delivered - left, left);
    INSIDE(session_link_received(session_of(w, c), c->link));
    world_orders(w);
    return true;
}

static bool move_connecting(struct world *w, struct conn *c)
{
    if (c->hangs || c->link == NULL)
        return false;
    if (node_is_dead(w, c))
        world_lose(w, c, ECONNREFUSED, false);
    else
        connected(w, c);
    world_orders(w);
    return true;
}

bool world_move(struct world *w, struct conn *c)
{
    uint32_t first = world_random(w, 4);

    if (c->connecting)
        return move_connecting(w, c);
    if (node_is_dead(w, c) && !c->closed && c->link != NULL) {
        world_lose(w, c, ECONNRESET, false);
        return true;
    }
    for (uint32_t i = 0; i < 4; i++)
        switch ((first + i) % 4) {
        case 0:
            if (c->link == NULL || !can_flush(c->link))
                break;
            world_flush(w, c);
            return true;
        case 1:
            if (!receive(w, c))
                break;
            return true;
        case 2:
            if (!execute(w, c))
                break;
            return true;
        default:
            if (deliver(w, c))
                return true;
            if (!c->hangs_up || c->closed)
                break;
            end_of_file(w, c);
            return true;
        }
    return false;
}

/* --- time --- */

static struct cluster *cluster_of(const struct world *w)
{
    return w->cluster != NULL           ? w->cluster
           : w->sims[0].session != NULL ? w->sims[0].session->cluster
                                        : NULL;
}

static void begin_refresh(struct world *w, struct cluster *cluster)
{
    w->refresh_begun = cluster_refresh_begin(cluster);
    w->refresh_view = model_topology(&w->model);
    for (int i = 0; i < MODEL_SLOTS; i++)
        w->settled[i] = w->model.slots[i].target == MODEL_NOWHERE;
    w->refresh_at_ms = -1;
    w->refresh_end_ms = world_now_ms + world_random(w, 20);
}

static void end_refresh(struct world *w, struct cluster *cluster)
{
    trace(w, "refreshed");
    cluster_refresh_end(cluster, w->refresh_begun, w->refresh_view);
    for (int i = 0; i < MODEL_SLOTS; i++)
        if (w->settled[i])
            cluster_migrating(cluster, w->model.slots[i].slot, false);
    w->refresh_end_ms = -1;
    w->refresh_at_ms = world_now_ms + REFRESH_PERIOD_MS;
}

/* As the keeper: soon after evidence, and now and then. */
static void keep(struct world *w)
{
    struct cluster *cluster = cluster_of(w);
    uint32_t evidence;

    if (cluster == NULL)
        return;
    evidence = atomic_load(&cluster->evidence);
    if (evidence != w->evidence_seen && w->refresh_end_ms < 0) {
        w->evidence_seen = evidence;
        w->refresh_at_ms = clock_earlier(w->refresh_at_ms, world_now_ms + 50);
    }
    if (w->refresh_end_ms < 0 && w->refresh_at_ms >= 0 && w->refresh_at_ms <= world_now_ms)
        begin_refresh(w, cluster);
    if (w->refresh_end_ms >= 0 && w->refresh_end_ms <= world_now_ms)
        end_refresh(w, cluster);
}

static void advance_sessions(struct world *w)
{
    for (int i = 0; i < w->sim_count; i++) {
        struct session *s = w->sims[i].session;
        int64_t due = s != NULL ? session_due(s) : -1;

        if (due < 0 || due > world_now_ms)
            continue;
        leave_express(w, i);
        INSIDE(session_advance(s));
    }
    world_orders(w);
}

void world_advance(struct world *w, int64_t ms)
{
    world_now_ms += ms;
    keep(w);
    advance_sessions(w);
}

static int64_t next_due(const struct world *w)
{
    int64_t due = clock_earlier(w->refresh_at_ms, w->refresh_end_ms);

    for (int i = 0; i < w->sim_count; i++)
        if (w->sims[i].session != NULL)
            due = clock_earlier(due, session_due(w->sims[i].session));
    return due;
}

void world_settle(struct world *w)
{
    bool moved = true;

    for (int steps = 0; moved; steps++) {
        if (steps == STEPS_MOST)
            world_fail(w, "bytes move for ever");
        moved = false;
        for (int i = 0; i < w->sim_count; i++) {
            moved |= buffer_length(&w->sims[i].unsent) > 0;
            world_write(w, i, SIZE_MAX);
        }
        for (int i = 0; i < w->conn_count; i++)
            while (world_move(w, w->conns[i])) {
                if (++steps >= STEPS_MOST)
                    world_fail(w, "bytes move for ever");
                moved = true;
            }
        for (int i = 0; i < w->sim_count; i++)
            world_read(w, i, SIZE_MAX);
    }
    keep(w);
}

/* True: there was somebody to wake. */
static bool wake_all(struct world *w)
{
    bool woken = false;

    for (int i = 0; i < w->conn_count; i++) {
        struct conn *c = w->conns[i];

        if (c->closed || node_is_dead(w, c) || c->client.waits_for == MODEL_NOWHERE)
            continue;
        if (!model_evict(&w->model, &c->client, &c->back))
            model_wake(&w->model, &c->client, &c->back);
        woken = true;
    }
    return woken;
}

/* For whoever looks for the reason of a hang. */
static void trace_links(const struct world *w)
{
    for (int i = 0; i < w->sim_count; i++)
        for (const struct link *l = w->sims[i].session->links; l != NULL; l = l->next) {
            const struct conn *c = conn_of(w, l);

            trace(w,
                  "link %d>%s state %d, sent seq %d (skip %d), waiting %d, unflushed %d, dirty %d",
                  i, l->name, (int)l->state, l->sent.head ? (int)l->sent.head->sequence : -1,
                  l->sent.head ? l->sent.head->skip : 0, l->waiting.head != NULL, link_unflushed(l),
                  l->dirty);
            if (c != NULL)
                trace(w, "  sent %zu received %zu executed %zu, back %zu delivered %zu%s%s%s",
                      buffer_length(&c->sent), c->received, c->executed, buffer_length(&c->back),
                      c->delivered, c->connecting ? " connecting" : "", c->hangs ? " hangs" : "",
                      c->hangs_up ? " hangs up" : "");
            if (c != NULL)
                trace(w, "  all that the server said: %.*s", (int)buffer_length(&c->back),
                      buffer_bytes(&c->back));
        }
}

bool world_finish(struct world *w, int64_t within_ms)
{
    int64_t end = world_now_ms + within_ms;

    for (int steps = 0; steps < STEPS_MOST; steps++) {
        int64_t due;

        world_settle(w);
        if (world_all_answered(w))
            return true;
        if (wake_all(w))
            continue;
        due = next_due(w);
        if (due < 0 || due > end) {
            trace_links(w);
            return false;
        }
        world_advance(w, due > world_now_ms ? due - world_now_ms : 0);
    }
    return false;
}

/* --- what becomes of the cluster --- */

static const struct part *unanswered_part(const struct request *r, uint16_t slot)
{
    if (r->fanout == NULL)
        return r->part.slot == slot && !r->done ? &r->part : NULL;
    for (uint32_t i = 0; i < r->fanout->count; i++)
        if (r->fanout->parts[i].part.slot == slot &&
            r->fanout->parts[i].part.state != PART_ANSWERED)
            return &r->fanout->parts[i].part;
    return NULL;
}

/* In flight on this link, and either behind another or refused already. */
static bool overtakes(const struct world *w, const struct session *s, const struct link *link,
                      uint16_t slot)
{
    const struct part *oldest = NULL;
    const struct conn *c = conn_of(w, link);

    for (const struct request *r = s->order_head; oldest == NULL && r != NULL; r = r->next)
        oldest = unanswered_part(r, slot);
    for (const struct part *part = link->sent.head; part != NULL; part = part->next)
        if (part->slot == slot &&
            (part != oldest || (c != NULL && part->at < c->start + c->executed)))
            return true;
    return false;
}

static const struct link *links_of(const struct world *w, int session)
{
    return w->sims[session].session != NULL ? w->sims[session].session->links : NULL;
}

bool world_quiet(const struct world *w, int slot, int node)
{
    /* What is in a volley is not seen from here. */
    for (int i = 0; i < w->sim_count; i++)
        if (w->sims[i].session != NULL && session_volleys(w->sims[i].session))
            return false;
    for (int i = 0; i < w->sim_count; i++)
        for (const struct link *link = links_of(w, i); link != NULL; link = link->next)
            if (link->port == w->model.nodes[node].port &&
                overtakes(w, w->sims[i].session, link, w->model.slots[slot].slot))
                return false;
    return true;
}

bool world_quiet_node(const struct world *w, int node)
{
    for (int slot = 0; slot < MODEL_SLOTS; slot++)
        if (!world_quiet(w, slot, node))
            return false;
    return true;
}

void world_kill(struct world *w, int node)
{
    trace(w, "node %d dies", node);
    w->model.nodes[node].alive = false;
    for (int i = 0; i < w->conn_count; i++)
        if (w->conns[i]->node == node) {
            w->conns[i]->dead = true;
            w->conns[i]->closed |= w->conns[i]->link == NULL;
        }
}

/* Everything is well from here on, but for what has happened already. */
void world_heal(struct world *w)
{
    struct model *m = &w->model;

    if (w->strict)
        world_settle(w);
    for (int i = 0; i < m->node_count; i++)
        w->hazard |= !world_quiet_node(w, i);
    trace(w, "all is well");
    for (int i = 0; i < w->conn_count; i++)
        if (node_is_dead(w, w->conns[i]) && !w->conns[i]->connecting) {
            world_lose(w, w->conns[i], ECONNRESET, false);
            w->conns[i]->closed = true;
        }
    for (int i = 0; i < m->node_count; i++)
        m->nodes[i] = (struct model_node){
            .alive = true, .shard = m->nodes[i].shard, .port = m->nodes[i].port};
    for (int i = 0; i < MODEL_SLOTS; i++) {
        if (m->slots[i].target != MODEL_NOWHERE)
            model_migrate_end(m, i);
        if (m->slots[i].owner == MODEL_NOWHERE)
            m->slots[i].owner = 0;
    }
    model_announce(m);
    w->polite = true;
}

/* --- the rules --- */

static bool starts(const struct asked *a, const char *with)
{
    return strncmp(a->reply, with, strlen(with)) == 0;
}

static int runs_of(const struct model *m, uint32_t tag)
{
    int runs = 0;

    for (size_t i = 0; i < m->log_count; i++)
        runs += m->log[i].tag == tag;
    return runs;
}

/* The place in the log of the run that gave this result, not before `from`; -1: none did. */
static long find_run(const struct model *m, uint32_t tag, const struct model_value *result,
                     long from)
{
    for (size_t i = (size_t)from; i < m->log_count; i++)
        if (m->log[i].tag == tag && m->log[i].null == !result->exists &&
            (m->log[i].null || m->log[i].result == result->number))
            return (long)i;
    return -1;
}

/* The values in a reply, in order; how many. */
static int values_of(const struct asked *a, struct model_value *values, int most)
{
    const char *at = a->reply, *end = a->reply + a->reply_length;
    struct resp_item item;
    size_t used;
    int count = 0;

    while (at < end && count < most && resp_read_value(at, (size_t)(end - at), &item, &used)) {
        at += used;
        if (item.type == '*' && !resp_is_null(&item))
            continue;
        values[count] = (struct model_value){!resp_is_null(&item), item.number};
        if (item.type == '$' && item.number >= 0)
            values[count].number = item.text.data[0] == '{' ? 0 : atoll(item.text.data);
        if (item.type == '+')
            values[count].number = 0;
        count++;
    }
    return at == end ? count : -1;
}

static bool is_executed(const struct asked *exec)
{
    return exec->done && exec->kind == ASKED_EXEC && exec->reply[0] == '*' && !starts(exec, "*-1");
}

/* Nobody else has written what was watched since. */
static void check_watch(const struct world *w, const struct asked *exec, long place)
{
    const struct asked *watch = &w->asked[exec->watch];
    const struct model *m = &w->model;

    for (long i = place; i >= 0 && m->log[i].tag != watch->tags[0]; i--)
        if (m->log[i].tag == 0 &&
            m->log[i].result == watch->slots[0] * MODEL_KEYS + watch->index[0])
            world_fail(w, "EXEC #%u ran although another wrote what it watches", exec->tags[0]);
}

/* An element for each command, which it gave when it ran, all of them at one place. */
static void check_exec(const struct world *w, const struct asked *exec)
{
    struct model_value values[8];
    int count = starts(exec, "*-1") ? 0 : values_of(exec, values, 8), at = 0;

    if (starts(exec, "*-1") && exec->watch < 0)
        world_fail(w, "EXEC #%u is nil without a WATCH", exec->tags[0]);
    for (int i = exec->begin + 1; is_executed(exec) && i < exec->end; i++, at++) {
        long place = at < count ? find_run(&w->model, w->asked[i].tags[0], &values[at], 0) : -1;

        if (place < 0)
            world_fail(w, "EXEC #%u was answered %s", exec->tags[0], exec->reply);
        if (exec->watch >= 0 && starts(&w->asked[exec->watch], "+OK"))
            check_watch(w, exec, place);
    }
    if (at != count)
        world_fail(w, "EXEC #%u was answered %s", exec->tags[0], exec->reply);
}

/* Rule 1: the reply is the one that a server gave to this very command. */
static void check_values(const struct world *w, const struct asked *a)
{
    struct model_value values[WORLD_REQUEST_KEYS + 1];
    int count = values_of(a, values, WORLD_REQUEST_KEYS + 1);
    long long sum = 0;

    switch (a->kind) {
    case ASKED_GET:
    case ASKED_INCR:
    case ASKED_SET:
    case ASKED_PING:
        if (count != 1 || find_run(&w->model, a->tags[0], &values[0], 0) < 0)
            break;
        return;
    case ASKED_MGET:
        if (count != a->keys)
            break;
        for (int i = 0; i < count; i++)
            if (find_run(&w->model, a->tags[i], &values[i], 0) < 0)
                goto wrong;
        return;
    case ASKED_MSET:
        if (count != 1 || !starts(a, "+OK"))
            break;
        return;
    case ASKED_DEL:
        for (int i = 0; i < a->keys; i++)
            for (size_t k = 0; k < w->model.log_count; k++)
                if (w->model.log[k].tag == a->tags[i])
                    sum += w->model.log[k].result;
        if (count != 1 || values[0].number != sum)
            break;
        return;
    case ASKED_BLPOP:
        if (count < 1 || find_run(&w->model, a->tags[0], &values[count - 1], 0) < 0)
            break;
        return;
    case ASKED_SETNAME:
    case ASKED_WATCH:
    case ASKED_MULTI:
    case ASKED_DISCARD:
        if (!starts(a, "+OK"))
            break;
        return;
    case ASKED_QUEUED:
    case ASKED_INSIDE:
        if (!starts(a, "+QUEUED"))
            break;
        return;
    case ASKED_EXEC:
        check_exec(w, a);
        return;
    case ASKED_DBSIZE:
        if (a->reply[0] != ':')
            break;
        return;
    case ASKED_KINDS:
        break;
    }
wrong:
    world_fail(w, "%s #%u was answered %s", kinds[a->kind].name, a->tags[0], a->reply);
}

/* Rule 3: a write runs once, or not at all, or nobody knows whether. */
static void check_runs(const struct world *w, const struct asked *a)
{
    const struct asked *end = a->kind == ASKED_QUEUED ? &w->asked[a->end] : a;
    bool ok = end->done && (end == a ? a->reply[0] != '-' : is_executed(end));
    bool unknown = !end->done || strstr(end->reply, "is unknown") != NULL;

    for (int i = 0; i < a->keys; i++) {
        int runs = runs_of(&w->model, a->tags[i]);

        if (runs > 1)
            world_fail(w, "%s #%u ran %d times", kinds[a->kind].name, a->tags[i], runs);
        if (ok && runs != 1)
            world_fail(w, "%s #%u was answered but did not run", kinds[a->kind].name, a->tags[i]);
        if (!ok && !unknown && runs != 0 && a->keys == 1)
            world_fail(w, "%s #%u ran and was answered %s", kinds[a->kind].name, a->tags[i],
                       a->reply);
    }
}

/* The application was told why before. */
static void check_abort(const struct world *w, const struct asked *exec)
{
    bool told = strstr(exec->reply, "because of: LOADING") != NULL;

    for (int i = exec->begin + 1; i < exec->end; i++)
        told |= w->asked[i].reply[0] == '-';
    if (!told)
        world_fail(w, "EXEC #%u was aborted for nothing", exec->tags[0]);
}

/* Rules 5 and 6: which errors there may be, and when. */
static void check_error(const struct world *w, const struct asked *a)
{
    static const char *const late[] = {"could not be reached for",
                                       "-CLUSTERDOWN",
                                       "-LOADING",
                                       "-TRYAGAIN",
                                       "-READONLY",
                                       "-MASTERDOWN"};

    if (strstr(a->reply, "is unknown") != NULL)
        return;
    if (strstr(a->reply, "no replica can be read") != NULL && steers(w) &&
        (w->policies || w->policy == READ_REPLICA) && !kinds[a->kind].writes)
        return;
    if (a->kind == ASKED_EXEC && starts(a, "-EXECABORT")) {
        check_abort(w, a);
        return;
    }
    if (w->rude && (starts(a, "-ERR max number")))
        return;
    if (strstr(a->reply, "more than 16 redirections") != NULL)
        world_fail(w, "%s #%u: %s", kinds[a->kind].name, a->tags[0], a->reply);
    if (w->unbound && starts(a, "-CLUSTERDOWN Hash slot not served"))
        return;
    for (size_t i = 0; i < sizeof late / sizeof late[0]; i++)
        if (strstr(a->reply, late[i]) != NULL) {
            if (a->done_ms - a->asked_ms < w->failover_timeout_ms)
                world_fail(w, "%s #%u gave up after %d ms: %s", kinds[a->kind].name, a->tags[0],
                           (int)(a->done_ms - a->asked_ms), a->reply);
            return;
        }
    world_fail(w, "%s #%u was answered %s", kinds[a->kind].name, a->tags[0], a->reply);
}

/* A command whose keys lie in one slot may be told to try again while it migrates, and what
 * was already on the wire behind it then overtakes it. */
static bool may_be_overtaken(const struct world *w, const struct asked *a)
{
    for (int i = 0; w->migrated && i < a->keys; i++)
        for (int j = 0; j < i; j++)
            if (a->slots[i] == a->slots[j])
                return true;
    return false;
}

/* Rule 2. For a read any run with its result will do that fits in between. */
static void check_order_of(const struct world *w, int session, int slot, int index, bool list)
{
    const struct sim *sim = &w->sims[session];
    long at = 0, wrote = 0; /* reads of several nodes have no order among themselves */

    for (int n = 0; n < sim->done; n++) {
        const struct asked *a = &w->asked[sim->requests[n]];
        struct model_value values[WORLD_REQUEST_KEYS + 1];

        if (a->reply[0] == '-' || may_be_overtaken(w, a) || (a->kind == ASKED_BLPOP) != list ||
            a->kind == ASKED_WATCH || (a->kind == ASKED_QUEUED && !is_executed(&w->asked[a->end])))
            continue;
        values_of(a, values, WORLD_REQUEST_KEYS + 1);
        for (int i = 0; i < a->keys; i++) {
            bool reads = a->kind == ASKED_GET || a->kind == ASKED_MGET;
            long place = at;

            if (a->slots[i] != slot || a->index[i] != index)
                continue;
            if (reads)
                place = find_run(&w->model, a->tags[i], &values[i], steers(w) ? wrote : at);
            else
                while ((size_t)place < w->model.log_count && w->model.log[place].tag != a->tags[i])
                    place++;
            if (place < 0 || (size_t)place == w->model.log_count)
                world_fail(w, "%s #%u did not run in its turn", kinds[a->kind].name, a->tags[i]);
            at = place > at ? place : at;
            wrote = reads ? wrote : at;
        }
    }
}

/* A value that a SET wrote names it. No read sees what was asked behind it, even if nobody knows
 * whether that ran. */
static void check_past(const struct world *w, const struct asked *a)
{
    struct model_value values[WORLD_REQUEST_KEYS + 1];
    int count = values_of(a, values, WORLD_REQUEST_KEYS + 1);

    if (a->reply[0] == '-' || (a->kind != ASKED_GET && a->kind != ASKED_MGET))
        return;
    for (int i = 0; i < count; i++)
        if (values[i].exists && values[i].number / 1000 > (long long)a->tags[i])
            world_fail(w, "%s #%u read the later #%lld", kinds[a->kind].name, a->tags[i],
                       values[i].number / 1000);
}

static void check_order(const struct world *w)
{
    for (int session = 0; session < w->sim_count; session++)
        for (int slot = 0; slot < MODEL_SLOTS; slot++)
            for (int index = 0; index < MODEL_KEYS; index++) {
                check_order_of(w, session, slot, index, false);
                check_order_of(w, session, slot, index, true);
            }
}

/* What CLIENT SETNAME said was said to a server before anything that was asked behind it. */
static void check_names(const struct world *w, const struct sim *sim)
{
    int name = 0;

    for (int n = 0; n < sim->done; n++) {
        const struct asked *a = &w->asked[sim->requests[n]];

        if (a->kind == ASKED_SETNAME) {
            if (a->reply[0] == '-')
                return; /* some servers may know it, and others not */
            name = a->name;
        }
        for (size_t i = 0; i < w->model.log_count; i++)
            if ((w->model.log[i].tag - 1) / WORLD_REQUEST_KEYS == (uint32_t)sim->requests[n] &&
                w->model.log[i].name != name)
                world_fail(w, "#%u ran under the name %d, not %d", a->tags[0], w->model.log[i].name,
                           name);
    }
}

void world_check(struct world *w)
{
    if (w->broken)
        return;
    for (int i = 0; i < w->asked_count; i++) {
        const struct asked *a = &w->asked[i];

        if (kinds[a->kind].writes)
            for (int k = 0; k < a->keys; k++)
                if (runs_of(&w->model, a->tags[k]) > 1)
                    world_fail(w, "%s #%u ran twice", kinds[a->kind].name, a->tags[k]);
        if (!a->done)
            continue;
        if (kinds[a->kind].writes)
            check_runs(w, a);
        if (a->reply[0] == '-')
            check_error(w, a);
        else
            check_values(w, a);
    }
    for (int i = 0; !w->hazard && i < w->asked_count; i++)
        if (w->asked[i].done && !may_be_overtaken(w, &w->asked[i]))
            check_past(w, &w->asked[i]);
    if (!w->hazard)
        check_order(w);
    for (int i = 0; i < w->sim_count; i++)
        check_names(w, &w->sims[i]);
}
