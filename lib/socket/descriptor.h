/* Descriptor number → endpoint. Readers take no lock; a number belongs to one
 * endpoint at a time. */
#ifndef REDISROUTE_SOCKET_DESCRIPTOR_H
#define REDISROUTE_SOCKET_DESCRIPTOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct endpoint;

enum { DESCRIPTOR_PAGE = 1024, DESCRIPTOR_PAGES = 1024 };

struct descriptor_page {
    struct endpoint *_Atomic endpoint[DESCRIPTOR_PAGE];
};

extern struct descriptor_page *_Atomic descriptor_pages[DESCRIPTOR_PAGES];

/* NULL: no session's, the kernel's. */
static inline struct endpoint *descriptor_find(int fd)
{
    unsigned number = (unsigned)fd;
    struct descriptor_page *page;

    if (number >= DESCRIPTOR_PAGE * DESCRIPTOR_PAGES)
        return NULL;
    page = atomic_load_explicit(&descriptor_pages[number / DESCRIPTOR_PAGE], memory_order_acquire);
    if (page == NULL)
        return NULL;
    return atomic_load_explicit(&page->endpoint[number % DESCRIPTOR_PAGE], memory_order_acquire);
}

/* NULL takes the entry away. False: out of memory, or a number beyond the table. */
bool descriptor_set(int fd, struct endpoint *);

#endif
