/*
 * watch.h: posternd's look at its machine and services, every few seconds, in a process of its own: what keeps it waiting there
 * (a file system that is gone, a program that hangs) does not keep jobs waiting.
 */
#ifndef POSTERN_WATCH_H
#define POSTERN_WATCH_H
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "arena.h"
#include "buf.h"
#include "config.h"

struct watch {
	pid_t pid;                  /* 0: nobody looks */
	int fd;                     /* what it says; -1: closed */
	struct buf said;
	struct json_object *before; /* what was found last */
	int64_t due_us, begun_us;
};

/* What posternd is to write down now: JSON text of what was found and of the settings by which it is judged; without anything found
 * where a look takes too long, which still tells that posternd is there. NULL: nothing now. */
const char *watch_round(struct watch *, const struct config *, struct arena *, int64_t now_us);
void watch_end(struct watch *);
#endif
