/* usage.c: what accounts take up, as posternd measured it last (worker/actions/usage.c), beside what their plans allow. */
#include "api.h"

static const struct field fields[] = {
	{ "id",              F_INT,       F_SORT | F_FILTER,             "Number of the account" },
	{ "account",         F_USERNAME,  F_SORT | F_FILTER | F_SEARCH,  "Its user name" },
	{ "disk_bytes",      F_INT,       F_MAYBE_NULL,                  "Bytes on disk that count against the plan: files, mail and databases; null, as the rest is: not measured yet" },
	{ "max_disk_mb",     F_INT,       F_MAYBE_NULL,                  "Plan: disk in MB (of 1,000,000 bytes); null: no limit" },
	{ "files_bytes",     F_INT,       F_MAYBE_NULL,                  "Bytes on disk of what is in its home folder, the websites among it" },
	{ "mail_bytes",      F_INT,       F_MAYBE_NULL,                  "Bytes on disk of its mailboxes" },
	{ "databases_bytes", F_INT,       F_MAYBE_NULL,                  "Bytes of its databases, as their servers say" },
	{ "backups_bytes",   F_INT,       F_MAYBE_NULL,                  "Bytes in its backups, before they are compressed and parts that are the same are stored once" },
	{ "domains",         F_INT,       F_MAYBE_NULL,                  "Domains it had then" },
	{ "max_domains",     F_INT,       F_MAYBE_NULL,                  "Plan: domains at most; null: no limit" },
	{ "mailboxes",       F_INT,       F_MAYBE_NULL,                  "Mailboxes it had then" },
	{ "max_mailboxes",   F_INT,       F_MAYBE_NULL,                  "Plan: mailboxes at most; null: no limit" },
	{ "databases",       F_INT,       F_MAYBE_NULL,                  "How many databases it had then" },
	{ "max_databases",   F_INT,       F_MAYBE_NULL,                  "Plan: databases at most; null: no limit" },
	{ "cron",            F_INT,       F_MAYBE_NULL,                  "Cron jobs it had then" },
	{ "exceeded",        F_JSON,      0,                             "Which limits of the plan it is beyond: disk, domains, mailboxes, databases" },
	{ "transfer",        F_JSON,      F_MAYBE_NULL,                  "What its websites sent, by month, newest first: month, requests, bytes; null: no logs are read (setting usage_logs)" },
	{ "computed_at",     F_TIMESTAMP, F_MAYBE_NULL,                  "When all this was measured; null: not yet" },
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
