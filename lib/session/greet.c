/* The state of the connection as the application set it (AUTH, HELLO, CLIENT
 * SETNAME …): remembered when the server took it, and replayed on every link
 * before anything else is sent there. */
#include "session/request.h"

#include <errno.h>
#include <stdlib.h>

/* A replica that has just started answers with what it has, which may be nothing. */
static const char read_only[] = "*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n"
                                "*1\r\n$8\r\nREADONLY\r\n";

/* The later of two commands of one kind replaces the earlier, and its place. */
static void forget(struct session *s, const struct command *command)
{
    struct greeting **at = &s->greetings;

    while (*at != NULL) {
        struct greeting *g = *at;

        if (g->command == command) {
            *at = g->next;
            free(g);
        } else {
            at = &g->next;
        }
    }
}

static struct greeting *append(struct session *s, const struct command *command, const char *bytes,
                               size_t length)
{
    struct greeting *g = malloc(sizeof *g + length), **at = &s->greetings;

    if (g == NULL)
        return NULL;
    *g = (struct greeting){.command = command, .length = length};
    memcpy(g->bytes, bytes, length);
    while (*at != NULL)
        at = &(*at)->next;
    *at = g;
    return g;
}

/* The other links that are up, or are being greeted, learn it now; what is dispatched to
 * them waits. */
static bool tell_links(struct session *s, const struct greeting *g, const struct link *but)
{
    for (struct link *link = s->links; link != NULL; link = link->next) {
        if (link == but || link->probe || link->must_close ||
            (link->state != LINK_UP && link->state != LINK_GREETING))
            continue;
        if (!link_send_raw(link, g->bytes, g->length))
            return false;
        link->state = LINK_GREETING;
        link->greetings++;
        session_touch(s, link);
    }
    return true;
}

int greet_protocol(const struct session *s)
{
    for (const struct greeting *g = s->greetings; g != NULL; g = g->next)
        if (strcmp(g->command->name, "hello") == 0)
            return memmem(g->bytes, g->length, "\r\n$1\r\n3\r\n", 9) != NULL ? 3 : 2;
    return 2;
}

void greet_reset(struct session *s)
{
    static const char reset[] = "*1\r\n$5\r\nRESET\r\n";
    struct greeting *g = malloc(sizeof *g + sizeof reset);
    bool ok = g != NULL;

    greet_destroy(s);
    if (ok) {
        *g = (struct greeting){.length = sizeof reset - 1};
        memcpy(g->bytes, reset, sizeof reset);
        ok = tell_links(s, g, NULL);
    }
    free(g);
    if (!ok)
        session_end(s, ENOMEM);
}

static bool proves_identity(const struct command *command)
{
    return strcmp(command->name, "auth") == 0 || strcmp(command->name, "hello") == 0;
}

void greet_remember(struct session *s, struct request *r, const char *command, size_t length)
{
    struct greeting *g;

    forget(s, r->command);
    g = append(s, r->command, command, length);
    if (g == NULL || !tell_links(s, g, r->part.link)) {
        session_end(s, ENOMEM);
        return;
    }
    if (r->command->klass == COMMAND_TRACKING)
        client_noted(s, command, length);
    if (proves_identity(r->command) && s->cluster != NULL)
        cluster_set_credentials(s->cluster, (struct bytes){g->bytes, g->length});
    if (s->state == SESSION_LOCKED)
        discover_begin(s);
}

/* False: out of memory. */
bool greet_link(struct session *s, struct link *link)
{
    for (struct greeting *g = s->greetings; g != NULL; g = g->next) {
        if (link->feed != NULL && g->command->klass == COMMAND_TRACKING)
            continue; /* nothing is read there */
        if (!link_send_raw(link, g->bytes, g->length))
            return false;
        link->greetings++;
    }
    if (link->reader && !link_send_raw(link, read_only, sizeof read_only - 1))
        return false;
    link->greetings += link->reader ? 2 : 0;
    session_touch(s, link);
    return true;
}

void greet_destroy(struct session *s)
{
    while (s->greetings != NULL) {
        struct greeting *next = s->greetings->next;

        free(s->greetings);
        s->greetings = next;
    }
}
