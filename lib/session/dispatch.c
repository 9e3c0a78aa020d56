/* Which link a part goes to, and whether it may go now. */
#include "session/front.h"
#include "session/reads.h"

#include <errno.h>
#include <stdlib.h>

struct link *dispatch_link_to(struct session *s, const char *host, size_t host_length,
                              uint16_t port)
{
    struct link *link;
    char *name;

    for (link = s->links; link != NULL; link = link->next)
        if (!link->probe && !link->reader && link->feed == NULL &&
            link_is(link, host, host_length, port))
            return link;
    name = strndup(host, host_length);
    link = name ? link_create(name, port) : NULL;
    free(name);
    if (link == NULL)
        return NULL;
    link->node = NODE_NONE;
    link->next = s->links;
    s->links = link;
    return link;
}

struct link *dispatch_link_of_node(struct session *s, uint16_t node)
{
    struct link *link = s->link_of_node[node];

    if (link == NULL) {
        const struct node *n = &s->topology->nodes[node];

        link = dispatch_link_to(s, n->host, strlen(n->host), n->port);
        if (link != NULL) {
            link->node = node;
            s->link_of_node[node] = link;
        }
    }
    return link;
}

uint16_t dispatch_any_slot(const struct session *s)
{
    for (uint16_t node = 0; node < s->topology->node_count; node++)
        if (s->topology->nodes[node].first_slot != SLOT_NONE)
            return s->topology->nodes[node].first_slot;
    return 0;
}

static bool is_master(const struct session *s, const struct link *link)
{
    return !link->reader && link->node != NODE_NONE && s->topology->nodes[link->node].master;
}

/* A keyless command goes to a master that is there already, else to one that has
 * not been found wanting, else to the node that was dialled. */
static struct link *any_link(struct session *s)
{
    struct link *link = s->home;

    if (s->front != NULL)
        return dispatch_link_of_node(s, front_upstreams(s)->own);
    if (link != NULL && link->state == LINK_UP && is_master(s, link))
        return link;
    for (link = s->links; link != NULL; link = link->next)
        if (link->state == LINK_UP && link->feed == NULL && is_master(s, link))
            return link;
    for (uint16_t node = 0; node < s->topology->node_count; node++) {
        link = s->link_of_node[node];
        if (s->topology->nodes[node].master && (link == NULL || link->state != LINK_BACKOFF))
            return dispatch_link_of_node(s, node);
    }
    return dispatch_link_to(s, s->settings.host, strlen(s->settings.host), s->settings.port);
}

struct link *dispatch_route(struct session *s, struct part *part)
{
    if (part->target != NULL)
        return part->target;
    if (s->topology == NULL)
        return s->home;
    if (part->slot != SLOT_NONE && s->topology->owner[part->slot] != NODE_NONE)
        return dispatch_link_of_node(s, s->topology->owner[part->slot]);
    return any_link(s);
}

void session_touch(struct session *s, struct link *link)
{
    if (link->dirty)
        return;
    link->dirty = true;
    link->dirty_next = NULL;
    if (s->dirty == NULL)
        s->dirty = link;
    else
        s->dirty_last->dirty_next = link;
    s->dirty_last = link;
}

static bool own(struct part *part, const char *bytes, size_t length)
{
    if (part->bytes != NULL)
        return true;
    part->bytes = malloc(length);
    if (part->bytes == NULL)
        return false;
    memcpy(part->bytes, bytes, length);
    part->length = length;
    return true;
}

static void wait_for(struct session *s, struct link *link, struct part *part)
{
    bool hopeless = link->state == LINK_BACKOFF && link->trouble != NULL;

    if (link->state == LINK_REFUSED && !greet_again(s, link)) {
        greet_refused_part(s, link, part);
        return;
    }
    if (link->state == LINK_BACKOFF && part->impatient) {
        answer_fail(s, part, "UNREACHABLE redisroute: %s cannot be reached", link->name);
        return;
    }
    if (hopeless && link->retry_at_ms > session_now(s)) {
        answer_fail(s, part, "UNREACHABLE redisroute: %s cannot be reached (%s)", link->name,
                    link->trouble);
        return;
    }
    if (hopeless)
        link->state = LINK_IDLE;
    if (link->state == LINK_BACKOFF && part->wait_since == 0)
        part->wait_since = session_now(s);
    part->state = PART_WAITING;
    part->link = link;
    part_push(&link->waiting, part);
    if (link->state == LINK_IDLE) {
        link->state = LINK_WANTED;
        session_touch(s, link);
    }
}

void dispatch_to(struct session *s, struct link *link, struct part *part, const char *bytes,
                 size_t length)
{
    bool ok;

    if (link->state == LINK_UP) {
        if (link->inner != NULL)
            front_pass_policy(s, link, part);
        ok = link_send(link, part, bytes, length);
        session_touch(s, link);
    } else {
        ok = own(part, bytes, length);
        if (ok)
            wait_for(s, link, part);
    }
    if (!ok)
        session_end(s, ENOMEM);
}

void dispatch_waiting(struct session *s, struct link *link)
{
    struct part *chain = part_take_all(&link->waiting), *next;

    for (; chain != NULL; chain = next) {
        next = chain->next;
        dispatch_to(s, link, chain, chain->bytes, chain->length);
    }
}

void dispatch_hold(struct session *s, struct part *part, const char *bytes, size_t length)
{
    struct trouble *t;

    if (!own(part, bytes, length) || (t = trouble_open(s, part->slot)) == NULL) {
        session_end(s, ENOMEM);
        return;
    }
    trouble_hold(s, t, part);
    trouble_release(s, t);
}

void dispatch_part(struct session *s, struct part *part, const char *bytes, size_t length)
{
    struct link *link;

    if (s->front != NULL && part->state == PART_NEW)
        part->policy = (uint8_t)s->policy;
    if (s->reads != NULL && reads_dispatch(s, part, bytes, length))
        return;
    if (s->careful && part->slot != SLOT_NONE &&
        (trouble_find(s, part->slot) != NULL || topology_is_migrating(s->topology, part->slot))) {
        dispatch_hold(s, part, bytes, length);
        return;
    }
    link = dispatch_route(s, part);
    if (link == NULL)
        session_end(s, ENOMEM);
    else
        dispatch_to(s, link, part, bytes, length);
}
