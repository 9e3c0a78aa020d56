/* A relay between clients and a server, on a thread and a free loopback port of its own, that looks
 * at what clients send: whether all of it is TLS. */
#ifndef SUPPORT_RELAY_H
#define SUPPORT_RELAY_H

struct relay;

struct relay *relay_start(int server_port);
void relay_stop(struct relay *relay);

int relay_port(const struct relay *relay);

/* Connections that said something, and bytes of clients that are no part of a TLS record. */
int relay_connections(struct relay *relay);
long relay_plain_bytes(struct relay *relay);

#endif
