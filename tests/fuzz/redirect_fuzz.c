/* A redirect points into its error, and nowhere else. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "route/redirect.h"
#include "route/slot.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const char *error = (const char *)bytes;
    struct redirect r;

    redirect_parse(error, size, &r);
    if (r.action == REDIRECT_MOVED || r.action == REDIRECT_ASK) {
        must(r.slot < SLOT_COUNT && r.port > 0);
        must(r.host.data >= error && r.host.data + r.host.length < error + size);
    } else {
        must(r.slot == SLOT_NONE && r.port == 0 && r.host.length == 0);
    }
    return 0;
}
