#include "route/cluster_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where they are known already, else the last place. */
static int place_of_credentials(const struct cluster *c, struct bytes command)
{
    const struct bytes *known = c->state->credentials;
    int i = 0;

    while (i < CREDENTIALS_MOST - 1 &&
           (known[i].length != command.length ||
            memcmp(known[i].data, command.data, command.length) != 0))
        i++;
    return i;
}

static void put_first(struct bytes *credentials, int from, struct bytes these)
{
    memmove(credentials + 1, credentials, (size_t)from * sizeof *credentials);
    credentials[0] = these;
}

void cluster_set_credentials(struct cluster *c, struct bytes command)
{
    char *copy = malloc(command.length);
    struct bytes *known = c->state->credentials;
    int place;

    if (copy == NULL)
        return;
    memcpy(copy, command.data, command.length);
    pthread_mutex_lock(&c->state->lock);
    place = place_of_credentials(c, command);
    free((char *)(uintptr_t)known[place].data);
    put_first(known, place, (struct bytes){copy, command.length});
    pthread_mutex_unlock(&c->state->lock);
}

void cluster_set_logins(struct cluster *c, const struct config_login *logins)
{
    pthread_mutex_lock(&c->state->lock);
    c->state->logins = logins;
    pthread_mutex_unlock(&c->state->lock);
}

char *cluster_credentials(struct cluster *c, const char *host, uint16_t port, size_t *length)
{
    const struct config_login *login;
    const char *said;
    char *copy = NULL;

    pthread_mutex_lock(&c->state->lock);
    said = c->state->credentials[0].data;
    *length = c->state->credentials[0].length;
    if (said == NULL && (login = login_find(c->state->logins, host, port)) != NULL) {
        said = login->auth;
        *length = login->length;
    }
    if (said != NULL && (copy = malloc(*length)) != NULL)
        memcpy(copy, said, *length);
    pthread_mutex_unlock(&c->state->lock);
    return copy;
}

void cluster_doubt_credentials(struct cluster *c, struct bytes command)
{
    struct bytes *known = c->state->credentials, first;
    int count = 0;

    pthread_mutex_lock(&c->state->lock);
    first = known[0];
    while (count < CREDENTIALS_MOST && known[count].data != NULL)
        count++;
    if (count > 1 && first.length == command.length &&
        memcmp(first.data, command.data, command.length) == 0) {
        memmove(known, known + 1, (size_t)(count - 1) * sizeof *known);
        known[count - 1] = first;
    }
    if (count == 1 && c->state->logins != NULL && first.length == command.length &&
        memcmp(first.data, command.data, command.length) == 0) {
        free((char *)(uintptr_t)first.data);
        known[0] = (struct bytes){NULL, 0};
    }
    pthread_mutex_unlock(&c->state->lock);
}

void cluster_set_tls(struct cluster *c, struct tls_profile *profile, const char *dialled)
{
    struct tls_profile *before = NULL;

    pthread_mutex_lock(&c->state->lock);
    if (c->state->tls != profile) {
        before = c->state->tls;
        c->state->tls = tls_profile_ref(profile);
        snprintf(c->state->dialled, sizeof c->state->dialled, "%s", dialled != NULL ? dialled : "");
    }
    pthread_mutex_unlock(&c->state->lock);
    tls_profile_unref(before);
}

struct tls_profile *cluster_tls(struct cluster *c, char dialled[CLUSTER_DIALLED_SIZE])
{
    struct tls_profile *profile;

    pthread_mutex_lock(&c->state->lock);
    profile = tls_profile_ref(c->state->tls);
    memcpy(dialled, c->state->dialled, sizeof c->state->dialled);
    pthread_mutex_unlock(&c->state->lock);
    return profile;
}

void cluster_forget_logins(struct cluster *c)
{
    for (int i = 0; i < CREDENTIALS_MOST; i++)
        free((char *)(uintptr_t)c->state->credentials[i].data);
    tls_profile_unref(c->state->tls);
}
