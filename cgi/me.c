/* me.c: who am I, and what may I do? */
#include "api.h"

static const struct field fields[] = {
	{ "user_id",       F_INT,        0,            "Number of the token's owner" },
	{ "username",      F_USERNAME,   0,            "The owner's user name" },
	{ "email",         F_EMAIL,      F_MAYBE_NULL, "The owner's e-mail address" },
	{ "role",          F_SLUG,       F_MAYBE_NULL, "The owner's role" },
	{ "account_id",    F_INT,        F_MAYBE_NULL, "Number of the account the token is bound to; null: none" },
	{ "account",       F_USERNAME,   F_MAYBE_NULL, "User name of that account" },
	{ "administrator", F_BOOL,       0,            "Whether this token reaches all accounts" },
	{ "token_id",      F_UUID,       0,            "The token's id" },
	{ "token_name",    F_NAME,       0,            "The token's name" },
	{ "key_id",        F_TEXT,       0,            "Which of the token's keys was used" },
	{ "scopes",        F_SCOPE_LIST, 0,            "What the token may do now: its own scopes within its owner's role, less its deny list" },
	{ "operations",    F_JSON,       0,            "Ids of the operations it may call now" },
	{ "deny",          F_SCOPE_LIST, 0,            "What it may not do" },
	{ "allowed_ips",   F_CIDR_LIST,  0,            "Where it may be used from; empty: anywhere" },
	{ "rate_limit",    F_INT,        0,            "Requests per minute" },
	{ "action_limit",  F_INT,        0,            "Heavy actions per minute" },
	{ "expires_at",    F_TIMESTAMP,  F_MAYBE_NULL, "When it expires; null: never" },
	{ "ip",            F_ADDRESS,    0,            "The address this request came from" },
	{ 0 }
};

static const struct route routes[] = {
	/* method path operation scope           role    bucket     audit      does */
	{ M_GET, "", "getMe", "profile:read", VIEWER, RATE_CALL, "me.read", READ("show"), "Show the caller", R_OWN },
	{ 0 }
};

static const struct resource me = { "me", "me", NULL, "The caller: owner, token, effective scopes", fields, routes };
POSTERN_RESOURCE(me);
