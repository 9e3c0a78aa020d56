#include "base/event.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXT_MAX = 512 };

struct event_listener *_Atomic event_listener;

/* All that there ever were: as few as a program has. */
static struct event_listener *_Atomic listeners;

bool event_listen(event_fn *function, void *data)
{
    struct event_listener *l = NULL;

    if (function != NULL) {
        l = malloc(sizeof *l);
        if (l == NULL)
            return false;
        *l = (struct event_listener){
            .function = function, .data = data, .before = atomic_load(&listeners)};
        while (!atomic_compare_exchange_weak(&listeners, &l->before, l))
            ;
    }
    atomic_store_explicit(&event_listener, l, memory_order_release);
    return true;
}

void event_raise(enum event_kind kind, int fd, const char *format, ...)
{
    struct event_listener *l = atomic_load_explicit(&event_listener, memory_order_acquire);
    int before = errno;
    char text[TEXT_MAX];
    va_list arguments;

    if (l == NULL)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    l->function(l->data, (int)kind, fd, text);
    errno = before;
}
