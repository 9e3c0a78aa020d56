#include "session/tap.h"

enum { KEEP = 4096 };

static void go_blind(struct tap *tap)
{
    struct audit_entry e;

    judge_unreadable(&e);
    audit_record(&e);
    tap->blind = true;
    buffer_deinit(&tap->in);
}

static void look_at_command(struct tap *tap)
{
    struct audit_entry e;

    judge_command(&tap->judge, tap->argv.words, tap->argv.count, &e);
    audit_record(&e);
}

/* How many bytes were whole commands. */
static size_t look_at(struct tap *tap, const char *bytes, size_t length)
{
    size_t done = 0, used = 0;
    const char *why;

    tap->needed = 0;
    while (done < length) {
        switch (parse_command(&tap->argv, bytes + done, length - done, &used, &why)) {
        case PARSE_WHOLE:
            look_at_command(tap);
            done += used;
            break;
        case PARSE_EMPTY:
            done += used;
            break;
        case PARSE_PARTIAL:
            tap->needed = used;
            return done;
        case PARSE_BROKEN:
        case PARSE_NO_MEMORY:
            go_blind(tap);
            return length;
        }
    }
    return done;
}

static void keep(struct tap *tap, const char *bytes, size_t length)
{
    if (tap->blind)
        return;
    if (buffer_length(&tap->in) + length > TAP_COMMAND_MOST ||
        !buffer_append(&tap->in, bytes, length))
        go_blind(tap);
}

/* Behind the beginning of a command that came before. */
static void look_further(struct tap *tap, const char *bytes, size_t length)
{
    keep(tap, bytes, length);
    if (tap->blind || buffer_length(&tap->in) < tap->needed)
        return;
    length = look_at(tap, buffer_bytes(&tap->in), buffer_length(&tap->in));
    if (tap->blind)
        return;
    buffer_consume(&tap->in, length);
    buffer_relax(&tap->in, KEEP);
}

void tap_look(struct tap *tap, const char *bytes, size_t length)
{
    size_t done;

    if (tap->blind || length == 0)
        return;
    if (buffer_length(&tap->in) > 0) {
        look_further(tap, bytes, length);
        return;
    }
    done = look_at(tap, bytes, length);
    if (done < length)
        keep(tap, bytes + done, length - done);
}

void tap_deinit(struct tap *tap)
{
    buffer_deinit(&tap->in);
    argv_deinit(&tap->argv);
}
