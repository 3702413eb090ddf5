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
	char *out, *to;

	if (len > max) /* not within a character */
		for (len = max; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80; len--)
			;
	to = out = arena_strndup(arena, text, len);
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
	return out;
}

/* The variables that are read, found in one pass. */
enum variable {
	REQUEST_METHOD, REQUEST_URI, DOCUMENT_URI, QUERY_STRING, REQUEST_SCHEME, HTTPS, REMOTE_ADDR, CONTENT_TYPE, HTTP_AUTHORIZATION,
	REDIRECT_HTTP_AUTHORIZATION, HTTP_X_API_KEY, HTTP_X_REQUEST_ID, HTTP_USER_AGENT, HTTP_ACCEPT, HTTP_IF_MATCH,
	HTTP_IF_NONE_MATCH, HTTP_IDEMPOTENCY_KEY, HTTP_PREFER, HTTP_CONTENT_ENCODING, VARIABLES
};
#define NAME(variable) [variable] = { #variable, sizeof #variable - 1, NULL }
#define HEADER(variable, header) [variable] = { #variable, sizeof #variable - 1, header }
static const struct { const char *text; size_t len; const char *header; } names[VARIABLES] = {
	NAME(REQUEST_METHOD), NAME(REQUEST_URI), NAME(DOCUMENT_URI), NAME(QUERY_STRING), NAME(REQUEST_SCHEME), NAME(HTTPS),
	NAME(REMOTE_ADDR), HEADER(CONTENT_TYPE, "Content-Type"), NAME(HTTP_AUTHORIZATION), NAME(REDIRECT_HTTP_AUTHORIZATION),
	NAME(HTTP_X_API_KEY), NAME(HTTP_X_REQUEST_ID), NAME(HTTP_USER_AGENT), HEADER(HTTP_ACCEPT, "Accept"),
	HEADER(HTTP_IF_MATCH, "If-Match"), HEADER(HTTP_IF_NONE_MATCH, "If-None-Match"),
	HEADER(HTTP_IDEMPOTENCY_KEY, "Idempotency-Key"), HEADER(HTTP_PREFER, "Prefer"),
	HEADER(HTTP_CONTENT_ENCODING, "Content-Encoding")
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
	const char *value[VARIABLES]; /* only the first counts; NULL: there is none. UTF-8 */
	bool differ[VARIABLES];       /* some web servers pass a repeated header on as it is: it came with another value, too */
};

/* The one place where bytes are judged: PostgreSQL, the log and answers take UTF-8 only. Of what is not, each byte that is not
 * ASCII is replaced. For an agent's name, and for what is then refused anyway (a path, an address, a token), that is all; else
 * the request is malformed, which those are told who may make it. */
static const char *as_utf8(struct request *r, enum variable variable, const char *value)
{
	char *text;

	if (utf8_valid(value, strlen(value)))
		return value;
	text = arena_strdup(r->arena, value);
	for (char *at = text; at && *at; at++)
		if ((unsigned char)*at >= 0x80)
			*at = '?';
	switch (variable) {
	case REQUEST_METHOD: case REQUEST_URI: case DOCUMENT_URI: case REQUEST_SCHEME: case HTTPS: case REMOTE_ADDR: case HTTP_AUTHORIZATION:
	case REDIRECT_HTTP_AUTHORIZATION: case HTTP_X_API_KEY: case HTTP_X_REQUEST_ID: case HTTP_USER_AGENT:
		break;
	default:
		r->malformed = variable == QUERY_STRING ? "the query" : names[variable].header;
	}
	return text ? text : "?";
}

static void read_variables(struct request *r, struct variables *v, char *const *environment)
{
	for (; *environment; environment++) {
		size_t len = strcspn(*environment, "=");

		for (size_t i = 0; i < VARIABLES; i++) {
			if (names[i].len != len || memcmp(names[i].text, *environment, len) != 0)
				continue;
			if (v->value[i])
				v->differ[i] |= strcmp(v->value[i], *environment + len + 1) != 0;
			else if ((*environment)[len])
				v->value[i] = as_utf8(r, i, *environment + len + 1);
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

/* Percent-decode a path in place. What cannot stand in any path of ours (NUL, a control character, what is not UTF-8, half an escape)
 * becomes "?", which none has either: such an address is answered as any other that leads nowhere, in the dialect of its prefix. */
static void decode_path(char *path)
{
	char *to = path;

	for (char *at = path; *at; at++) {
		char digits[3] = { *at == '%' ? at[1] : '\0', *at == '%' && at[1] ? at[2] : '\0', '\0' };

		if (isxdigit((unsigned char)digits[0]) && isxdigit((unsigned char)digits[1])) {
			*to++ = (char)strtol(digits, NULL, 16);
			at += 2;
		} else {
			*to++ = *at == '%' ? '?' : *at;
		}
		if ((unsigned char)to[-1] < 0x20 || to[-1] == 0x7f)
			to[-1] = '?';
	}
	*to = '\0';
}

/* A path as the rest of the program may see it. */
static void clean_path(char *path)
{
	bool valid = utf8_valid(path, strlen(path));

	for (char *at = path; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f || (!valid && (unsigned char)*at >= 0x80))
			*at = '?';
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

/* The tokens that a header holds: one, or several where a web server has put repeated headers into one line. A client may send one
 * token in both headers, and that is one token; false: `text` is another than *token. */
static bool same_token(struct request *r, const char *text, const char *scheme, const char **token)
{
	size_t skip = strlen(scheme);

	while (text && *text) {
		size_t len = strcspn(text, ",");
		const char *one = arena_strndup(r->arena, text, len);

		text += len + (text[len] == ',');
		text += strspn(text, " \t");
		if (one && skip && strncasecmp(one, scheme, skip) == 0 && (!one[skip] || one[skip] == ' '))
			one += skip + strspn(one + skip, " ");
		if (!one || !*one)
			continue;
		if (*token && strcmp(*token, one) != 0)
			return false;
		*token = one;
	}
	return true;
}

static void read_credentials(struct request *r, const struct variables *v)
{
	const char *authorization = v->value[HTTP_AUTHORIZATION], *key = v->value[HTTP_X_API_KEY], *token = NULL;
	bool bearer, same;

	if (!authorization) /* Apache behind a rewrite */
		authorization = v->value[REDIRECT_HTTP_AUTHORIZATION];
	bearer = authorization && strncasecmp(authorization, "Bearer", 6) == 0 && (!authorization[6] || authorization[6] == ' ');
	same = !v->differ[HTTP_AUTHORIZATION] && !v->differ[HTTP_X_API_KEY] &&
	       (!bearer || same_token(r, authorization, "Bearer", &token)) && same_token(r, key, "", &token);
	if (!same)
		r->credential = CREDENTIAL_TWO;
	else if (token || bearer)
		read_token(r, token ? token : "");
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
	else if ((path = arena_strndup(r->arena, uri, len < HTTP_PATH_MAX ? len : HTTP_PATH_MAX)))
		decode_path(path);
	if (path)
		clean_path(path);
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
	read_variables(r, &v, environment);
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
	r->content_encoding = header(r, v.value[HTTP_CONTENT_ENCODING]);
	r->idempotency_key = header(r, v.value[HTTP_IDEMPOTENCY_KEY]);
	r->wait_s = wait_of(v.value[HTTP_PREFER]);
	read_credentials(r, &v);
}
