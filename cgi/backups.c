/* backups.c: what is kept of accounts, and how it comes back. The rules live in sql/functions/20_backups.sql, the work in
 * worker/actions/backup.c. */
#include "api.h"

static const struct field fields[] = {
	{ "id",          F_INT,       F_SORT | F_FILTER,                   "Number of the backup" },
	{ "account_id",  F_INT,       F_CREATE | F_FILTER,                 "Number of the account; default: the caller's" },
	{ "account",     F_USERNAME,  F_CREATE | F_FILTER | F_EXAMPLE | F_MAYBE_NULL, "User name of that account; may be given instead of account_id; null: it was deleted" },
	{ "kind",        F_ENUM,      F_CREATE | F_SORT | F_FILTER,        "What is in it; default: full, which is all", .choices = "full files databases mail" },
	{ "status",      F_ENUM,      F_FILTER | F_SORT,                   "State; active: it is whole, and its databases were read back; partial: what missing says is not in it", .choices = "pending active partial deleting error" },
	{ "progress",    F_INT,       0,                                   "Percent of it that is there" },
	{ "size_bytes",  F_INT,       F_MAYBE_NULL,                        "Bytes in it, before compression" },
	{ "snapshot_id", F_TEXT,      F_MAYBE_NULL,                        "The engine's snapshot of its first part" },
	{ "parts",       F_JSON,      F_MAYBE_NULL,                        "What it is made of: part, snapshot_id, size_bytes, and of which database or mailboxes" },
	{ "missing",     F_JSON,      F_MAYBE_NULL,                        "What could not be kept, or does not come back by itself: part, name, reason; null: nothing" },
	{ "note",        F_TEXT,      F_CREATE | F_NULLABLE | F_SEARCH,    "For people", .max = 200 },
	{ "keep",        F_BOOL,      F_CREATE | F_FILTER,                 "Whether it stays until somebody deletes it, however many newer ones there are; default false" },
	HELD_BY("had it kept"),
	{ "deleted_account", F_TEXT, F_FILTER | F_ANY | F_MAYBE_NULL,  "User name of its account, where that was deleted since (the filter takes * for any such); null: the account is there" },
	{ "account_deleted_at", F_TIMESTAMP, F_MAYBE_NULL,                 "When that account was deleted; the setting backup_keep_deleted_days says for how long the backup stays" },
	{ "last_error",  F_TEXT,      F_MAYBE_NULL,                        "What went wrong last; null: nothing" },
	{ "job_id",      F_UUID,      F_MAYBE_NULL,                        "Job that works on it, or did last" },
	{ "started_at",  F_TIMESTAMP, F_MAYBE_NULL,                        "When its making began" },
	{ "finished_at", F_TIMESTAMP, F_MAYBE_NULL,                        "When it was there" },
	{ "verified_at", F_TIMESTAMP, F_MAYBE_NULL,                        "When all of it was last read back; null: not since it was made" },
	{ "created_at",  F_TIMESTAMP, F_SORT,                              "When it was asked for" },
	{ "updated_at",  F_TIMESTAMP, F_SORT,                              "When it last changed" },
	{ 0 }
};

static const struct field restored[] = {
	{ "what",     F_ENUM, F_INPUT | F_REQUIRED,   "Which part comes back", .choices = "files database mail", .example = "\"files\"" },
	{ "to",       F_PATH, F_INPUT | F_NULLABLE,   "Files: a folder below the account's home to put them into; null: where they were", .max = 500 },
	{ "database", F_TEXT, F_INPUT,                "Database: its name in the backup; may be left out where there is one only", .max = 100 },
	{ "engine",   F_ENUM, F_INPUT,                "Database: the server that it was on; needed where the backup has one of that name of each", .choices = "postgresql mariadb" },
	{ "as",       F_TEXT, F_INPUT,                "Database: the one that it replaces, of the same account; default: that of the same name", .max = 100 },
	{ "account_id", F_INT, F_INPUT,               "Number of the account that takes it; default: the backup's own" },
	{ "account",  F_USERNAME, F_INPUT,            "User name of that account; one of the two is needed where the backup's own account was deleted" },
	{ 0 }
};
static const struct field delete_input[] = {
	CONFIRM("backup", "number", "31"),
	{ 0 }
};

static const struct route routes[] = {
	/* method   path             operation        scope              role      bucket       audit             does */
	{ M_GET,    "",              "listBackups",   "backups:read",    VIEWER,   RATE_CALL,   "backup.list",    LIST,              "List backups, newest first" },
	{ M_POST,   "",              "createBackup",  "backups:trigger", CUSTOMER, RATE_ACTION, "backup.create",  CREATE,            "Back up an account", .flags = R_JOB },
	{ M_GET,    "/{id}",         "getBackup",     "backups:read",    VIEWER,   RATE_CALL,   "backup.read",    GET,               "Show a backup" },
	{ M_DELETE, "/{id}",         "deleteBackup",  "backups:delete",  CUSTOMER, RATE_CALL,   "backup.delete",  DELETE,            "Delete a backup", .input = delete_input },
	{ M_POST,   "/{id}/restore", "restoreBackup", "backups:restore", CUSTOMER, RATE_ACTION, "backup.restore", ACTION("restore"), "Put files, a database or mail back", .flags = R_JOB, .input = restored },
	{ M_POST,   "/{id}/verify",  "verifyBackup",  "backups:trigger", CUSTOMER, RATE_ACTION, "backup.verify",  ACTION("verify"),  "Read all of a backup, to see that it is whole", .flags = R_JOB },
	{ 0 }
};

static const struct resource backups = {
	"backups", "backup", NULL, "What is kept of accounts, to be put back", fields, routes, .newest_first = true
};
POSTERN_RESOURCE(backups);
