/* websites.c: what web servers serve for domains. Their rules live in sql/functions/20_websites.sql. */
#include <json-c/json.h>

#include "api.h"
#include "config.h"

static const struct field fields[] = {
	{ "id",             F_INT,           F_SORT | F_FILTER,                       "Number of the website" },
	{ "domain_id",      F_INT,           F_CREATE | F_FILTER,                     "Number of the domain it is for" },
	{ "domain",         F_HOSTNAME,      F_CREATE | F_EXAMPLE | F_SORT | F_FILTER | F_SEARCH, "Name of that domain; may be given instead of domain_id", .example = "\"example.org\"" },
	{ "account_id",     F_INT,           F_FILTER,                                "Number of the domain's account" },
	{ "account",        F_USERNAME,      F_FILTER,                                "User name of that account" },
	{ "web_server",     F_ENUM,          F_INPUT | F_FILTER | F_SORT,             "Which server serves it; default: the setting default_web_server", .choices = "nginx apache" },
	{ "document_root",  F_PATH,          F_INPUT | F_NULLABLE | F_SEARCH,         "Folder it is served from, below the account's home; default: the domain's. It is made where there is none", .max = 500 },
	{ "runtime",        F_ENUM,          F_INPUT | F_FILTER | F_SORT,             "What answers: files, PHP, or a program of the account's; default static", .choices = "static php proxy" },
	{ "php_version",    F_TEXT,          F_INPUT | F_NULLABLE,                    "Version of PHP, for runtime php", .min = 3, .max = 5, .example = "\"8.2\"" },
	{ "proxy_target",   F_TEXT,          F_INPUT | F_NULLABLE,                    "Where that program listens, for runtime proxy: unix:<name of a socket in sockets_folder> or http://127.0.0.1:<port of the account's>", .max = 200, .example = "\"unix:app.sock\"" },
	{ "sockets_folder", F_TEXT,          F_MAYBE_NULL,                            "The account's folder for sockets, where the program of unix:<name> listens; null: posternd has not told it yet", .example = "\"/var/lib/postern-apps/alice/s\"" },
	{ "https_redirect", F_BOOL,          F_INPUT | F_FILTER,                      "Whether plain HTTP leads to HTTPS, for each name that the certificate has; default false" },
	{ "hsts",           F_BOOL,          F_INPUT,                                 "Whether browsers are told to ask by HTTPS alone for the next two years (Strict-Transport-Security); default false" },
	{ "max_body_mb",    F_INT,           F_INPUT,                                 "Megabytes that a request's body, such as an upload, may have; PHP has limits of its own (upload_max_filesize, post_max_size); default 128", .min = 1, .max = 2048 },
	{ "aliases",        F_HOSTNAME_LIST, F_INPUT | F_CLAIM,                                 "Further names it is served by", .max = 50, .example = "[\"www.example.org\"]" },
	{ "status",         F_ENUM,          F_FILTER | F_SORT,                       "State; pending: a job is about to bring it about", .choices = "pending active suspended deleting error" },
	HELD_BY("suspended it"),
	{ "last_error",     F_TEXT,          F_MAYBE_NULL,                            "What went wrong last on the machine; null: nothing" },
	{ "job_id",         F_UUID,          F_MAYBE_NULL,                            "Job that works on it, or did last" },
	{ "created_at",     F_TIMESTAMP,     F_SORT,                                  "When it was created" },
	{ "updated_at",     F_TIMESTAMP,     F_SORT,                                  "When it last changed" },
	{ 0 }
};

/* Which server is the default, the database does not know. */
static int default_server(struct request *r, struct json_object *body)
{
	json_object_object_add(body, "_web_server", json_object_new_string(request_config(r)->default_web_server));
	return 0;
}

static const struct route routes[] = {
	/* method   path               operation           scope              role      bucket     audit                does */
	{ M_GET,    "",                "listWebsites",     "websites:read",   VIEWER,   RATE_CALL, "website.list",      LIST,                "List websites" },
	{ M_POST,   "",                "createWebsite",    "websites:write",  CUSTOMER, RATE_CALL, "website.create",    CREATE,              "Create a domain's website", .prepare = default_server, .adds = "_web_server" },
	{ M_GET,    "/{id}",           "getWebsite",       "websites:read",   VIEWER,   RATE_CALL, "website.read",      GET,                 "Show a website" },
	{ M_PUT,    "/{id}",           "replaceWebsite",   "websites:write",  CUSTOMER, RATE_CALL, "website.update",    REPLACE,             "Replace a website's settings" },
	{ M_PATCH,  "/{id}",           "changeWebsite",    "websites:write",  CUSTOMER, RATE_CALL, "website.update",    PATCH,               "Change a website" },
	{ M_DELETE, "/{id}",           "deleteWebsite",    "websites:delete", CUSTOMER, RATE_CALL, "website.delete",    DELETE,              "Take a website out of service; its files stay" },
	{ M_POST,   "/{id}/suspend",   "suspendWebsite",   "websites:write",  CUSTOMER, RATE_CALL, "website.suspend",   ACTION("suspend"),   "Suspend a website: it answers 503 only" },
	{ M_POST,   "/{id}/unsuspend", "unsuspendWebsite", "websites:write",  CUSTOMER, RATE_CALL, "website.unsuspend", ACTION("unsuspend"), "Put a suspended website back into service" },
	{ 0 }
};

static const struct resource websites = {
	"websites", "website", NULL, "What web servers serve for domains", fields, routes, .key = "domain"
};
POSTERN_RESOURCE(websites);
