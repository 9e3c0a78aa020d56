/* In place of tls.c, and of the files under it, in a library that was built without TLS. */
#include "link/tls.h"

#include <stdio.h>

static const char none[] = "this redisroute was built without TLS";

struct tls_profile *tls_profile_create(const struct tls_settings *settings, struct tls_fault *fault)
{
    (void)settings;
    *fault = (struct tls_fault){.text = ""};
    snprintf(fault->text, sizeof fault->text, "%s", none);
    return NULL;
}

/* Something that is not NULL: with it no connection can be opened. */
struct tls_profile *tls_profile_create_broken(const char *why)
{
    static char broken;

    (void)why;
    return (struct tls_profile *)(void *)&broken;
}

struct tls_profile *tls_profile_create_like(struct ssl_st *prototype)
{
    (void)prototype;
    return NULL;
}

struct tls_profile *tls_profile_ref(struct tls_profile *profile)
{
    return profile;
}

void tls_profile_unref(struct tls_profile *profile)
{
    (void)profile;
}

bool tls_begin(struct link *link, struct tls_profile *profile, const char *dialled)
{
    (void)link;
    (void)profile;
    (void)dialled;
    return false;
}

enum wire_result tls_connect(struct link *link)
{
    (void)link;
    return WIRE_LOST;
}

enum wire_result tls_flush(struct link *link)
{
    (void)link;
    return WIRE_LOST;
}

enum wire_result tls_fill(struct link *link, bool wait)
{
    (void)link;
    (void)wait;
    return WIRE_LOST;
}

bool tls_is_usable(struct link *link)
{
    (void)link;
    return false;
}

void tls_at_exit(void (*end)(void))
{
    (void)end;
}

void tls_end(struct link *link)
{
    (void)link;
}

void tls_profile_lock_all(void)
{
}

void tls_profile_unlock_all(void)
{
}
