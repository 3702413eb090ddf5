/* mailboxes.c: addresses whose mail is kept here. Their rules live in sql/functions/20_mailboxes.sql. */
#include <json-c/json.h>
#include <string.h>

#include "api.h"
#include "error.h"
#include "password.h"
#include "servers.h"
#include "token.h"

static const struct field fields[] = {
	{ "id",         F_INT,       F_SORT | F_FILTER,                     "Number of the mailbox" },
	{ "address",    F_MAILBOX,   F_CREATE | F_REQUIRED | F_SORT | F_FILTER | F_SEARCH, "Its address, which is also the name to log in with", .min = 1, .example = "\"info@example.org\"" },
	{ "domain_id",  F_INT,       F_CREATE | F_FILTER,                   "Number of the address's domain; may be left out" },
	{ "domain",     F_HOSTNAME,  F_FILTER | F_SEARCH,                   "Name of that domain" },
	{ "account_id", F_INT,       F_CREATE | F_FILTER,                   "Number of the domain's account; may be left out" },
	{ "account",    F_USERNAME,  F_CREATE | F_FILTER,                   "User name of that account; may be left out" },
	{ "quota_mb",   F_INT,       F_INPUT | F_NULLABLE,                  "How much mail it may hold, in MB of 1,048,576 bytes; null: as much as the account's plan allows", .min = 1, .max = 100000000, .example = "1024" },
	{ "used_mb",    F_INT,       0,                                     "How much mail it holds, rounded up to whole MB" },
	{ "imap_host",  F_TEXT,      F_MAYBE_NULL,                          "Host on which its mail is read, by IMAP" },
	{ "imap_port",  F_INT,       F_MAYBE_NULL,                          "Port there" },
	{ "smtp_host",  F_TEXT,      F_MAYBE_NULL,                          "Host that takes mail from it, by SMTP" },
	{ "smtp_port",  F_INT,       F_MAYBE_NULL,                          "Port there" },
	{ "status",     F_ENUM,      F_SORT | F_FILTER,                     "State; a suspended mailbox takes no mail and lets nobody log in", .choices = "pending active suspended deleting error" },
	HELD_BY("suspended it"),
	{ "last_error", F_TEXT,      F_MAYBE_NULL,                          "What went wrong last; null: nothing" },
	{ "created_at", F_TIMESTAMP, F_SORT,                                "When it was created" },
	{ "updated_at", F_TIMESTAMP, F_SORT,                                "When it last changed" },
	{ "password",   F_TEXT,      F_INPUT | F_REQUIRED | F_SECRET | F_WRITEONLY, "Password to log in with; kept as a hash", .min = PASSWORD_MIN, .max = PASSWORD_MAX, .example = "\"correct horse battery\"" },
	{ 0 }
};

/* The hash takes the password's place, so that SQL never sees it. */
static int hash_password(struct request *r, struct json_object *body)
{
	struct json_object *clear;
	char hash[PASSWORD_HASH_MAX];

	if (!json_object_object_get_ex(body, "password", &clear))
		return 0;
	if (json_object_get_string_len(clear) > PASSWORD_MAX)
		return request_fail(r, ERR_VALIDATION, "password", "must have at most 72 bytes, as its hash (bcrypt) reads no more; "
		                    "a letter beyond a-z has two or more");
	if (!password_bcrypt(json_object_get_string(clear), hash))
		return request_fail(r, ERR_INTERNAL, NULL, "the password could not be hashed; try again");
	token_wipe((char *)json_object_get_string(clear), (size_t)json_object_get_string_len(clear));
	json_object_object_add(body, "password", json_object_new_string(hash));
	token_wipe(hash, sizeof hash);
	return 0;
}

static const struct field delete_input[] = {
	CONFIRM("mailbox", "address", "info@example.org"),
	{ 0 }
};

static const struct route routes[] = {
	/* method   path               operation           scope               role      bucket     audit                does */
	{ M_GET,    "",                "listMailboxes",    "mailboxes:read",   VIEWER,   RATE_CALL, "mailbox.list",      LIST,                "List mailboxes" },
	{ M_POST,   "",                "createMailbox",    "mailboxes:write",  CUSTOMER, RATE_CALL, "mailbox.create",    CREATE,              "Create a mailbox; mail is taken for it at once", .prepare = hash_password },
	{ M_GET,    "/{id}",           "getMailbox",       "mailboxes:read",   VIEWER,   RATE_CALL, "mailbox.read",      GET,                 "Show a mailbox" },
	{ M_PATCH,  "/{id}",           "changeMailbox",    "mailboxes:write",  CUSTOMER, RATE_CALL, "mailbox.update",    PATCH,               "Change a mailbox's password or quota", .prepare = hash_password },
	{ M_DELETE, "/{id}",           "deleteMailbox",    "mailboxes:delete", CUSTOMER, RATE_CALL, "mailbox.delete",    DELETE,              "Delete a mailbox and its mail", .input = delete_input },
	{ M_POST,   "/{id}/suspend",   "suspendMailbox",   "mailboxes:write",  CUSTOMER, RATE_CALL, "mailbox.suspend",   ACTION("suspend"),   "Suspend a mailbox: mail and logins are refused at once" },
	{ M_POST,   "/{id}/unsuspend", "unsuspendMailbox", "mailboxes:write",  CUSTOMER, RATE_CALL, "mailbox.unsuspend", ACTION("unsuspend"), "Put a suspended mailbox back into service" },
	{ 0 }
};

static const struct resource mailboxes = {
	"mailboxes", "mailbox", "email", "Addresses whose mail is kept here", fields, routes, .key = "address", .knows = servers_of_mail
};
POSTERN_RESOURCE(mailboxes);
