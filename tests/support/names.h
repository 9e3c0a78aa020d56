/* A name server inside the test's process: getaddrinfo() is answered here, for the library and its
 * hiredis too, as far as names are concerned that were set. Thread-safe. */
#ifndef SUPPORT_NAMES_H
#define SUPPORT_NAMES_H

/* The name leads to these addresses from now on: numbers, separated by spaces. Null: nowhere. */
void names_set(const char *name, const char *addresses);

/* Every look-up of such a name takes so long. One that is under way looks again: it ends early when
 * that becomes less. */
void names_take_ms(int ms);

/* Look-ups of such names that were begun; and those of them by the thread that called
 * names_watch_this_thread(). */
int names_asked(void);
int names_asked_here(void);
void names_watch_this_thread(void);

#endif
