#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "certificates.h"
#include "die.h"
#include "folder.h"
#include "port.h"
#include "until.h"
#include "wire.h"

enum { START_TRIES = 20 };

struct server {
    struct server_options options;
    struct folder *folder;
    char unix_path[96];
    int port;
    int plain_port; /* beside TLS; 0: none */
    pid_t pid;
};

static void write_tls(FILE *out, const struct server *server)
{
    const struct server_options *options = &server->options;
    const char *folder = certificates_path(options->tls);
    const char *name = options->tls_certificate ? options->tls_certificate : "server";
    fprintf(out, "port %d\ntls-port %d\n", server->plain_port, server->port);
    fprintf(out, "tls-cert-file %s/%s.pem\ntls-key-file %s/%s.key\n", folder, name, folder, name);
    fprintf(out, "tls-ca-cert-file %s/ca.pem\ntls-auth-clients %s\n", folder,
            options->tls_asks_clients ? "yes" : "no");
    fprintf(out, "tls-replication yes\n");
    if (options->is_cluster)
        fprintf(out, "tls-cluster yes\n");
}

static void write_configuration(const struct server *server)
{
    const struct server_options *options = &server->options;
    char path[96];
    snprintf(path, sizeof path, "%s/redis.conf", folder_path(server->folder));
    FILE *out = fopen(path, "we");
    MUST(out);
    fprintf(out, "dir %s\nbind 127.0.0.1\n", folder_path(server->folder));
    if (options->tls)
        write_tls(out, server);
    else
        fprintf(out, "port %d\n", server->port);
    fprintf(out, "appendonly no\nsave \"\"\ndaemonize no\nlogfile log\nloglevel notice\n");
    fprintf(out, "enable-debug-command local\nrepl-diskless-sync-delay 0\n");
    if (options->is_cluster)
        fprintf(out, "cluster-enabled yes\n");
    if (options->has_unix_socket || options->tls)
        fprintf(out, "unixsocket %s\n", server->unix_path);
    if (options->requirepass)
        fprintf(out, "requirepass %s\nmasterauth %s\n", options->requirepass, options->requirepass);
    if (options->extra)
        fprintf(out, "%s\n", options->extra);
    fclose(out);
}

/* redis-server, or what TEST_SERVER names: valkey-server. */
static const char *program(void)
{
    const char *name = getenv("TEST_SERVER");
    return name && *name ? name : "redis-server";
}

/* PDEATHSIG: no way of dying of the test process leaves a server behind. */
static _Noreturn void become_redis(const struct server *server, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || chdir(folder_path(server->folder)) < 0)
        _exit(1);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0), dup2(null, 1), dup2(null, 2);
    close_range(3, ~0U, 0);
    unsetenv("LD_PRELOAD");
    execlp(program(), program(), "redis.conf", (char *)NULL);
    _exit(127);
}

/* The tests' own connections: TLS is what they test, and not what they look through. */
static struct wire *open_wire(const struct server *server)
{
    return server->options.tls ? wire_open_unix(server->unix_path) : wire_open(server->port);
}

/* True once it answers; false when it is gone, as when another process took the port first. */
static bool has_come_up(struct server *server)
{
    int64_t limit = now_ms() + UNTIL_LIMIT_MS;
    while (now_ms() < limit) {
        int status;
        if (waitpid(server->pid, &status, WNOHANG) == server->pid) {
            if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
                die("%s is not installed", program());
            return false;
        }
        struct wire *wire = open_wire(server);
        char *pong = wire ? wire_command(wire, "PING") : NULL;
        bool is_up = pong && (!strcmp(pong, "PONG") || !strncmp(pong, "-NOAUTH", 7));
        free(pong);
        wire_close(wire);
        if (is_up && waitpid(server->pid, &status, WNOHANG) == 0)
            return true;
        pause_ms(5);
    }
    die("%s on port %d does not answer", program(), server->port);
}

static bool launch(struct server *server)
{
    pid_t parent = getpid();
    server->pid = fork();
    MUST(server->pid >= 0);
    if (server->pid == 0)
        become_redis(server, parent);
    return has_come_up(server);
}

struct server *server_start(const struct server_options *options)
{
    struct server *server = calloc(1, sizeof *server);
    MUST(server);
    if (options)
        server->options = *options;
    server->folder = folder_create();
    snprintf(server->unix_path, sizeof server->unix_path, "%s/socket", folder_path(server->folder));
    for (int i = 0; i < START_TRIES; i++) {
        server->port = port_free();
        server->plain_port = server->options.tls_beside ? port_free() : 0;
        write_configuration(server);
        if (launch(server))
            return server;
    }
    die("%s does not start; try it by hand", program());
}

void server_restart(struct server *server)
{
    if (!launch(server))
        die("%s does not start again on port %d", program(), server->port);
}

void server_signal(struct server *server, int signal)
{
    kill(server->pid, signal);
    if (signal != SIGKILL)
        return;
    /* In a forked test the server is no child of ours: the closed port tells then. */
    if (waitpid(server->pid, NULL, 0) == server->pid)
        return;
    struct wire *wire = NULL;
    UNTIL((wire_close(wire), wire = wire_open(server->port)) == NULL);
}

void server_stop(struct server *server)
{
    if (!server)
        return;
    server_signal(server, SIGKILL);
    folder_remove(server->folder);
    free(server);
}

int server_port(const struct server *server)
{
    return server->port;
}

int server_plain_port(const struct server *server)
{
    return server->plain_port;
}

const char *server_unix_path(const struct server *server)
{
    return server->unix_path;
}

static struct wire *open_as_admin(const struct server *server)
{
    struct wire *wire = open_wire(server);
    if (!wire)
        die("server on port %d: nobody listens", server->port);
    if (server->options.requirepass)
        free(wire_command(wire, "AUTH %s", server->options.requirepass));
    return wire;
}

char *server_command(const struct server *server, const char *format, ...)
{
    va_list args;
    struct wire *wire = open_as_admin(server);
    va_start(args, format);
    char *text = wire_commandv(wire, format, args);
    va_end(args);
    if (!text)
        die("server on port %d: hung up on %s", server->port, format);
    wire_close(wire);
    return text;
}

void server_move(struct server *server, const char *from, const char *to)
{
    char addresses[64], left[64];
    snprintf(addresses, sizeof addresses, "127.0.0.1 %s", to);
    snprintf(left, sizeof left, "%s:%d", from, server->port);
    const char *const bind[] = {"CONFIG", "SET", "bind", addresses};
    const char *const hang_up[] = {"CLIENT", "KILL", "LADDR", left};
    struct wire *wire = open_as_admin(server);
    MUST(wire_send_argv(wire, 4, bind, NULL));
    char *reply = wire_receive(wire, NULL);
    if (!reply || strcmp(reply, "+OK\r\n"))
        die("CONFIG SET bind %s: %s", addresses, reply ? reply : "hung up");
    free(reply);
    MUST(wire_send_argv(wire, 4, hang_up, NULL));
    reply = wire_receive(wire, NULL);
    MUST(reply);
    free(reply);
    wire_close(wire);
}

long server_calls(const struct server *server, const char *command)
{
    char field[64];
    char *info = server_command(server, "INFO commandstats");
    long calls = 0, failed = 0;
    snprintf(field, sizeof field, "cmdstat_%s:", command);
    const char *line = strstr(info, field);
    if (line) {
        const char *failures = strstr(line, "failed_calls=");
        calls = strtol(line + strlen(field) + strlen("calls="), NULL, 10);
        failed = failures ? strtol(failures + strlen("failed_calls="), NULL, 10) : 0;
    }
    free(info);
    return calls - failed;
}

long server_info(const struct server *server, const char *field)
{
    char pattern[64];
    char *info = server_command(server, "INFO all");
    snprintf(pattern, sizeof pattern, "\n%s:", field);
    const char *line = strstr(info, pattern);
    long value = line ? strtol(line + strlen(pattern), NULL, 10) : 0;
    free(info);
    return value;
}
