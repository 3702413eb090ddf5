/* accounts.c: hosting accounts, the tenants. Their rules live in sql/functions/20_accounts.sql. */
#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api.h"
#include "config.h"
#include "error.h"

static const struct field fields[] = {
	{ "id",            F_INT,       F_SORT | F_FILTER,                           "Number of the account" },
	{ "name",          F_TEXT,      F_INPUT | F_SORT | F_SEARCH,                 "What people call it; default: the user name", .min = 1, .max = 200 },
	{ "username",      F_USERNAME,  F_CREATE | F_REQUIRED | F_SORT | F_FILTER | F_SEARCH, "Unix user it runs as", .example = "\"alice\"" },
	{ "email",         F_EMAIL,     F_INPUT | F_NULLABLE | F_FILTER | F_SEARCH,  "Where its owner is reached" },
	{ "home",          F_PATH,      F_LOCAL,                                     "Its home folder: /home/<username>/home of a user that is made, "
	                                                                             "/home/<username> of one that was there; another is named at the machine only", .max = 500 },
	{ "max_domains",   F_INT,       F_INPUT | F_ADMIN | F_NULLABLE,              "Plan: domains at most; default 500; null: no limit", .max = 1000000 },
	{ "max_mailboxes", F_INT,       F_INPUT | F_ADMIN | F_NULLABLE,              "Plan: mailboxes at most; default 1000; null: no limit", .max = 1000000 },
	{ "max_databases", F_INT,       F_INPUT | F_ADMIN | F_NULLABLE,              "Plan: databases at most; default 100; null: no limit", .max = 1000000 },
	{ "max_disk_mb",   F_INT,       F_INPUT | F_ADMIN | F_NULLABLE,              "Plan: disk in MB; null: no limit", .max = 1000000000000 },
	{ "max_forwarders", F_INT,      F_INPUT | F_ADMIN, "Plan: forwarders at most; default 500", .max = 1000000 },
	{ "max_cron",      F_INT,       F_INPUT | F_ADMIN, "Plan: cron jobs at most; default 100", .max = 10000 },
	{ "max_backups",   F_INT,       F_INPUT | F_ADMIN, "Plan: backups of all kinds at most; default 50", .max = 100000 },
	{ "max_users",     F_INT,       F_INPUT | F_ADMIN, "Plan: users at most; default 50", .max = 1000000 },
	{ "max_tokens",    F_INT,       F_INPUT | F_ADMIN, "Plan: tokens at most; default 100. Of those that are revoked or expired ten count as one", .max = 1000000 },
	{ "max_jobs",      F_INT,       F_INPUT | F_ADMIN,
	  "Plan: jobs at most that its tokens asked for and that have not ended; default 100", .min = 1, .max = 100000 },
	{ "max_certificate_orders", F_INT, F_INPUT | F_ADMIN,
	  "Plan: certificates at most that its tokens order within seven days; default 20", .max = 100000 },
	{ "max_requests",  F_INT,       F_INPUT | F_ADMIN,
	  "Plan: requests a minute at most, over all its tokens; default 6000", .min = 1, .max = 10000000 },
	{ "max_database_connections", F_INT, F_INPUT | F_ADMIN,
	  "Plan: connections at most of each of its database users; default 20", .min = 1, .max = 10000 },
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
	{ "adopt",         F_BOOL,      F_CREATE | F_ADMIN | F_FILTER,               "Take the Unix user of that name, which must be there, and whose home must be the account's (setting unix_users = adopt or create); default false: one is made (create)", .example = "false" },
	{ "uid",           F_INT,       F_MAYBE_NULL,                                "Uid of its Unix user, given once and never again; null: not known yet" },
	{ "job_id",        F_UUID,      F_MAYBE_NULL,                                "Job that works on it, or did last" },
	{ "created_at",    F_TIMESTAMP, F_SORT,                                      "When it was created" },
	{ "updated_at",    F_TIMESTAMP, F_SORT,                                      "When it last changed" },
	{ 0 }
};

/* Is there such a Unix user on this machine? Told with the machine's name: posternd's may be another. */
static void tell_user(struct json_object *body, const char *name)
{
	char host[80] = "";
	struct json_object *user;

	errno = 0;
	const bool there = getpwnam(name) != NULL;

	if ((!there && errno && errno != ENOENT) || gethostname(host, sizeof host - 1) != 0)
		return; /* it cannot be told: the job will see */
	user = json_object_new_object();
	json_object_object_add(user, "machine", json_object_new_string(host));
	json_object_object_add(user, "there", json_object_new_boolean(there));
	json_object_object_add(body, "_unix_user", user);
}

/* What the setting unix_users leaves no job to do. */
static int check_users(struct request *r, bool adopt)
{
	const char *users = request_config(r)->unix_users;

	if (adopt && strcmp(users, "none") == 0)
		return request_fail(r, ERR_VALIDATION, "adopt", "accounts have no Unix users on this machine (setting unix_users = none), so none is taken; "
		                    "leave adopt out, or set unix_users to adopt or create");
	if (!adopt && strcmp(users, "adopt") == 0)
		return request_fail(r, ERR_VALIDATION, "adopt", "no Unix users are made on this machine (setting unix_users = adopt); give adopt: true to take "
		                    "the one of this name, or set unix_users = create");
	return 0;
}

/* Homes are where the settings say, which the database does not know. A new user's has a folder of root's around it (worker/tenant.h). */
static int default_home(struct request *r, struct json_object *body)
{
	struct json_object *username = NULL, *adopt = NULL, *managed = NULL;
	char home[PATH_MAX];
	bool made, ours;

	if (json_object_object_get_ex(body, "username", &username)) {
		json_object_object_get_ex(body, "adopt", &adopt);
		ours = !json_object_object_get_ex(body, "managed", &managed) || json_object_get_boolean(managed);
		if (ours && check_users(r, json_object_get_boolean(adopt)) != 0)
			return -1;
		made = strcmp(request_config(r)->unix_users, "create") == 0 && !json_object_get_boolean(adopt) && ours;
		if (ours && strcmp(request_config(r)->unix_users, "none") != 0)
			tell_user(body, json_object_get_string(username));
		snprintf(home, sizeof home, "%s/%s%s", request_config(r)->home_dir, json_object_get_string(username), made ? "/home" : "");
		json_object_object_add(body, "_home", json_object_new_string(home));
	}
	return 0;
}

static const struct field delete_input[] = {
	CONFIRM("account", "username", "alice"),
	{ "purge", F_BOOL, F_INPUT, "Remove the home folder with all in it, too; default false" },
	{ "purge_backups", F_BOOL, F_INPUT, "Delete its backups, too; default false: they stay, and can be restored into another account" },
	{ 0 }
};

static const struct route routes[] = {
	/* method   path               operation           scope              role      bucket     audit                does */
	{ M_GET,    "",                "listAccounts",     "accounts:read",   VIEWER,   RATE_CALL, "account.list",      LIST,                "List accounts" },
	{ M_POST,   "",                "createAccount",    "accounts:write",  ADMIN,    RATE_CALL, "account.create",    CREATE,              "Create an account", .prepare = default_home, .adds = "_home _unix_user" },
	{ M_GET,    "/{id}",           "getAccount",       "accounts:read",   VIEWER,   RATE_CALL, "account.read",      GET,                 "Show an account" },
	{ M_PUT,    "/{id}",           "replaceAccount",   "accounts:write",  CUSTOMER, RATE_CALL, "account.update",    REPLACE,             "Replace an account's settings" },
	{ M_PATCH,  "/{id}",           "changeAccount",    "accounts:write",  CUSTOMER, RATE_CALL, "account.update",    PATCH,               "Change an account" },
	{ M_DELETE, "/{id}",           "deleteAccount",    "accounts:delete", ADMIN,    RATE_CALL, "account.delete",    DELETE,              "Delete an account; its home folder is put away for root alone unless purge is given, and its backups stay", .input = delete_input },
	{ M_POST,   "/{id}/mend",      "mendAccount",      "accounts:write",  ADMIN,    RATE_CALL, "account.mend",      ACTION("mend"),      "Close an account's home folder to other tenants" },
	{ M_POST,   "/{id}/suspend",   "suspendAccount",   "accounts:write",  ADMIN,    RATE_CALL, "account.suspend",   ACTION("suspend"),   "Suspend an account: its tokens are refused at once" },
	{ M_POST,   "/{id}/unsuspend", "unsuspendAccount", "accounts:write",  ADMIN,    RATE_CALL, "account.unsuspend", ACTION("unsuspend"), "Put a suspended account back into service" },
	{ 0 }
};

static const struct resource accounts = {
	"accounts", "account", NULL, "Hosting accounts: the tenants", fields, routes, .key = "username"
};
POSTERN_RESOURCE(accounts);
