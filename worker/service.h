/*
 * service.h: the system services that the setting `services` lists: how they are, from systemd where it runs, else from their
 * pid files and sockets; and how they are told to change.
 */
#ifndef POSTERN_SERVICE_H
#define POSTERN_SERVICE_H
#include "action.h"

/* Is it listed? Then *path is its pid file or socket, or NULL where none is named. */
bool service_listed(struct action *, const char *name, const char **path);
bool service_has_systemd(const struct config *);

/*
 * How they are, as a list of objects; `only` (may be NULL) is the one that is asked about. `before` is what was found the last
 * time, or NULL: what a program's version is need not be looked up again while it is the same file.
 */
struct json_object *service_look(struct action *, const char *only, struct json_object *before);

/* The process that a pid file or socket names, open (pidfd), when it is that service's beyond doubt. -1: it does not run, or
 * *problem says why its file is not believed. */
int service_process(struct action *, const char *path, pid_t *pid, const char **problem);
#endif
