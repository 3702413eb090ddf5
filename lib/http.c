/* http.c: see http.h. */
#include "http.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uuid/uuid.h>

#include "json.h"
#include "timestamp.h"

static const struct { const char *name; enum method method; } methods[] = {
	{ "GET", M_GET }, { "HEAD", M_HEAD }, { "POST", M_POST }, { "PUT", M_PUT }, { "PATCH", M_PATCH }, { "DELETE", M_DELETE },
	{ "OPTIONS", M_OPTIONS },
};

char *http_scrub(struct arena *arena, const char *text, size_t max)
{
	enum { SECRET_RUN = 50 };
	size_t len = strlen(text);
	char *out = arena_strndup(arena, text, len < max ? len : max), *to = out;

	for (char *at = out; at && *at;) {
		size_t run = 0;

		while (isalnum((unsigned char)at[run]) || at[run] == '_')
			run++;
		if (run >= SECRET_RUN) {
			memcpy(to, "***", 3);
			to += 3;
			at += run;
		} else {
			if (!run)
				run = 1;
			memmove(to, at, run);
			to += run;
			at += run;
		}
	}
	if (out)
		*to = '\0';
	/* PostgreSQL text is UTF-8; what is not cannot be stored as it is */
	for (char *at = out; at && !utf8_valid(out, strlen(out)) && *at; at++)
		if ((unsigned char)*at >= 0x80)
			*at = '?';
	return out;
}

/* The variables that are read, found in one pass. */
enum variable {
	REQUEST_METHOD, REQUEST_URI, DOCUMENT_URI, QUERY_STRING, REQUEST_SCHEME, HTTPS, REMOTE_ADDR, CONTENT_TYPE, HTTP_AUTHORIZATION,
	REDIRECT_HTTP_AUTHORIZATION, HTTP_X_API_KEY, HTTP_X_REQUEST_ID, HTTP_USER_AGENT, HTTP_ACCEPT, HTTP_IF_MATCH,
	HTTP_IF_NONE_MATCH, HTTP_IDEMPOTENCY_KEY, HTTP_PREFER, VARIABLES
};
#define NAME(variable) [variable] = { #variable, sizeof #variable - 1 }
static const struct { const char *text; size_t len; } names[VARIABLES] = {
	NAME(REQUEST_METHOD), NAME(REQUEST_URI), NAME(DOCUMENT_URI), NAME(QUERY_STRING), NAME(REQUEST_SCHEME), NAME(HTTPS),
	NAME(REMOTE_ADDR), NAME(CONTENT_TYPE), NAME(HTTP_AUTHORIZATION), NAME(REDIRECT_HTTP_AUTHORIZATION), NAME(HTTP_X_API_KEY),
	NAME(HTTP_X_REQUEST_ID), NAME(HTTP_USER_AGENT), NAME(HTTP_ACCEPT), NAME(HTTP_IF_MATCH), NAME(HTTP_IF_NONE_MATCH),
	NAME(HTTP_IDEMPOTENCY_KEY), NAME(HTTP_PREFER)
};

/* Prefer: wait=N among others (RFC 7240); more than WAIT_MAX_S is that. What cannot be read is no preference. */
enum { WAIT_MAX_S = 30 };
static int wait_of(const char *prefer)
{
	for (const char *at = prefer; at && *at; at += strcspn(at, ",;"), at += *at != '\0') {
		long n;

		at += strspn(at, " \t");
		if (strncasecmp(at, "wait=", 5) == 0 && isdigit((unsigned char)at[5])) {
			n = strtol(at + 5, NULL, 10);
			return n > WAIT_MAX_S ? WAIT_MAX_S : (int)n;
		}
	}
	return 0;
}

struct variables {
	const char *value[VARIABLES]; /* only the first counts; NULL: there is none */
	bool repeated[VARIABLES];     /* some web servers pass a repeated header on as it is */
};

static void read_variables(struct variables *v, char *const *environment)
{
	for (; *environment; environment++) {
		size_t len = strcspn(*environment, "=");

		for (size_t i = 0; i < VARIABLES; i++) {
			if (names[i].len != len || memcmp(names[i].text, *environment, len) != 0)
				continue;
			v->repeated[i] = v->value[i] != NULL;
			if (!v->value[i] && (*environment)[len])
				v->value[i] = *environment + len + 1;
		}
	}
}

static const char *header(struct request *r, const char *value)
{
	return value && *value ? arena_strndup(r->arena, value, strnlen(value, HTTP_HEADER_MAX)) : NULL;
}

/* A UUID in lower case; false when the text is none. */
static bool read_uuid(const char *text, char out[37])
{
	for (int i = 0; i < 36; i++) {
		char c = text[i] >= 'A' && text[i] <= 'F' ? (char)(text[i] - 'A' + 'a') : text[i];

		if (i == 8 || i == 13 || i == 18 || i == 23 ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return false;
		out[i] = c;
	}
	out[36] = '\0';
	return text[36] == '\0';
}

/* Percent-decode a path in place; false when malformed, not UTF-8 or holding NUL or control characters. */
static bool decode_path(char *path)
{
	char *to = path;

	for (char *at = path; *at; at++) {
		if (*at == '%') {
			char digits[3] = { at[1], at[1] ? at[2] : '\0', '\0' };

			if (!isxdigit((unsigned char)digits[0]) || !isxdigit((unsigned char)digits[1]))
				return false;
			*to = (char)strtol(digits, NULL, 16);
			at += 2;
		} else {
			*to = *at;
		}
		if ((unsigned char)*to++ < 0x20)
			return false;
	}
	*to = '\0';
	return utf8_valid(path, (size_t)(to - path));
}

/* Key id and digests of a token's text; the text itself goes no further. */
static void read_token(struct request *r, const char *text)
{
	char secret[TOKEN_SECRET_LEN + 1];

	r->credential = CREDENTIAL_BAD;
	if (token_read(text, r->key_id, secret) == TOKEN_WELL_FORMED) {
		r->credential = CREDENTIAL_TOKEN;
		for (size_t i = 0; i < r->peppers->count; i++)
			if (token_digest(&r->peppers->item[i], r->key_id, secret, r->digest + r->digest_len))
				r->digest_len += TOKEN_DIGEST_LEN;
		if (!r->digest_len)
			r->credential = CREDENTIAL_BAD;
	}
	token_wipe(secret, sizeof secret);
}

static void read_credentials(struct request *r, const struct variables *v)
{
	const char *authorization = v->value[HTTP_AUTHORIZATION], *key = v->value[HTTP_X_API_KEY];
	const char *bearer = NULL;

	if (!authorization) /* Apache behind a rewrite */
		authorization = v->value[REDIRECT_HTTP_AUTHORIZATION];
	if (authorization && strncasecmp(authorization, "Bearer", 6) == 0 && (!authorization[6] || authorization[6] == ' ')) {
		bearer = authorization + 6;
		bearer += strspn(bearer, " ");
	}
	if (key && !*key)
		key = NULL;
	if ((bearer && key) || (bearer && strchr(bearer, ',')) || (key && strchr(key, ',')) ||
	    v->repeated[HTTP_AUTHORIZATION] || v->repeated[HTTP_X_API_KEY])
		r->credential = CREDENTIAL_TWO;
	else if (bearer || key)
		read_token(r, bearer ? bearer : key);
}

static void read_path(struct request *r, const struct variables *v)
{
	const char *uri = v->value[REQUEST_URI];
	const char *decoded = v->value[DOCUMENT_URI];
	char *path;
	size_t len;

	if (!uri)
		uri = decoded ? decoded : "";
	len = strcspn(uri, "?#");
	r->query_text = v->value[QUERY_STRING];
	r->query_text = arena_strndup(r->arena, r->query_text ? r->query_text : "",
	                              r->query_text ? strnlen(r->query_text, HTTP_HEADER_MAX) : 0);
	/* the server's own reading of the path, normalised, is what its location matched; else ours of what was sent */
	if (decoded && strncmp(decoded, "/api/", 5) == 0)
		path = arena_strndup(r->arena, decoded, strnlen(decoded, HTTP_PATH_MAX));
	else if (!(path = arena_strndup(r->arena, uri, len < HTTP_PATH_MAX ? len : HTTP_PATH_MAX)) || !decode_path(path))
		path = arena_strdup(r->arena, "");
	if (path && !utf8_valid(path, strlen(path)))
		*path = '\0';
	r->path = path ? path : "";
	r->uri = http_scrub(r->arena, r->path, HTTP_PATH_MAX);
}

void http_read_environment(struct request *r, char *const *environment)
{
	struct variables v = { 0 };
	const char *method, *address, *id, *https, *scheme, *agent;
	bool secure;
	uuid_t uuid;

	r->begin_us = timestamp_now();
	read_variables(&v, environment);
	method = v.value[REQUEST_METHOD];
	address = v.value[REMOTE_ADDR];
	id = v.value[HTTP_X_REQUEST_ID];
	https = v.value[HTTPS];
	scheme = v.value[REQUEST_SCHEME];
	agent = v.value[HTTP_USER_AGENT];
	secure = (https && *https && strcasecmp(https, "off") != 0) || (scheme && strcmp(scheme, "https") == 0);
	if (!id || !read_uuid(id, r->request_id)) {
		uuid_generate_random(uuid);
		uuid_unparse_lower(uuid, r->request_id);
	}
	r->method = M_OTHER;
	r->method_name = method ? http_scrub(r->arena, method, 20) : "";
	for (size_t i = 0; method && i < sizeof methods / sizeof *methods; i++)
		if (strcmp(methods[i].name, method) == 0)
			r->method = methods[i].method;
	read_path(r, &v);
	address_parse(address ? address : "", r->address);
	r->insecure = !secure && !(*r->address && address_is_loopback(r->address));
	r->user_agent = agent ? http_scrub(r->arena, agent, 200) : NULL;
	r->if_match = header(r, v.value[HTTP_IF_MATCH]);
	r->if_none_match = header(r, v.value[HTTP_IF_NONE_MATCH]);
	r->accept = header(r, v.value[HTTP_ACCEPT]);
	r->content_type = header(r, v.value[CONTENT_TYPE]);
	r->idempotency_key = header(r, v.value[HTTP_IDEMPOTENCY_KEY]);
	r->wait_s = wait_of(v.value[HTTP_PREFER]);
	read_credentials(r, &v);
}
