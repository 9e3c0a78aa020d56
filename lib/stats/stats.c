#include "stats/stats.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABELS_MOST = 2 * STATS_NAME_MOST + 256 };

_Atomic uint64_t stats_counters[STATS_COUNTERS];
_Atomic bool stats_commands_on;
const struct stats_upstream stats_none;

/* The head only ever changes to a new head. There is no lock: a fork would have to wait for it. */
static struct stats_upstream *_Atomic upstreams;

/* --- counting --- */

void stats_set_commands(bool on)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if (on)
        pthread_once(&once, ticks_begin);
    atomic_store(&stats_commands_on, on);
}

static struct stats_upstream *find(struct stats_upstream *u, const char *name)
{
    while (u != NULL && strncmp(u->name, name, STATS_NAME_MOST - 1) != 0)
        u = u->next;
    return u;
}

struct stats_upstream *stats_upstream(const char *name)
{
    struct stats_upstream *head = atomic_load(&upstreams), *u = find(head, name), *made;

    if (u != NULL || (made = calloc(1, sizeof *made)) == NULL)
        return u;
    snprintf(made->name, sizeof made->name, "%s", name);
    do {
        if ((u = find(head, name)) != NULL) {
            free(made); /* another thread was faster */
            return u;
        }
        made->next = head;
    } while (!atomic_compare_exchange_weak(&upstreams, &head, made));
    return made;
}

struct stats_command *stats_command(struct stats_upstream *u, unsigned row, const char *name)
{
    struct stats_command *c = atomic_load_explicit(&u->commands[row], memory_order_acquire);
    struct stats_command *made;

    if (c != NULL || (made = calloc(1, sizeof *made)) == NULL)
        return c;
    made->name = name;
    if (atomic_compare_exchange_strong(&u->commands[row], &c, made))
        return made;
    free(made); /* another thread was faster */
    return c;
}

static void forget_command(struct stats_command *c)
{
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        atomic_store(&c->latency.counts[i], 0);
    atomic_store(&c->latency.sum_us, 0);
    atomic_store(&c->failures, 0);
}

/* Sessions point to the counters: they stay. */
void stats_forget_all(void)
{
    for (int i = 0; i < STATS_COUNTERS; i++)
        atomic_store(&stats_counters[i], 0);
    for (struct stats_upstream *u = atomic_load(&upstreams); u != NULL; u = u->next)
        for (int row = 0; row < STATS_ROWS; row++)
            if (atomic_load(&u->commands[row]) != NULL)
                forget_command(atomic_load(&u->commands[row]));
}

/* --- reading --- */

struct family {
    const char *name, *help;
    const char *label;
    enum stats_counter first, last;
};

static const struct family families[] = {
    {"redisroute_redirects_total", "Answers of servers that sent a command elsewhere, or back.",
     "kind", STATS_MOVED, STATS_NOSCRIPT},
    {"redisroute_topology_refreshes_total", "Refreshes of a cluster's slot table.", "result",
     STATS_REFRESHES, STATS_REFRESHES_FAILED},
    {"redisroute_links_total",
     "Connections to nodes: opened, lost after that, not opened, opened anew but not at once.",
     "event", STATS_LINKS_OPENED, STATS_LINKS_DELAYED},
    {"redisroute_retries_total", "Commands that were sent once more.", NULL, STATS_RETRIES,
     STATS_RETRIES},
    {"redisroute_waits_total", "Commands that were sent once more after a pause.", NULL,
     STATS_WAITS, STATS_WAITS},
    {"redisroute_configurations_total", "Versions of the configuration that were read.", "result",
     STATS_CONFIG_IN_FORCE, STATS_CONFIG_REFUSED},
    {"redisroute_mirrored_total", "Commands for the mirror, and what became of them.", "result",
     STATS_MIRROR_QUEUED, STATS_MIRROR_DROPPED_EXIT},
};

static const char *const label_of[] = {
    [STATS_MOVED] = "moved",
    [STATS_ASK] = "ask",
    [STATS_TRYAGAIN] = "tryagain",
    [STATS_CLUSTERDOWN] = "clusterdown",
    [STATS_UNBOUND] = "unbound",
    [STATS_LOADING] = "loading",
    [STATS_MASTERDOWN] = "masterdown",
    [STATS_READONLY] = "readonly",
    [STATS_UNBLOCKED] = "unblocked",
    [STATS_NOSCRIPT] = "noscript",
    [STATS_REFRESHES] = "success",
    [STATS_REFRESHES_FAILED] = "failure",
    [STATS_LINKS_OPENED] = "opened",
    [STATS_LINKS_LOST] = "lost",
    [STATS_LINKS_FAILED] = "failed",
    [STATS_LINKS_DELAYED] = "delayed",
    [STATS_CONFIG_IN_FORCE] = "in_force",
    [STATS_CONFIG_REFUSED] = "refused",
    [STATS_MIRROR_QUEUED] = "queued",
    [STATS_MIRROR_SENT] = "sent",
    [STATS_MIRROR_REFUSED] = "refused",
    [STATS_MIRROR_DROPPED_FULL] = "dropped_full",
    [STATS_MIRROR_DROPPED_BLOCKING] = "dropped_blocking",
    [STATS_MIRROR_DROPPED_DATABASE] = "dropped_database",
    [STATS_MIRROR_DROPPED_ABORTED] = "dropped_aborted",
    [STATS_MIRROR_DROPPED_LOST] = "dropped_lost",
    [STATS_MIRROR_DROPPED_LOCKED] = "dropped_locked",
    [STATS_MIRROR_DROPPED_EXIT] = "dropped_exit",
};

/* What is told to whoever reads. NULL: does not care. */
struct reader {
    stats_visitor *each;
    int (*family)(void *data, const char *name, const char *help, const char *type);
    void *data;
};

static int begin_family(const struct reader *r, const char *name, const char *help,
                        const char *type)
{
    return r->family != NULL ? r->family(r->data, name, help, type) : 0;
}

static int read_family(const struct reader *r, const struct family *f)
{
    int result = begin_family(r, f->name, f->help, "counter");

    for (enum stats_counter c = f->first; result == 0 && c <= f->last; c++) {
        char labels[LABELS_MOST] = "";

        if (f->label != NULL)
            snprintf(labels, sizeof labels, "%s=\"%s\"", f->label, label_of[c]);
        result = r->each(r->data, f->name, labels, stats_read(c));
    }
    return result;
}

/* In a label \, " and a line end are escaped. */
static void escape(char *to, size_t size, const char *text)
{
    size_t at = 0;

    for (; *text != '\0' && at + 3 < size; text++) {
        if (*text == '\\' || *text == '"' || *text == '\n')
            to[at++] = '\\';
        to[at++] = *text == '\n' ? 'n' : *text;
    }
    to[at] = '\0';
}

struct command_view {
    const struct stats_command *command;
    char labels[LABELS_MOST];
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
};

/* Numbers of one moment, more or less: buckets are read first, so that the total is theirs. */
static void view_command(struct command_view *v, const struct stats_upstream *u,
                         const struct stats_command *c)
{
    char cluster[STATS_NAME_MOST * 2], name[64];

    escape(cluster, sizeof cluster, u->name);
    snprintf(name, sizeof name, "%s", c->name);
    for (char *bar = strchr(name, '|'); bar != NULL; bar = strchr(bar, '|'))
        *bar = ' ';
    snprintf(v->labels, sizeof v->labels, "cluster=\"%s\",command=\"%s\"", cluster, name);
    v->command = c;
    v->total = 0;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        v->counts[i] = atomic_load_explicit(&c->latency.counts[i], memory_order_relaxed);
        v->total += v->counts[i];
    }
}

static uint64_t failures_of(const struct command_view *v)
{
    uint64_t failures = atomic_load_explicit(&v->command->failures, memory_order_relaxed);

    return failures < v->total ? failures : v->total;
}

typedef int command_reader(const struct reader *, const char *name, const struct command_view *);

static int read_total(const struct reader *r, const char *name, const struct command_view *v)
{
    return r->each(r->data, name, v->labels, v->total);
}

static int read_success(const struct reader *r, const char *name, const struct command_view *v)
{
    return r->each(r->data, name, v->labels, v->total - failures_of(v));
}

static int read_failure(const struct reader *r, const char *name, const struct command_view *v)
{
    return r->each(r->data, name, v->labels, failures_of(v));
}

static int read_latency(const struct reader *r, const char *name, const struct command_view *v)
{
    char part[80], labels[LABELS_MOST + 32];
    uint64_t below = 0;
    int result = 0;

    snprintf(part, sizeof part, "%s_bucket", name);
    for (unsigned i = 0; result == 0 && i < HISTOGRAM_BUCKETS; i++) {
        below += v->counts[i];
        if (i + 1 < HISTOGRAM_BUCKETS)
            snprintf(labels, sizeof labels, "%s,le=\"%llu\"", v->labels,
                     (unsigned long long)histogram_bound(i));
        else
            snprintf(labels, sizeof labels, "%s,le=\"+Inf\"", v->labels);
        result = r->each(r->data, part, labels, below);
    }
    snprintf(part, sizeof part, "%s_sum", name);
    if (result == 0)
        result = r->each(r->data, part, v->labels,
                         atomic_load_explicit(&v->command->latency.sum_us, memory_order_relaxed));
    snprintf(part, sizeof part, "%s_count", name);
    return result != 0 ? result : r->each(r->data, part, v->labels, v->total);
}

static const struct {
    const char *name, *help, *type;
    command_reader *read;
} command_families[] = {
    {"redisroute_commands_total", "Commands that were answered.", "counter", read_total},
    {"redisroute_commands_success_total", "Commands that were answered with no error.", "counter",
     read_success},
    {"redisroute_commands_failure_total", "Commands that were answered with an error.", "counter",
     read_failure},
    {"redisroute_command_latency_microseconds",
     "From the issue of a command until its reply was complete.", "histogram", read_latency},
};

static int read_commands(const struct reader *r, const char *name, command_reader *read)
{
    struct command_view view;
    int result = 0;

    for (const struct stats_upstream *u = atomic_load(&upstreams); u != NULL; u = u->next)
        for (unsigned row = 0; result == 0 && row < STATS_ROWS; row++) {
            const struct stats_command *c =
                atomic_load_explicit(&u->commands[row], memory_order_acquire);

            if (c == NULL)
                continue;
            view_command(&view, u, c);
            result = read(r, name, &view);
        }
    return result;
}

static int read_all(const struct reader *r)
{
    int result = 0;

    for (size_t i = 0; result == 0 && i < sizeof families / sizeof families[0]; i++)
        result = read_family(r, &families[i]);
    for (size_t i = 0; atomic_load(&upstreams) != NULL && result == 0 &&
                       i < sizeof command_families / sizeof command_families[0];
         i++) {
        result = begin_family(r, command_families[i].name, command_families[i].help,
                              command_families[i].type);
        if (result == 0)
            result = read_commands(r, command_families[i].name, command_families[i].read);
    }
    return result;
}

int stats_each(stats_visitor *each, void *data)
{
    struct reader r = {.each = each, .data = data};

    return read_all(&r);
}

/* --- Prometheus' text --- */

static int append(struct buffer *out, const char *text)
{
    return buffer_append_text(out, text) ? 0 : -1;
}

static int append_family(void *data, const char *name, const char *help, const char *type)
{
    char text[512];

    snprintf(text, sizeof text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
    return append(data, text);
}

static int append_sample(void *data, const char *name, const char *labels, unsigned long long value)
{
    char text[LABELS_MOST + 256];

    if (labels[0] != '\0')
        snprintf(text, sizeof text, "%s{%s} %llu\n", name, labels, value);
    else
        snprintf(text, sizeof text, "%s %llu\n", name, value);
    return append(data, text);
}

bool stats_append_text(struct buffer *out)
{
    struct reader r = {.each = append_sample, .family = append_family, .data = out};

    return read_all(&r) == 0;
}
