/* A fork may come while another thread holds any lock: the child takes the same ones, and has them.
 * Not with ThreadSanitizer, which cannot follow such a child. */
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/openssl.h"
#include "config/tls_profile.h"
#include "keeper/keeper.h"

/* A lock that nobody holds over a fork is found taken in one child of ten. */
enum { FORKS = 200, CHILD_S = 20 };

static _Atomic bool is_over;

static bool write_lines(void)
{
    for (int i = 0; i < 10; i++)
        log_write(LOG_ERROR, "line %d", i);
    return true;
}

static int repeat(void *work)
{
    bool (*const do_once)(void) = *(bool (**)(void))work;

    while (!atomic_load(&is_over) && do_once())
        ;
    return 0;
}

static void fork_beside(bool (*work)(void))
{
    thrd_t thread;
    int status;

    keeper_prepare();
    atomic_store(&is_over, false);
    assert_int_equal(thrd_create(&thread, repeat, &work), thrd_success);
    for (int i = 0; i < FORKS; i++) {
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0) {
            alarm(CHILD_S);
            _exit(!work());
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    atomic_store(&is_over, true);
    assert_int_equal(thrd_join(thread, NULL), thrd_success);
}

static void a_child_writes_to_the_log(void **state)
{
    (void)state;
    log_open("error:/dev/null");
    fork_beside(write_lines);
    log_open("none");
}

/* --- TLS --- */

enum { COPY_MS = 200 };

static struct tls_profile *profile;
static _Atomic bool is_slow;
static _Atomic bool is_copying;

/* Called while a program's connection is duplicated, for what the program keeps with it. */
static int copy(CRYPTO_EX_DATA *to, const CRYPTO_EX_DATA *from, void **kept, int index, long number,
                void *pointer)
{
    (void)to, (void)from, (void)kept, (void)index, (void)number, (void)pointer;
    atomic_store(&is_copying, true);
    if (atomic_load(&is_slow))
        usleep(COPY_MS * 1000);
    return 1;
}

static void keep_something(SSL *prototype)
{
    void *crypto = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_NOLOAD);
    void *libssl = dlopen("libssl.so.3", RTLD_NOW | RTLD_NOLOAD);
    __typeof__(CRYPTO_get_ex_new_index) *new_index;
    __typeof__(SSL_set_ex_data) *set;

    assert_non_null(crypto);
    assert_non_null(libssl);
    *(void **)&new_index = dlsym(crypto, "CRYPTO_get_ex_new_index");
    *(void **)&set = dlsym(libssl, "SSL_set_ex_data");
    assert_int_equal(
        set(prototype, new_index(CRYPTO_EX_INDEX_SSL, 0, NULL, NULL, copy, NULL), prototype), 1);
    dlclose(libssl);
    dlclose(crypto);
}

static int make_connection(void *made)
{
    char why[256];

    *(SSL **)made = tls_profile_begin(profile, "localhost", "", why, sizeof why);
    return 0;
}

static void a_child_makes_connections_like_the_programs_own(void **state)
{
    const struct openssl *ssl = openssl_load(NULL);
    SSL_CTX *context = ssl->SSL_CTX_new(ssl->TLS_client_method());
    SSL *prototype = ssl->SSL_new(context), *made = NULL;
    thrd_t thread;
    pid_t child;
    int status;

    (void)state;
    keep_something(prototype);
    profile = tls_profile_create_like(prototype);
    assert_non_null(profile);
    keeper_prepare();
    atomic_store(&is_slow, true);
    assert_int_equal(thrd_create(&thread, make_connection, &made), thrd_success);
    while (!atomic_load(&is_copying))
        usleep(1000);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(CHILD_S);
        (void)make_connection(&made);
        _exit(made == NULL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(thrd_join(thread, NULL), thrd_success);
    assert_non_null(made);
    ssl->SSL_free(made);
    tls_profile_unref(profile);
    ssl->SSL_free(prototype);
    ssl->SSL_CTX_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_writes_to_the_log),
        cmocka_unit_test(a_child_makes_connections_like_the_programs_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
