/*
 * serving.h: what a web server serves, as seen from outside: by requests to the addresses it listens on, and by the processes that
 * accept connections there.
 */
#ifndef POSTERN_SERVING_H
#define POSTERN_SERVING_H
#include "action.h"

/* Processes that accept connections at these addresses ("*:80 [::]:80"), but for those that only started the others. Ended by 0. */
const pid_t *serving_workers(struct action *, const char *listen);
/* Do any of them still accept connections there? */
bool serving_still(const pid_t *workers, const char *listen);
/* A virtual host that is asked by a name, for /<name>, and answers with something else that only its own configuration holds: who gives
 * back what was asked cannot pass for it. */
struct serving {
	const char *name, *answer;
};
/* Is it answered so at each of the addresses? NULL: yes. Else what came instead. Of "*" and "[::]", which stand for all of the
 * machine's, at one of them. */
const char *serving_objection(struct action *, const char *listen, const struct serving *);
#endif
