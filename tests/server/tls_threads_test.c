/* Many threads with connections by TLS, while the configuration changes under them. */
#define _GNU_SOURCE
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/certificates.h"
#include "../support/cluster.h"
#include "../support/die.h"
#include "../support/expect.h"
#include "../support/suite.h"
#include "../support/target.h"
#include "../support/until.h"

enum { THREADS = 4, KEYS = 100, ROUNDS = 6 };

static struct certificates *certificates;
static struct cluster *cluster;

#ifdef __SANITIZE_THREAD__
/* OpenSSL is not built for ThreadSanitizer, which does not see what its threads agree on. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void); /* NOLINT */

const char *__tsan_default_suppressions(void)
{
    return "race:libcrypto.so\nrace:libssl.so\n";
}
#endif

static void setup(void)
{
    certificates = certificates_create();
    cluster = cluster_start(&(struct cluster_options){.tls = certificates});
}

static void teardown(void)
{
    cluster_stop(cluster);
    certificates_remove(certificates);
}

struct work {
    const char *name;
    const char *rotating; /* the file of authorities, by turns one of two equal ones; or null */
};

static void rotate(const char *file)
{
    char *command;

    MUST(asprintf(&command, "cp %s %s.new && echo >>%s.new && mv %s.new %s", file, file, file, file,
                  file) > 0);
    MUST(system(command) == 0);
    free(command);
}

static void *busy(void *data)
{
    const struct work *work = data;

    for (int round = 0; round < ROUNDS; round++) {
        redisContext *c = connect_port(cluster_port(cluster, round % 3));

        for (int i = 0; i < KEYS; i++)
            redisAppendCommand(c, "SET tls:%s:%d %d", work->name, i, round);
        for (int i = 0; i < KEYS; i++)
            EXPECT_NEXT(c, "OK");
        for (int i = 0; i < KEYS; i++) {
            char expected[16];

            snprintf(expected, sizeof expected, "%d", round);
            EXPECT(c, expected, "GET tls:%s:%d", work->name, i);
        }
        if (work->rotating)
            rotate(work->rotating);
        redisFree(c);
    }
    return NULL;
}

START_TEST(test_threads)
{
    static struct work work[THREADS] = {{"a", NULL}, {"b", NULL}, {"c", NULL}, {"d", NULL}};
    pthread_t threads[THREADS];

    setenv("REDISROUTE_TLS", "1", 1);
    setenv("REDISROUTE_TLS_CA", certificates_file(certificates, "ca.pem"), 1);
    work[0].rotating = certificates_file(certificates, "ca.pem");
    for (int i = 0; i < THREADS; i++)
        MUST(pthread_create(&threads[i], NULL, busy, &work[i]) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tls threads");
    TCase *tc = suite_case(suite, "threads", setup, teardown);

    tcase_add_test(tc, test_threads);
    return suite_run(suite);
}
