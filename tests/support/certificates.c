#define _GNU_SOURCE
#include "certificates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "die.h"
#include "folder.h"

enum { FILES_MOST = 32 };

struct certificates {
    struct folder *folder;
    char *files[FILES_MOST];
    int count;
};

/* Ends for a shell that is in the folder. Where -days may not be negative, dates can be given. */
static const char script[] =
    "exec >log 2>&1 && set -ex\n"
    "key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'\n"
    "authority() { openssl req -x509 $key -keyout $1.key -out $1.pem -subj /CN=$1 -days 3; }\n"
    "sign() { # NAME AUTHORITY NAMES DAYS\n"
    "    openssl req $key -keyout $1.key -out $1.csr -subj /CN=$1\n"
    "    echo subjectAltName=$3 >$1.ext\n"
    "    set -- $1 \"openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -CAcreateserial "
    "-extfile $1.ext -out $1.pem\" $4\n"
    "    $2 -days $3 || $2 -not_before 20200101000000Z -not_after 20200102000000Z\n"
    "}\n"
    "authority ca\n"
    "authority other-ca\n"
    "sign server ca DNS:localhost,DNS:redis.test,IP:127.0.0.1 3\n"
    "sign elsewhere ca DNS:elsewhere.test 3\n"
    "sign expired ca DNS:localhost,DNS:redis.test,IP:127.0.0.1 -1\n"
    "sign client ca DNS:client.test 3\n"
    "sign stranger other-ca DNS:stranger.test 3\n";

struct certificates *certificates_create(void)
{
    struct certificates *c = calloc(1, sizeof *c);
    char *command;

    MUST(c);
    c->folder = folder_create();
    MUST(asprintf(&command, "cd %s && cat >make.sh && bash make.sh", certificates_path(c)) > 0);
    FILE *shell = popen(command, "we");
    MUST(shell);
    fputs(script, shell);
    if (pclose(shell) != 0)
        die("openssl makes no certificates; see %s/log", certificates_path(c));
    free(command);
    return c;
}

void certificates_remove(struct certificates *c)
{
    if (!c)
        return;
    folder_remove(c->folder);
    for (int i = 0; i < c->count; i++)
        free(c->files[i]);
    free(c);
}

const char *certificates_path(const struct certificates *c)
{
    return folder_path(c->folder);
}

const char *certificates_file(const struct certificates *certificates, const char *name)
{
    struct certificates *c = (struct certificates *)certificates;

    for (int i = 0; i < c->count; i++)
        if (!strcmp(strrchr(c->files[i], '/') + 1, name))
            return c->files[i];
    MUST(c->count < FILES_MOST);
    MUST(asprintf(&c->files[c->count], "%s/%s", certificates_path(c), name) > 0);
    return c->files[c->count++];
}
