/* forwarders.c: addresses whose mail goes on to others. Their rules live in sql/functions/20_forwarders.sql. */
#include "api.h"

static const struct field fields[] = {
	{ "id",           F_INT,        F_SORT | F_FILTER,                  "Number of the forwarder" },
	{ "address",      F_MAILBOX,    F_CREATE | F_REQUIRED | F_SORT | F_FILTER | F_SEARCH, "Its address; @example.org takes what is sent to any other address of the domain. A mailbox of the same address keeps a copy", .example = "\"sales@example.org\"" },
	{ "domain_id",    F_INT,        F_CREATE | F_FILTER,                "Number of the address's domain; may be left out" },
	{ "domain",       F_HOSTNAME,   F_FILTER | F_SEARCH,                "Name of that domain" },
	{ "account_id",   F_INT,        F_CREATE | F_FILTER,                "Number of the domain's account; may be left out" },
	{ "account",      F_USERNAME,   F_CREATE | F_FILTER,                "User name of that account; may be left out" },
	{ "destinations", F_EMAIL_LIST, F_INPUT | F_REQUIRED,               "Where its mail goes", .max = 50, .example = "[\"alice@example.org\",\"bob@example.com\"]" },
	{ "status",       F_ENUM,       F_SORT | F_FILTER,                  "State; a suspended forwarder's mail is refused", .choices = "pending active suspended deleting error" },
	HELD_BY("suspended it"),
	{ "last_error",   F_TEXT,       F_MAYBE_NULL,                       "What went wrong last; null: nothing" },
	{ "created_at",   F_TIMESTAMP,  F_SORT,                             "When it was created" },
	{ "updated_at",   F_TIMESTAMP,  F_SORT,                             "When it last changed" },
	{ 0 }
};

static const struct route routes[] = {
	/* method   path               operation             scope                role      bucket     audit                  does */
	{ M_GET,    "",                "listForwarders",     "forwarders:read",   VIEWER,   RATE_CALL, "forwarder.list",      LIST,                "List forwarders" },
	{ M_POST,   "",                "createForwarder",    "forwarders:write",  CUSTOMER, RATE_CALL, "forwarder.create",    CREATE,              "Create a forwarder" },
	{ M_GET,    "/{id}",           "getForwarder",       "forwarders:read",   VIEWER,   RATE_CALL, "forwarder.read",      GET,                 "Show a forwarder" },
	{ M_PUT,    "/{id}",           "replaceForwarder",   "forwarders:write",  CUSTOMER, RATE_CALL, "forwarder.update",    REPLACE,             "Replace a forwarder's destinations" },
	{ M_PATCH,  "/{id}",           "changeForwarder",    "forwarders:write",  CUSTOMER, RATE_CALL, "forwarder.update",    PATCH,               "Change a forwarder" },
	{ M_DELETE, "/{id}",           "deleteForwarder",    "forwarders:delete", CUSTOMER, RATE_CALL, "forwarder.delete",    DELETE,              "Delete a forwarder" },
	{ M_POST,   "/{id}/suspend",   "suspendForwarder",   "forwarders:write",  CUSTOMER, RATE_CALL, "forwarder.suspend",   ACTION("suspend"),   "Suspend a forwarder: its mail is refused at once" },
	{ M_POST,   "/{id}/unsuspend", "unsuspendForwarder", "forwarders:write",  CUSTOMER, RATE_CALL, "forwarder.unsuspend", ACTION("unsuspend"), "Put a suspended forwarder back into service" },
	{ 0 }
};

static const struct resource forwarders = {
	"forwarders", "forwarder", NULL, "Addresses whose mail goes on to others", fields, routes, .key = "address"
};
POSTERN_RESOURCE(forwarders);
