/* ssl.c: certificates of domains. Their rules live in sql/functions/20_ssl.sql; private keys go to posternd, sealed, and nowhere else. */
#include <json-c/json.h>
#include <string.h>

#include "api.h"
#include "arena.h"
#include "config.h"
#include "error.h"
#include "envelope.h"
#include "timestamp.h"
#include "token.h"
#include "x509info.h"

static const struct field fields[] = {
	{ "id",                 F_INT,           F_SORT | F_FILTER,             "Number of the certificate" },
	{ "domain_id",          F_INT,           F_CREATE | F_FILTER,           "Number of the domain that it is for" },
	{ "domain",             F_HOSTNAME,      F_CREATE | F_EXAMPLE | F_FILTER | F_SEARCH, "Name of that domain; may be given instead of domain_id", .example = "\"example.org\"" },
	{ "account_id",         F_INT,           F_FILTER,                      "Number of the domain's account" },
	{ "account",            F_USERNAME,      F_FILTER,                      "User name of that account" },
	{ "source",             F_ENUM,          F_INPUT | F_SORT | F_FILTER,   "Where it comes from; default: upload where a certificate is given, else acme", .choices = "acme upload" },
	{ "names",              F_HOSTNAME_LIST, F_INPUT | F_NULLABLE,          "Names it is for: the domain, which is always among them, names below it, aliases of its website; default, and null: the domain and these aliases, as they are when it is issued", .max = 100, .example = "[\"example.org\",\"www.example.org\"]" },
	{ "left_out",           F_JSON,          F_MAYBE_NULL,                  "Names that the certificate authority refused, each with its reason; the certificate was issued without them, and they are tried again. null: none", .example = "[{\"name\":\"www.example.org\",\"reason\":\"dns: no address found\"}]" },
	{ "subject",            F_TEXT,          F_MAYBE_NULL,                  "Whom it names, as in RFC 2253" },
	{ "issuer",             F_TEXT,          F_MAYBE_NULL,                  "Who signed it" },
	{ "serial",             F_TEXT,          F_FILTER | F_MAYBE_NULL,       "Its number, in hexadecimal digits" },
	{ "not_before",         F_TIMESTAMP,     F_MAYBE_NULL,                  "From when on it is in force" },
	{ "not_after",          F_TIMESTAMP,     F_MAYBE_NULL,                  "When it expires" },
	{ "days_left",          F_INT,           F_MAYBE_NULL,                  "Whole days until then; kept up to date by posternd" },
	{ "fingerprint_sha256", F_TEXT,          F_FILTER | F_MAYBE_NULL,       "SHA-256 of the certificate, in hexadecimal digits" },
	{ "key_algorithm",      F_ENUM,          F_INPUT,                       "Kind of key that is made for one that is issued; default ecdsa", .choices = "ecdsa rsa" },
	{ "key_type",           F_TEXT,          F_MAYBE_NULL,                  "Kind and size of its key", .example = "\"EC P-256\"" },
	{ "chain_state",        F_ENUM,          F_MAYBE_NULL,                  "How far it can be followed: incomplete: who signed it is missing; unknown: to one whom this machine does not trust; expired: one of those that signed it has expired", .choices = "valid self_signed incomplete unknown expired" },
	{ "status",             F_ENUM,          F_SORT | F_FILTER,             "State of the certificate that is served; pending: the first is on its way; expiring: it is time for the next; untrusted: clients refuse it, chain_state says why", .choices = "none pending active expiring expired untrusted error deleting" },
	HELD_BY("set auto_renew to false"),
	{ "auto_renew",         F_BOOL,          F_INPUT | F_FILTER,            "Whether it is issued again by itself when a third of its time is left, when its website gets another name, and after a failure (source acme); default true" },
	{ "next_attempt_at",    F_TIMESTAMP,     F_MAYBE_NULL,                  "When it is issued again by itself; null: never, or at once" },
	{ "last_error",         F_TEXT,          F_MAYBE_NULL,                  "Why the last attempt failed, while the certificate before is served, or which names it left out; null: neither" },
	{ "job_id",             F_UUID,          F_MAYBE_NULL,                  "Job that works on it, or did last" },
	{ "created_at",         F_TIMESTAMP,     F_SORT,                        "When it was created" },
	{ "updated_at",         F_TIMESTAMP,     F_SORT,                        "When it last changed" },
	{ "certificate",        F_PEM,           F_INPUT | F_WRITEONLY,         "A certificate of one's own, in PEM; those that signed it may follow" },
	{ "chain",              F_PEM,           F_INPUT | F_WRITEONLY,         "Those that signed it, in PEM: each time the one that signed the one before" },
	{ "private_key",        F_PEM,           F_INPUT | F_SECRET | F_WRITEONLY, "Its private key, in PEM without a passphrase; encrypted to the worker at once, never shown" },
	{ 0 }
};

static const char *text_of(struct json_object *body, const char *name)
{
	struct json_object *value;

	return json_object_object_get_ex(body, name, &value) ? json_object_get_string(value) : NULL;
}

static void forget(struct json_object *body, const char *name)
{
	const char *text = text_of(body, name);

	if (text)
		token_wipe((char *)text, strlen(text));
	json_object_object_del(body, name);
}

/* What the worker is told in secret takes the place of what was given. */
static int seal(struct request *r, struct json_object *body, struct arena *arena, const struct x509info *info)
{
	static const char hex[] = "0123456789abcdef";
	struct json_object *secret = json_object_new_object(), *names = json_object_new_array();
	const char *why = "out of memory", *text;
	unsigned char *sealed;
	char *shown;
	size_t len = 0;

	json_object_object_add(secret, "certificate", json_object_new_string(info->fullchain));
	json_object_object_add(secret, "private_key", json_object_new_string(info->key));
	text = json_object_to_json_string_ext(secret, JSON_C_TO_STRING_PLAIN);
	sealed = envelope_close(arena, request_config(r)->worker_public, text, &len, &why);
	token_wipe((char *)text, strlen(text));
	forget(secret, "private_key");
	json_object_put(secret);
	shown = sealed ? arena_alloc(arena, 2 * len + 1) : NULL;
	for (size_t i = 0; shown && i < 2 * len; i++)
		shown[i] = hex[sealed[i / 2] >> (i % 2 ? 0 : 4) & 15];
	for (size_t i = 0; i < info->name_count; i++)
		json_object_array_add(names, json_object_new_string(info->names[i]));
	json_object_object_add(body, "_names", names);
	if (shown)
		json_object_object_add(body, "_secret", json_object_new_string(shown));
	return shown ? 0 : request_fail(r, ERR_UNAVAILABLE, NULL, why);
}

static int judge(struct request *r, struct json_object *body, const char *certificate, const char *key)
{
	struct arena *arena = arena_new();
	struct x509info info;
	struct x509fault fault;
	int done;

	if (!arena)
		return request_fail(r, ERR_INTERNAL, NULL, "out of memory");
	if (!x509info_read(arena, certificate, text_of(body, "chain"), key, timestamp_now(), &info, &fault)) {
		done = request_fail(r, ERR_VALIDATION, fault.field, fault.message);
	} else {
		done = seal(r, body, arena, &info);
		token_wipe((char *)info.key, strlen(info.key));
	}
	arena_free(arena);
	return done;
}

static int prepare(struct request *r, struct json_object *body, bool creating)
{
	const char *certificate = text_of(body, "certificate"), *key = text_of(body, "private_key"), *source = text_of(body, "source");
	int done;

	if (!certificate && !key && !text_of(body, "chain"))
		return creating && source && strcmp(source, "upload") == 0
		           ? request_fail(r, ERR_VALIDATION, "certificate", "is required where source is upload, and private_key too") : 0;
	if (source && strcmp(source, "upload") != 0)
		done = request_fail(r, ERR_VALIDATION, "source", "must be upload where a certificate is given; leave it out");
	else if (json_object_object_get_ex(body, "names", NULL))
		done = request_fail(r, ERR_VALIDATION, "names", "are read from the certificate; leave them out");
	else if (!certificate || !key)
		done = request_fail(r, ERR_VALIDATION, certificate ? "private_key" : "certificate", "is required: an upload has certificate and private_key");
	else
		done = judge(r, body, certificate, key);
	forget(body, "private_key");
	json_object_object_del(body, "certificate");
	json_object_object_del(body, "chain");
	return done;
}
static int prepare_create(struct request *r, struct json_object *body)
{
	return prepare(r, body, true);
}
static int prepare_change(struct request *r, struct json_object *body)
{
	return prepare(r, body, false);
}

static const struct route routes[] = {
	/* method   path            operation            scope         role      bucket       audit         does */
	{ M_GET,    "",             "listCertificates",  "ssl:read",   VIEWER,   RATE_CALL,   "ssl.list",   LIST,            "List certificates" },
	{ M_POST,   "",             "createCertificate", "ssl:write",  CUSTOMER, RATE_ACTION, "ssl.create", CREATE,          "Have a certificate issued for a domain, or upload one", .prepare = prepare_create, .adds = "_names _secret" },
	{ M_GET,    "/{id}",        "getCertificate",    "ssl:read",   VIEWER,   RATE_CALL,   "ssl.read",   GET,             "Show a certificate" },
	{ M_PATCH,  "/{id}",        "changeCertificate", "ssl:write",  CUSTOMER, RATE_ACTION, "ssl.update", PATCH,           "Change a certificate: upload its successor, have it issued for other names, renew it by hand only", .prepare = prepare_change, .adds = "_names _secret" },
	{ M_DELETE, "/{id}",        "deleteCertificate", "ssl:delete", CUSTOMER, RATE_CALL,   "ssl.delete", DELETE,          "Delete a certificate; its website goes on over plain HTTP" },
	{ M_POST,   "/{id}/renew",  "renewCertificate",  "ssl:renew",  CUSTOMER, RATE_ACTION, "ssl.renew",  ACTION("renew"), "Have the next certificate issued now", R_JOB },
	{ 0 }
};

static const struct resource ssl = {
	"ssl", "certificate", "certificates", "Certificates of domains", fields, routes, .key = "domain"
};
POSTERN_RESOURCE(ssl);
