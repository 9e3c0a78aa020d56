/* What of a session's commands is mirrored: each once, as the application issued it, at the moment
 * at which it is planned; a transaction whole, when its EXEC has succeeded. */
#include "session/copy.h"

#include <stdlib.h>

#include "route/mirror.h"

struct copies {
    struct buffer transaction; /* MULTI and what followed so far */
    uint32_t commands;         /* in it; 0: nothing is collected */
    uint32_t targets;          /* that are to have it … */
    uint32_t targets_of_writes; /* … and those of them that are to have it only if it writes */
    bool writes;
};

static bool selects(const struct session *s)
{
    for (const struct greeting *g = s->greetings; g != NULL; g = g->next)
        if (strcmp(g->command->name, "select") == 0)
            return memmem(g->bytes, g->length, "\r\n0\r\n", 5) == NULL;
    return false;
}

static bool blocks(const struct session *s, const struct command *c)
{
    return c != NULL && (c->flags & COMMAND_BLOCKING) != 0 &&
           command_blocks(c, s->argv.words, s->argv.count);
}

static void forget(struct session *s)
{
    if (s->copies == NULL)
        return;
    buffer_deinit(&s->copies->transaction);
    free(s->copies);
    s->copies = NULL;
}

static void collect(struct session *s, const struct command *c, const char *bytes, size_t length)
{
    struct copies *copies = s->copies;

    if (!buffer_append(&copies->transaction, bytes, length)) {
        mirror_count(MIRROR_DROPPED_FULL, copies->commands + 1);
        forget(s);
        return;
    }
    copies->commands++;
    copies->writes |= mirror_is_write(c);
}

static void begin(struct session *s, const char *bytes, size_t length)
{
    uint32_t targets = 0, of_writes = 0;

    forget(s);
    for (struct config_mirror *m = s->settings.mirrors; m != NULL; m = m->next)
        if (mirror_is_chosen(m)) {
            targets |= mirror_target(m);
            of_writes |= m->exclude_reads ? mirror_target(m) : 0;
        }
    if (targets == 0)
        return;
    s->copies = calloc(1, sizeof *s->copies);
    if (s->copies != NULL)
        collect(s, NULL, bytes, length);
    if (s->copies == NULL)
        return;
    s->copies->writes = false;
    s->copies->targets = targets;
    s->copies->targets_of_writes = of_writes;
}

static uint32_t targets_of(const struct session *s, const struct command *c)
{
    uint32_t targets = 0;

    for (struct config_mirror *m = s->settings.mirrors; m != NULL; m = m->next)
        if (mirror_wants(m, c) && mirror_is_chosen(m))
            targets |= mirror_target(m);
    return targets;
}

void copy_command(struct session *s, const struct command *c, const char *bytes, size_t length)
{
    uint32_t targets;

    if (s->settings.is_mirror || s->state == SESSION_LOCKED)
        return;
    if (s->state == SESSION_TRANSACTING) {
        if (s->copies != NULL)
            collect(s, c, bytes, length);
        return;
    }
    if (c != NULL && c->klass == COMMAND_TRANSACTION && strcmp(c->name, "multi") == 0)
        begin(s, bytes, length);
    else if ((targets = targets_of(s, c)) == 0)
        return;
    else if (blocks(s, c))
        mirror_count(MIRROR_DROPPED_BLOCKING, 1);
    else if (s->greetings != NULL && selects(s))
        mirror_count(MIRROR_DROPPED_DATABASE, 1);
    else
        mirror_push(bytes, length, 1, targets);
}

void copy_transaction_ended(struct session *s, const char *reply)
{
    struct copies *copies = s->copies;
    uint32_t targets;

    if (copies == NULL)
        return;
    targets = copies->writes ? copies->targets : copies->targets & ~copies->targets_of_writes;
    if (reply == NULL || reply[0] != '*' || reply[1] == '-')
        mirror_count(MIRROR_DROPPED_ABORTED, copies->commands);
    else if (s->greetings != NULL && selects(s))
        mirror_count(MIRROR_DROPPED_DATABASE, copies->commands);
    else if (targets != 0)
        mirror_push(buffer_bytes(&copies->transaction), buffer_length(&copies->transaction),
                    copies->commands, targets);
    forget(s);
}

void copy_destroy(struct session *s)
{
    forget(s);
}
