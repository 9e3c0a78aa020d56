/* A guest knows whose house it is in: what is known of the program that this process is. */
#ifndef REDISROUTE_CONFIG_GUEST_H
#define REDISROUTE_CONFIG_GUEST_H

#include <stdbool.h>

/* It does to the descriptor of an asynchronous context what only a socket takes. */
bool guest_wants_socket(const char *program);

/* A second thread would be the end of it. */
bool guest_has_one_thread(const char *program);

#endif
