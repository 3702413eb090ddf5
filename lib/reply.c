/* reply.c: see reply.h. */
#include "reply.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "cursor.h"
#include "http.h"
#include "json.h"
#include "timestamp.h"

void reply_init(struct reply *out)
{
	*out = (struct reply){ 0 };
	buf_init(&out->head, 16 * 1024);
	buf_init(&out->body, REPLY_MAX_BYTES);
}

void reply_free(struct reply *out)
{
	buf_free(&out->head);
	buf_free(&out->body);
}

static void begin(struct reply *out, int status)
{
	buf_clear(&out->head);
	buf_clear(&out->body);
	out->status = status;
	out->no_body = status == 204 || status == 304;
	out->etag[0] = '\0';
}

/* ---- headers ---- */

/* Those of every answer, and of every recognised token. One place: the IETF draft still moves. */
static void common_headers(const struct request *r, struct reply *out, const char *type)
{
	const struct caller *c = &r->caller;
	bool get = r->method == M_GET || r->method == M_HEAD;
	struct buf *h = &out->head;
	int64_t wait = c->reset_at_s - timestamp_now() / 1000000;

	if (!out->no_body)
		buf_printf(h, "Content-Type: %s; charset=utf-8\r\n", type);
	buf_printf(h, "X-Request-Id: %s\r\n", r->request_id);
	buf_printf(h, "Cache-Control: %s\r\n", get && out->status < 400 && !r->once_name ? "private, no-cache" : "no-store");
	buf_str(h, "Vary: Authorization, X-API-Key, Accept\r\nX-Content-Type-Options: nosniff\r\n");
	if (!c->recognised)
		return;
	if (wait < 0)
		wait = 0;
	buf_printf(h, "X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %lld\r\n", c->rate_limit, c->remaining,
	           (long long)c->reset_at_s);
	buf_printf(h, "RateLimit-Policy: \"%s\";q=%d;w=60\r\nRateLimit: \"%s\";r=%d;t=%lld\r\n",
	           r->route->bucket == RATE_ACTION ? "action" : "token", c->rate_limit,
	           r->route->bucket == RATE_ACTION ? "action" : "token", c->remaining, (long long)wait);
	buf_printf(h, "X-Accepted-Scopes: %s\r\n", r->route->scope);
}

static void allow_header(const struct request *r, struct reply *out)
{
	static const struct { enum method method; const char *name; } names[] = {
		{ M_GET, "GET, HEAD" }, { M_POST, "POST" }, { M_PUT, "PUT" }, { M_PATCH, "PATCH" }, { M_DELETE, "DELETE" },
		{ M_OPTIONS, "OPTIONS" }
	};
	const char *separator = "Allow: ";

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (r->allowed & 1u << names[i].method || names[i].method == M_OPTIONS) {
			buf_str(&out->head, separator);
			buf_str(&out->head, names[i].name);
			separator = ", ";
		}
	buf_str(&out->head, "\r\n");
}

/* ---- bodies ---- */

static void stamp(const struct request *r, struct buf *b)
{
	char now[TIMESTAMP_TEXT_MAX];

	timestamp_format(timestamp_now() / 1000000 * 1000000, now);
	buf_printf(b, ",\"timestamp\":\"%s\",\"request_id\":\"%s\"}", now, r->request_id);
}

/* The show-once value as a member of the open object. */
static void once_member(const struct request *r, struct buf *b, bool masked)
{
	if (!r->once_name || r->query.dry_run) /* what was not made has no secret */
		return;
	buf_printf(b, ",\"%s\":", r->once_name);
	if (masked)
		buf_printf(b, "null,\"%s_remedy\":\"shown once, in the first answer; rotate it to get a new one\"", r->once_name);
	else
		buf_json(b, r->once_value);
}

static size_t shown_rows(const struct request *r, const struct verdict *v)
{
	return v->rows.count > (size_t)r->query.per_page ? (size_t)r->query.per_page : v->rows.count;
}

/* The items of a list, and where the next page begins. */
static void list_members(const struct request *r, const struct verdict *v, struct buf *b, const char *items)
{
	const struct query *q = &r->query;
	size_t n = shown_rows(r, v);
	const char *next = NULL;

	buf_printf(b, "\"%s\":[", items);
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_char(b, ',');
		if (!row_json_open(b, r->resource->fields, &v->rows.item[i]))
			b->failed = true;
		buf_char(b, '}');
	}
	buf_char(b, ']');
	if (v->rows.count > n && n > 0) {
		const struct row *last = &v->rows.item[n - 1];

		next = cursor_make(r, q->ordered ? row_value(r->arena, r->resource->fields, last, q->sort) : NULL,
		                   row_value(r->arena, r->resource->fields, last, "id"),
		                   r->caller.account_id);
	}
	buf_str(b, ",\"total\":");
	if (v->total >= 0)
		buf_int(b, v->total);
	else
		buf_str(b, "null");
	buf_str(b, ",\"page\":");
	if (q->page > 0)
		buf_int(b, q->page);
	else
		buf_str(b, "null");
	buf_printf(b, ",\"per_page\":%d,\"next_cursor\":", q->per_page);
	buf_json(b, next);
}

/* The query without cursor and page, for links. */
static void link_query(const struct request *r, struct buf *b)
{
	for (const char *at = r->query_text; at && *at;) {
		size_t len = strcspn(at, "&");

		if (len && strncmp(at, "cursor=", 7) != 0 && strncmp(at, "page=", 5) != 0 && strcspn(at, "<>\"\\ ") >= len) {
			buf_add(b, at, len);
			buf_char(b, '&');
		}
		at += len + (at[len] == '&');
	}
}

/* RFC 8288: next always where there is one; first and prev for pages. */
static void link_header(const struct request *r, const struct verdict *v, struct reply *out)
{
	const struct query *q = &r->query;
	bool more = v->rows.count > shown_rows(r, v);
	const char *separator = "Link: ";
	static const struct { const char *rel; int step; } rels[] = { { "first", 0 }, { "prev", -1 }, { "next", 1 } };
	const char *cursor = NULL, *at;
	size_t len = 0;

	if (!q->page && more && out->body.data && (at = strstr(out->body.data, "\"next_cursor\":\""))) {
		cursor = at + strlen("\"next_cursor\":\"");
		len = strcspn(cursor, "\"");
	}
	for (size_t i = 0; i < sizeof rels / sizeof *rels; i++) {
		if ((rels[i].step == 1 && !more) || (rels[i].step == -1 && q->page < 2) || (!q->page && !cursor) ||
		    (!q->page && rels[i].step != 1))
			continue;
		buf_str(&out->head, separator);
		buf_printf(&out->head, "<%s?", r->path);
		link_query(r, &out->head);
		if (q->page)
			buf_printf(&out->head, "page=%lld", rels[i].step == 0 ? 1 : q->page + rels[i].step);
		else
			buf_printf(&out->head, "cursor=%.*s", (int)len, cursor);
		buf_printf(&out->head, ">; rel=\"%s\"", rels[i].rel);
		separator = ", ";
	}
	if (*separator == ',')
		buf_str(&out->head, "\r\n");
}

static const char *message_of(const struct request *r, const struct verdict *v)
{
	const char *verb = strchr(r->route->audit, '.');
	size_t len;

	if (r->query.dry_run)
		return "dry run: everything was checked, nothing was changed";
	if (r->route->does == DO_LIST)
		return arena_printf(r->arena, "%zu %s", shown_rows(r, v), shown_rows(r, v) == 1 ? r->resource->one : r->resource->name);
	if (r->route->method == M_GET || !verb)
		return r->route->summary;
	len = strlen(++verb);
	return arena_printf(r->arena, "%s %s%s", r->resource->one, verb, verb[len - 1] == 'e' ? "d" : "ed");
}

/* What READ or CALL answers, made by SQL or by the program; NULL: neither. */
static const char *document_of(const struct request *r, const struct verdict *v)
{
	return r->route->document ? r->route->document() : v->doc;
}

/* The data of an answer: object or document. */
static void data_of(const struct request *r, const struct verdict *v, bool masked, struct buf *b)
{
	const char *doc = document_of(r, v);

	if (doc && r->query.dry_run && r->dialect == DIALECT_PLAIN) {
		buf_printf(b, "{\"dry_run\":true%s", doc[1] == '}' ? "" : ",");
		buf_str(b, doc + 1);
	} else if (doc) {
		buf_str(b, doc);
	} else if (r->route->document) {
		b->failed = true; /* it could not be made: no answer without it */
	} else if (v->rows.count && row_json_open(b, r->resource->fields, &v->rows.item[0])) {
		once_member(r, b, masked);
		if (r->query.dry_run && r->dialect == DIALECT_PLAIN)
			buf_str(b, ",\"dry_run\":true");
		buf_char(b, '}');
	} else if (r->query.dry_run && r->dialect == DIALECT_PLAIN) {
		buf_str(b, "{\"dry_run\":true}");
	} else {
		buf_str(b, "null");
	}
}

/* The tag of an answer whose data is text[0..len): an object's is its version, of all else a digest. */
static void make_etag(const struct request *r, const struct verdict *v, const char *text, size_t len, char *out, size_t max)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned size = 0;

	snprintf(out, max, "\"0\"");
	if (r->route->does != DO_LIST && v->rows.count)
		snprintf(out, max, "\"%lld\"", (long long)row_version(r->resource->fields, &v->rows.item[0]));
	else if (EVP_Digest(text, len, digest, &size, EVP_sha256(), NULL) && size >= 12)
		for (unsigned i = 0; i < 12; i++)
			snprintf(out + 1 + 2 * i, max - 1 - 2 * i, i == 11 ? "%02x\"" : "%02x", digest[i]);
}

bool reply_none_match(const struct request *r, const char *etag)
{
	size_t len = strlen(etag);

	if (!r->if_none_match)
		return false;
	if (strcmp(r->if_none_match, "*") == 0)
		return true;
	for (const char *at = r->if_none_match; *at;) {
		at += strspn(at, " \t,");
		if (strncmp(at, "W/", 2) == 0) /* weak comparison (RFC 9110 section 13.1.2) */
			at += 2;
		if (strncmp(at, etag, len) == 0 && (at[len] == '\0' || strchr(" \t,", at[len])))
			return true;
		at += strcspn(at, ",");
	}
	return false;
}

static void location_header(const struct request *r, const struct verdict *v, struct reply *out)
{
	const char *id = v->id ? v->id : "";

	if (*id && strcspn(id, "\r\n<>\" ") == strlen(id))
		buf_printf(&out->head, "Location: %s/%s\r\n", r->base, id);
}

void reply_result(const struct request *r, const struct verdict *v, int status, bool masked, struct reply *out)
{
	struct buf *b = &out->body;
	bool get = r->route->method == M_GET, envelope = r->dialect == DIALECT_ENVELOPE && !r->route->type;
	size_t from;

	begin(out, status);
	if (envelope) {
		buf_str(b, "{\"success\":true,\"message\":");
		buf_json(b, message_of(r, v));
		if (r->query.dry_run)
			buf_str(b, ",\"dry_run\":true");
		buf_str(b, ",\"data\":");
	}
	from = b->len;
	if (r->route->does == DO_LIST) {
		if (envelope)
			buf_printf(b, "{\"resource\":\"%s\",", r->resource->name);
		else
			buf_char(b, '{');
		list_members(r, v, b, envelope ? "items" : "data");
		buf_char(b, '}');
	} else {
		data_of(r, v, masked, b);
	}
	if ((get || (v->rows.count && !r->query.dry_run)) && !buf_failed(b))
		make_etag(r, v, b->data + from, b->len - from, out->etag, sizeof out->etag);
	if (envelope)
		stamp(r, b);
	common_headers(r, out, r->route->type ? r->route->type : "application/json");
	if (status == 201)
		location_header(r, v, out);
	if (*out->etag)
		buf_printf(&out->head, "ETag: %s\r\n", out->etag);
	if (r->route->does == DO_LIST)
		link_header(r, v, out);
}

/* Errors repeat names and values that were sent: a token among them must not travel further. */
static const char *scrubbed(const struct request *r, const char *text)
{
	return text ? http_scrub(r->arena, text, strlen(text)) : NULL;
}

void reply_failure(const struct request *r, struct reply *out)
{
	const struct failure *f = &r->failure;
	const struct error_info *info = error_info(f->code);
	const char *said = scrubbed(r, f->message), *message = said ? said : info->title;
	struct buf *b = &out->body, *h = &out->head;
	const char *fields = scrubbed(r, f->fields ? json_object_to_json_string_ext(f->fields, JSON_C_TO_STRING_PLAIN) : NULL);

	begin(out, info->status);
	buf_char(b, '{');
	if (r->wants_problem) {
		buf_printf(b, "\"type\":\"urn:postern:error:%s\",\"title\":", info->code);
		buf_json(b, info->title);
		buf_printf(b, ",\"status\":%d,\"detail\":", info->status);
		buf_json(b, message);
		buf_char(b, ',');
	}
	if (r->dialect == DIALECT_ENVELOPE) {
		buf_str(b, "\"success\":false,\"message\":");
		buf_json(b, message);
		buf_char(b, ',');
	}
	buf_printf(b, "\"error\":{\"code\":\"%s\",\"message\":", info->code);
	buf_json(b, message);
	buf_str(b, ",\"details\":");
	buf_json(b, f->details ? f->details : info->remedy);
	if (fields) {
		buf_str(b, ",\"fields\":");
		buf_str(b, fields);
	}
	buf_char(b, '}');
	if (r->dialect == DIALECT_ENVELOPE)
		stamp(r, b);
	else
		buf_printf(b, ",\"request_id\":\"%s\"}", r->request_id);
	common_headers(r, out, r->wants_problem ? "application/problem+json" : "application/json");
	if (info->status == 405)
		allow_header(r, out);
	if (info->status == 401)
		buf_printf(h, "WWW-Authenticate: Bearer realm=\"postern\"%s\r\n",
		           r->credential == CREDENTIAL_NONE ? "" : ", error=\"invalid_token\"");
	if (f->code == ERR_BAD_REQUEST && r->credential == CREDENTIAL_TWO)
		buf_str(h, "WWW-Authenticate: Bearer realm=\"postern\", error=\"invalid_request\"\r\n");
	if (info->status == 403 && f->reason && strcmp(f->reason, "scope") == 0)
		buf_printf(h, "WWW-Authenticate: Bearer realm=\"postern\", error=\"insufficient_scope\", scope=\"%s\"\r\n", r->route->scope);
	if (info->status == 429) {
		int64_t wait = r->caller.reset_at_s - timestamp_now() / 1000000;

		buf_printf(h, "Retry-After: %lld\r\n", (long long)(wait < 1 ? 1 : wait > 60 ? 60 : wait));
	}
	if (info->status == 503)
		buf_str(h, "Retry-After: 1\r\n");
	if (info->status == 415)
		buf_str(h, "Accept: application/json\r\n");
}

void reply_options(const struct request *r, struct reply *out)
{
	begin(out, 204);
	common_headers(r, out, "application/json");
	allow_header(r, out);
}

void reply_open(const struct request *r, int status, const char *json, struct reply *out)
{
	begin(out, status);
	buf_str(&out->body, json);
	common_headers(r, out, "application/json");
}

void reply_kept(const struct request *r, const struct verdict *v, struct reply *out)
{
	begin(out, v->kept_status);
	buf_str(&out->body, v->kept_body);
	common_headers(r, out, "application/json");
	/* of the first answer's headers, those that belong to the data */
	for (const char *at = v->kept_headers; at && *at;) {
		size_t len = strcspn(at, "\r");

		if (strncmp(at, "Location: ", 10) == 0 || strncmp(at, "ETag: ", 6) == 0) {
			buf_add(&out->head, at, len);
			buf_str(&out->head, "\r\n");
		}
		at += len;
		at += strspn(at, "\r\n");
	}
	buf_str(&out->head, "Idempotent-Replayed: true\r\n");
}
