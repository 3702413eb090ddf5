/*
 * task.h: one attempt of a job while its action runs: the process, what it says, when it must end. No database here.
 */
#ifndef POSTERN_TASK_H
#define POSTERN_TASK_H
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"
#include "config.h"
#include "kind.h"

enum { TASK_LOG_MAX = 16 << 10, TASK_LINE_MAX = 4 << 20 };

struct task {
	char job[37];
	const struct kind *kind;
	struct kind own;        /* where a plugin adds it */
	char kind_name[128];
	char plugin[64];        /* the plugin that does it; "": none */
	int attempt;
	int64_t account;        /* whose it is: what it starts as a tenant is limited with the account's others (contain.h) */
	pid_t pid;              /* of the action, leader of its process group; 0: none */
	int out, err, lock;     /* our ends of its pipes, its lock file; -1: closed */
	bool reaped;
	int status;             /* as waitpid gives it */
	int64_t end_us;         /* of its time limit; later, of the grace after SIGTERM */
	bool late, idle, cancelled; /* it was told to end, and why */
	size_t heard;           /* bytes that it has said */
	struct { size_t heard; int64_t cpu; } mark; /* at the last look that found it moving, which was: */
	int64_t moved_us;
	int idle_s;             /* for which it did not, when it was told to end */
	bool told;              /* there is something new for the job's row */
	int64_t told_us;
	int progress;           /* -1: nothing said */
	char message[512];
	char error[2048];
	char blocked[2048];     /* what else on the machine is in its way */
	struct buf log;         /* its end */
	struct buf line, err_line;
	struct json_object *result;
	bool cut;               /* an object that it said was too long: it may have been its result */
	bool ended;             /* process and pipes are done; what came of it is still to be noted */
};

/*
 * Start an attempt. `data`, `secret` and `plugin` are JSON texts (the latter two may be NULL). Returns false with *why when it cannot be done;
 * *again tells whether later may help. The lock file of the job is held by the process and all it starts.
 */
bool task_start(struct task *, const struct config *, const char *config_path, const char *data, const char *secret,
                const char *plugin, const char **why, bool *again);
/* Read what it has said; reap it when it is over. */
void task_look(struct task *, int64_t now_us);
/* Has it moved since the last look: said anything, or used CPU time? `cpu` is what it has used up to now. One that has not for
 * idle_s is told to end. */
void task_move(struct task *, int64_t cpu, int idle_s, int64_t now_us);
/* Tell it to end: SIGTERM to its group, SIGKILL ten seconds later (from task_look). */
void task_end(struct task *, int64_t now_us);
/* End whatever it has started and still runs, and forget it. */
bool task_free(struct task *, const struct config *);
/* Did it do what it should? Else *why says why not, *again whether it may be tried again, and *blocked whether something else on the
 * machine is in its way, so that it is tried until that is mended. */
bool task_good(const struct task *, const char **why, bool *again, bool *blocked);

/* End what attempts of an earlier worker have left running, by their lock files below worker_dir. False: some would not. */
bool task_sweep(const struct config *);
#endif
