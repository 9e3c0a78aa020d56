#include "config/complaint.h"

#include <stdarg.h>
#include <stdio.h>

bool complain(struct complaint *complaint, const char *format, ...)
{
    va_list arguments;

    if (complaint->text[0] != '\0')
        return false;
    va_start(arguments, format);
    vsnprintf(complaint->text, sizeof complaint->text, format, arguments);
    va_end(arguments);
    /* What a file says may be anything, and this is to be one line. */
    for (char *at = complaint->text; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7F)
            *at = '?';
    return false;
}
