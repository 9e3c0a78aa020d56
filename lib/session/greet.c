/* The state of the connection as the application set it (AUTH, HELLO, CLIENT
 * SETNAME …): remembered when the server took it, and replayed on every link
 * before anything else is sent there. */
#include "session/request.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"

/* A replica that has just started answers with what it has, which may be nothing. */
static const char read_only[] = "*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n"
                                "*1\r\n$8\r\nREADONLY\r\n";

/* Who we are is said first, then which protocol we speak, since a server that wants to know who we
 * are answers nothing else before; the rest in the order in which it was said. */
static void forget(struct session *s, enum greeting_kind kind, const struct command *command)
{
    struct greeting **at = &s->greetings;

    while (*at != NULL) {
        struct greeting *g = *at;

        if (g->kind == kind && (kind != GREETING_OTHER || g->command == command)) {
            *at = g->next;
            free(g);
        } else {
            at = &g->next;
        }
    }
}

static bool add(struct session *s, enum greeting_kind kind, const struct command *command,
                struct bytes bytes)
{
    struct greeting *g = malloc(sizeof *g + bytes.length), **at = &s->greetings;

    if (g == NULL)
        return false;
    *g = (struct greeting){.kind = kind, .command = command, .length = bytes.length};
    memcpy(g->bytes, bytes.data, bytes.length);
    while (*at != NULL && (*at)->kind <= kind)
        at = &(*at)->next;
    g->next = *at;
    *at = g;
    return true;
}

/* The words as a command, in place of what was remembered of this kind. */
static bool add_words(struct session *s, enum greeting_kind kind, struct bytes *words, int count)
{
    struct argv argv = {.words = words, .count = count};
    const struct command *command = command_lookup(words, count);
    struct buffer bytes;
    bool ok;

    buffer_init(&bytes);
    forget(s, kind, command);
    ok = argv_format(&argv, &bytes) &&
         add(s, kind, command, (struct bytes){buffer_bytes(&bytes), buffer_length(&bytes)});
    buffer_deinit(&bytes);
    return ok;
}

static struct bytes text(const char *s)
{
    return (struct bytes){s, strlen(s)};
}

/* HELLO [protocol [AUTH user password] [SETNAME name]] says several things at once, each of which
 * holds until it is said again, by whatever command. */
static bool remember_hello(struct session *s, const struct argv *argv)
{
    struct bytes *words = argv->words;
    bool ok = argv->count < 2 || add_words(s, GREETING_PROTOCOL, words, 2);

    for (int i = 2; ok && i < argv->count; i++) {
        if (bytes_equal_ignoring_case(words[i], "auth") && i + 2 < argv->count) {
            ok = add_words(s, GREETING_AUTH,
                           (struct bytes[]){text("AUTH"), words[i + 1], words[i + 2]}, 3);
            i += 2;
        } else if (bytes_equal_ignoring_case(words[i], "setname") && i + 1 < argv->count) {
            ok = add_words(s, GREETING_OTHER,
                           (struct bytes[]){text("CLIENT"), text("SETNAME"), words[i + 1]}, 3);
            i++;
        }
    }
    return ok;
}

/* --- what the configuration has links say first --- */

/* Of single servers it speaks by their numbers, whatever name led there. */
static const struct config_login *login_at(const struct config_login *logins,
                                           const struct link *link)
{
    char number[INET6_ADDRSTRLEN];

    return login_find(logins, link_number(link, number) ? number : link->host, link->port);
}

/* NULL: nothing, or the program has said who it is. */
static const struct config_login *login_of(const struct session *s, const struct link *link)
{
    bool own = s->greetings != NULL && s->greetings->kind == GREETING_AUTH;

    return own ? NULL : login_at(s->settings.logins, link);
}

bool greet_is_login(const struct session *s, const struct link *link)
{
    return login_of(s, link) != NULL;
}

bool greet_is_due(const struct session *s, const struct link *link)
{
    return s->greetings != NULL || link->reader || greet_is_login(s, link);
}

static bool begins(const char *reply, size_t length, const char *with)
{
    return length >= strlen(with) && memcmp(reply, with, strlen(with)) == 0;
}

/* So that clients may be given the password before servers are. */
bool greet_needs_no_login(const struct session *s, const struct link *link, const char *reply,
                          size_t length)
{
    static const char *const words[] = {"-ERR AUTH <password> called without any password",
                                        "-ERR Client sent AUTH, but no password is set"};

    if (!greet_is_login(s, link) ||
        !(begins(reply, length, words[0]) || begins(reply, length, words[1])))
        return false;
    log_write(LOG_WARNING, "%s has no password, and was told one: %.*s", link->name,
              (int)length - 3, reply + 1);
    return true;
}

/* False: out of memory. */
static bool say(struct session *s, struct link *link, const char *bytes, size_t length)
{
    session_touch(s, link);
    return link_send_greeting(link, bytes, length, 1);
}

static bool log_in(struct session *s, struct link *link)
{
    const struct config_login *login = login_of(s, link);

    return login == NULL || say(s, link, login->auth, login->length);
}

/* Once more from the beginning, when what was said before is answered. */
static bool greet_anew(struct session *s, struct link *link)
{
    link->state = LINK_GREETING;
    link->outdated = link->greetings;
    link->greets_anew = link->greetings > 0;
    if (link->greets_anew)
        return true;
    if (!greet_link(s, link))
        return false;
    if (link->greetings == 0)
        link->state = LINK_UP;
    return true;
}

/* What a server did not take from who we were, it has to hear from who we are. */
bool greet_is_outdated(struct link *link, const char *reply)
{
    if (link->outdated == 0)
        return false;
    link->outdated--;
    link->greets_anew |= reply[0] == '-';
    return reply[0] == '-';
}

bool greet_goes_on(struct session *s, struct link *link)
{
    if (!link->greets_anew)
        return false;
    if (!greet_anew(s, link))
        session_end(s, ENOMEM);
    return s->state == SESSION_ENDED || link->greetings > 0;
}

/* --- a login that is refused --- */

enum { REFUSED_MS = 1000 };

/* AUTH, or HELLO with it: what may be heard by a server that takes nothing else. */
static bool proves_identity(const struct command *command, const char *bytes, size_t length)
{
    static const char lower[] = "\r\nauth\r\n";
    size_t matched = 0;

    if (command == NULL || strcmp(command->name, "hello") != 0)
        return command != NULL && strcmp(command->name, "auth") == 0;
    for (size_t i = 0; i < length && lower[matched] != '\0'; i++) {
        char c = bytes[i];

        matched = (c | 0x20) == lower[matched] || c == lower[matched] ? matched + 1 : c == '\r';
    }
    return lower[matched] == '\0';
}

void greet_refused_part(struct session *s, struct link *link, struct part *part)
{
    if (!proves_identity(part->request->command, part->bytes, part->length)) {
        part->out_of_order = true;
        answer_complete(s, part, link, link->refusal, link->refusal_length, 0);
    } else if (link_send(link, part, part->bytes, part->length)) {
        session_touch(s, link);
    } else {
        session_end(s, ENOMEM);
    }
}

void greet_refused(struct session *s, struct link *link, const char *reply, size_t length)
{
    struct part *chain = part_take_all(&link->waiting), *next;

    log_write(LOG_ERROR, "%s does not take the login of the configuration: %.*s", link->name,
              (int)length - 3, reply + 1);
    free(link->refusal);
    link->refusal = malloc(length);
    if (link->refusal == NULL) {
        session_end(s, ENOMEM);
        return;
    }
    memcpy(link->refusal, reply, length);
    link->refusal_length = length;
    if (s->state == SESSION_PLAIN)
        session_end(s, EACCES);
    link->state = LINK_REFUSED;
    link->retry_at_ms = session_now(s) + REFUSED_MS;
    for (; chain != NULL && s->state != SESSION_ENDED; chain = next) {
        next = chain->next;
        greet_refused_part(s, link, chain);
    }
}

bool greet_again(struct session *s, struct link *link)
{
    if (s->topology == NULL || session_now(s) < link->retry_at_ms)
        return false;
    if (!greet_anew(s, link))
        session_end(s, ENOMEM);
    return true;
}

/* --- what the program said --- */

static bool was_asked(const struct request *r, const struct link *link)
{
    if (r->fanout == NULL)
        return r->part.link == link;
    for (uint32_t i = 0; i < r->fanout->count; i++)
        if (r->fanout->parts[i].part.link == link)
            return true;
    return false;
}

/* The links that are up, or are being greeted, and were not asked learn it now; what is dispatched
 * to them waits. `r` NULL: all of them. */
static bool tell_links(struct session *s, struct bytes command, const struct request *r)
{
    bool is_other = r == NULL || proves_identity(r->command, command.data, command.length);

    for (struct link *link = s->links; link != NULL; link = link->next) {
        if (link->probe && link != s->probe && link->state == LINK_UP) {
            link->must_close = true; /* of no use any more; the next one is told */
            session_touch(s, link);
        }
        if ((r != NULL && was_asked(r, link)) || link->probe || link->must_close ||
            !link_is_open(link) ||
            (r != NULL && link->feed != NULL && r->command->klass == COMMAND_TRACKING))
            continue;
        if (is_other)
            link->outdated = link->greetings;
        if (link->state == LINK_REFUSED && r != NULL ? !greet_anew(s, link)
                                                     : !say(s, link, command.data, command.length))
            return false;
        if (link->greetings > 0)
            link->state = LINK_GREETING;
    }
    return true;
}

/* Those that were refused, and have heard what is taken. */
static bool tell_refused(struct session *s)
{
    for (struct link *link = s->links; link != NULL; link = link->next)
        if (link->state == LINK_REFUSED && !link->probe && !greet_anew(s, link))
            return false;
    return true;
}

int greet_protocol(const struct session *s)
{
    for (const struct greeting *g = s->greetings; g != NULL; g = g->next)
        if (g->kind == GREETING_PROTOCOL)
            return memmem(g->bytes, g->length, "\r\n$1\r\n3\r\n", 9) != NULL ? 3 : 2;
    return 2;
}

/* A server forgets all that was said, READONLY included; and so does one that did not take our
 * login, since it may have taken another before. */
void greet_reset(struct session *s)
{
    bool ok;

    greet_destroy(s);
    ok = tell_links(s, text("*1\r\n$5\r\nRESET\r\n"), NULL);
    for (struct link *link = s->links; ok && link != NULL; link = link->next)
        if (!link->probe && !link->must_close && link->state == LINK_GREETING)
            ok = greet_link(s, link);
    if (!ok)
        session_end(s, ENOMEM);
}

void greet_credentials(const struct session *s)
{
    cluster_set_logins(s->cluster, s->settings.logins);
    for (const struct greeting *g = s->greetings; g != NULL; g = g->next)
        if (g->kind == GREETING_AUTH)
            cluster_set_credentials(s->cluster, (struct bytes){g->bytes, g->length});
}

bool greet_says_who(const struct command *command)
{
    return command != NULL &&
           (strcmp(command->name, "auth") == 0 || strcmp(command->name, "hello") == 0);
}

static bool remember(struct session *s, const struct command *command, const struct argv *argv,
                     struct bytes bytes)
{
    bool is_auth = strcmp(command->name, "auth") == 0;

    if (strcmp(command->name, "hello") == 0)
        return remember_hello(s, argv);
    if (command->klass != COMMAND_TRACKING || client_tracks(s, argv))
        forget(s, is_auth ? GREETING_AUTH : GREETING_OTHER, command);
    return add(s, is_auth ? GREETING_AUTH : GREETING_OTHER, command, bytes);
}

void greet_remember(struct session *s, struct request *r, const char *command, size_t length)
{
    struct bytes bytes = {command, length};
    struct argv argv = {0};
    const char *why;
    size_t used;
    bool ok = parse_command(&argv, command, length, &used, &why) == PARSE_WHOLE &&
              remember(s, r->command, &argv, bytes) && tell_links(s, bytes, r) && tell_refused(s);

    argv_deinit(&argv);
    if (!ok) {
        session_end(s, ENOMEM);
        return;
    }
    if (greet_says_who(r->command) && s->cluster != NULL)
        greet_credentials(s);
    if (s->state == SESSION_LOCKED)
        discover_begin(s);
}

/* Connections stay logged in when a password changes; another user is another matter. */
void greet_changed(struct session *s, const struct config_login *before)
{
    bool ok = true;

    if (s->cluster != NULL)
        cluster_set_logins(s->cluster, s->settings.logins);
    if (s->state == SESSION_PLAIN)
        return;
    for (struct link *link = s->links; ok && link != NULL; link = link->next)
        if (!link->probe && !link->must_close && link->feed == NULL && link_is_open(link) &&
            !session_holds(s, link) &&
            (link->state == LINK_REFUSED ||
             login_is_of_other(login_of(s, link), login_at(before, link))))
            ok = greet_anew(s, link);
    if (!ok)
        session_end(s, ENOMEM);
}

/* False: out of memory. */
bool greet_link(struct session *s, struct link *link)
{
    if (!log_in(s, link))
        return false;
    for (struct greeting *g = s->greetings; g != NULL; g = g->next) {
        if ((link->feed != NULL || link->probe) && g->command->klass == COMMAND_TRACKING)
            continue; /* nothing is read there */
        if (!link_send_greeting(link, g->bytes, g->length, 1))
            return false;
    }
    if (link->reader && !link_send_greeting(link, read_only, sizeof read_only - 1, 2))
        return false;
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
