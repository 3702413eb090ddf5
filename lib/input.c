/* input.c: see input.h. */
#include "input.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cursor.h"
#include "hostname.h"
#include "json.h"
#include "nearest.h"
#include "suffix.h"
#include "timestamp.h"
#include "utf8.h"

enum { PER_PAGE_DEFAULT = 20, PER_PAGE_MAX = 100, CANDIDATES_MAX = 96, FILTER_VALUES_MAX = 50, SEARCH_MAX = 200,
       IDEMPOTENCY_KEY_MAX = 255, PEM_BYTES_MAX = 64 << 10 };

static void put_json(void *object)
{
	json_object_put(object);
}

/* ---- one value ---- */

static bool is_in(const char *text, const char *characters)
{
	return text[strspn(text, characters)] == '\0';
}

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* Printable ASCII, in lines. */
static bool is_in_lines(const char *text)
{
	for (; *text; text++)
		if ((*text < ' ' || *text > '~') && !strchr("\t\r\n", *text))
			return false;
	return true;
}

static bool is_choice(const char *choices, const char *text)
{
	size_t len = strlen(text);

	for (const char *c = choices; len && *c; c += strcspn(c, " "), c += strspn(c, " "))
		if (strcspn(c, " ") == len && strncmp(c, text, len) == 0)
			return true;
	return false;
}

static bool is_uuid(const char *text)
{
	for (int i = 0; i < 36; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
			return false;
	return text[36] == '\0';
}

static bool is_path(const char *text)
{
	if (*text != '/')
		return false;
	for (const char *part = text + 1;; part++) {
		size_t len = strcspn(part, "/");

		if (len == 0 ? part[0] == '/' || part > text + 1 : (len == 1 && *part == '.') || (len == 2 && strncmp(part, "..", 2) == 0))
			return false;
		part += len;
		if (!*part)
			return true;
	}
}

static bool is_email(const char *text)
{
	const char *at = strrchr(text, '@');
	char host[HOSTNAME_MAX];
	const char *why;

	return at && at > text && at - text <= 64 && hostname_to_ascii(at + 1, host, &why) &&
	       strcspn(text, " \t\"(),:;<>[\\]") == strlen(text) && memchr(text, '@', (size_t)(at - text)) == NULL;
}

/*
 * An address with its host as A-label. `ours`: in lower case, of the letters that our mail servers' folders and maps take; an
 * empty local part, if it may be, means every other address of the host. NULL with *why the remedy.
 */
static const char *mail_address(struct arena *arena, const char *text, bool ours, bool whole, const char **why)
{
	const char *at = strrchr(text, '@'), *inner;
	char host[HOSTNAME_MAX], *local;
	size_t len;

	if (!at || (at == text && !whole))
		return *why = whole ? "must be an address such as name@example.org, or @example.org for all others"
		                    : "must be an e-mail address such as name@example.org", NULL;
	len = (size_t)(at - text);
	if (!hostname_to_ascii(at + 1, host, &inner))
		return *why = arena_printf(arena, "the part after @ %s", inner), NULL;
	if (!(local = arena_strndup(arena, text, len)))
		return *why = "is too large", NULL;
	for (char *c = local; *c && ours; c++)
		*c = (char)tolower((unsigned char)*c);
	if (!is_in(local, ours ? LOWER DIGITS "._-" : LOWER UPPER DIGITS "!#$%&'*+-/=?^_`{|}~."))
		return *why = ours ? "the part before @ may have a-z 0-9 . _ - only (what follows a + is the user's own)"
		                   : "the part before @ has a character that cannot be used here", NULL;
	if (len > 64 || len + 1 + strlen(host) > 254 || *local == '.' || (len && local[len - 1] == '.') || strstr(local, ".."))
		return *why = "the part before @ must have at most 64 characters, without a dot at either end or two in a row", NULL;
	return arena_printf(arena, "%s@%s", local, host);
}

/* "domains.read" and "read:domains" are read as "domains:read". */
static const char *scope_text(struct arena *arena, const char *text)
{
	static const char *const verbs[] = { "read", "write", "delete" };
	const char *dot = strchr(text, '.'), *colon = strchr(text, ':');
	size_t n = strlen(text);

	if (n == 0 || n > 100 || !is_in(text, LOWER DIGITS "-_:.*"))
		return NULL;
	if (!colon && dot && !strchr(dot + 1, '.'))
		return arena_printf(arena, "%.*s:%s", (int)(dot - text), text, dot + 1);
	for (size_t i = 0; colon && i < 3; i++)
		if ((size_t)(colon - text) == strlen(verbs[i]) && strncmp(text, verbs[i], strlen(verbs[i])) == 0 && colon[1] != '*')
			return arena_printf(arena, "%s:%s", colon + 1, verbs[i]);
	return text;
}

/*
 * Check a text against a field's type. Returns its canonical form (arena or borrowed), or NULL with *why the remedy. Used
 * for bodies and, with the same rules, for filters.
 */
static const char *check_text(struct arena *arena, const struct field *f, const char *text, const char **why)
{
	char host[HOSTNAME_MAX], place[ADDRESS_TEXT_MAX], when[TIMESTAMP_TEXT_MAX];
	size_t len = strlen(text), max = f->max > 0 ? (size_t)f->max : 200;
	int year, month, day;
	int64_t us;
	const char *inner;

	switch (f->type) {
	case F_TEXT: case F_OBJECT_ID:
		for (const char *c = text; *c; c++)
			if ((unsigned char)*c < 0x20 || *c == 0x7f)
				return *why = "must not contain control characters", NULL;
		len = utf8_length(text);
		if (len > max || len < (size_t)f->min)
			return *why = arena_printf(arena, "must have %lld to %zu characters; it has %zu", f->min, max, len), NULL;
		return text;
	case F_PEM:
		if (len > PEM_BYTES_MAX || !strstr(text, "-----BEGIN ") || !is_in_lines(text))
			return *why = "must be text in PEM of at most 64 KiB, which begins with -----BEGIN; write its line ends as \\n in JSON", NULL;
		return text;
	case F_ENUM:
		if (!is_choice(f->choices, text))
			return *why = arena_printf(arena, "must be one of: %s", f->choices), NULL;
		return text;
	case F_NAME:
		if (len < 1 || len > 50 || !is_in(text, LOWER UPPER DIGITS "-_"))
			return *why = "must have 1 to 50 characters of A-Z a-z 0-9 - _", NULL;
		return text;
	case F_SLUG:
		if (len < 1 || len > 50 || !islower((unsigned char)*text) || !is_in(text, LOWER DIGITS "-_"))
			return *why = "must have 1 to 50 characters of a-z 0-9 - _ and begin with a letter", NULL;
		return text;
	case F_USERNAME:
		if (len < 1 || len > 32 || !(islower((unsigned char)*text) || *text == '_') || !is_in(text, LOWER DIGITS "_-"))
			return *why = "must have 1 to 32 characters of a-z 0-9 _ - and begin with a letter or _", NULL;
		return text;
	case F_HOSTNAME: case F_UNICODE: case F_HOSTNAME_LIST:
		return hostname_to_ascii(text, host, why) ? arena_strdup(arena, host) : NULL;
	case F_EMAIL:
		if (len > 254 || !is_email(text))
			return *why = "must be an e-mail address such as name@example.org", NULL;
		return text;
	case F_MAILBOX:
		return mail_address(arena, text, true, f->min == 0, why);
	case F_EMAIL_LIST:
		return (inner = mail_address(arena, text, false, false, why)) ? inner
		           : (*why = arena_printf(arena, "\"%.64s\": %s", text, *why), NULL);
	case F_PATH:
		if (len > max || !is_path(text) || !is_in(text, LOWER UPPER DIGITS "/._-+@~ "))
			return *why = arena_printf(arena, "must be an absolute path of at most %zu bytes without . or .. or empty parts, of "
			                                  "letters, digits and / . _ - + @ ~ and space", max), NULL;
		return text;
	case F_TIMESTAMP:
		if (!timestamp_parse(text, &us))
			return *why = "must be a date and time as in RFC 3339, such as 2027-01-31T12:00:00Z", NULL;
		timestamp_format(us, when);
		return arena_strdup(arena, when);
	case F_DATE:
		if (!timestamp_parse_date(text, &year, &month, &day))
			return *why = "must be a date of the calendar, such as 2027-01-31", NULL;
		return text;
	case F_UUID: case F_UUID_LIST:
		if (!is_uuid(text))
			return *why = "must be a UUID such as 123e4567-e89b-12d3-a456-426614174000", NULL;
		return text;
	case F_ADDRESS:
		if (!address_parse(text, place))
			return *why = "must be an IPv4 or IPv6 address", NULL;
		return arena_strdup(arena, place);
	case F_CIDR_LIST:
		return address_parse_cidr(text, place, &inner) ? arena_strdup(arena, place)
		                                               : (*why = arena_printf(arena, "\"%.64s\" %s", text, inner), NULL);
	case F_SCOPE_LIST:
		if (!(inner = scope_text(arena, text)))
			return *why = "must hold scopes such as domains:read", NULL;
		return inner;
	default:
		return *why = "cannot be used here", NULL;
	}
}

static bool is_list(enum field_type type)
{
	return type == F_CIDR_LIST || type == F_SCOPE_LIST || type == F_UUID_LIST || type == F_EMAIL_LIST || type == F_HOSTNAME_LIST;
}

static struct json_object *port_list(struct arena *arena, const struct field *f, struct json_object *value, const char **why)
{
	size_t max = f->max > 0 ? (size_t)f->max : 100;

	if (!json_object_is_type(value, json_type_array) || json_object_array_length(value) > max)
		return *why = arena_printf(arena, "must be a list of at most %zu port numbers", max), NULL;
	for (size_t i = 0; i < json_object_array_length(value); i++) {
		struct json_object *item = json_object_array_get_idx(value, i);

		if (!json_object_is_type(item, json_type_int) || json_object_get_int64(item) < 1 || json_object_get_int64(item) > 65535)
			return *why = "must be a list of port numbers from 1 to 65535", NULL;
	}
	return json_object_get(value);
}

struct json_object *input_value(struct arena *arena, const struct field *f, struct json_object *value, const char **why)
{
	const char *text;

	*why = NULL;
	if (!value) {
		if (!(f->flags & F_NULLABLE))
			*why = "must not be null; leave it out instead";
		return NULL;
	}
	if (f->type == F_INT) {
		int64_t n = json_object_get_int64(value);

		if (!json_object_is_type(value, json_type_int))
			return *why = "must be a whole number", NULL;
		if (f->max > 0 && (n < f->min || n > f->max))
			return *why = arena_printf(arena, "must lie between %lld and %lld", f->min, f->max), NULL;
		return json_object_new_int64(n);
	}
	if (f->type == F_BOOL) {
		if (!json_object_is_type(value, json_type_boolean))
			return *why = "must be true or false", NULL;
		return json_object_new_boolean(json_object_get_boolean(value));
	}
	if (f->type == F_JSON)
		return json_object_get(value);
	if (f->type == F_PORT_LIST)
		return port_list(arena, f, value, why);
	if (is_list(f->type)) {
		size_t max = f->max > 0 ? (size_t)f->max : f->type == F_SCOPE_LIST ? 200 : 100;
		struct json_object *list;

		if (!json_object_is_type(value, json_type_array))
			return *why = "must be a list of texts", NULL;
		if (json_object_array_length(value) > max)
			return *why = arena_printf(arena, "must have at most %zu elements", max), NULL;
		list = json_object_new_array();
		for (size_t i = 0; i < json_object_array_length(value); i++) {
			struct json_object *item = json_object_array_get_idx(value, i);

			if (!json_object_is_type(item, json_type_string))
				*why = "must be a list of texts";
			else if ((text = check_text(arena, f, json_object_get_string(item), why)))
				json_object_array_add(list, json_object_new_string(text));
			if (*why) {
				json_object_put(list);
				return NULL;
			}
		}
		return list;
	}
	if (!json_object_is_type(value, json_type_string))
		return *why = "must be a text", NULL;
	text = check_text(arena, f, json_object_get_string(value), why);
	return text ? json_object_new_string(text) : NULL;
}

/* ---- bodies ---- */

static const struct field *find_field(const struct field *fields, const char *name)
{
	for (const struct field *f = fields; f->name; f++)
		if (strcmp(f->name, name) == 0 || (f->spelling && strcmp(f->spelling, name) == 0))
			return f;
	return NULL;
}

/* What a route's body may hold: the flag that a field needs. An action's own table is all input. */
static unsigned input_flag(const struct request *r)
{
	if (r->route->input)
		return F_INPUT | (r->caller.local ? F_LOCAL : 0);
	if (r->route->does == DO_CREATE)
		return F_CREATE | (r->caller.local ? F_LOCAL : 0);
	return r->route->does == DO_REPLACE || r->route->does == DO_PATCH ? F_CHANGE : 0;
}

static void unknown_field(struct request *r, const struct field *fields, const char *name, unsigned flag)
{
	const char *candidates[CANDIDATES_MAX] = { NULL }, *near;
	size_t n = 0;

	for (const struct field *f = fields; f && f->name && n < CANDIDATES_MAX; f++)
		if (f->flags & flag)
			candidates[n++] = f->name;
	near = intended(name, candidates, n);
	if (near)
		request_failf(r, ERR_VALIDATION, name, "is no field of this; did you mean \"%s\"?", near);
	else
		request_failf(r, ERR_VALIDATION, name, n ? "is no field of this; leave it out" : "nothing can be given here; leave it out");
}

/* A name of the installation itself, in the hands of a tenant, would take its place on the web server; a public suffix would keep
 * others from the names below it. */
static void judge_name(struct request *r, const struct field *f, const char *name)
{
	const char *why = config_reserves(r->config, name) ? "is reserved for this installation; only an administrator may give it to an account" : NULL;

	switch (suffix_of(r->config->public_suffix_list, name)) {
	case SUFFIX_NONE:
		break;
	case SUFFIX_REGISTRY:
		if (!r->caller.local)
			request_failf(r, ERR_VALIDATION, f->name, "%s is a public suffix, under which names are registered; give a name below it", name);
		break;
	case SUFFIX_PRIVATE:
		why = "is a public suffix, below which others have their names; give a name below it, or have an administrator give it to the account";
		break;
	case SUFFIX_UNKNOWN:
		why = "cannot be judged, as the list of public suffixes cannot be read (setting public_suffix_list); only an administrator may give it";
	}
	if (why) {
		r->admin_field = f->name;
		r->admin_why = why;
	}
}
static void judge_claim(struct request *r, const struct field *f, struct json_object *value)
{
	bool list = json_object_is_type(value, json_type_array);
	size_t n = list ? json_object_array_length(value) : 1;

	for (size_t i = 0; i < n; i++)
		judge_name(r, f, json_object_get_string(list ? json_object_array_get_idx(value, i) : value));
}

static void check_object(struct request *r, struct json_object *given)
{
	const struct field *fields = r->route->input ? r->route->input : r->resource->fields;
	unsigned flag = input_flag(r);
	const char *why;

	json_object_object_foreach(given, name, value) {
		const struct field *f = find_field(fields, name);
		struct json_object *checked;

		if (!f || (!flag && !r->route->input)) {
			unknown_field(r, fields, name, flag);
			continue;
		}
		if (!(f->flags & flag)) {
			request_failf(r, ERR_VALIDATION, name, "%s", f->flags & F_CREATE ? "is fixed at creation; leave it out"
			              : f->flags & F_LOCAL && r->route->does == DO_CREATE ? "is given with the operator's command at the machine only; leave it out"
			              : "is read-only; leave it out");
			continue;
		}
		if (strcmp(f->name, name) != 0)
			request_given_as(r, f->name, name);
		if (json_object_object_get_ex(r->body, f->name, NULL)) {
			request_failf(r, ERR_VALIDATION, name, "is given twice, as %s and %s; give one", f->name, f->spelling);
			continue;
		}
		checked = input_value(r->arena, f, value, &why);
		if (why) {
			request_failf(r, ERR_VALIDATION, name, "%s", why);
			continue;
		}
		json_object_object_add(r->body, f->name, checked);
		if (f->flags & F_ADMIN)
			r->admin_field = f->name;
		if (f->flags & F_CLAIM)
			judge_claim(r, f, checked);
		if (f->flags & F_SECRET && r->secret_count < sizeof r->secrets / sizeof *r->secrets)
			r->secrets[r->secret_count++] = f->name;
	}
	if (r->route->does == DO_PATCH)
		return;
	for (const struct field *f = fields; flag && f->name; f++) {
		bool given_here = json_object_object_get_ex(given, f->name, NULL) ||
		                  (f->spelling && json_object_object_get_ex(given, f->spelling, NULL));

		if (given_here || !(f->flags & flag))
			continue;
		if (f->flags & F_REQUIRED)
			request_failf(r, ERR_VALIDATION, f->name, "is required: %s", f->about);
		else if (r->route->does == DO_REPLACE && f->flags & F_NULLABLE && !(f->flags & (F_WRITEONLY | F_ADMIN)))
			json_object_object_add(r->body, f->name, NULL); /* a whole replacement clears what it leaves out */
	}
}

void input_object(struct request *r, struct json_object *given)
{
	r->body = json_object_new_object();
	if (!r->body || arena_defer(r->arena, put_json, r->body) != 0) {
		r->body = NULL;
		request_failf(r, ERR_INTERNAL, NULL, "out of memory");
		return;
	}
	if (given && !json_object_is_type(given, json_type_object)) {
		request_failf(r, ERR_VALIDATION, NULL, "the body must be a JSON object");
		return;
	}
	if (given && r->query.input) {
		request_failf(r, ERR_BAD_REQUEST, NULL, "input was sent in the body and as parameters; send it in one of the two");
		return;
	}
	given = given ? given : r->query.input;
	if (given || r->route->does == DO_CREATE || r->route->does == DO_REPLACE || r->route->input) {
		struct json_object *empty = given ? NULL : json_object_new_object();

		check_object(r, given ? given : empty);
		json_object_put(empty);
	}
}

static bool is_json_type(const char *type)
{
	size_t len = type ? strcspn(type, "; \t") : 0;

	return (len == 16 && strncasecmp(type, "application/json", len) == 0) ||
	       (len == 28 && strncasecmp(type, "application/merge-patch+json", len) == 0);
}

/* Idempotency-Key, a string in quotes (RFC 8941) or bare, is kept without quotes. */
static void judge_idempotency_key(struct request *r)
{
	const char *key = r->idempotency_key;
	size_t len = key ? strlen(key) : 0;

	if (!key)
		return;
	if (len > 1 && *key == '"' && key[len - 1] == '"') {
		key++;
		len -= 2;
	}
	for (size_t i = 0; i < len; i++)
		if (key[i] <= ' ' || key[i] > '~' || key[i] == '"')
			len = 0;
	if (len < 1 || len > IDEMPOTENCY_KEY_MAX)
		request_failf(r, ERR_BAD_REQUEST, NULL, "Idempotency-Key must have 1 to %d visible ASCII characters, such as a UUID",
		              IDEMPOTENCY_KEY_MAX);
	else
		r->idempotency_key = arena_strndup(r->arena, key, len);
}

void input_body(struct request *r)
{
	struct json_object *given = NULL;
	const char *why = NULL;
	size_t at = 0;

	if (r->body_too_large) {
		request_failf(r, ERR_PAYLOAD_TOO_LARGE, NULL, "the body is larger than %d bytes", r->config->body_max_bytes);
		return;
	}
	if (r->route->method == M_GET) {
		if (r->body_len)
			request_failf(r, ERR_BAD_REQUEST, NULL, "a GET has no body; use query parameters");
		return;
	}
	judge_idempotency_key(r);
	if (r->failure.set)
		return;
	if (r->body_len && r->content_encoding && strcasecmp(r->content_encoding, "identity") != 0) {
		request_failf(r, ERR_UNSUPPORTED_MEDIA_TYPE, NULL, "the body is sent as it is: no Content-Encoding is read");
		r->failure.details = "Send the body uncompressed, without Content-Encoding.";
		r->encoded = true;
		return;
	}
	if (r->body_len && !is_json_type(r->content_type)) {
		request_failf(r, ERR_UNSUPPORTED_MEDIA_TYPE, NULL, "send the body as Content-Type: application/json");
		return;
	}
	if (r->body_len) {
		given = json_parse(r->body_text, r->body_len, &why, &at);
		if (!given) {
			if (why)
				request_failf(r, ERR_BAD_REQUEST, NULL, "the body is not valid JSON: %s, at byte %zu", why, at);
			else
				request_failf(r, ERR_VALIDATION, NULL, "the body must be a JSON object");
			return;
		}
	}
	input_object(r, given);
	json_object_put(given);
}

/* ---- query parameters ---- */

static int hex(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/* Percent-decoding with + as space; NULL when malformed, not UTF-8 or holding NUL. */
static char *decode(struct arena *arena, const char *text, size_t len)
{
	char *out = arena_alloc(arena, len + 1), *o = out;

	for (size_t i = 0; out && i < len; i++) {
		if (text[i] == '+') {
			*o++ = ' ';
		} else if (text[i] == '%') {
			int high = i + 2 < len ? hex(text[i + 1]) : -1, low = i + 2 < len ? hex(text[i + 2]) : -1;

			if (high < 0 || low < 0)
				return NULL;
			*o++ = (char)(high << 4 | low);
			i += 2;
		} else {
			*o++ = text[i];
		}
	}
	return out && utf8_valid(out, (size_t)(o - out)) ? out : NULL;
}

static bool parse_number(const char *text, long long min, long long max, long long *out)
{
	char *end;

	errno = 0;
	*out = strtoll(text, &end, 10);
	return isdigit((unsigned char)*text) && !*end && errno == 0 && *out >= min && *out <= max;
}

static bool parse_bool(const char *text, bool *out)
{
	*out = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
	return *out || strcmp(text, "false") == 0 || strcmp(text, "0") == 0;
}

/* `status=active,suspended`, or `status=active&status=suspended`: a list of checked values. */
static void add_filter(struct request *r, const struct field *f, char *value)
{
	struct query *q = &r->query;
	struct json_object *list = NULL;
	const char *why = NULL;
	char *rest = value, *one;

	if (!q->filter) {
		q->filter = json_object_new_object();
		if (!q->filter || arena_defer(r->arena, put_json, q->filter) != 0)
			q->filter = NULL;
	}
	if (q->filter && !json_object_object_get_ex(q->filter, f->name, &list) && (list = json_object_new_array()))
		json_object_object_add(q->filter, f->name, list);
	if (!list) {
		request_failf(r, ERR_INTERNAL, NULL, "out of memory");
		return;
	}
	while ((one = strsep(&rest, ",")) && !why) {
		long long n;
		bool yes;
		const char *text = one;

		if (json_object_array_length(list) >= FILTER_VALUES_MAX)
			why = "has too many values";
		else if (f->type == F_INT && !parse_number(one, 0, LLONG_MAX, &n))
			why = "must be a whole number";
		else if (f->type == F_BOOL && !parse_bool(one, &yes))
			why = "must be true or false";
		else if (f->type == F_BOOL)
			text = yes ? "true" : "false";
		else if (f->type != F_INT)
			text = f->type == F_TEXT || f->type == F_OBJECT_ID ? one : check_text(r->arena, f, one, &why);
		if (!why && text)
			json_object_array_add(list, json_object_new_string(text));
	}
	if (why)
		request_failf(r, ERR_BAD_REQUEST, f->name, "%s; several values are written with commas", why);
}

/* `confirm=shop`: a DELETE's input, which is checked as a body is. Texts and switches are all that any has. An export's is checked here. */
static void add_input(struct request *r, const struct field *f, const char *value)
{
	struct query *q = &r->query;
	const char *why;
	bool yes = false;

	if (r->route->method == M_GET && !check_text(r->arena, f, value, &why)) {
		request_failf(r, ERR_BAD_REQUEST, f->name, "%s", why);
		return;
	}
	if (f->type == F_BOOL && !parse_bool(value, &yes)) {
		request_failf(r, ERR_BAD_REQUEST, f->name, "must be true or false");
		return;
	}
	if (!q->input) {
		q->input = json_object_new_object();
		if (!q->input || arena_defer(r->arena, put_json, q->input) != 0) {
			q->input = NULL;
			request_failf(r, ERR_INTERNAL, NULL, "out of memory");
			return;
		}
	}
	json_object_object_add(q->input, f->name, f->type == F_BOOL ? json_object_new_boolean(yes) : json_object_new_string(value));
}

enum parameter { P_UNKNOWN = 0, P_PAGE, P_PER_PAGE, P_SORT, P_ORDER, P_SEARCH, P_SINCE, P_UNTIL, P_CURSOR, P_DRY_RUN, P_CASCADE };

/* Which parameters a route takes. `id` goes with .php paths only and is read before. */
static const struct { const char *name; enum parameter parameter; bool list, write, remove, timed; } parameters[] = {
	{ "page", P_PAGE, .list = true },        { "per_page", P_PER_PAGE, .list = true },
	{ "sort", P_SORT, .list = true },        { "order", P_ORDER, .list = true },
	{ "search", P_SEARCH, .list = true },    { "updated_since", P_SINCE, .list = true },
	{ "cursor", P_CURSOR, .list = true },    { "dry_run", P_DRY_RUN, .write = true },
	{ "cascade", P_CASCADE, .remove = true },{ "since", P_SINCE, .timed = true },
	{ "until", P_UNTIL, .timed = true },
};
#define PARAMETERS (sizeof parameters / sizeof *parameters)

static bool takes(const struct request *r, size_t i)
{
	bool list = r->route->does == DO_LIST, timed = find_field(r->resource->fields, "updated_at") == NULL;

	if (r->route->does == DO_EXPORT)
		return (parameters[i].parameter == P_SINCE && parameters[i].timed == timed) || (parameters[i].parameter == P_UNTIL && timed);
	if (list && parameters[i].parameter == P_SINCE)
		return parameters[i].timed == timed;
	if (list && parameters[i].parameter == P_PAGE)
		return !r->resource->cursor_only;
	return (list && (parameters[i].list || (timed && parameters[i].timed))) ||
	       (r->route->method != M_GET && parameters[i].write) || (r->route->does == DO_DELETE && parameters[i].remove);
}

static const char *default_sort(const struct request *r)
{
	return r->resource->sort ? r->resource->sort : "id";
}

static const char *with_flag(const struct request *r, unsigned flag)
{
	const char *all = "";

	for (const struct field *f = r->resource->fields; f->name; f++)
		if (f->flags & flag)
			all = arena_printf(r->arena, "%s%s%s", all, *all ? ", " : "", f->name);
	return all;
}

static bool filters(const struct request *r)
{
	return r->route->does == DO_LIST || r->route->does == DO_EXPORT;
}

/* Input that comes as parameters. */
static bool has_input(const struct request *r)
{
	return r->route->input && (r->route->does == DO_DELETE || r->route->method == M_GET);
}

static void unknown_parameter(struct request *r, const char *name)
{
	const char *candidates[CANDIDATES_MAX] = { NULL }, *near;
	size_t n = 0;

	for (size_t i = 0; i < PARAMETERS; i++)
		if (takes(r, i))
			candidates[n++] = parameters[i].name;
	for (const struct field *f = r->resource->fields; f->name && n < CANDIDATES_MAX && filters(r); f++)
		if (f->flags & F_FILTER)
			candidates[n++] = f->name;
	for (const struct field *f = r->route->input; f && f->name && n < CANDIDATES_MAX && has_input(r); f++)
		candidates[n++] = f->name;
	for (size_t i = 0; i < n && strlen(name) > 2; i++) /* "status[]", as some libraries write lists */
		if (strncmp(name, candidates[i], strlen(candidates[i])) == 0 && name[strlen(candidates[i])] == '[') {
			request_failf(r, ERR_BAD_REQUEST, name, "is no parameter of this; write \"%s\", and several values with commas", candidates[i]);
			return;
		}
	near = intended(name, candidates, n);
	if (near)
		request_failf(r, ERR_BAD_REQUEST, name, "is no parameter of this; did you mean \"%s\"?", near);
	else
		request_failf(r, ERR_BAD_REQUEST, name, "is no parameter of this; leave it out");
}

static void read_parameter(struct request *r, const char *name, char *value, bool *page_given, bool *order_given)
{
	struct query *q = &r->query;
	enum parameter parameter = P_UNKNOWN;
	const struct field *f = find_field(r->resource->fields, name);
	long long n;
	int64_t us;
	char when[TIMESTAMP_TEXT_MAX];

	for (size_t i = 0; i < PARAMETERS; i++)
		if (strcmp(parameters[i].name, name) == 0 && takes(r, i))
			parameter = parameters[i].parameter;
	switch (parameter) {
	case P_PAGE:
		*page_given = true;
		if (!parse_number(value, 1, 1000000000, &q->page))
			request_failf(r, ERR_BAD_REQUEST, name, "must be a whole number from 1");
		return;
	case P_PER_PAGE:
		if (parse_number(value, 1, PER_PAGE_MAX, &n))
			q->per_page = (int)n;
		else
			request_failf(r, ERR_BAD_REQUEST, name, "must be a whole number from 1 to %d", PER_PAGE_MAX);
		return;
	case P_SORT:
		if (f = find_field(r->resource->fields, value), f && f->flags & F_SORT)
			q->sort = f->name;
		else
			request_failf(r, ERR_BAD_REQUEST, name, "must be one of: %s", with_flag(r, F_SORT));
		return;
	case P_ORDER:
		*order_given = true;
		q->descending = strcmp(value, "desc") == 0;
		if (!q->descending && strcmp(value, "asc") != 0)
			request_failf(r, ERR_BAD_REQUEST, name, "must be asc or desc");
		return;
	case P_SEARCH:
		if (!*with_flag(r, F_SEARCH))
			request_failf(r, ERR_BAD_REQUEST, name, "nothing can be searched here; use a filter");
		else if (!*value || utf8_length(value) > SEARCH_MAX)
			request_failf(r, ERR_BAD_REQUEST, name, "must have 1 to %d characters", SEARCH_MAX);
		else
			q->search = value;
		return;
	case P_SINCE: case P_UNTIL:
		if (!timestamp_parse(value, &us)) {
			request_failf(r, ERR_BAD_REQUEST, name, "must be a date and time as in RFC 3339, such as 2026-01-31T12:00:00Z (write + as %%2B)");
			return;
		}
		timestamp_format(us, when);
		*(parameter == P_SINCE ? &q->since : &q->until) = arena_strdup(r->arena, when);
		return;
	case P_CURSOR:
		q->cursor = value;
		return;
	case P_DRY_RUN: case P_CASCADE:
		if (!parse_bool(value, parameter == P_DRY_RUN ? &q->dry_run : &q->cascade))
			request_failf(r, ERR_BAD_REQUEST, name, "must be true or false");
		return;
	default:
		if (filters(r) && f && f->flags & F_FILTER)
			add_filter(r, f, value);
		else if (has_input(r) && (f = find_field(r->route->input, name)))
			add_input(r, f, value);
		else
			unknown_parameter(r, name);
	}
}

/* Does it filter, and nothing else? Then it may come several times. */
static bool is_filter(const struct request *r, const char *name)
{
	const struct field *f = find_field(r->resource->fields, name);

	for (size_t i = 0; i < PARAMETERS; i++)
		if (strcmp(parameters[i].name, name) == 0 && takes(r, i))
			return false;
	return filters(r) && f && f->flags & F_FILTER;
}

void input_query(struct request *r)
{
	struct query *q = &r->query;
	bool page_given = false, order_given = false;
	const char *seen[64];
	size_t seen_count = 0;

	q->per_page = PER_PAGE_DEFAULT;
	q->page = 1;
	q->sort = default_sort(r);
	if (r->malformed)
		request_failf(r, ERR_BAD_REQUEST, NULL, "%s holds bytes that are not UTF-8; encode them", r->malformed);
	for (const char *at = r->query_text; at && *at;) {
		size_t len = strcspn(at, "&");
		const char *equals = memchr(at, '=', len);
		size_t name_len = equals ? (size_t)(equals - at) : len;
		char *name = decode(r->arena, at, name_len);
		char *value = equals ? decode(r->arena, equals + 1, len - name_len - 1) : arena_strdup(r->arena, "");
		bool twice = false;

		at += len + (at[len] == '&');
		if (len == 0)
			continue;
		if (!name || !value) {
			request_failf(r, ERR_BAD_REQUEST, NULL, "the query holds a parameter that is not percent-encoded UTF-8");
			continue;
		}
		for (size_t i = 0; i < seen_count; i++)
			twice |= strcmp(seen[i], name) == 0;
		twice = twice && !is_filter(r, name);
		if (twice || seen_count == sizeof seen / sizeof *seen) {
			request_failf(r, ERR_BAD_REQUEST, name, twice ? "is given twice; give it once" : "there are too many parameters");
			continue;
		}
		seen[seen_count++] = name;
		if (r->id_in_query && strcmp(name, "id") == 0)
			continue; /* routing has read it */
		read_parameter(r, name, value, &page_given, &order_given);
	}
	if (!order_given)
		q->descending = r->resource->newest_first && strcmp(q->sort, default_sort(r)) == 0;
	q->ordered = strcmp(q->sort, "id") != 0 || q->descending;
	if (q->cursor) {
		q->page = 0;
		if (page_given)
			request_failf(r, ERR_BAD_REQUEST, "cursor", "excludes page; give one of the two");
		else if (!r->failure.set && !cursor_open(r, q->cursor))
			request_failf(r, ERR_BAD_REQUEST, "cursor", "is not a cursor of this list; take next_cursor of an answer with the same filters");
	} else if (r->resource->cursor_only) {
		q->page = 0;
	}
}
