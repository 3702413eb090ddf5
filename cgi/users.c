/* users.c: who logs in and owns tokens. Their rules live in sql/functions/20_users.sql. */
#include "api.h"

static const struct field fields[] = {
	{ "id",         F_INT,       F_SORT | F_FILTER,                          "Number of the user" },
	{ "username",   F_USERNAME,  F_CREATE | F_REQUIRED | F_SORT | F_FILTER | F_SEARCH, "Name to log in with; one that is given by a user of an account has the account's and a hyphen before it", .example = "\"alice\"" },
	{ "email",      F_EMAIL,     F_INPUT | F_NULLABLE | F_FILTER | F_SEARCH, "Where the user is reached" },
	{ "role",       F_SLUG,      F_INPUT | F_SORT | F_FILTER,                "What the user may do; default: customer. Changed by administrators" },
	{ "account_id", F_INT,       F_INPUT | F_NULLABLE | F_FILTER,            "Number of the user's account; null: none" },
	{ "account",    F_USERNAME,  F_INPUT | F_NULLABLE | F_FILTER,            "User name of that account; may be given instead of account_id" },
	{ "status",     F_ENUM,      F_SORT | F_FILTER,                          "State; a suspended user's tokens are refused", .choices = "active suspended" },
	HELD_BY("suspended it"),
	{ "created_at", F_TIMESTAMP, F_SORT,                                     "When it was created" },
	{ "updated_at", F_TIMESTAMP, F_SORT,                                     "When it last changed" },
	{ 0 }
};

static const struct route routes[] = {
	/* method   path               operation        scope           role      bucket     audit             does */
	{ M_GET,    "",                "listUsers",     "users:read",   VIEWER,   RATE_CALL, "user.list",      LIST,                "List users" },
	{ M_POST,   "",                "createUser",    "users:write",  CUSTOMER, RATE_CALL, "user.create",    CREATE,              "Create a user", R_GRANTS },
	{ M_GET,    "/{id}",           "getUser",       "users:read",   VIEWER,   RATE_CALL, "user.read",      GET,                 "Show a user" },
	{ M_PUT,    "/{id}",           "replaceUser",   "users:write",  CUSTOMER, RATE_CALL, "user.update",    REPLACE,             "Replace a user's settings", R_GRANTS },
	{ M_PATCH,  "/{id}",           "changeUser",    "users:write",  CUSTOMER, RATE_CALL, "user.update",    PATCH,               "Change a user", R_GRANTS },
	{ M_DELETE, "/{id}",           "deleteUser",    "users:delete", CUSTOMER, RATE_CALL, "user.delete",    DELETE,              "Delete a user", R_GRANTS },
	{ M_POST,   "/{id}/suspend",   "suspendUser",   "users:write",  CUSTOMER, RATE_CALL, "user.suspend",   ACTION("suspend"),   "Suspend a user: the user's tokens are refused at once", R_GRANTS },
	{ M_POST,   "/{id}/unsuspend", "unsuspendUser", "users:write",  CUSTOMER, RATE_CALL, "user.unsuspend", ACTION("unsuspend"), "Let a suspended user in again", R_GRANTS },
	{ 0 }
};

static const struct resource users = {
	"users", "user", NULL, "Who logs in and owns tokens", fields, routes, .key = "username",
	.scope_too = "users:admin" /* to change or remove an administrator */
};
POSTERN_RESOURCE(users);
