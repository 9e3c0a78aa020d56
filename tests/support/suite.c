#include "suite.h"

#include <stdlib.h>

enum { TEST_LIMIT_S = 240 };

TCase *suite_case(Suite *suite, const char *name, void (*setup)(void), void (*teardown)(void))
{
    TCase *added = tcase_create(name);
    tcase_set_timeout(added, TEST_LIMIT_S);
    tcase_add_unchecked_fixture(added, setup, teardown);
    suite_add_tcase(suite, added);
    return added;
}

int suite_run(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
