/* The public functions: check, delegate, translate. */
#include <hiredis/hiredis.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/event.h"
#include "config/config.h"
#include "redisroute/redisroute.h"
#include "socket/descriptor.h"
#include "socket/endpoint.h"
#include "socket/hooks.h"
#include "socket/stream.h"
#include "socket/words.h"
#include "stats/stats.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

#define PUBLIC __attribute__((visibility("default")))

PUBLIC const char *redisRouteVersion(void)
{
    return REDISROUTE_VERSION;
}

PUBLIC const char *redisRouteHiredisVersion(void)
{
    return TEXT(HIREDIS_MAJOR) "." TEXT(HIREDIS_MINOR) "." TEXT(HIREDIS_PATCH);
}

/* --- sessions --- */

struct redisRouteSession {
    struct stream stream;
};

static struct stream *stream_of(redisRouteSession *session)
{
    return &session->stream;
}

/* The structure of the first version, which had no TLS. */
#define OPTIONS_LEAST offsetof(redisRouteOptions, tls)

/* NULL: these can be. */
static const char *what_is_wrong(const char *host, int port, const redisRouteOptions *options)
{
    if (host == NULL || host[0] == '\0')
        return "a host is needed";
    if (port < 1 || port > 65535)
        return "a port is a number from 1 to 65535";
    if (options == NULL)
        return NULL;
    if (options->size < OPTIONS_LEAST)
        return "options.size is not set";
    if (options->size > sizeof(redisRouteOptions))
        return "these options are a newer library's";
    if (options->connect_timeout_ms < 0)
        return "connect_timeout_ms is negative";
    if (options->read_policy != NULL && read_policy_parse(options->read_policy) == -1)
        return "there is no such read_policy";
    return NULL;
}

/* False: there is no such thing. */
static bool take_descriptor(const char *name, int *descriptor)
{
    *descriptor = DESCRIPTOR_AUTO;
    if (name == NULL)
        return true;
    if (strcasecmp(name, "socket") == 0)
        *descriptor = DESCRIPTOR_SOCKET;
    if (strcasecmp(name, "epoll") == 0)
        *descriptor = DESCRIPTOR_EPOLL;
    return *descriptor != DESCRIPTOR_AUTO;
}

static struct tls_profile *make_profile(const redisRouteOptions *options, struct tls_fault *fault)
{
    const struct tls_settings settings = {
        .ca.file = options->tls_ca,
        .certificate.file = options->tls_certificate,
        .key.file = options->tls_key,
        .server_name = options->tls_server_name,
        .no_verify = options->tls_no_verify != 0,
    };

    return tls_profile_create(&settings, fault);
}

PUBLIC redisRouteSession *redisRouteOpen(const char *host, int port,
                                         const redisRouteOptions *given)
{
    const char *wrong = what_is_wrong(host, port, given);
    redisRouteOptions options = {0};
    struct endpoint_wishes wishes = {0};
    struct tls_fault fault;
    struct stream *stream;

    if (wrong == NULL && given != NULL)
        memcpy(&options, given, given->size);
    if (wrong == NULL && !take_descriptor(options.descriptor, &wishes.descriptor))
        wrong = "a descriptor is epoll or socket";
    if (wrong == NULL && options.tls != 0 &&
        (wishes.tls = make_profile(&options, &fault)) == NULL)
        wrong = fault.text;
    if (wrong != NULL) {
        stream_refuse(wrong);
        return NULL;
    }
    wishes.connect_timeout_ms = options.connect_timeout_ms;
    stream = stream_open(host, port, &wishes);
    tls_profile_unref(wishes.tls);
    if (stream != NULL && options.read_policy != NULL &&
        !stream_set_read_policy(stream, read_policy_parse(options.read_policy))) {
        stream_close(stream);
        errno = ENOMEM;
        return NULL;
    }
    return (redisRouteSession *)(void *)stream;
}

PUBLIC int redisRouteConnected(redisRouteSession *session)
{
    return stream_connected(stream_of(session));
}

PUBLIC int redisRouteFd(const redisRouteSession *session)
{
    return session->stream.endpoint->fd;
}

PUBLIC int redisRouteWrite(redisRouteSession *session, const void *bytes, size_t length)
{
    return stream_write(stream_of(session), bytes, length);
}

PUBLIC int redisRouteWriteReading(redisRouteSession *session, const void *bytes, size_t length,
                                  enum redisRouteReadPolicy policy)
{
    if ((unsigned)policy >= READ_POLICIES)
        return stream_refuse_use(stream_of(session), "there is no such read policy");
    return stream_write_by(stream_of(session), bytes, length, (enum read_policy)policy);
}

PUBLIC size_t redisRouteKept(const redisRouteSession *session)
{
    return endpoint_kept(session->stream.endpoint);
}

PUBLIC ssize_t redisRouteRead(redisRouteSession *session, void *to, size_t size)
{
    return stream_read(stream_of(session), to, size);
}

PUBLIC ssize_t redisRouteReadWait(redisRouteSession *session, void *to, size_t size, int timeout_ms)
{
    return stream_read_wait(stream_of(session), to, size, timeout_ms);
}

PUBLIC int redisRouteWait(redisRouteSession *session, int timeout_ms)
{
    return stream_wait(stream_of(session), timeout_ms);
}

PUBLIC void redisRouteInterrupt(redisRouteSession *session)
{
    stream_interrupt(stream_of(session));
}

PUBLIC void redisRouteClose(redisRouteSession *session)
{
    if (session != NULL)
        stream_close(stream_of(session));
}

PUBLIC const char *redisRouteErrorText(const redisRouteSession *session)
{
    return session != NULL ? session->stream.error : stream_open_error;
}

/* --- TLS of hiredis' own --- */

/* hiredis' own, which not all its headers have. */
void __redisSetError(redisContext *c, int type, const char *text); /* NOLINT */

static int ssl_failed(redisContext *c, int type, const char *why)
{
    char text[320];

    snprintf(text, sizeof text, "SSL_connect failed: %s", why);
    if (c->err == 0)
        __redisSetError(c, type, text);
    return -1;
}

PUBLIC int redisRouteInitiateSSL(redisContext *c, struct ssl_st *ssl)
{
    struct endpoint *ep = c->err ? NULL : descriptor_find(c->fd);
    struct tls_profile *profile;
    int result;

    if (ep == NULL || ep->tap != NULL)
        return 0;
    profile = tls_profile_create_like(ssl);
    if (profile == NULL)
        return ssl_failed(c, REDIS_ERR_OTHER, "out of memory");
    result = endpoint_secure(ep, profile);
    tls_profile_unref(profile);
    return result == 0 ? 1 : ssl_failed(c, REDIS_ERR_IO, words_for(errno));
}

/* --- read policies --- */

_Static_assert((int)REDISROUTE_READ_AZ_AFFINITY_REPLICAS_AND_PRIMARY ==
                   (int)READ_AZ_AFFINITY_REPLICAS_AND_PRIMARY,
               "the public policies are the configuration's");

static int set_policy(redisContext *c, enum redisRouteReadPolicy policy, bool stays)
{
    struct endpoint *ep = c->err ? NULL : descriptor_find(c->fd);

    if ((unsigned)policy >= READ_POLICIES)
        return REDIS_ERR;
    if (ep == NULL)
        return REDIS_OK;
    return endpoint_set_read_policy(ep, (enum read_policy)policy, hooks_unsent(c), stays)
               ? REDIS_OK
               : REDIS_ERR;
}

PUBLIC int redisRouteSetReadPolicy(redisContext *c, enum redisRouteReadPolicy policy)
{
    return set_policy(c, policy, true);
}

PUBLIC int redisRouteNextReadPolicy(redisContext *c, enum redisRouteReadPolicy policy)
{
    return set_policy(c, policy, false);
}

/* --- configuration --- */

PUBLIC int redisRouteCheckConfig(const char *files, char *why, size_t size)
{
    struct complaint complaint = {""};
    struct config *config;

    if (files == NULL)
        files = config_files();
    config = config_load(files != NULL ? files : "", &complaint);
    if (why != NULL && size > 0)
        snprintf(why, size, "%s", complaint.text);
    config_destroy(config);
    return config != NULL ? 0 : -1;
}

/* --- statistics --- */

PUBLIC void redisRouteSetCommandStats(int on)
{
    stats_set_commands(on != 0);
}

PUBLIC int redisRouteEachStat(redisRouteStatFn each, void *data)
{
    return each != NULL ? stats_each(each, data) : -1;
}

PUBLIC size_t redisRouteStatsText(char *to, size_t size)
{
    struct buffer text;
    size_t length = 0;

    buffer_init(&text);
    if (stats_append_text(&text)) {
        length = buffer_length(&text);
        if (size > 0) {
            size_t shown = length < size ? length : size - 1;

            memcpy(to, buffer_bytes(&text), shown);
            to[shown] = '\0';
        }
    }
    buffer_deinit(&text);
    return length;
}

/* --- events --- */

_Static_assert((int)REDISROUTE_EVENT_GAP == (int)EVENT_GAP &&
                   (int)REDISROUTE_EVENT_TOPOLOGY == (int)EVENT_TOPOLOGY,
               "events have one number");

/* What the program gave, behind a function of the library's own type. */
struct told {
    redisRouteEventFn function;
    void *data;
};

static void tell(void *data, int kind, int fd, const char *text)
{
    const struct told *told = data;

    told->function(told->data, (enum redisRouteEvent)kind, fd, text);
}

PUBLIC int redisRouteSetEventFn(redisRouteEventFn each, void *data)
{
    struct told *told;

    if (each == NULL)
        return event_listen(NULL, NULL) ? 0 : -1;
    told = malloc(sizeof *told);
    if (told == NULL)
        return -1;
    *told = (struct told){.function = each, .data = data};
    if (!event_listen(tell, told)) {
        free(told);
        return -1;
    }
    return 0;
}
