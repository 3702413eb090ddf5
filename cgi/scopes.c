/* scopes.c: what a token may be given, for whoever has any. The list is that of the route tables. */
#include "api.h"

static const struct field fields[] = {
	{ "id",          F_TEXT, F_SORT | F_FILTER,            "The scope", .example = "\"domains:read\"" },
	{ "name",        F_TEXT, F_SORT | F_FILTER | F_SEARCH, "The same" },
	{ "resource",    F_TEXT, F_SORT | F_FILTER,            "Its first part: the resource, or what several share (platform, profile)" },
	{ "verb",        F_TEXT, F_SORT | F_FILTER,            "Its second part: read, write, delete, or an action" },
	{ "description", F_TEXT, F_SEARCH,                     "What it opens" },
	{ "role",        F_ENUM, F_FILTER,                     "The least role that has a use for it", .choices = "viewer customer admin" },
	{ "wildcard",    F_BOOL, F_FILTER,                     "Whether <resource>:* and anybody's * imply it; false: only an administrator's * does" },
	{ "aliases",     F_JSON, 0,                            "Other spellings that are read as it" },
	{ "updated_at",  F_TIMESTAMP, F_SORT,                  "When it last changed" },
	{ 0 }
};

static const struct route routes[] = {
	/* method  path     operation     scope       role    bucket     audit         does */
	{ M_GET, "",      "listScopes", SCOPE_NONE, VIEWER, RATE_CALL, "scope.list", LIST, "List all scopes, with what each opens", R_OWN },
	{ M_GET, "/{id}", "getScope",   SCOPE_NONE, VIEWER, RATE_CALL, "scope.read", GET,  "Show a scope", R_OWN },
	{ 0 }
};

static const struct resource scopes = { "scopes", "scope", NULL, "What tokens and roles may be given", fields, routes };
POSTERN_RESOURCE(scopes);
