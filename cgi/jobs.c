/* jobs.c: work for the machine, done by posternd. Changes of other resources ask for it. */
#include "api.h"

static const struct field fields[] = {
	{ "id",          F_UUID,      0,                       "The job's id" },
	{ "kind",        F_TEXT,      F_FILTER | F_SORT,       "What is done: website.apply" },
	{ "status",      F_ENUM,      F_FILTER | F_SORT,       "State", .choices = "queued running succeeded failed cancelled" },
	{ "progress",    F_INT,       0,                       "Percent" },
	{ "message",     F_TEXT,      F_MAYBE_NULL,            "What it is doing, or did last" },
	{ "attempts",    F_INT,       0,                       "How often it was begun" },
	{ "resource",    F_TEXT,      F_FILTER,               "What it works on, as in its kind and in events: website; filtered by any name of the resource" },
	{ "object_id",   F_OBJECT_ID, F_FILTER | F_MAYBE_NULL, "The object's id, a number where that resource has numbers" },
	{ "account_id",  F_INT,       F_FILTER | F_MAYBE_NULL, "Account of the object; null: the installation, which the filter 0 finds" },
	{ "error",       F_TEXT,      F_MAYBE_NULL,            "Why it failed, or why it is tried again" },
	{ "result",      F_JSON,      0,                       "What its action found out" },
	{ "log",         F_TEXT,      F_MAYBE_NULL,            "The end of what its action said" },
	{ "cancel",      F_BOOL,      0,                       "Whether it is to stop" },
	{ "source",      F_ENUM,      F_FILTER,                "What asked for it: a change, or a schedule", .choices = "api schedule" },
	{ "held_by",     F_ENUM,      F_FILTER | F_MAYBE_NULL,
	  "Who asked for it, an administrator or a schedule, so that only an administrator cancels or retries it. null: it is the account's",
	  .choices = "administrator schedule" },
	{ "token_id",    F_UUID,      F_FILTER | F_MAYBE_NULL, "Token of the request that asked for it" },
	{ "request_id",  F_UUID,      F_FILTER | F_MAYBE_NULL, "That request" },
	{ "run_at",      F_TIMESTAMP, 0,                       "When it is due" },
	{ "created_at",  F_TIMESTAMP, F_SORT,                  "When it was asked for" },
	{ "started_at",  F_TIMESTAMP, F_MAYBE_NULL,            "When it was begun first" },
	{ "finished_at", F_TIMESTAMP, F_MAYBE_NULL,            "When it ended" },
	{ "updated_at",  F_TIMESTAMP, F_SORT,                  "When it last changed" },
	{ 0 }
};

static const struct route routes[] = {
	/* method  path            operation    scope         role      bucket     audit         does */
	{ M_GET,  "",             "listJobs",  "jobs:read",  VIEWER,   RATE_CALL, "job.list",   LIST,             "List jobs, newest first" },
	{ M_GET,  "/{id}",        "getJob",    "jobs:read",  VIEWER,   RATE_CALL, "job.read",   GET,              "Show a job" },
	{ M_POST, "/{id}/cancel", "cancelJob", "jobs:write", CUSTOMER, RATE_CALL, "job.cancel", ACTION("cancel"), "Stop a job, or keep it from being begun" },
	{ M_POST, "/{id}/retry",  "retryJob",  "jobs:write", CUSTOMER, RATE_ACTION,"job.retry",  ACTION("retry"),  "Do a failed or cancelled job again" },
	{ 0 }
};

static const struct resource jobs = {
	"jobs", "job", NULL, "Work for the machine, and how it goes", fields, routes, .sort = "created_at", .newest_first = true
};
POSTERN_RESOURCE(jobs);
