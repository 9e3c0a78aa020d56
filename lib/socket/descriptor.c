#include "socket/descriptor.h"

#include <stdlib.h>

struct descriptor_page *_Atomic descriptor_pages[DESCRIPTOR_PAGES];

static struct descriptor_page *page_of(unsigned number)
{
    struct descriptor_page *_Atomic *at = &descriptor_pages[number / DESCRIPTOR_PAGE];
    struct descriptor_page *page = atomic_load_explicit(at, memory_order_acquire), *fresh;

    if (page != NULL)
        return page;
    fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL)
        return NULL;
    if (atomic_compare_exchange_strong(at, &page, fresh))
        return fresh;
    free(fresh);
    return page;
}

bool descriptor_set(int fd, struct endpoint *endpoint)
{
    unsigned number = (unsigned)fd;
    struct descriptor_page *page;

    if (number >= DESCRIPTOR_PAGE * DESCRIPTOR_PAGES)
        return false;
    page = page_of(number);
    if (page == NULL)
        return false;
    atomic_store_explicit(&page->endpoint[number % DESCRIPTOR_PAGE], endpoint,
                          memory_order_release);
    return true;
}
