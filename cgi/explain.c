/* explain.c: would this token be let in there? Its binary is linked with the tables of all resources (see the Makefile). */
#include "explain.h"

static const struct field fields[] = { { 0 } };

static const struct field question[] = {
	{ "method", F_ENUM,    F_INPUT | F_REQUIRED, "Method of the request that is asked about", .choices = "GET HEAD POST PUT PATCH DELETE OPTIONS", .example = "\"GET\"" },
	{ "path",   F_TEXT,    F_INPUT | F_REQUIRED, "Its path in any spelling, query too", .min = 1, .max = 2048, .example = "\"/api/v1/domains\"" },
	{ "token",  F_UUID,    F_INPUT | F_EXAMPLE,  "Id of the token that it would bear; default: the one of this request, administrators may name any (tokens:read)" },
	{ "ip",     F_ADDRESS, F_INPUT,              "Address it would come from; default: that of this request" },
	{ "https",  F_BOOL,    F_INPUT,              "Whether it would come by HTTPS; default true" },
	{ 0 }
};

static const struct field verdict[] = {
	{ "allowed",    F_BOOL,       0,            "Whether the gate would let it in now" },
	{ "status",     F_INT,        0,            "The HTTP status that the gate would answer with; 200: none" },
	{ "code",       F_TEXT,       F_MAYBE_NULL, "The error's code; null: allowed" },
	{ "check",      F_ENUM,       F_MAYBE_NULL, "The check that decides; null: all pass", .choices = "route method token https address admin_prefix role account scope deny rate_limit" },
	{ "reason",     F_TEXT,       F_MAYBE_NULL, "Why, as in the audit trail" },
	{ "message",    F_TEXT,       0,            "The same for people" },
	{ "details",    F_TEXT,       F_MAYBE_NULL, "What would be needed, as the error would say" },
	{ "operation",  F_TEXT,       F_MAYBE_NULL, "Id of the operation" },
	{ "needed",     F_TEXT,       F_MAYBE_NULL, "The scope it takes" },
	{ "role",       F_ENUM,       F_MAYBE_NULL, "The least role it takes", .choices = "viewer customer admin" },
	{ "held",       F_SCOPE_LIST, 0,            "The token's scopes" },
	{ "commands",   F_JSON,       0,            "Lines of the operator's command that grant it, in their order; none: no line does" },
	{ "method",     F_TEXT,       0,            "The method asked about" },
	{ "path",       F_TEXT,       0,            "The path asked about" },
	{ "ip",         F_ADDRESS,    F_MAYBE_NULL, "The address asked about" },
	{ "token_id",   F_UUID,       0,            "The token asked about" },
	{ "token_name", F_NAME,       0,            "Its name" },
	{ "owner",      F_USERNAME,   0,            "User name of its owner" },
	{ 0 }
};

static const struct route routes[] = {
	/* method path operation          scope           role    bucket     audit           does */
	{ M_POST, "", "explainRequest", "profile:read", VIEWER, RATE_CALL, "explain.read", CALL("ask"),
	  "Say whether a token would be let in, which check decides and what grants it", R_OWN, question, explain_prepare, .adds = "_ip _operation _admin _insecure _open", .tell = explain_tell, .output = verdict },
	{ 0 }
};

static const struct resource explain = { "explain", "explanation", "explanations", "Whether a token would be let in, and what it takes", fields, routes };
POSTERN_RESOURCE(explain);
