/* services.c: the machine's services that the setting `services` lists. How they are is posternd's word (worker/service.c). */
#include "api.h"

static const struct field fields[] = {
	{ "id",              F_INT,       F_SORT | F_FILTER,            "Number of the service" },
	{ "kind",            F_ENUM,      F_SORT | F_FILTER,            "Whose it is: system: the machine's own, listed in the setting services; app: an account's", .choices = "system app" },
	{ "name",            F_TEXT,      F_SORT | F_FILTER | F_SEARCH, "Its name", .example = "\"nginx\"" },
	{ "description",     F_TEXT,      F_SEARCH | F_MAYBE_NULL,      "What it is" },
	{ "state",           F_ENUM,      F_SORT | F_FILTER,            "How it is, in systemd's words; not_found: there is no such service; unknown: nothing tells, last_error says why", .choices = "active reloading activating deactivating inactive failed not_found unknown" },
	{ "since",           F_TIMESTAMP, F_MAYBE_NULL,                 "Since when; null: that is not known" },
	{ "pid",             F_INT,       F_MAYBE_NULL,                 "Number of its main process; null: it has none" },
	{ "memory_bytes",    F_INT,       F_MAYBE_NULL,                 "Memory it uses: what systemd counts, else what its processes have in memory" },
	{ "cpu_ms",          F_INT,       F_MAYBE_NULL,                 "CPU time it has used since then, in milliseconds" },
	{ "enabled",         F_BOOL,      F_FILTER | F_MAYBE_NULL,      "Whether it is started with the machine; null: others start it, or that is not known" },
	{ "program_version", F_TEXT,      F_MAYBE_NULL,                 "Version of its program, as Debian's package has it" },
	{ "last_error",      F_TEXT,      F_MAYBE_NULL,                 "Why the last action failed, or what is wrong with it; null: nothing" },
	{ "job_id",          F_UUID,      F_MAYBE_NULL,                 "Job that works on it, or did last" },
	{ "created_at",      F_TIMESTAMP, F_SORT,                       "When it was first seen" },
	{ "updated_at",      F_TIMESTAMP, F_SORT,                       "When posternd last looked at it" },
	{ 0 }
};

static const struct route routes[] = {
	/* method  path             operation         scope            role   bucket     audit              does */
	{ M_GET,  "",              "listServices",   "services:read",  ADMIN, RATE_CALL, "service.list",    LIST,              "List the machine's services" },
	{ M_GET,  "/{id}",         "getService",     "services:read",  ADMIN, RATE_CALL, "service.read",    GET,               "Show a service" },
	{ M_POST, "/{id}/start",   "startService",   "services:write", ADMIN, RATE_CALL, "service.start",   ACTION("start"),   "Start a service",   R_JOB },
	{ M_POST, "/{id}/stop",    "stopService",    "services:write", ADMIN, RATE_CALL, "service.stop",    ACTION("stop"),    "Stop a service",    R_JOB },
	{ M_POST, "/{id}/restart", "restartService", "services:write", ADMIN, RATE_CALL, "service.restart", ACTION("restart"), "Restart a service", R_JOB },
	{ M_POST, "/{id}/reload",  "reloadService",  "services:write", ADMIN, RATE_CALL, "service.reload",  ACTION("reload"),  "Have a service read its settings again", R_JOB },
	{ 0 }
};

static const struct resource services = {
	"services", "service", NULL, "What runs on this machine for all", fields, routes, .key = "name"
};
POSTERN_RESOURCE(services);
