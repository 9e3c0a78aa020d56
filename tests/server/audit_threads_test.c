/* Threads with a connection each, and the keeper, which writes down what they said. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/die.h"
#include "../support/expect.h"
#include "../support/folder.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { THREADS = 4, COMMANDS = 500 };

static struct folder *folder;

static void setup(void)
{
    target_setup();
    folder = folder_create();
}

static void teardown(void)
{
    folder_remove(folder);
    target_teardown();
}

static bool file_says(const char *path, const char *text)
{
    static char found[65536];
    FILE *file = fopen(path, "r");
    size_t length = file ? fread(found, 1, sizeof found - 1, file) : 0;

    if (file)
        fclose(file);
    found[length] = '\0';
    return strstr(found, text) != NULL;
}

static void *speak(void *unused)
{
    redisContext *c = connect_target(TARGET_PLAIN);

    (void)unused;
    for (int i = 0; i < COMMANDS; i++)
        EXPECT(c, "1", "EVAL return(1) 0");
    redisFree(c);
    return NULL;
}

START_TEST(test_threads)
{
    char audit[4096], lines[4200], counted[128];
    pthread_t threads[THREADS];

    snprintf(audit, sizeof audit, "%s/audit", folder_path(folder));
    snprintf(lines, sizeof lines, "%s.jsonl", audit);
    snprintf(counted, sizeof counted, "{\"command\":\"EVAL\",\"finding\":\"works\",\"count\":%d,",
             THREADS * COMMANDS);
    setenv("REDISROUTE_AUDIT", audit, 1);
    setenv("REDISROUTE_AUDIT_INTERVAL", "100ms", 1);
    for (int i = 0; i < THREADS; i++)
        MUST(pthread_create(&threads[i], NULL, speak, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    UNTIL(file_says(lines, counted));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("audit_threads");
    TCase *tc = suite_case(suite, "threads", setup, teardown);

    tcase_add_test(tc, test_threads);
    return suite_run(suite);
}
