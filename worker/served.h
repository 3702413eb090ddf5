/*
 * served.h: names that this machine serves without Postern: its web servers' own configuration, Postfix's domains.
 */
#ifndef POSTERN_SERVED_H
#define POSTERN_SERVED_H
#include "action.h"

/* Who serves this name, or one above it, already, and where that stands: "nginx serves example.org (FILE:LINE)"; NULL: nobody. What
 * Postern itself has written does not count. Ends the action, to be tried until a server can tell, where it cannot. */
const char *served_already(struct action *, const char *name);
/* Does Apache have another virtual host of just this name, where Postern's listen? It would not say so by itself. */
const char *served_by_apache(struct action *, const char *name);
/* Why this file, which lies in a server's folder of sites, is no part of that server's configuration, and which line is missing where;
 * NULL: it is a part of it, or the server cannot tell. */
const char *served_includes(struct action *, const char *server, const char *path);
/* A server's complaint with the place in front of it, where it names one: "unknown directive in /etc/x.conf:3", "Syntax error on line 3
 * of /etc/x.conf: …". */
const char *served_placed(struct action *, const char *complaint);
#endif
