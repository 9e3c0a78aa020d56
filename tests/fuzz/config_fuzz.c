/* Whatever a file says, it is taken, or refused with a line that says where. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct complaint complaint = {""};
    struct config *config = config_parse("f", (const char *)bytes, size, &complaint);

    if (config == NULL && strncmp(complaint.text, "f:", 2) != 0)
        abort();
    if (config != NULL && complaint.text[0] != '\0')
        abort();
    if (strchr(complaint.text, '\n') != NULL)
        abort();
    if (config != NULL && config_listener(config, "127.0.0.1", 6379) == NULL)
        abort();
    config_destroy(config);
    return 0;
}
