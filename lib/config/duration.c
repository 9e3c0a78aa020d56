#include "config/duration.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

const char *duration_digits(const char *text, double *value)
{
    double scale = 1;

    *value = 0;
    while (*text >= '0' && *text <= '9')
        *value = *value * 10 + (*text++ - '0');
    if (*text != '.')
        return text;
    for (text++; *text >= '0' && *text <= '9'; text++)
        *value += (*text - '0') * (scale /= 10);
    return text;
}

int64_t duration_parse(const char *text, bool bare)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    double value;
    const char *unit;

    if (*text < '0' || *text > '9')
        return -1;
    unit = duration_digits(text, &value);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        double ms = value * units[i].ms;

        if (strcmp(unit, units[i].unit) != 0)
            continue;
        if (*unit == '\0' && value != 0 && !bare)
            return -1;
        if (ms >= DURATION_MOST_MS)
            return DURATION_MOST_MS;
        return ms > 0 && ms < 1 ? 1 : (int64_t)(ms + 0.5);
    }
    return -1;
}

const char *duration_text(int64_t ms, char text[DURATION_TEXT_SIZE])
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t i = ms == 0 ? 2 : 0;

    while (ms % units[i].ms != 0)
        i++;
    snprintf(text, DURATION_TEXT_SIZE, "%lld%s", (long long)(ms / units[i].ms), units[i].unit);
    return text;
}
