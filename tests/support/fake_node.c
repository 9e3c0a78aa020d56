#define _GNU_SOURCE
#include "fake_node.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "die.h"
#include "until.h"

enum { MAX_CONNECTIONS = 256, MAX_RULES = 64, NAME_SIZE = 40, LATE_MS = 2, READ_SIZE = 65536 };

struct connection {
    int fd;
    char *in;
    size_t in_length;
    char *held; /* answers that wait for fake_node_release */
    size_t held_length;
};

struct rule {
    char name[NAME_SIZE];
    struct fake_rule what;
};

/* The thread owns the connections; everything else is shared with the test under the lock. */
struct fake_node {
    int port;
    int listener;
    int wake; /* eventfd: look at the orders */
    pthread_t thread;
    struct connection connections[MAX_CONNECTIONS];
    int connection_count;

    pthread_mutex_t lock;
    struct rule rules[MAX_RULES];
    int rule_count;
    char *own_slots;
    const char *slots;
    FILE *log;
    char *log_text;
    size_t log_length;
    int accepted;
    int open;
    bool must_stop, must_release, must_close_port, must_reset_all;
};

/* --- answering --- */

static void send_all(struct connection *c, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(c->fd, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* the client has gone: its business */
        bytes += sent;
        length -= (size_t)sent;
    }
}

static void send_split(struct connection *c, const char *bytes, size_t length, size_t cut)
{
    cut = cut < length ? cut : length;
    send_all(c, bytes, cut);
    pause_ms(LATE_MS);
    send_all(c, bytes + cut, length - cut);
}

static void send_bytes(struct connection *c, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        send_all(c, bytes + i, 1);
        pause_ms(1);
    }
}

static void hold(struct connection *c, const char *bytes, size_t length)
{
    c->held = realloc(c->held, c->held_length + length + 1);
    MUST(c->held);
    memcpy(c->held + c->held_length, bytes, length);
    c->held_length += length;
}

static void hang_up(struct connection *c, bool with_reset)
{
    struct linger linger = {.l_onoff = with_reset, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    if (!with_reset)
        shutdown(c->fd, SHUT_WR);
    close(c->fd);
    c->fd = -1;
}

static void act(struct connection *c, const struct fake_rule *rule)
{
    const char *reply = rule->reply ? rule->reply : "";
    size_t length = rule->length ? rule->length : strlen(reply);
    switch (rule->action) {
    case FAKE_ANSWER:
        send_all(c, reply, length);
        break;
    case FAKE_ANSWER_SPLIT:
        send_split(c, reply, length, (size_t)rule->split);
        break;
    case FAKE_ANSWER_BYTES:
        send_bytes(c, reply, length);
        break;
    case FAKE_SILENCE:
        break;
    case FAKE_CLOSE:
        send_all(c, reply, length);
        hang_up(c, false);
        break;
    case FAKE_RESET:
        send_all(c, reply, length);
        hang_up(c, true);
        break;
    case FAKE_RELEASE_LATER:
        hold(c, reply, length);
        break;
    }
}

/* --- rules --- */

static const struct {
    const char *name, *reply;
} habits[] = {
    {"PING", "+PONG\r\n"},
    {"READONLY", "+OK\r\n"},
    {"READWRITE", "+OK\r\n"},
    {"ASKING", "+OK\r\n"},
    {"SELECT", "+OK\r\n"},
    {"CLIENT SETNAME", "+OK\r\n"},
    {"CLUSTER INFO", "$18\r\ncluster_state:ok\r\n\r\n"},
    {"CLUSTER MYSHARDID", "-ERR unknown subcommand\r\n"},
    {"INFO", "$13\r\nrole:master\r\n\r\n"},
};

/* Used up rules are taken out, so that the next one of that name has its turn. */
static bool take_rule(struct fake_node *node, const char *name, struct fake_rule *found)
{
    for (int i = 0; i < node->rule_count; i++) {
        if (strcmp(node->rules[i].name, name))
            continue;
        *found = node->rules[i].what;
        if (found->times && --node->rules[i].what.times == 0) {
            node->rule_count--;
            memmove(&node->rules[i], &node->rules[i + 1],
                    (size_t)(node->rule_count - i) * sizeof *node->rules);
        }
        return true;
    }
    return false;
}

static struct fake_rule habit(struct fake_node *node, const char *name, const char *full)
{
    struct fake_rule rule = {.action = FAKE_ANSWER, .reply = "-ERR unknown command\r\n"};
    if (!strcmp(full, "CLUSTER SLOTS"))
        rule.reply = node->slots ? node->slots : node->own_slots;
    for (size_t i = 0; i < sizeof habits / sizeof *habits; i++)
        if (!strcmp(habits[i].name, name) || !strcmp(habits[i].name, full))
            rule.reply = habits[i].reply;
    return rule;
}

static struct fake_rule choose(struct fake_node *node, const char *name, const char *full)
{
    struct fake_rule rule;
    pthread_mutex_lock(&node->lock);
    if (!take_rule(node, full, &rule) && !take_rule(node, name, &rule)) {
        rule = habit(node, name, full);
        if (!strncmp(rule.reply, "-ERR unknown command", 20))
            take_rule(node, "*", &rule);
    }
    pthread_mutex_unlock(&node->lock);
    return rule;
}

/* --- commands --- */

struct command {
    char name[NAME_SIZE];     /* upper case */
    char full[2 * NAME_SIZE]; /* with its first argument, upper case */
};

static void upper(char *out, const char *in, size_t length)
{
    length = length < NAME_SIZE - 2 ? length : NAME_SIZE - 2;
    for (size_t i = 0; i < length; i++)
        out[i] = (char)toupper((unsigned char)in[i]);
    out[length] = '\0';
}

/* Reads one command array; the bytes it took, 0 when it is not all there. */
static size_t parse(struct fake_node *node, const char *in, size_t size, struct command *command)
{
    const char *at = in, *end = in + size, *newline = memchr(in, '\n', size);
    char line[512] = "";
    if (!newline)
        return 0;
    long count = strtol(in + 1, NULL, 10);
    at = newline + 1;
    command->name[0] = command->full[0] = '\0';
    for (long i = 0; i < count; i++) {
        newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        long length = newline ? strtol(at + 1, NULL, 10) : 0;
        if (!newline || end - newline - 1 < length + 2)
            return 0;
        if (i == 0)
            upper(command->name, newline + 1, (size_t)length);
        if (i == 1) {
            snprintf(command->full, sizeof command->full, "%s ", command->name);
            upper(command->full + strlen(command->full), newline + 1, (size_t)length);
        }
        size_t used = strlen(line);
        snprintf(line + used, sizeof line - used, "%s%.*s", i ? " " : "", (int)length, newline + 1);
        at = newline + 1 + length + 2;
    }
    pthread_mutex_lock(&node->lock);
    fprintf(node->log, "%s\n", line);
    pthread_mutex_unlock(&node->lock);
    return (size_t)(at - in);
}

static void serve(struct fake_node *node, struct connection *c)
{
    struct command command;
    c->in = realloc(c->in, c->in_length + READ_SIZE);
    MUST(c->in);
    ssize_t got = recv(c->fd, c->in + c->in_length, READ_SIZE, 0);
    if (got <= 0) {
        hang_up(c, false);
        return;
    }
    c->in_length += (size_t)got;
    size_t taken;
    while (c->fd >= 0 && (taken = parse(node, c->in, c->in_length, &command)) > 0) {
        c->in_length -= taken;
        memmove(c->in, c->in + taken, c->in_length);
        struct fake_rule rule = choose(node, command.name, command.full);
        act(c, &rule);
    }
}

/* --- the thread --- */

static void accept_one(struct fake_node *node)
{
    int on = 1, fd = accept4(node->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    MUST(node->connection_count < MAX_CONNECTIONS);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    node->connections[node->connection_count++] = (struct connection){.fd = fd};
    pthread_mutex_lock(&node->lock);
    node->accepted++;
    node->open++;
    pthread_mutex_unlock(&node->lock);
}

static void drop_closed(struct fake_node *node)
{
    for (int i = 0; i < node->connection_count;) {
        struct connection *c = &node->connections[i];
        if (c->fd >= 0) {
            i++;
            continue;
        }
        free(c->in);
        free(c->held);
        *c = node->connections[--node->connection_count];
        pthread_mutex_lock(&node->lock);
        node->open--;
        pthread_mutex_unlock(&node->lock);
    }
}

static void release(struct connection *c)
{
    send_all(c, c->held, c->held_length);
    c->held_length = 0;
}

/* False when the thread has to end. */
static bool follow_orders(struct fake_node *node)
{
    eventfd_t ignored;
    eventfd_read(node->wake, &ignored);
    pthread_mutex_lock(&node->lock);
    bool must_release = node->must_release, must_reset = node->must_reset_all;
    bool must_stop = node->must_stop;
    if (node->must_close_port && node->listener >= 0) {
        close(node->listener);
        node->listener = -1;
    }
    pthread_mutex_unlock(&node->lock);
    for (int i = 0; i < node->connection_count; i++) {
        if (must_release)
            release(&node->connections[i]);
        if (must_reset || must_stop)
            hang_up(&node->connections[i], must_reset);
    }
    drop_closed(node);
    pthread_mutex_lock(&node->lock);
    node->must_release = node->must_reset_all = false;
    pthread_mutex_unlock(&node->lock);
    return !must_stop;
}

static void *run(void *arg)
{
    struct fake_node *node = arg;
    struct pollfd set[MAX_CONNECTIONS + 2];
    for (;;) {
        int watched = node->connection_count;
        set[0] = (struct pollfd){.fd = node->wake, .events = POLLIN};
        set[1] = (struct pollfd){.fd = node->listener, .events = POLLIN};
        for (int i = 0; i < watched; i++)
            set[2 + i] = (struct pollfd){.fd = node->connections[i].fd, .events = POLLIN};
        poll(set, (nfds_t)watched + 2, -1);
        for (int i = 0; i < watched; i++)
            if (set[2 + i].revents)
                serve(node, &node->connections[i]);
        drop_closed(node);
        if (set[1].revents)
            accept_one(node);
        if (set[0].revents && !follow_orders(node))
            return NULL;
    }
}

/* --- the test's side --- */

static void order(struct fake_node *node, bool *what)
{
    pthread_mutex_lock(&node->lock);
    *what = true;
    pthread_mutex_unlock(&node->lock);
    eventfd_write(node->wake, 1);
}

/* The order has been carried out when this returns: a test goes on from a known state. */
static void order_and_wait(struct fake_node *node, bool *what)
{
    order(node, what);
    bool is_done;
    do {
        pause_ms(1);
        pthread_mutex_lock(&node->lock);
        is_done = !*what;
        pthread_mutex_unlock(&node->lock);
    } while (!is_done);
}

static void listen_on_loopback(struct fake_node *node)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    node->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(node->listener >= 0);
    MUST(bind(node->listener, (struct sockaddr *)&address, sizeof address) == 0);
    MUST(listen(node->listener, 128) == 0);
    MUST(getsockname(node->listener, (struct sockaddr *)&address, &size) == 0);
    node->port = ntohs(address.sin_port);
}

struct fake_node *fake_node_start(void)
{
    struct fake_node *node = calloc(1, sizeof *node);
    MUST(node);
    listen_on_loopback(node);
    struct fake_range all = {.first = 0, .last = 16383, .port = node->port};
    node->own_slots = fake_slots_reply(&all, 1);
    node->wake = eventfd(0, EFD_CLOEXEC);
    node->log = open_memstream(&node->log_text, &node->log_length);
    pthread_mutex_init(&node->lock, NULL);
    MUST(node->log && node->wake >= 0);
    MUST(pthread_create(&node->thread, NULL, run, node) == 0);
    return node;
}

void fake_node_stop(struct fake_node *node)
{
    order(node, &node->must_stop);
    pthread_join(node->thread, NULL);
    if (node->listener >= 0)
        close(node->listener);
    close(node->wake);
    fclose(node->log);
    free(node->log_text);
    free(node->own_slots);
    pthread_mutex_destroy(&node->lock);
    free(node);
}

int fake_node_port(const struct fake_node *node)
{
    return node->port;
}

void fake_node_on(struct fake_node *node, const char *command, struct fake_rule rule)
{
    pthread_mutex_lock(&node->lock);
    MUST(node->rule_count < MAX_RULES);
    struct rule *added = &node->rules[node->rule_count++];
    snprintf(added->name, sizeof added->name, "%s", command);
    added->what = rule;
    pthread_mutex_unlock(&node->lock);
}

void fake_node_answer(struct fake_node *node, const char *command, const char *reply)
{
    fake_node_on(node, command, (struct fake_rule){.action = FAKE_ANSWER, .reply = reply});
}

void fake_node_slots(struct fake_node *node, const char *reply)
{
    pthread_mutex_lock(&node->lock);
    node->slots = reply;
    pthread_mutex_unlock(&node->lock);
}

void fake_node_release(struct fake_node *node)
{
    order_and_wait(node, &node->must_release);
}

void fake_node_close_port(struct fake_node *node)
{
    order(node, &node->must_close_port);
    bool is_closed;
    do {
        pause_ms(1);
        pthread_mutex_lock(&node->lock);
        is_closed = node->listener < 0;
        pthread_mutex_unlock(&node->lock);
    } while (!is_closed);
}

void fake_node_reset_all(struct fake_node *node)
{
    order_and_wait(node, &node->must_reset_all);
}

int fake_node_accepted(struct fake_node *node)
{
    pthread_mutex_lock(&node->lock);
    int accepted = node->accepted;
    pthread_mutex_unlock(&node->lock);
    return accepted;
}

int fake_node_open(struct fake_node *node)
{
    pthread_mutex_lock(&node->lock);
    int open = node->open;
    pthread_mutex_unlock(&node->lock);
    return open;
}

char *fake_node_log(struct fake_node *node)
{
    pthread_mutex_lock(&node->lock);
    fflush(node->log);
    char *log = strdup(node->log_text);
    pthread_mutex_unlock(&node->lock);
    MUST(log);
    return log;
}

int fake_node_seen(struct fake_node *node, const char *command)
{
    char *log = fake_node_log(node);
    size_t length = strlen(command);
    int seen = 0;
    for (const char *line = log; *line; line = strchr(line, '\n') + 1)
        if (!strncasecmp(line, command, length) && strchr(" \n", line[length]))
            seen++;
    free(log);
    return seen;
}

char *fake_slots_reply(const struct fake_range *ranges, int count)
{
    char *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    MUST(out);
    fprintf(out, "*%d\r\n", count);
    for (int i = 0; i < count; i++) {
        fprintf(out, "*%d\r\n:%d\r\n:%d\r\n", ranges[i].replica ? 4 : 3, ranges[i].first,
                ranges[i].last);
        fprintf(out, "*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$40\r\n%040d\r\n", ranges[i].port,
                ranges[i].port);
        if (ranges[i].replica)
            fprintf(out, "*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$40\r\n%040d\r\n", ranges[i].replica,
                    ranges[i].replica);
    }
    fclose(out);
    return text;
}
