/* roles.c: named sets of scopes. Their rules live in sql/functions/20_roles.sql. */
#include "api.h"

static const struct field fields[] = {
	{ "id",          F_INT,        F_SORT | F_FILTER,                       "Number of the role" },
	{ "name",        F_SLUG,       F_CREATE | F_REQUIRED | F_SORT | F_FILTER | F_SEARCH, "Name of the role", .example = "\"support\"" },
	{ "base",        F_ENUM,       F_INPUT | F_SORT | F_FILTER,             "Whose routes it may use at most; default: customer", .choices = "viewer customer admin" },
	{ "description", F_TEXT,       F_INPUT | F_NULLABLE | F_SEARCH,         "What it is for", .max = 500 },
	{ "scopes",      F_SCOPE_LIST, F_INPUT | F_REQUIRED,                    "What it may do", .example = "[\"domains:read\"]" },
	{ "built_in",    F_BOOL,       F_SORT | F_FILTER,                       "Built-in roles are fixed" },
	{ "users",       F_INT,        0,                                       "Users who have it" },
	{ "created_at",  F_TIMESTAMP,  F_SORT,                                  "When it was created" },
	{ "updated_at",  F_TIMESTAMP,  F_SORT,                                  "When it last changed" },
	{ 0 }
};

static const struct route routes[] = {
	/* method   path     operation      scope           role   bucket     audit          does */
	{ M_GET,    "",      "listRoles",   "roles:read",   ADMIN, RATE_CALL, "role.list",   LIST,    "List roles" },
	{ M_POST,   "",      "createRole",  "roles:write",  ADMIN, RATE_CALL, "role.create", CREATE,  "Create a role", R_GRANTS },
	{ M_GET,    "/{id}", "getRole",     "roles:read",   ADMIN, RATE_CALL, "role.read",   GET,     "Show a role" },
	{ M_PUT,    "/{id}", "replaceRole", "roles:write",  ADMIN, RATE_CALL, "role.update", REPLACE, "Replace a role", R_GRANTS },
	{ M_PATCH,  "/{id}", "changeRole",  "roles:write",  ADMIN, RATE_CALL, "role.update", PATCH,   "Change a role", R_GRANTS },
	{ M_DELETE, "/{id}", "deleteRole",  "roles:delete", ADMIN, RATE_CALL, "role.delete", DELETE,  "Delete a role that nobody has", R_GRANTS },
	{ 0 }
};

static const struct resource roles = { "roles", "role", NULL, "Named sets of scopes", fields, routes, .key = "name" };
POSTERN_RESOURCE(roles);
