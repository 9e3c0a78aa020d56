#include "link/link.h"

#include "base/bytes.h"
#include "link/tls.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

static const char asking[] = "*1\r\n$6\r\nASKING\r\n";
static const char cached[] = "*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$3\r\nYES\r\n";
static const char uncached[] = "*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$2\r\nNO\r\n";

bool link_rename(struct link *link, const char *host)
{
    size_t size = strlen(host) + sizeof ":65535";
    char *copy = strdup(host), *name = malloc(size);

    if (copy == NULL || name == NULL) {
        free(copy);
        free(name);
        return false;
    }
    snprintf(name, size, "%s:%u", host, (unsigned)link->port);
    free(link->host);
    free(link->name);
    link->host = copy;
    link->name = name;
    return true;
}

struct link *link_create(const char *host, uint16_t port)
{
    struct link *link = calloc(1, sizeof *link);

    if (link == NULL)
        return NULL;
    link->fd = -1;
    link->port = port;
    if (link_rename(link, host))
        return link;
    link_destroy(link);
    return NULL;
}

void link_destroy(struct link *link)
{
    if (link == NULL)
        return;
    if (link->tls != NULL)
        tls_end(link);
    free(link->trouble);
    buffer_deinit(&link->out);
    buffer_deinit(&link->in);
    free(link->host);
    free(link->name);
    free(link->refusal);
    free(link);
}

bool link_send_raw(struct link *link, const char *bytes, size_t length)
{
    return buffer_append(&link->out, bytes, length);
}

bool link_send_greeting(struct link *link, const char *bytes, size_t length, uint32_t answers)
{
    if (link->greetings == 0)
        link->greeted_at = link->out_base + buffer_length(&link->out);
    link->greetings += answers;
    return link_send_raw(link, bytes, length);
}

/* ASKING and CLIENT CACHING are both about the next command, and so there is room for one of them:
 * without the other, the command would not be executed. */
static bool send_before(struct link *link, struct part *part)
{
    struct bytes before = {asking, sizeof asking - 1};

    part->untracked = part->asking && part->caching == PART_CACHED;
    if (!part->asking)
        before = part->caching == PART_CACHED ? (struct bytes){cached, sizeof cached - 1}
                                              : (struct bytes){uncached, sizeof uncached - 1};
    part->skip = 1;
    part->asking = false;
    return buffer_append(&link->out, before.data, before.length);
}

bool link_send(struct link *link, struct part *part, const char *bytes, size_t length)
{
    if ((part->asking | part->caching) != 0 && !send_before(link, part))
        return false;
    part->at = link->out_base + buffer_length(&link->out);
    if (!buffer_append(&link->out, bytes, length))
        return false;
    part->length = length;
    part->link = link;
    part->state = PART_SENT;
    part_push(&link->sent, part);
    link_count(&link->asked, 1);
    return true;
}

void link_resume(struct link *link, struct part *part, uint64_t at, size_t length)
{
    part->at = at;
    part->length = length;
    part->link = link;
    part->state = PART_SENT;
    part_push(&link->sent, part);
}

/* What is not flushed yet stays, whatever was answered: the stream must not break off inside
 * a command. */
static void drop_out(struct link *link, uint64_t position)
{
    if (position > link->out_flushed)
        position = link->out_flushed;
    buffer_consume(&link->out, (size_t)(position - link->out_base));
    link->out_base = position;
    if (link->out.head == link->out.tail && link->out.capacity > LINK_KEEP)
        buffer_relax(&link->out, LINK_KEEP);
}

struct part *link_answered(struct link *link)
{
    struct part *part = part_pop(&link->sent);

    if (part == NULL)
        return NULL;
    link_answered_up_to(link, part->at + part->length, 1);
    return part;
}

void link_answered_up_to(struct link *link, uint64_t position, uint32_t count)
{
    drop_out(link, position);
    link_count(&link->replied, count);
}

const char *link_command(const struct link *link, const struct part *part)
{
    if (part->bytes != NULL)
        return part->bytes;
    return link->out.data + link->out.head + (part->at - link->out_base);
}

bool link_detach(const struct link *link, struct part *part)
{
    char *copy;

    if (part->bytes != NULL)
        return true;
    copy = malloc(part->length);
    if (copy == NULL)
        return false;
    memcpy(copy, link_command(link, part), part->length);
    part->bytes = copy;
    return true;
}

void link_forget_flushed(struct link *link)
{
    drop_out(link, link->out_flushed);
}

void link_cut(struct link *link)
{
    uint64_t end = link->out_base + buffer_length(&link->out);

    buffer_deinit(&link->out);
    link->out_base = link->out_flushed = end;
    link->in.tail = link->in.head + (size_t)(link->in_scanned - link->in_base);
    if (link->in_place == 0)
        link_release(link, link->in_scanned);
    frame_reset(&link->frame);
    link->greetings = link->outdated = 0;
    link->greets_anew = false;
    link->knocked = false;
    atomic_store_explicit(&link->asked, 0, memory_order_relaxed);
    atomic_store_explicit(&link->replied, 0, memory_order_relaxed);
}

void link_release(struct link *link, uint64_t position)
{
    if (position <= link->in_base)
        return;
    buffer_consume(&link->in, (size_t)(position - link->in_base));
    link->in_base = position;
    if (link->in.head == link->in.tail && link->in.capacity > LINK_KEEP)
        buffer_relax(&link->in, LINK_KEEP);
}

/* What frame_scan began it has to finish: what it remembers is not about the next reply. */
int64_t link_next_reply(struct link *link)
{
    size_t there = (size_t)(link->in_base + buffer_length(&link->in) - link->in_scanned);
    const char *data = link_reply(link, link->in_scanned);
    size_t length = there && link->frame.needed == 0 ? frame_quick(data, there) : 0;

    if (there == 0 || length > 0)
        return (int64_t)length;
    switch (frame_scan(&link->frame, data, there, &length)) {
    case FRAME_WHOLE:
        frame_reset(&link->frame);
        return (int64_t)length;
    case FRAME_PARTIAL:
        return 0;
    case FRAME_BROKEN:
        return -1;
    }
    return -1;
}

bool link_is(const struct link *link, const char *host, size_t host_length, uint16_t port)
{
    return link->port == port && strlen(link->host) == host_length &&
           memcmp(link->host, host, host_length) == 0;
}

bool link_number(const struct link *link, char number[INET6_ADDRSTRLEN])
{
    const struct sockaddr_in *in = (const void *)&link->address;
    const struct sockaddr_in6 *in6 = (const void *)&link->address;

    if (link->address_length == 0)
        return false;
    if (in->sin_family == AF_INET)
        return inet_ntop(AF_INET, &in->sin_addr, number, INET6_ADDRSTRLEN) != NULL;
    return inet_ntop(AF_INET6, &in6->sin6_addr, number, INET6_ADDRSTRLEN) != NULL;
}
