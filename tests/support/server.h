/* One real redis-server on a free loopback port, in a temporary folder. */
#ifndef SUPPORT_SERVER_H
#define SUPPORT_SERVER_H

#include <stdbool.h>

struct server;
struct certificates;

/* All zero is a plain server with Redis' own defaults, without persistence. */
struct server_options {
    bool is_cluster;         /* cluster-enabled */
    bool has_unix_socket;    /* also listens on server_unix_path() */
    const char *requirepass; /* null: no password */
    const char *extra;       /* more lines for redis.conf, may be null */
    const struct certificates *tls; /* its port speaks TLS, with "server" of these; null: it does not */
    const char *tls_certificate;    /* another of them */
    bool tls_asks_clients;          /* for a certificate, too */
    bool tls_beside;                /* and server_plain_port() speaks without */
};

/* Returns when it answers. It dies with the thread that started it; start it from one that stays.
 * In a process forked from here (Check forks for every test) it may be talked to and signalled. */
struct server *server_start(const struct server_options *options);
void server_stop(struct server *server);

/* The same port and folder again, after a server_signal(SIGKILL). */
void server_restart(struct server *server);

/* It has the address `to` from now on, beside 127.0.0.1, and `from` no more: who came by that is
 * hung up on. Both are loopback addresses that it was bound to at the start. */
void server_move(struct server *server, const char *from, const char *to);

/* SIGKILL is waited for: when it returns, the port is closed. */
void server_signal(struct server *server, int signal);

int server_port(const struct server *server);
int server_plain_port(const struct server *server);
const char *server_unix_path(const struct server *server);

/* One command on a connection of its own; its reply as text (wire_text), freed by the caller. */
char *server_command(const struct server *server, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* How many calls of a command (lower case) ran, from INFO commandstats: refused ones (MOVED,
 * NOAUTH) do not count, replicated ones do. */
long server_calls(const struct server *server, const char *command);

/* One number out of INFO, 0 when the field is not there. */
long server_info(const struct server *server, const char *field);

#endif
