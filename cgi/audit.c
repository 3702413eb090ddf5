/* audit.c: the trail of every request, read only. */
#include "api.h"

static const struct field fields[] = {
	{ "id",          F_INT,       0,                       "Number of the row" },
	{ "at",          F_TIMESTAMP, F_SORT,                  "When it was written, by the database's clock" },
	{ "request_id",  F_UUID,      F_FILTER | F_MAYBE_NULL, "The request's id, as in X-Request-Id" },
	{ "actor",       F_TEXT,      F_FILTER,                "User name of the token's owner, or system; filtered by name or id of user or token" },
	{ "token_id",    F_UUID,      F_FILTER | F_MAYBE_NULL, "The token that was used" },
	{ "token_name",  F_TEXT,      F_FILTER | F_MAYBE_NULL, "Its name at that time" },
	{ "user_id",     F_INT,       F_FILTER | F_MAYBE_NULL, "Number of its owner" },
	{ "action",      F_TEXT,      F_FILTER,                "What was asked for: domain.create; filtered by it or by its verb alone" },
	{ "resource",    F_TEXT,      F_FILTER,                "Its first part; filtered by any name of the resource" },
	{ "verb",        F_TEXT,      F_FILTER,                "Its second part" },
	{ "object_id",   F_OBJECT_ID, F_FILTER | F_MAYBE_NULL, "The object touched: its number, or else a text" },
	{ "method",      F_TEXT,      F_MAYBE_NULL,            "HTTP method" },
	{ "path",        F_TEXT,      F_MAYBE_NULL,            "Path" },
	{ "status",      F_INT,       F_FILTER | F_MAYBE_NULL, "HTTP status that was answered" },
	{ "outcome",     F_ENUM,      F_FILTER,                "Outcome", .choices = "allowed denied failed" },
	{ "reason",      F_TEXT,      F_FILTER | F_MAYBE_NULL, "Why it was refused or failed" },
	{ "duration_us", F_INT,       F_MAYBE_NULL,            "Microseconds until the row was written" },
	{ "ip",          F_ADDRESS,   F_FILTER | F_MAYBE_NULL, "The client's address" },
	{ "user_agent",  F_TEXT,      F_MAYBE_NULL,            "The client's name for itself" },
	{ "changes",     F_JSON,      0,                       "Changed fields before and after" },
	{ "count",       F_INT,       0,                       "Requests that the row stands for" },
	{ "account_id",  F_INT,       F_FILTER | F_MAYBE_NULL, "Account of the object touched; null: the installation, which the filter 0 finds" },
	{ "operator",    F_TEXT,      F_FILTER | F_MAYBE_NULL, "Login name of whoever used the operator's command; null: it was not used" },
	{ 0 }
};

/* Every column as it stands in the table: seals are verified from an export. */
static const struct field line[] = {
	{ "account_id",  F_INT,       0,            "Account of the object touched; 0: the installation" },
	{ "at",          F_TIMESTAMP, 0,            "When it was written, by the database's clock, to the microsecond" },
	{ "id",          F_INT,       0,            "Number of the row" },
	{ "xid",         F_INT,       0,            "Number of the transaction that wrote it" },
	{ "request_id",  F_UUID,      F_MAYBE_NULL, "The request's id" },
	{ "actor",       F_TEXT,      0,            "Kind of actor: token, system" },
	{ "token_id",    F_UUID,      F_MAYBE_NULL, "The token that was used" },
	{ "token_name",  F_TEXT,      F_MAYBE_NULL, "Its name at that time" },
	{ "user_id",     F_INT,       F_MAYBE_NULL, "Number of its owner" },
	{ "username",    F_TEXT,      F_MAYBE_NULL, "Name of its owner" },
	{ "resource",    F_TEXT,      0,            "What was asked for: domain" },
	{ "verb",        F_TEXT,      0,            "What was to be done: create" },
	{ "object_id",   F_TEXT,      F_MAYBE_NULL, "The object touched" },
	{ "method",      F_TEXT,      F_MAYBE_NULL, "HTTP method" },
	{ "path",        F_TEXT,      F_MAYBE_NULL, "Path" },
	{ "status",      F_INT,       F_MAYBE_NULL, "HTTP status that was answered" },
	{ "outcome",     F_TEXT,      0,            "allowed, denied or failed" },
	{ "reason",      F_TEXT,      F_MAYBE_NULL, "Why it was refused or failed" },
	{ "duration_us", F_INT,       F_MAYBE_NULL, "Microseconds until the row was written" },
	{ "ip",          F_ADDRESS,   F_MAYBE_NULL, "The client's address" },
	{ "user_agent",  F_TEXT,      F_MAYBE_NULL, "The client's name for itself" },
	{ "changes",     F_TEXT,      F_MAYBE_NULL, "Changed fields before and after, as JSON in a text" },
	{ "count",       F_INT,       0,            "Requests that the row stands for" },
	{ 0 }
};

static const struct field export_input[] = {
	{ "format", F_ENUM, F_INPUT, "Form of the lines; default ndjson", .choices = "ndjson csv" },
	{ 0 }
};

static const struct route routes[] = {
	/* method path      operation       scope         role    bucket     audit           does */
	{ M_GET, "",        "listAudit",   "audit:read", VIEWER, RATE_CALL, "audit.list",   LIST,   "List the audit trail, newest first" },
	{ M_GET, "/{id}",   "getAuditRow", "audit:read", VIEWER, RATE_CALL, "audit.read",   GET,    "Show a row of the audit trail" },
	{ M_GET, "/export", "exportAudit", "audit:read", VIEWER, RATE_CALL, "audit.export", EXPORT, "Export the audit trail, oldest first",
	  .input = export_input, .output = line, .type = "application/x-ndjson" },
	{ 0 }
};

static const struct resource audit = {
	"audit", "audit", NULL, "The trail of every request", fields, routes, .sort = "at", .newest_first = true, .cursor_only = true
};
POSTERN_RESOURCE(audit);
