/* domains.c: names that accounts serve. Their rules live in sql/functions/domains.sql. */
#include <json-c/json.h>

#include "api.h"
#include "config.h"

static const struct field fields[] = {
	{ "id",             F_INT,       F_SORT | F_FILTER,                       "Number of the domain" },
	{ "domain",         F_HOSTNAME,  F_CREATE | F_REQUIRED | F_CLAIM | F_SORT | F_FILTER | F_SEARCH, "Name, as A-label (IDNA 2008)", .example = "\"example.org\"" },
	{ "domain_unicode", F_UNICODE,   0,                                       "The same name, as people read it" },
	{ "account_id",     F_INT,       F_CREATE | F_FILTER,           "Number of the account that serves it; default: the caller's" },
	{ "account",        F_USERNAME,  F_CREATE | F_FILTER | F_EXAMPLE, "User name of that account; may be given instead of account_id" },
	{ "type",           F_ENUM,      F_INPUT | F_SORT | F_FILTER,             "What it is to the account; default: primary for its first, else addon", .choices = "primary addon subdomain alias" },
	{ "document_root",  F_PATH,      F_INPUT | F_SEARCH | F_NULLABLE,         "Folder it is served from, below the account's home; default: there", .max = 500 },
	{ "ssl_status",     F_ENUM,      F_FILTER | F_SORT | F_LOCAL,                       "State of its certificate", .choices = "none pending active expiring expired untrusted error" },
	{ "status",         F_ENUM,      F_FILTER | F_SORT,                       "State of the domain; unproven: no mail is taken and no website is served for it, and others may claim it, too", .choices = "unproven pending active suspended deleting error" },
	HELD_BY("suspended it or took its mail off"),
	{ "last_error",     F_TEXT,      F_MAYBE_NULL,                            "What went wrong last on the machine, or why it is not proven; null: nothing" },
	{ "proof",          F_ENUM,      F_FILTER,                                "How the name was shown to be the account's: an administrator's word, a name above it, the address that it leads to, the TXT record, the setting domain_proof (off), or earlier than names were proven", .choices = "none administrator parent address record setting earlier" },
	{ "proof_record",   F_TEXT,      F_MAYBE_NULL,                            "TXT record that would prove it; null: it is proven", .example = "\"_postern-challenge.example.org\"" },
	{ "proof_value",    F_TEXT,      F_MAYBE_NULL,                            "What that record must hold; null: it is proven" },
	{ "mail_enabled",   F_BOOL,      F_INPUT | F_FILTER,                      "Whether mail for it is taken; default true" },
	{ "managed",        F_BOOL,      F_FILTER | F_LOCAL,                                "False while Postern only knows of it (imported) and changes nothing on the machine" },
	{ "alias_of",       F_HOSTNAME,  F_INPUT | F_MAYBE_NULL,                  "Of type alias: the domain whose website serves it, too; default: the account's primary domain. null: it has a website of its own, or none" },
	{ "www",            F_BOOL,      F_CREATE | F_WRITEONLY,                  "Whether www. before the name becomes a further name (alias) of its website; default true, but false for what lies below another name of the account" },
	{ "website",        F_BOOL,      F_CREATE | F_WRITEONLY,                  "Whether it gets a website; default: the setting domain_websites, which is on" },
	{ "job_id",         F_UUID,      F_MAYBE_NULL,                            "Job that looks for a proof or works on its website, or did last" },
	{ "created_at",     F_TIMESTAMP, F_SORT,                                  "When it was created" },
	{ "updated_at",     F_TIMESTAMP, F_SORT,                                  "When it last changed" },
	{ 0 }
};

/* What the settings say of websites, the database does not know. */
static int default_website(struct request *r, struct json_object *body)
{
	const struct config *c = request_config(r);

	if (!json_object_object_get_ex(body, "website", NULL))
		json_object_object_add(body, "website", json_object_new_boolean(c->domain_websites));
	json_object_object_add(body, "_web_server", json_object_new_string(c->default_web_server));
	return 0;
}

static const struct field delete_input[] = {
	CONFIRM("domain", "name", "example.org"), /* where mailboxes go with it */
	{ 0 }
};

static const struct route routes[] = {
	/* method   path               operation           scope             role      bucket     audit               does */
	{ M_GET,    "",                "listDomains",      "domains:read",   VIEWER,   RATE_CALL, "domain.list",      LIST,                "List domains" },
	{ M_POST,   "",                "createDomain",     "domains:write",  CUSTOMER, RATE_CALL, "domain.create",    CREATE,              "Create a domain, and its website", .prepare = default_website, .adds = "_web_server" },
	{ M_GET,    "/{id}",           "getDomain",        "domains:read",   VIEWER,   RATE_CALL, "domain.read",      GET,                 "Show a domain" },
	{ M_PUT,    "/{id}",           "replaceDomain",    "domains:write",  CUSTOMER, RATE_CALL, "domain.update",    REPLACE,             "Replace a domain's settings" },
	{ M_PATCH,  "/{id}",           "changeDomain",     "domains:write",  CUSTOMER, RATE_CALL, "domain.update",    PATCH,               "Change a domain" },
	{ M_DELETE, "/{id}",           "deleteDomain",     "domains:delete", CUSTOMER, RATE_CALL, "domain.delete",    DELETE,              "Delete a domain, and its website; files stay, mail goes", .input = delete_input },
	{ M_POST,   "/{id}/suspend",   "suspendDomain",    "domains:write",  CUSTOMER, RATE_CALL, "domain.suspend",   ACTION("suspend"),   "Suspend a domain" },
	{ M_POST,   "/{id}/unsuspend", "unsuspendDomain",  "domains:write",  CUSTOMER, RATE_CALL, "domain.unsuspend", ACTION("unsuspend"), "Put a suspended domain back into service" },
	{ M_POST,   "/{id}/prove",     "proveDomain",      "domains:write",  CUSTOMER, RATE_ACTION, "domain.prove",   ACTION("prove"),     "Look whether an unproven name is shown to be the account's", R_JOB },
	{ M_POST,   "/{id}/confirm",   "confirmDomain",    "domains:write",  ADMIN,    RATE_CALL, "domain.confirm",   ACTION("confirm"),   "Give an unproven name to its account, by an administrator's word" },
	{ 0 }
};

static const struct resource domains = {
	"domains", "domain", NULL, "Names that accounts serve", fields, routes, .key = "domain"
};
POSTERN_RESOURCE(domains);
