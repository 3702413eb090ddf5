/*
 * server.h: an endpoint binary: threads that accept FastCGI connections, one request each, until SIGTERM.
 *
 * libfcgi reads and writes the records; the connections we accept ourselves and hand to it. So every connection has time
 * limits (libfcgi has none: a peer that falls silent would keep a thread for ever), and SIGTERM lets what is under way finish.
 */
#ifndef POSTERN_SERVER_H
#define POSTERN_SERVER_H
#include "resource.h"

/* Serve on a listening socket until SIGTERM or SIGINT. Returns the exit status. */
int server_run(struct service *, int listen_fd);

/* Open a listening Unix socket at `path` (replacing a stale one) with this mode. -1 with *why (static) on failure. */
int server_listen(const char *path, unsigned mode, const char **why);
#endif
