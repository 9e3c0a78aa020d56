/* The documents of a configuration file: ours, and Istio's EnvoyFilter. */
#ifndef REDISROUTE_CONFIG_DOCUMENT_H
#define REDISROUTE_CONFIG_DOCUMENT_H

#include "config/config.h"
#include "config/reader.h"

enum { DOCUMENT_SETTINGS_MOST = 64 };

/* What may be said once only in all documents. All NULL at first. */
struct document_given {
    const struct reader_place *settings[DOCUMENT_SETTINGS_MOST]; /* by number in settings_fields */
};

/* Where a setting was said; NULL: in no document. */
const struct reader_place *document_place(const struct document_given *, const char *setting);

/* Adds what a document says to reader->target, a struct config. False: refused. */
bool document_read(struct reader *, const struct yaml_node *root, struct document_given *);

/* When all are read: every cluster that is named has to be there. */
bool document_resolve(struct reader *);

#endif
