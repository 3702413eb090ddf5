/* reply.c: see reply.h. */
#include "reply.h"

#include "refusal.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cursor.h"
#include "http.h"
#include "json.h"
#include "timestamp.h"

enum { ETAG_BYTES = 12, WINDOW_S = 60 };

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
	out->stream = NULL;
}

/* ---- headers ---- */

static void header(struct buf *h, const char *name, const char *value)
{
	buf_str(h, name);
	buf_str(h, ": ");
	buf_str(h, value);
	buf_str(h, "\r\n");
}

static void header_int(struct buf *h, const char *name, int64_t value)
{
	buf_str(h, name);
	buf_str(h, ": ");
	buf_int(h, value);
	buf_str(h, "\r\n");
}

/* Until the bucket is full again: within its window. The reset is a whole second, which may be the one after the window's end. */
static int64_t seconds_left(const struct caller *c)
{
	int64_t left = c->reset_at_s - timestamp_now() / 1000000;

	return left < 0 ? 0 : left > WINDOW_S ? WINDOW_S : left;
}

/* Those of every answer, and of every recognised token. One place: the IETF draft still moves. */
static void common_headers(const struct request *r, struct reply *out, const char *type)
{
	const struct caller *c = &r->caller;
	bool get = r->method == M_GET || r->method == M_HEAD;
	struct buf *h = &out->head;
	const char *policy;

	if (!out->no_body) {
		buf_str(h, "Content-Type: ");
		buf_str(h, type);
		buf_str(h, "; charset=utf-8\r\n");
	}
	header(h, "X-Request-Id", r->request_id);
	header(h, "Cache-Control", get && out->status < 400 && !r->once_name ? "private, no-cache" : "no-store");
	buf_str(h, "Vary: Authorization, X-API-Key, Accept\r\nX-Content-Type-Options: nosniff\r\n");
	if (!c->recognised)
		return;
	policy = r->route->bucket == RATE_ACTION ? "\"action\"" : "\"token\"";
	header_int(h, "X-RateLimit-Limit", c->rate_limit);
	header_int(h, "X-RateLimit-Remaining", c->remaining);
	header_int(h, "X-RateLimit-Reset", c->reset_at_s);
	buf_str(h, "RateLimit-Policy: ");
	buf_str(h, policy);
	buf_str(h, ";q=");
	buf_int(h, c->rate_limit);
	buf_printf(h, ";w=%d\r\nRateLimit: ", WINDOW_S);
	buf_str(h, policy);
	buf_str(h, ";r=");
	buf_int(h, c->remaining);
	buf_str(h, ";t=");
	buf_int(h, seconds_left(c));
	buf_str(h, "\r\n");
	header(h, "X-Accepted-Scopes", refusal_needed(r) ? refusal_needed(r) : "");
}

void reply_methods(const struct request *r, struct buf *out)
{
	static const struct { enum method method; const char *name; } names[] = {
		{ M_GET, "GET, HEAD" }, { M_POST, "POST" }, { M_PUT, "PUT" }, { M_PATCH, "PATCH" }, { M_DELETE, "DELETE" },
		{ M_OPTIONS, "OPTIONS" }
	};
	const char *separator = "";

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (r->allowed & 1u << names[i].method || names[i].method == M_OPTIONS) {
			buf_str(out, separator);
			buf_str(out, names[i].name);
			separator = ", ";
		}
}

static void allow_header(const struct request *r, struct reply *out)
{
	buf_str(&out->head, "Allow: ");
	reply_methods(r, &out->head);
	buf_str(&out->head, "\r\n");
}

/* ---- bodies ---- */

#define UUID_LAST "ffffffff-ffff-ffff-ffff-ffffffffffff"

static void stamp(const struct request *r, struct buf *b)
{
	char now[TIMESTAMP_TEXT_MAX];

	timestamp_format(timestamp_now() / 1000000 * 1000000, now);
	buf_str(b, ",\"timestamp\":\"");
	buf_str(b, now);
	buf_str(b, "\",\"request_id\":\"");
	buf_str(b, r->request_id);
	buf_str(b, "\"}");
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

static void list_items(const struct request *r, const struct verdict *v, struct buf *b)
{
	size_t n = shown_rows(r, v);

	buf_char(b, '[');
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_char(b, ',');
		if (!row_json_open(b, r->resource->fields, &v->rows.item[i]))
			b->failed = true;
		buf_char(b, '}');
	}
	buf_char(b, ']');
}

/* Where the next page begins; NULL: this is the last. */
static const char *next_cursor(const struct request *r, const struct verdict *v)
{
	const struct query *q = &r->query;
	const struct field *fields = r->resource->fields;
	size_t n = shown_rows(r, v);
	const struct row *last = &v->rows.item[n ? n - 1 : 0];

	if (v->rows.count <= n && !r->resource->feed)
		return NULL;
	if (v->rows.count <= n) {
		/* all up to its end was looked at, whatever of it is shown: from there on, next time */
		const char *seen = n ? row_value(r->arena, fields, last, q->sort) : q->cursor ? r->position.value : "0";

		if (!q->descending && seen && v->total > strtoll(seen, NULL, 10))
			return cursor_make(r, arena_printf(r->arena, "%lld", (long long)v->total), UUID_LAST, r->caller.account_id);
		if (!n)
			return q->cursor;
	}
	return cursor_make(r, q->ordered ? row_value(r->arena, fields, last, q->sort) : NULL,
	                   row_value(r->arena, fields, last, "id"), r->caller.account_id);
}

/* What a list has beside its items. */
static void list_members(const struct request *r, const struct verdict *v, const char *next, struct buf *b)
{
	const struct query *q = &r->query;

	buf_str(b, ",\"total\":");
	if (v->total >= 0 && !r->resource->feed)
		buf_int(b, v->total);
	else
		buf_str(b, "null");
	buf_str(b, ",\"page\":");
	if (q->page > 0)
		buf_int(b, q->page);
	else
		buf_str(b, "null");
	buf_str(b, ",\"per_page\":");
	buf_int(b, q->per_page);
	buf_str(b, ",\"next_cursor\":");
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
static void link_header(const struct request *r, const struct verdict *v, const char *next, struct buf *h)
{
	const struct query *q = &r->query;
	bool more = v->rows.count > shown_rows(r, v);
	const char *separator = "Link: <";
	static const struct { const char *end; int step; } rels[] = {
		{ ">; rel=\"first\"", 0 }, { ">; rel=\"prev\"", -1 }, { ">; rel=\"next\"", 1 }
	};

	for (size_t i = 0; i < sizeof rels / sizeof *rels; i++) {
		if ((rels[i].step == 1 && !more) || (rels[i].step == -1 && q->page < 2) || (!q->page && (!next || rels[i].step != 1)))
			continue;
		buf_str(h, separator);
		buf_str(h, r->path);
		buf_char(h, '?');
		link_query(r, h);
		buf_str(h, q->page ? "page=" : "cursor=");
		if (q->page)
			buf_int(h, rels[i].step == 0 ? 1 : q->page + rels[i].step);
		else
			buf_str(h, next);
		buf_str(h, rels[i].end);
		separator = ", <";
	}
	if (*separator == ',')
		buf_str(h, "\r\n");
}

/* create -> created, retry -> retried, cancel -> cancelled, stop -> stopped; as gate.past has it. */
static void past(const char *verb, struct buf *b)
{
	size_t len = strlen(verb);

	if (len && verb[len - 1] == 'y')
		buf_add(b, verb, len - 1);
	else
		buf_str(b, verb);
	buf_str(b, len && verb[len - 1] == 'e' ? "d" : len && verb[len - 1] == 'y' ? "ied" : strcmp(verb, "cancel") == 0 ? "led"
	           : strcmp(verb, "stop") == 0 ? "ped" : "ed");
}

static void message_member(const struct request *r, const struct verdict *v, struct buf *b)
{
	const char *verb = strchr(r->route->audit, '.');
	size_t n = shown_rows(r, v);

	buf_str(b, "\"message\":");
	if (r->query.dry_run) {
		buf_json(b, "dry run: everything was checked, nothing was changed");
	} else if (r->route->does == DO_LIST) {
		buf_char(b, '"');
		buf_int(b, (int64_t)n);
		buf_char(b, ' ');
		buf_str(b, n == 1 ? r->resource->one : r->resource->name);
		if (!n && r->resource->shows) {
			buf_str(b, "; ");
			buf_str(b, r->resource->shows);
		}
		buf_char(b, '"');
	} else if (r->route->method == M_GET || !verb || strcmp(verb, ".read") == 0) {
		buf_json(b, r->route->summary);
	} else {
		buf_char(b, '"');
		buf_str(b, r->resource->one);
		buf_char(b, ' ');
		past(verb + 1, b);
		buf_char(b, '"');
	}
}

/* What READ or CALL answers, made by SQL or by the program; NULL: neither. */
static const char *document_of(const struct request *r, const struct verdict *v)
{
	return r->route->document ? r->route->document(r) : v->doc;
}

/* A text that SQL made. */
static void text_of(const char *doc, struct buf *b)
{
	struct json_object *text = json_tokener_parse(doc);

	if (json_object_is_type(text, json_type_string))
		buf_add(b, json_object_get_string(text), (size_t)json_object_get_string_len(text));
	else
		b->failed = true;
	json_object_put(text);
}

/* The data of an answer: object or document. */
static void data_of(const struct request *r, const struct verdict *v, bool masked, struct buf *b)
{
	const char *doc = document_of(r, v);

	if (doc && r->query.dry_run && r->dialect == DIALECT_PLAIN) {
		buf_printf(b, "{\"dry_run\":true%s", doc[1] == '}' ? "" : ",");
		buf_str(b, doc + 1);
	} else if (doc && r->route->type && !r->route->document) {
		text_of(doc, b);
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

/* Looked up by name once: OpenSSL would do so, behind locks, for each digest. */
static EVP_MD *sha256;
static void fetch_sha256(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

/* A tag of the digest of two pieces. */
static bool digest_tag(const void *data, size_t len, const void *more, size_t more_len, char *out)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char digest[EVP_MAX_MD_SIZE];
	static pthread_once_t fetched = PTHREAD_ONCE_INIT;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool made = pthread_once(&fetched, fetch_sha256) == 0 && sha256 && context && EVP_DigestInit_ex(context, sha256, NULL) &&
	            EVP_DigestUpdate(context, data, len) && EVP_DigestUpdate(context, more, more_len) &&
	            EVP_DigestFinal_ex(context, digest, NULL);

	EVP_MD_CTX_free(context);
	if (!made)
		return false;
	*out++ = '"';
	for (int i = 0; i < ETAG_BYTES; i++) {
		*out++ = hex[digest[i] >> 4];
		*out++ = hex[digest[i] & 15];
	}
	memcpy(out, "\"", 2);
	return true;
}

/*
 * The tag of an answer's data: an object's is its version; of all else, a digest. A list's is of the rows as they came, which
 * are fewer bytes than their JSON and lie in one piece, and of its other members; a document's, of its text.
 */
static bool make_etag(const struct request *r, const struct verdict *v, const char *text, size_t len, struct reply *out)
{
	if (r->route->does == DO_LIST) {
		size_t n = shown_rows(r, v);
		const struct row *first = &v->rows.item[0], *last = &v->rows.item[n ? n - 1 : 0];

		return digest_tag(n ? first->data : NULL, n ? (size_t)(last->data + last->len - first->data) : 0, text, len, out->etag);
	}
	if (!v->rows.count)
		return digest_tag(text, len, NULL, 0, out->etag);
	snprintf(out->etag, sizeof out->etag, "\"%lld\"", (long long)row_version(r->resource->fields, &v->rows.item[0]));
	return true;
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

/* Of a job: among the resources beside this one, in the same spelling. */
static void job_header(const struct request *r, const struct verdict *v, struct reply *out)
{
	const char *name = strrchr(r->base, '/');

	if (v->job && name)
		buf_printf(&out->head, "Location: %.*s/jobs%s/%s\r\n", (int)(name - r->base), r->base, r->php ? ".php" : "", v->job);
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
	bool get = r->route->method == M_GET, list = r->route->does == DO_LIST;
	bool envelope = r->dialect == DIALECT_ENVELOPE && !r->route->type;
	const char *next = list ? next_cursor(r, v) : NULL;
	size_t from;

	begin(out, status);
	if (envelope) {
		buf_str(b, "{\"success\":true,");
		if (status == 202)
			buf_str(b, "\"message\":\"accepted: this job does it\"");
		else
			message_member(r, v, b);
		if (r->query.dry_run)
			buf_str(b, ",\"dry_run\":true");
		buf_str(b, ",\"data\":");
	}
	if (list && envelope) {
		buf_str(b, "{\"resource\":\"");
		buf_str(b, r->resource->name);
		buf_str(b, "\",\"items\":");
	} else if (list) {
		buf_str(b, "{\"data\":");
	}
	if (list)
		list_items(r, v, b);
	from = b->len;
	if (list) {
		list_members(r, v, next, b);
		buf_char(b, '}');
	} else {
		data_of(r, v, masked, b);
	}
	if ((get || (v->rows.count && !r->query.dry_run && status != 202)) && !buf_failed(b) && !make_etag(r, v, b->data + from, b->len - from, out))
		b->failed = true;
	if (envelope)
		stamp(r, b);
	common_headers(r, out, r->route->type ? r->route->type : "application/json");
	if (status == 201)
		location_header(r, v, out);
	else if (status == 202 || (status == 200 && v->job && (r->route->does == DO_DELETE || r->route->flags & R_JOB)))
		job_header(r, v, out); /* of one that has ended well by now, too */
	if (r->waited)
		buf_printf(&out->head, "Preference-Applied: wait=%d\r\n", r->wait_s);
	if (*out->etag)
		header(&out->head, "ETag", out->etag);
	if (list)
		link_header(r, v, next, &out->head);
}

/* Errors repeat names and values that were sent: a token among them must not travel further. */
static const char *scrubbed(const struct request *r, const char *text)
{
	return text ? http_scrub(r->arena, text, strlen(text)) : NULL;
}

/* Names and texts are scrubbed before they are written as JSON: afterwards an escape could be cut. */
static void fields_member(const struct request *r, struct buf *b)
{
	const char *separator = ",\"fields\":{";

	json_object_object_foreach(r->failure.fields, name, text) {
		buf_str(b, separator);
		buf_json(b, scrubbed(r, name));
		buf_char(b, ':');
		buf_json(b, scrubbed(r, json_object_get_string(text)));
		separator = ",";
	}
	buf_str(b, *separator == ',' && !separator[1] ? "}" : ",\"fields\":{}");
}

void reply_failure(const struct request *r, struct reply *out)
{
	const struct failure *f = &r->failure;
	const struct error_info *info = error_info(f->code);
	const char *said = scrubbed(r, f->message), *message = said ? said : info->title;
	struct buf *b = &out->body, *h = &out->head;

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
	if (f->fields)
		fields_member(r, b);
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
		buf_printf(h, "WWW-Authenticate: Bearer realm=\"postern\", error=\"insufficient_scope\", scope=\"%s\"\r\n", refusal_needed(r));
	if (info->status == 429) {
		int64_t wait = seconds_left(&r->caller);

		buf_printf(h, "Retry-After: %lld\r\n", (long long)(wait < 1 ? 1 : wait));
	}
	if (info->status == 503)
		buf_str(h, "Retry-After: 1\r\n");
	if (info->status == 415) /* RFC 9110 section 15.5.16: what would have been read */
		buf_str(h, r->encoded ? "Accept-Encoding: identity\r\n" : "Accept: application/json\r\n");
}

void reply_export(const struct request *r, bool csv, struct reply *out)
{
	begin(out, 200);
	common_headers(r, out, csv ? "text/csv" : "application/x-ndjson");
	buf_printf(&out->head, "Content-Disposition: attachment; filename=\"%s.%s\"\r\n", r->resource->name, csv ? "csv" : "ndjson");
	buf_str(&out->head, "X-Accel-Buffering: no\r\n"); /* nginx passes lines on as they come */
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
