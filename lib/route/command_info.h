/* What a server says of a command that is not in the table (COMMAND INFO), as a row like the
 * table's: key specifications, flags, and the tips of how a client fans it out. Pure. */
#ifndef REDISROUTE_ROUTE_COMMAND_INFO_H
#define REDISROUTE_ROUTE_COMMAND_INFO_H

#include "base/arena.h"
#include "route/command.h"

/* Longer names are nobody's. */
enum { COMMAND_NAME_MAX = 128 };

/* The row of the command that was asked for by this name ("module.get", "container|subcommand";
 * lower case), out of the one whole reply to COMMAND INFO. Everything it points at is the arena's,
 * and `rows` is how many rows that is, subcommands included. `container` is the table's row for a
 * subcommand of a command that the table knows, or NULL. NULL: the server does not know the
 * command, or what it says makes no sense, or memory is out. */
const struct command *command_info_parse(const char *reply, size_t length, struct bytes name,
                                         const struct command *container, struct arena *arena,
                                         unsigned *rows);

#endif
