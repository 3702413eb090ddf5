/* tokens.c: bearer tokens. Values are minted here and never reach PostgreSQL; their rules live in sql/functions/20_tokens.sql. */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "config.h"
#include "error.h"
#include "timestamp.h"
#include "token.h"

static const struct field fields[] = {
	{ "id",           F_UUID,       F_FILTER,                           "The token's id" },
	{ "name",         F_NAME,       F_INPUT | F_REQUIRED | F_SORT | F_FILTER | F_SEARCH, "Name, unique per owner", .example = "\"ci-deploy\"" },
	{ "key_id",       F_TEXT,       F_FILTER,                           "Public part of its newest key" },
	{ "user_id",      F_INT,        F_CREATE | F_ADMIN | F_FILTER,      "Number of its owner; default: the caller" },
	{ "owner",        F_USERNAME,   F_CREATE | F_ADMIN | F_FILTER | F_SEARCH | F_MAYBE_NULL, "User name of its owner; may be given instead of user_id" },
	{ "account_id",   F_INT,        F_CREATE | F_FILTER | F_MAYBE_NULL, "Account it is bound to; null: none (an administrator's, which reaches all)" },
	{ "account",      F_USERNAME,   F_CREATE | F_FILTER | F_MAYBE_NULL, "User name of that account; may be given instead of account_id" },
	{ "role",         F_SLUG,       F_CREATE | F_FILTER | F_MAYBE_NULL, "A cap: at most what this role may do. Without scopes: all that it has" },
	{ "scopes",       F_SCOPE_LIST, F_CREATE | F_EXAMPLE,               "What it may do", .example = "[\"domains:read\"]" },
	{ "deny",         F_SCOPE_LIST, F_CREATE,                           "What it may not do all the same" },
	{ "allowed_ips",  F_CIDR_LIST,  F_CREATE | F_MAYBE_NULL,            "Where it may be used from; empty: anywhere; null: an administrator's, and not yours to know" },
	{ "rate_limit",   F_INT,        F_CREATE,                           "Requests per minute, shared with the tokens it minted and those of the token that minted it; default 60", .min = 1, .max = 10000000, .spelling = "rateLimitRpm", .example = "60" },
	{ "action_limit", F_INT,        F_CREATE,                           "Heavy actions per minute, shared in the same way; default 10", .min = 1, .max = 10000000, .example = "10" },
	{ "expires_at",   F_TIMESTAMP,  F_CREATE | F_NULLABLE,              "When it expires; null: never; default: in one year. Fixed after creation" },
	{ "status",       F_ENUM,       F_FILTER,                           "State; expiring: within 14 days", .choices = "active expiring expired revoked" },
	{ "old_key_expires_at", F_TIMESTAMP, F_MAYBE_NULL,                  "Until when the value before the last rotation is good, too (its grace); null: there is none" },
	{ "held_by",      F_ENUM,       F_FILTER | F_MAYBE_NULL,
	  "administrator: one made it for an administrator; only they change or revoke it. null: it is the account's",
	  .choices = "administrator" },
	{ "parent_id",    F_UUID,       F_FILTER | F_MAYBE_NULL,            "The token that minted it" },
	{ "created_at",   F_TIMESTAMP,  F_SORT,                             "When it was created" },
	{ "last_used_at", F_TIMESTAMP,  F_MAYBE_NULL,                       "When it was last let in" },
	{ "last_used_ip", F_ADDRESS,    F_MAYBE_NULL,                       "From where" },
	{ "revoked_at",   F_TIMESTAMP,  F_MAYBE_NULL,                       "When it was revoked" },
	{ "updated_at",   F_TIMESTAMP,  F_SORT,                             "When it last changed" },
	{ "expires_on",   F_DATE,       F_CREATE | F_WRITEONLY,             "Last day of its life, to 23:59:59 server time; instead of expires_at" },
	{ 0 }
};

static const struct field revoke_input[] = {
	{ "descendants", F_BOOL, F_INPUT, "Revoke the tokens it minted too; default true" },
	{ 0 }
};
static const struct field revoke_many_input[] = {
	{ "ids",         F_UUID_LIST, F_INPUT | F_REQUIRED, "Ids of the tokens", .max = 1000 },
	{ "descendants", F_BOOL,      F_INPUT,              "Revoke the tokens they minted too; default true" },
	{ 0 }
};
static const struct field revoke_many_output[] = {
	{ "revoked",   F_UUID_LIST, 0, "Those that were revoked" },
	{ "not_found", F_UUID_LIST, 0, "Those that are none of the caller's" },
	{ 0 }
};
static const struct field rotate_input[] = {
	{ "grace_s", F_INT, F_INPUT, "Seconds for which the old key stays good; default 0", .max = 86400 },
	{ 0 }
};

static const struct field self_output[] = {
	{ "id",           F_UUID,       0,            "The token's id" },
	{ "name",         F_NAME,       0,            "Its name" },
	{ "key_id",       F_TEXT,       0,            "Which of its keys was used" },
	{ "user_id",      F_INT,        0,            "Number of its owner" },
	{ "owner",        F_USERNAME,   0,            "User name of its owner" },
	{ "account_id",   F_INT,        F_MAYBE_NULL, "Account it is bound to; null: none" },
	{ "account",      F_USERNAME,   F_MAYBE_NULL, "User name of that account" },
	{ "role",         F_SLUG,       F_MAYBE_NULL, "A cap: at most what this role may do" },
	{ "scopes",       F_SCOPE_LIST, 0,            "What it may do, within its owner's role" },
	{ "deny",         F_SCOPE_LIST, 0,            "What it may not do all the same" },
	{ "allowed_ips",  F_CIDR_LIST,  0,            "Where it may be used from; empty: anywhere" },
	{ "rate_limit",   F_INT,        0,            "Requests per minute" },
	{ "action_limit", F_INT,        0,            "Heavy actions per minute" },
	{ "expires_at",   F_TIMESTAMP,  F_MAYBE_NULL, "When it expires; null: never" },
	{ "status",       F_ENUM,       0,            "State; expiring: within 14 days", .choices = "active expiring" },
	{ "old_key_expires_at", F_TIMESTAMP, F_MAYBE_NULL, "Until when the value before the last rotation is good, too; null: there is none" },
	{ "parent_id",    F_UUID,       F_MAYBE_NULL, "The token that minted it" },
	{ "created_at",   F_TIMESTAMP,  0,            "When it was created" },
	{ 0 }
};

#define MINTED "_key_id _digest _pepper_id"

/* A fresh value: shown once in the answer; key id, digest and pepper go to SQL. */
static int mint(struct request *r, struct json_object *body)
{
	const struct peppers *peppers = request_peppers(r);
	char text[TOKEN_TEXT_MAX], key_id[TOKEN_KEY_ID_LEN + 1], secret[TOKEN_SECRET_LEN + 1], hex[2 * TOKEN_DIGEST_LEN + 1];
	unsigned char digest[TOKEN_DIGEST_LEN];
	int done = -1;

	if (!peppers->count || !token_mint(request_config(r)->token_prefix, text, key_id, secret) ||
	    !token_digest(&peppers->item[0], key_id, secret, digest)) {
		request_fail(r, ERR_INTERNAL, NULL, "no token can be made; is the pepper file readable?");
	} else {
		for (int i = 0; i < TOKEN_DIGEST_LEN; i++)
			snprintf(hex + 2 * i, 3, "%02x", digest[i]);
		json_object_object_add(body, "_key_id", json_object_new_string(key_id));
		json_object_object_add(body, "_digest", json_object_new_string(hex));
		json_object_object_add(body, "_pepper_id", json_object_new_string(peppers->item[0].id));
		done = request_show_once(r, "token", text);
	}
	token_wipe(text, sizeof text);
	token_wipe(secret, sizeof secret);
	return done;
}

/* expires_on means the end of that day in the server's time zone. */
static int prepare_create(struct request *r, struct json_object *body)
{
	struct json_object *on;
	char at[TIMESTAMP_TEXT_MAX];
	int64_t us;

	if (json_object_object_get_ex(body, "expires_on", &on)) {
		if (json_object_object_get_ex(body, "expires_at", NULL))
			return request_fail(r, ERR_VALIDATION, "expires_on", "excludes expires_at; give one of the two");
		if (!timestamp_end_of_day(json_object_get_string(on), &us))
			return request_fail(r, ERR_VALIDATION, "expires_on", "must be a date of the calendar, such as 2027-01-31");
		timestamp_format(us, at);
		json_object_object_add(body, "expires_at", json_object_new_string(at));
		json_object_object_del(body, "expires_on");
		request_given_as(r, "expires_at", "expires_on");
	}
	return mint(r, body);
}

static const struct route routes[] = {
	/* method   path            operation       scope            role      bucket     audit           does                     summary */
	{ M_GET,    "",             "listTokens",   "tokens:read",   VIEWER,   RATE_CALL, "token.list",   LIST,                    "List tokens", R_NO_WILD },
	{ M_POST,   "",             "createToken",  "tokens:write",  CUSTOMER, RATE_CALL, "token.create", CREATE,                  "Create a token; its value is in this answer only", R_NO_WILD | R_GRANTS | R_SHOW_ONCE, .prepare = prepare_create, .adds = MINTED, .once = "token" },
	{ M_GET,    "/{id}",        "getToken",     "tokens:read",   VIEWER,   RATE_CALL, "token.read",   GET,                     "Show a token", R_NO_WILD },
	{ M_GET,    "/self",        "getSelf",      SCOPE_NONE,      VIEWER,   RATE_CALL, "token.read",   READ("self"),            "Show the token of this request, whatever it may do", R_OWN, .output = self_output },
	{ M_PATCH,  "/{id}",        "changeToken",  "tokens:write",  CUSTOMER, RATE_CALL, "token.update", PATCH,                   "Rename a token", R_NO_WILD | R_GRANTS },
	{ M_DELETE, "/{id}",        "deleteToken",  "tokens:delete", CUSTOMER, RATE_CALL, "token.delete", DELETE,                  "Delete a revoked or expired token", R_NO_WILD | R_GRANTS },
	{ M_POST,   "/{id}/revoke", "revokeToken",  "tokens:write",  CUSTOMER, RATE_CALL, "token.revoke", ACTION("revoke"),        "Revoke a token and those it minted", R_NO_WILD | R_GRANTS, revoke_input },
	{ M_POST,   "/revoke",      "revokeTokens", "tokens:write",  CUSTOMER, RATE_CALL, "token.revoke", CALL("revoke_many"),     "Revoke several tokens", R_NO_WILD | R_GRANTS, revoke_many_input, .output = revoke_many_output },
	{ M_POST,   "/{id}/rotate", "rotateToken",  "tokens:write",  CUSTOMER, RATE_CALL, "token.rotate", ACTION("rotate"),        "Give a token a new value, shown in this answer only", R_NO_WILD | R_GRANTS | R_SHOW_ONCE, rotate_input, mint, .adds = MINTED, .once = "token" },
	{ 0 }
};

static const struct resource tokens = {
	"tokens", "token", "api-keys", "Bearer tokens", fields, routes, .sort = "created_at"
};
POSTERN_RESOURCE(tokens);
