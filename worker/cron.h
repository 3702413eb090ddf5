/*
 * cron.h: runs of cron jobs. Each line of a crontab of ours calls posternd --cron-run as the account's Unix user, which leaves a
 * file in a folder of that user's; posternd collects those and trusts nothing in them beyond that account's own cron jobs.
 */
#ifndef POSTERN_CRON_H
#define POSTERN_CRON_H
#include <sys/types.h>

#include "arena.h"
#include "config.h"
#include "db.h"

enum { CRON_OUTPUT_MAX = 64 << 10 };

/* posternd --cron-run RESULT COMMAND: /bin/sh runs the command; how it went, and the end of what it said, is in the file RESULT
 * then. Returns the command's exit code. */
int cron_run(const char *result, const char *command);

struct cron_result {
	int64_t started_us, finished_us;
	int exit_code;
	const char *output; /* UTF-8 without control characters but tabs and line ends */
};
/* Take a result out of a folder, which then has it no more. False: there is none, or nothing that a run of ours leaves. */
bool cron_take(struct arena *, int folder, const char *name, struct cron_result *);

/* Note what ran since, of each account a few, and when it runs next. */
void cron_collect(const struct config *, struct db *, struct arena *);
#endif
