/* cron.c: commands that run by the clock. What a schedule means and when it comes is told by sql/functions/20_cron.sql; nothing is
 * run here: the account's crontab, and what is run by hand, are posternd's (worker/actions/cron.c). */
#include <json-c/json.h>

#include "api.h"
#include "timestamp.h"

static const struct field fields[] = {
	{ "id",         F_INT,       F_SORT | F_FILTER,                     "Number of the cron job" },
	{ "account_id", F_INT,       F_CREATE | F_FILTER,                   "Number of the account as whose Unix user it runs; default: the caller's" },
	{ "account",    F_USERNAME,  F_CREATE | F_FILTER | F_EXAMPLE,       "User name of that account; may be given instead of account_id" },
	{ "name",       F_TEXT,      F_INPUT | F_NULLABLE | F_SEARCH,       "What people call it", .max = 200 },
	{ "schedule",   F_TEXT,      F_INPUT | F_REQUIRED | F_SEARCH,       "Minute, hour, day of month, month and day of week as in crontab(5), or @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually; where both days are restricted, one of them is enough", .min = 1, .max = 200, .example = "\"*/15 8-18 * * mon-fri\"" },
	{ "command",    F_TEXT,      F_INPUT | F_REQUIRED | F_SEARCH,       "What /bin/sh runs, as it is written: % means itself", .min = 1, .max = 700, .example = "\"php artisan schedule:run\"" },
	{ "enabled",    F_BOOL,      F_INPUT | F_FILTER,                    "Whether it runs by the clock; default true" },
	{ "status",     F_ENUM,      F_SORT | F_FILTER,                     "State of its line in the account's crontab; suspended: it is disabled, or the account is suspended", .choices = "pending active suspended deleting error" },
	HELD_BY("disabled it"),
	{ "next_runs",  F_JSON,      0,                                     "When it runs next, five times, in the server's time zone; empty while it does not run" },
	{ "time_zone",  F_TEXT,      0,                                     "The server's time zone, in which the schedule is read" },
	{ "last_run",   F_JSON,      F_MAYBE_NULL,                          "How it went last: started_at, finished_at, duration_ms, exit_code (128 and more: ended by a signal), and output, of which the last 64 KiB are kept; null: not run yet" },
	{ "last_error", F_TEXT,      F_MAYBE_NULL,                          "Why the crontab could not be written; null: it is" },
	{ "job_id",     F_UUID,      F_MAYBE_NULL,                          "Job that writes the crontab, or did last" },
	{ "created_at", F_TIMESTAMP, F_SORT,                                "When it was created" },
	{ "updated_at", F_TIMESTAMP, F_SORT,                                "When it last changed, or ran" },
	{ 0 }
};

/* The machine's time zone, which the database does not know. */
static int add_zone(struct request *r, struct json_object *body)
{
	char zone[TIMESTAMP_ZONE_MAX];

	(void)r;
	json_object_object_add(body, "_time_zone", json_object_new_string(timestamp_zone(zone)));
	return 0;
}

static const struct route routes[] = {
	/* method   path             operation         scope          role      bucket       audit           does */
	{ M_GET,    "",              "listCronJobs",   "cron:read",   VIEWER,   RATE_CALL,   "cron.list",    LIST,              "List cron jobs" },
	{ M_POST,   "",              "createCronJob",  "cron:write",  CUSTOMER, RATE_CALL,   "cron.create",  CREATE,            "Create a cron job", .prepare = add_zone, .adds = "_time_zone" },
	{ M_GET,    "/{id}",         "getCronJob",     "cron:read",   VIEWER,   RATE_CALL,   "cron.read",    GET,               "Show a cron job, when it runs next, and how it went last" },
	{ M_PATCH,  "/{id}",         "changeCronJob",  "cron:write",  CUSTOMER, RATE_CALL,   "cron.update",  PATCH,             "Change a cron job", .prepare = add_zone, .adds = "_time_zone" },
	{ M_DELETE, "/{id}",         "deleteCronJob",  "cron:delete", CUSTOMER, RATE_CALL,   "cron.delete",  DELETE,            "Delete a cron job" },
	{ M_POST,   "/{id}/enable",  "enableCronJob",  "cron:write",  CUSTOMER, RATE_CALL,   "cron.enable",  ACTION("enable"),  "Have a disabled cron job run by the clock again" },
	{ M_POST,   "/{id}/disable", "disableCronJob", "cron:write",  CUSTOMER, RATE_CALL,   "cron.disable", ACTION("disable"), "Keep a cron job from running by the clock" },
	{ M_POST,   "/{id}/run",     "runCronJob",     "cron:write",  CUSTOMER, RATE_ACTION, "cron.execute", ACTION("run"),     "Run a cron job's command now, for 10 minutes at most", R_JOB },
	{ 0 }
};

static const struct resource cron = {
	"cron", "cron", NULL, "Commands that run by the clock, as an account's Unix user", fields, routes
};
POSTERN_RESOURCE(cron);
