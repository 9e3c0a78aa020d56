#include "socket/words.h"

#include <stdio.h>
#include <string.h>

#include "socket/seam.h"

static _Thread_local struct {
    int error; /* 0: nothing */
    char text[256];
} said;

void words_set(int error, const char *text)
{
    said.error = text != NULL ? error : 0;
    if (text != NULL)
        snprintf(said.text, sizeof said.text, "%s", text);
}

const char *words_for(int error)
{
    if (error == 0 || said.error != error)
        return strerror(error);
    said.error = 0;
    return said.text;
}

char *seam_strerror(int error)
{
    return (char *)words_for(error);
}

int seam_strerror_r(int error, char *to, size_t size)
{
    snprintf(to, size, "%s", words_for(error));
    return 0;
}
