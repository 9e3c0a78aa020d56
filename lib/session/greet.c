/* The state of the connection as the application set it (AUTH, HELLO, CLIENT
 * SETNAME …): remembered when the server took it, and replayed on every link
 * before anything else is sent there. */
#include "session/request.h"

#include <errno.h>
#include <stdlib.h>

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
        if (link == but || link->probe ||
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
    if (proves_identity(r->command) && s->cluster != NULL)
        cluster_set_credentials(s->cluster, (struct bytes){g->bytes, g->length});
    if (s->state == SESSION_LOCKED)
        discover_begin(s);
}

/* False: out of memory. */
bool greet_link(struct session *s, struct link *link)
{
    for (struct greeting *g = s->greetings; g != NULL; g = g->next) {
        if (!link_send_raw(link, g->bytes, g->length))
            return false;
        link->greetings++;
    }
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
