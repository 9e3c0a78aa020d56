/* What the tests' helpers do when the ground they stand on gives way: say why and abort.
 * Check counts an abort as an error of that one test. */
#ifndef SUPPORT_DIE_H
#define SUPPORT_DIE_H

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            die("%s:%d: %s", __FILE__, __LINE__, #condition);                                      \
    } while (0)

#endif
