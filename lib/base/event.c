#include "base/event.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXT_MAX = 512 };

struct event_listener *_Atomic event_listener;

/* The one before is not freed: another thread may be in it. There are as few as a program has. */
bool event_listen(event_fn *function, void *data)
{
    struct event_listener *l = NULL;

    if (function != NULL) {
        l = malloc(sizeof *l);
        if (l == NULL)
            return false;
        *l = (struct event_listener){.function = function, .data = data};
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
