#include "base/openssl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* The name of the library that the headers belong to. */
#define LIBRARY "libssl.so.3"
_Static_assert(OPENSSL_VERSION_MAJOR == 3, "another OpenSSL has another " LIBRARY);

static struct openssl functions;
static bool is_loaded;
static char trouble[256];
static void (*_Atomic ending)(void);

static void before_it_ends(void)
{
    void (*end)(void) = atomic_load(&ending);

    if (end != NULL)
        end();
}

void openssl_at_exit(void (*end)(void))
{
    atomic_store(&ending, end);
}

static bool find_all(void *library)
{
#define X(name)                                                                                    \
    functions.name = (__typeof__(functions.name))dlsym(library, #name);                            \
    if (functions.name == NULL) {                                                                  \
        snprintf(trouble, sizeof trouble, LIBRARY " has no " #name);                               \
        return false;                                                                              \
    }
    OPENSSL_FUNCTIONS(X)
#undef X
    return true;
}

/* Where it has not begun yet, it is begun so that exit() does not end it. */
static void load(void)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

    if (library == NULL) {
        snprintf(trouble, sizeof trouble, "%s", dlerror());
        return;
    }
    is_loaded = find_all(library) &&
                functions.OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL) == 1 &&
                atexit(before_it_ends) == 0;
    if (!is_loaded && trouble[0] == '\0')
        snprintf(trouble, sizeof trouble, LIBRARY " cannot be used");
}

const struct openssl *openssl_load(const char **why)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, load);
    if (why != NULL)
        *why = trouble;
    return is_loaded ? &functions : NULL;
}
