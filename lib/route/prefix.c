#include "route/prefix.h"

#include <stdlib.h>
#include <string.h>

/* Sorted by text. All prefixes of a key that are here are prefixes of the last entry that does not
 * stand behind the key: the longest is that entry, or one of those that it begins with. */
struct entry {
    struct prefix prefix;
    const struct entry *shorter; /* the longest other that it begins with; NULL: none */
};

struct prefixes {
    size_t count;
    bool fold;
    char *texts;
    struct entry entries[];
};

static unsigned char folded(char c, bool fold)
{
    return (unsigned char)(fold && c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static int compare(struct bytes a, struct bytes b, bool fold)
{
    size_t shorter = a.length < b.length ? a.length : b.length;

    for (size_t i = 0; i < shorter; i++) {
        int difference = folded(a.data[i], fold) - folded(b.data[i], fold);

        if (difference != 0)
            return difference;
    }
    return (a.length > b.length) - (a.length < b.length);
}

static bool begins_with(struct bytes key, struct bytes prefix, bool fold)
{
    return key.length >= prefix.length &&
           compare((struct bytes){key.data, prefix.length}, prefix, fold) == 0;
}

static int compare_exactly(const void *a, const void *b)
{
    return compare(((const struct entry *)a)->prefix.text, ((const struct entry *)b)->prefix.text,
                   false);
}

static int compare_folded(const void *a, const void *b)
{
    return compare(((const struct entry *)a)->prefix.text, ((const struct entry *)b)->prefix.text,
                   true);
}

static void link_to_shorter(struct prefixes *p)
{
    for (size_t i = 1; i < p->count; i++) {
        const struct entry *before = &p->entries[i - 1];

        while (before != NULL &&
               !begins_with(p->entries[i].prefix.text, before->prefix.text, p->fold))
            before = before->shorter;
        p->entries[i].shorter = before;
    }
}

struct prefixes *prefixes_create(const struct prefix *list, size_t count, bool case_insensitive)
{
    struct prefixes *p = calloc(1, sizeof *p + count * sizeof p->entries[0]);
    size_t length = 0;

    for (size_t i = 0; i < count; i++)
        length += list[i].text.length;
    if (p == NULL || (p->texts = malloc(length + 1)) == NULL) {
        free(p);
        return NULL;
    }
    p->count = count;
    p->fold = case_insensitive;
    length = 0;
    for (size_t i = 0; i < count; i++) {
        p->entries[i].prefix = list[i];
        p->entries[i].prefix.text.data = p->texts + length;
        memcpy(p->texts + length, list[i].text.data, list[i].text.length);
        length += list[i].text.length;
    }
    qsort(p->entries, count, sizeof p->entries[0], p->fold ? compare_folded : compare_exactly);
    link_to_shorter(p);
    return p;
}

void prefixes_destroy(struct prefixes *p)
{
    if (p == NULL)
        return;
    free(p->texts);
    free(p);
}

const struct prefix *prefixes_find(const struct prefixes *p, struct bytes key)
{
    size_t low = 0, high = p->count;
    const struct entry *e;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare(p->entries[middle].prefix.text, key, p->fold) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    e = low > 0 ? &p->entries[low - 1] : NULL;
    while (e != NULL && !begins_with(key, e->prefix.text, p->fold))
        e = e->shorter;
    return e != NULL ? &e->prefix : NULL;
}
