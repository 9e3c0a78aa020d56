/* Loopback ports that nobody listens on. */
#ifndef SUPPORT_PORT_H
#define SUPPORT_PORT_H

/* A port for a redis-server: it and its cluster bus port (10000 above) were free just now. Both
 * lie below the range the kernel gives to outgoing connections, so only another server can take
 * them; a server that finds its port taken exits, and its starter tries the next one. */
int port_free(void);

/* The distance from a server's port to its cluster bus port. */
#define PORT_BUS_OFFSET 10000

#endif
