/* accounts.c: hosting accounts, the tenants. Their rules live in sql/functions/20_accounts.sql. */
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>

#include "api.h"
#include "config.h"

static const struct field fields[] = {
	{ "id",            F_INT,       F_SORT | F_FILTER,                           "Number of the account" },
	{ "name",          F_TEXT,      F_INPUT | F_SORT | F_SEARCH,                 "What people call it; default: the user name", .min = 1, .max = 200 },
	{ "username",      F_USERNAME,  F_CREATE | F_REQUIRED | F_SORT | F_FILTER | F_SEARCH, "Unix user it runs as", .example = "\"alice\"" },
	{ "email",         F_EMAIL,     F_INPUT | F_NULLABLE | F_FILTER | F_SEARCH,  "Where its owner is reached" },
	{ "home",          F_PATH,      F_INPUT | F_ADMIN,                           "Its home folder; default: /home/<username>", .max = 500 },
	{ "max_domains",   F_INT,       F_INPUT | F_ADMIN | F_NULLABLE,              "Plan: domains at most; null: no limit", .max = 1000000 },
	{ "max_mailboxes", F_INT,       F_INPUT | F_ADMIN | F_NULLABLE,              "Plan: mailboxes at most; null: no limit", .max = 1000000 },
	{ "max_databases", F_INT,       F_INPUT | F_ADMIN | F_NULLABLE,              "Plan: databases at most; null: no limit", .max = 1000000 },
	{ "max_disk_mb",   F_INT,       F_INPUT | F_ADMIN | F_NULLABLE,              "Plan: disk in MB; null: no limit", .max = 1000000000000 },
	{ "ports",         F_PORT_LIST, F_INPUT | F_ADMIN,                           "Ports from 1024 on where its own programs may be reached (websites, proxy_target)" },
	{ "backup_keep_last",    F_INT, F_INPUT | F_ADMIN | F_NULLABLE, "Plan: backups of each kind that are kept; null: as the setting backup_keep_last says", .min = 1, .max = 1000 },
	{ "backup_keep_daily",   F_INT, F_INPUT | F_ADMIN | F_NULLABLE, "Plan: days of which the newest backup is kept, too", .max = 1000 },
	{ "backup_keep_weekly",  F_INT, F_INPUT | F_ADMIN | F_NULLABLE, "Plan: weeks of which the newest is", .max = 1000 },
	{ "backup_keep_monthly", F_INT, F_INPUT | F_ADMIN | F_NULLABLE, "Plan: months of which the newest is", .max = 1000 },
	{ "domains",       F_INT,       0,                                           "Domains it has" },
	{ "mailboxes",     F_INT,       0,                                           "Mailboxes it has" },
	{ "databases",     F_INT,       0,                                           "How many databases it has" },
	{ "users",         F_INT,       0,                                           "Users it has" },
	{ "tokens",        F_INT,       0,                                           "Tokens bound to it" },
	{ "status",        F_ENUM,      F_SORT | F_FILTER,                           "State; a suspended account's tokens are refused", .choices = "pending active suspended deleting error" },
	{ "last_error",     F_TEXT,      F_MAYBE_NULL,                            "What went wrong last on the machine; null: nothing" },
	{ "managed",       F_BOOL,      F_FILTER | F_LOCAL,                          "False while Postern only knows of it (imported)" },
	{ "job_id",        F_UUID,      F_MAYBE_NULL,                                "Job that works on it, or did last" },
	{ "created_at",    F_TIMESTAMP, F_SORT,                                      "When it was created" },
	{ "updated_at",    F_TIMESTAMP, F_SORT,                                      "When it last changed" },
	{ 0 }
};

/* Homes are where the settings say, which the database does not know. */
static int default_home(struct request *r, struct json_object *body)
{
	struct json_object *username = NULL;
	char home[PATH_MAX];

	if (!json_object_object_get_ex(body, "home", NULL) && json_object_object_get_ex(body, "username", &username)) {
		snprintf(home, sizeof home, "%s/%s", request_config(r)->home_dir, json_object_get_string(username));
		json_object_object_add(body, "home", json_object_new_string(home));
	}
	return 0;
}

static const struct field delete_input[] = {
	{ "purge", F_BOOL, F_INPUT, "Remove the home folder with all in it, too; default false" },
	{ 0 }
};

static const struct route routes[] = {
	/* method   path               operation           scope              role      bucket     audit                does */
	{ M_GET,    "",                "listAccounts",     "accounts:read",   VIEWER,   RATE_CALL, "account.list",      LIST,                "List accounts" },
	{ M_POST,   "",                "createAccount",    "accounts:write",  ADMIN,    RATE_CALL, "account.create",    CREATE,              "Create an account", .prepare = default_home },
	{ M_GET,    "/{id}",           "getAccount",       "accounts:read",   VIEWER,   RATE_CALL, "account.read",      GET,                 "Show an account" },
	{ M_PUT,    "/{id}",           "replaceAccount",   "accounts:write",  CUSTOMER, RATE_CALL, "account.update",    REPLACE,             "Replace an account's settings" },
	{ M_PATCH,  "/{id}",           "changeAccount",    "accounts:write",  CUSTOMER, RATE_CALL, "account.update",    PATCH,               "Change an account" },
	{ M_DELETE, "/{id}",           "deleteAccount",    "accounts:delete", ADMIN,    RATE_CALL, "account.delete",    DELETE,              "Delete an account; its home folder stays unless purge is given", .input = delete_input },
	{ M_POST,   "/{id}/suspend",   "suspendAccount",   "accounts:write",  ADMIN,    RATE_CALL, "account.suspend",   ACTION("suspend"),   "Suspend an account: its tokens are refused at once" },
	{ M_POST,   "/{id}/unsuspend", "unsuspendAccount", "accounts:write",  ADMIN,    RATE_CALL, "account.unsuspend", ACTION("unsuspend"), "Put a suspended account back into service" },
	{ 0 }
};

static const struct resource accounts = {
	"accounts", "account", NULL, "Hosting accounts: the tenants", fields, routes, .key = "username"
};
POSTERN_RESOURCE(accounts);
