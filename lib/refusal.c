/* refusal.c: see refusal.h. */
#include "refusal.h"

#include <string.h>

static const struct { const char *reason, *check; enum error_code code; const char *message, *remedy; } table[] = {
	{ "unknown",           "token",        ERR_UNAUTHORIZED, "the token is not valid", "check that it was copied whole; create a new one if it is lost" },
	{ "revoked",           "token",        ERR_UNAUTHORIZED, "the token was revoked", "create a new one" },
	{ "expired",           "token",        ERR_UNAUTHORIZED, "the token has expired", "create a new one; the expiry of a token cannot be changed" },
	{ "owner_suspended",   "token",        ERR_UNAUTHORIZED, "the token's owner is suspended", "ask your administrator" },
	{ "account_suspended", "token",        ERR_UNAUTHORIZED, "the token's account is suspended", "ask your administrator" },
	{ "owner_moved",       "token",        ERR_UNAUTHORIZED, "the token's owner belongs to another account now", "create a new token there" },
	{ "insecure",          "https",        ERR_FORBIDDEN, "tokens are taken over HTTPS only", "use https://; this token has crossed the network in the clear: rotate it" },
	{ "address",           "address",      ERR_FORBIDDEN, "the token may not be used from this address", "use it from an address of its allowed_ips, or create one for this address" },
	{ "admin_path",        "admin_prefix", ERR_FORBIDDEN, "/api/v1/admin needs an administrator's token", "use the path without admin/" },
	{ "role",              "role",         ERR_FORBIDDEN, "the token's role may not do this", "use a token whose owner and role may" },
	{ "bound",             "account",      ERR_FORBIDDEN, "a token that is bound to an account may not do this", "use an administrator's token that is bound to none" },
	{ "no_account",        "account",      ERR_FORBIDDEN, "the token's owner has no account", "ask your administrator to give the user an account" },
	{ "scope",             "scope",        ERR_FORBIDDEN, "the token or its owner's role lacks the scope",
	  "/api/v1/tokens/self shows the token, /api/v1/scopes all that there are" },
	{ "denied",            "deny",         ERR_FORBIDDEN, "the token's deny list refuses this", NULL },
	{ "superseded",        "token",        ERR_FORBIDDEN, "a rotation replaced this key: until its grace ends it reads and changes, but it grants and revokes nothing",
	  "use the token's new value" },
	{ "rate_limit",        "rate_limit",   ERR_RATE_LIMITED, "the token's rate limit is used up", "wait for Retry-After seconds; tokens that it minted share it" },
	{ "account_limit",     "rate_limit",   ERR_RATE_LIMITED, "the requests that the account's plan allows in a minute are used up", "wait for Retry-After seconds; all tokens of the account share them" },
	{ "action_limit",      "rate_limit",   ERR_RATE_LIMITED, "the token's limit for heavy actions is used up", "wait for Retry-After seconds" },
	{ "address_limit",     "rate_limit",   ERR_RATE_LIMITED, "too many unknown tokens came from this address", "wait for Retry-After seconds and check the token" },
};

const char refusal_in_part[] =
	"Leave out what the message names, or ask an administrator to do it; the request itself is the token's to make.";

const char *refusal_needed(const struct request *r)
{
	return r->route && strcmp(r->route->scope, SCOPE_NONE) != 0 ? r->route->scope : NULL;
}

const char *refusal_check(const char *reason)
{
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (strcmp(table[i].reason, reason) == 0)
			return table[i].check;
	return "scope";
}

void refusal_set(struct request *r, const char *reason)
{
	struct failure *f = &r->failure;

	*f = (struct failure){ .set = true, .code = ERR_FORBIDDEN, .reason = reason };
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (strcmp(table[i].reason, reason) == 0) {
			f->code = table[i].code;
			f->message = table[i].message;
			f->details = table[i].remedy;
		}
	if (strcmp(reason, "role") == 0 && r->route && r->route->role == ADMIN) {
		f->message = "this is for administrators only";
		f->details = "use an administrator's token, or ask an administrator to do it";
	} else if (strcmp(reason, "bound") == 0) {
		f->message = "this is for administrators only, with a token that is bound to no account";
	}
	if (f->code == ERR_FORBIDDEN)
		f->details = arena_printf(r->arena, "refused by: %s; needed: %s; held: %s%s%s", reason, refusal_needed(r) ? refusal_needed(r) : "no scope",
		                          r->caller.held && *r->caller.held ? r->caller.held : "none",
		                          f->details ? "; " : "", f->details ? f->details : "");
}
