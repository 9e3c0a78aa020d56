#define _GNU_SOURCE
#include "config_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "die.h"

static char folder[64], path[96], log_path[96], beside[160];

void config_begin(void)
{
    char text[128];

    strcpy(folder, "/tmp/redisroute-config-XXXXXX");
    MUST(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/redisroute.yaml", folder);
    snprintf(log_path, sizeof log_path, "%s/log", folder);
    snprintf(text, sizeof text, "info:%s", log_path);
    setenv("REDISROUTE_CONFIG", path, 1);
    setenv("REDISROUTE_LOG", text, 1);
}

void config_end(void)
{
    char text[128];

    snprintf(text, sizeof text, "rm -r %s", folder);
    MUST(system(text) == 0);
}

static void write_to(const char *to, const char *text)
{
    char fresh[200];
    FILE *file;

    snprintf(fresh, sizeof fresh, "%s.new", to);
    file = fopen(fresh, "w");
    MUST(file);
    MUST(fputs(text, file) >= 0);
    MUST(fclose(file) == 0 && rename(fresh, to) == 0);
}

void config_write(const char *format, ...)
{
    char *text;
    va_list args;

    va_start(args, format);
    MUST(vasprintf(&text, format, args) >= 0);
    va_end(args);
    write_to(path, text);
    free(text);
}

const char *config_write_beside(const char *name, const char *text)
{
    snprintf(beside, sizeof beside, "%s/%s", folder, name);
    write_to(beside, text);
    return beside;
}

const char *config_folder(void)
{
    return folder;
}

const char *config_path(void)
{
    return path;
}

bool config_log_says(const char *words)
{
    char line[4096];
    FILE *file = fopen(log_path, "r");
    bool found = false;

    while (file && fgets(line, sizeof line, file))
        found = found || strstr(line, words);
    if (file)
        fclose(file);
    return found;
}
