/* What every file of tests begins and ends with. */
#ifndef SUPPORT_SUITE_H
#define SUPPORT_SUITE_H

#include <check.h>

/* A case of the suite with fixtures that run once, in the process that forks the tests (null:
 * none), and with a limit that only a hanging test reaches. */
TCase *suite_case(Suite *suite, const char *name, void (*setup)(void), void (*teardown)(void));

/* Runs it and frees it; what main returns. */
int suite_run(Suite *suite);

#endif
