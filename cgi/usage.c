/* usage.c: what accounts take up, beside what their plans allow: sizes as posternd measured them last (worker/actions/usage.c). */
#include "api.h"

static const struct field fields[] = {
	{ "id",              F_INT,       F_SORT | F_FILTER,             "Number of the account" },
	{ "account",         F_USERNAME,  F_SORT | F_FILTER | F_SEARCH,  "Its user name" },
	{ "disk_bytes",      F_INT,       F_MAYBE_NULL,                  "Bytes on disk that count against the plan: files, mail and databases; null, as all sizes are: not measured yet" },
	{ "max_disk_mb",     F_INT,       F_MAYBE_NULL,                  "Plan: disk in MB (of 1,000,000 bytes); null: no limit" },
	{ "files_bytes",     F_INT,       F_MAYBE_NULL,                  "Bytes on disk of what is in its home folder, the websites among it" },
	{ "mail_bytes",      F_INT,       F_MAYBE_NULL,                  "Bytes on disk of its mailboxes" },
	{ "databases_bytes", F_INT,       F_MAYBE_NULL,                  "Bytes of its databases, as their servers say" },
	{ "backups_bytes",   F_INT,       F_MAYBE_NULL,                  "Bytes in its backups, before they are compressed and parts that are the same are stored once" },
	{ "domains",         F_INT,       0,                             "Domains it has" },
	{ "max_domains",     F_INT,       F_MAYBE_NULL,                  "Plan: domains at most; null: no limit" },
	{ "mailboxes",       F_INT,       0,                             "Mailboxes it has" },
	{ "max_mailboxes",   F_INT,       F_MAYBE_NULL,                  "Plan: mailboxes at most; null: no limit" },
	{ "databases",       F_INT,       0,                             "How many databases it has" },
	{ "max_databases",   F_INT,       F_MAYBE_NULL,                  "Plan: databases at most; null: no limit" },
	{ "cron",            F_INT,       0,                             "Cron jobs it has" },
	{ "max_cron",        F_INT,       0,                             "Plan: cron jobs at most" },
	{ "forwarders",      F_INT,       0,                             "Forwarders it has" },
	{ "max_forwarders",  F_INT,       0,                             "Plan: forwarders at most" },
	{ "backups",         F_INT,       0,                             "Backups it has" },
	{ "max_backups",     F_INT,       0,                             "Plan: backups at most" },
	{ "users",           F_INT,       0,                             "Users it has" },
	{ "max_users",       F_INT,       0,                             "Plan: users at most" },
	{ "tokens",          F_INT,       0,                             "Tokens it has; of those that are revoked or expired ten count as one" },
	{ "max_tokens",      F_INT,       0,                             "Plan: tokens at most" },
	{ "jobs",            F_INT,       0,                             "Jobs that its tokens asked for and that have not ended" },
	{ "max_jobs",        F_INT,       0,                             "Plan: such jobs at most" },
	{ "exceeded",        F_JSON,      0,                             "Which limits of the plan it is beyond: disk, domains, mailboxes, databases, cron, forwarders, backups, users, tokens, jobs" },
	{ "transfer",        F_JSON,      F_MAYBE_NULL,                  "What its websites sent, by month, newest first: month, requests, bytes; null: no logs are read (setting usage_logs)" },
	{ "computed_at",     F_TIMESTAMP, F_MAYBE_NULL,                  "When sizes and transfer were measured; what is counted is counted now. null: not yet" },
	{ "updated_at",      F_TIMESTAMP, F_SORT,                        "When it was measured, or the account changed" },
	{ 0 }
};

static const struct route routes[] = {
	/* method  path     operation    scope         role    bucket     audit         does */
	{ M_GET, "",      "listUsage", "usage:read", VIEWER, RATE_CALL, "usage.list", LIST, "List what accounts take up" },
	{ M_GET, "/{id}", "getUsage",  "usage:read", VIEWER, RATE_CALL, "usage.read", GET,  "Show what an account takes up" },
	{ 0 }
};

static const struct resource usage = {
	"usage", "usage", NULL, "What accounts take up, and what their plans allow", fields, routes, .key = "account"
};
POSTERN_RESOURCE(usage);
