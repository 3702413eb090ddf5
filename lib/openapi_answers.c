/* openapi_answers.c: what operations answer: headers, errors, good answers. */
#include "openapi_private.h"

#include <stdio.h>

static const char common_headers[] =
	"'X-Request-Id':{'description':'The id of this request: yours where you sent a UUID, else a new one',"
		"'required':true,'schema':{'type':'string','format':'uuid'}},"
	"'X-RateLimit-Limit':{'description':'Requests that the bucket holds per minute','schema':{'type':'integer'}},"
	"'X-RateLimit-Remaining':{'description':'Requests left in this window','schema':{'type':'integer'}},"
	"'X-RateLimit-Reset':{'description':'When the window ends, in Unix seconds','schema':{'type':'integer'}},"
	"'RateLimit-Policy':{'description':'The bucket that decided: its name, its size, its window',"
		"'schema':{'type':'string'}},"
	"'RateLimit':{'description':'What is left of it, and for how many seconds','schema':{'type':'string'}},"
	"'X-Accepted-Scopes':{'description':'The scope that this operation needs','schema':{'type':'string'}},"
	"'ETag':{'description':'Version of the data, for If-None-Match and If-Match','schema':{'type':'string'}},"
	"'Location':{'description':'Where the new object is, in the dialect of the request','required':true,"
		"'schema':{'type':'string'}},"
	"'Link':{'description':'first, prev and next page (RFC 8288)','schema':{'type':'string'}},"
	"'Retry-After':{'description':'Seconds to wait','required':true,'schema':{'type':'integer'}},"
	"'WWW-Authenticate':{'description':'How to authenticate, and what was wrong (RFC 6750)',"
		"'schema':{'type':'string'}},"
	"'Idempotent-Replayed':{'description':'true where this is the first answer again','schema':{'type':'string'}},"
	"'Cache-Control':{'description':'private, no-cache on what was read; no-store on all else','required':true,"
		"'schema':{'type':'string'}}";

static void header(struct buf *b, const char *name)
{
	refer(b, name, "headers", name);
}

static void token_headers(struct buf *b)
{
	static const char *const names[] = {
		"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit-Policy", "RateLimit",
		"X-Accepted-Scopes"
	};

	header(b, "X-Request-Id");
	header(b, "Cache-Control");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		header(b, names[i]);
}

/* The message of an example: a code's title, but where its fields tell. */
static void example_members(struct buf *b, const struct error_info *info, enum shape shape, bool problem)
{
	if (problem) {
		key(b, "type");
		buf_printf(b, "\"urn:postern:error:%s\"", info->code);
		text(b, "title", info->title);
		number(b, "status", info->status);
		text(b, "detail", info->title);
	}
	if (shape == ENVELOPE) {
		literal(b, "'success':false");
		text(b, "message", info->title);
	}
	begin(b, "error");
	text(b, "code", info->code);
	text(b, "message", info->title);
	text(b, "details", info->remedy);
	if (info->status == 400)
		literal(b, "'fields':{'per_page':'must be a whole number from 1 to 100'}");
	if (info->status == 422)
		literal(b, "'fields':{'domain':'is required'}");
	end(b);
	if (shape == ENVELOPE)
		literal(b, "'timestamp':'2026-06-12T00:00:00+00:00'");
	literal(b, "'request_id':'123e4567-e89b-42d3-a456-426614174000'");
}

static void error_content(struct buf *b, const struct error_info *info, enum shape shape, bool problem)
{
	begin(b, problem ? "application/problem+json" : "application/json");
	refer(b, "schema", "schemas", problem ? "Problem" : "Failure");
	begin(b, "example");
	example_members(b, info, shape, problem);
	end(b);
	end(b);
}

/* One shared answer for each code of the catalogue, with an example of its own. */
static void error_answers(struct buf *b, enum shape shape)
{
	char name[NAME_MAX_BYTES];

	for (int code = 0; code < ERR_COUNT; code++) {
		const struct error_info *info = error_info((enum error_code)code);

		if (code == ERR_METHOD_NOT_ALLOWED) /* no operation's */
			continue;
		begin(b, component(info->code, "", name));
		text(b, "description", info->meaning);
		begin(b, "headers");
		header(b, "X-Request-Id");
		if (info->status == 429 || info->status == 503)
			header(b, "Retry-After");
		if (info->status == 401 || info->status == 403 || info->status == 400)
			header(b, "WWW-Authenticate");
		end(b);
		begin(b, "content");
		error_content(b, info, shape, false);
		error_content(b, info, shape, true);
		end(b);
		end(b);
	}
}

static void error_answer(struct buf *b, enum error_code code)
{
	char status[12], name[NAME_MAX_BYTES];

	snprintf(status, sizeof status, "%d", error_info(code)->status);
	refer(b, status, "responses", component(error_info(code)->code, "", name));
}

/* The schema of a good answer's body. */
static void answer_schema(struct buf *b, const struct resource *resource, const struct route *t, enum shape shape,
                          bool dry, bool job)
{
	char name[NAME_MAX_BYTES];

	if (t->does == DO_LIST && shape == PLAIN) {
		reference(b, "schemas", component(resource->one, "List", name));
	} else if (shape == PLAIN) {
		openapi_data_schema(b, resource, t, shape, dry, job);
	} else {
		literal(b, "'type':'object','required':['success','message','data','timestamp','request_id'],'properties':{"
		           "'success':{'type':'boolean','const':true},'message':{'type':'string'},");
		begin(b, "data");
		if (t->does == DO_LIST)
			reference(b, "schemas", component(resource->one, "Page", name));
		else
			openapi_data_schema(b, resource, t, shape, dry, job);
		end(b);
		literal(b, "'timestamp':{'type':'string','format':'date-time'},'request_id':{'type':'string','format':'uuid'}");
		if (dry)
			literal(b, "'dry_run':{'type':'boolean','const':true}");
		end(b);
	}
}

/* Lines, which no schema of the whole describes. */
static void export_content(struct buf *b, const struct route *t)
{
	char name[NAME_MAX_BYTES];

	begin(b, "content");
	begin(b, t->type);
	begin(b, "schema");
	text(b, "type", "string");
	text(b, "description", "A JSON object a line; the last line is {\"count\":N}, and an export without it was cut");
	text(b, "contentMediaType", t->type);
	refer(b, "contentSchema", "schemas", component(t->operation_id, "Line", name));
	end(b);
	end(b);
	begin(b, "text/csv");
	begin(b, "schema");
	text(b, "type", "string");
	text(b, "description", "RFC 4180: a line of names, then the rows; null is an empty cell, an empty text is \"\", and a cell that begins "
	                       "with = + - @ ' tab or CR has a ' before it. The last line is # N rows, and an export without it was cut");
	end(b);
	end(b);
	end(b);
}

static const char *told(const struct route *t, int status, bool dry)
{
	if (status == 200 && dry && t->does == DO_DELETE)
		return "A dry run: everything was checked, nothing was changed. Or, with Prefer: wait, the job, which has ended well";
	if (status == 200 && dry && (t->does == DO_CREATE || t->flags & R_CREATES))
		return "A dry run: everything was checked, nothing was changed";
	return t->summary;
}

static void good_content(struct buf *b, const struct resource *resource, const struct route *t, enum shape shape,
                         bool dry, bool job)
{
	begin(b, "content");
	begin(b, t->type ? t->type : "application/json");
	begin(b, "schema");
	if (t->type && !strstr(t->type, "json")) {
		text(b, "type", "string");
	} else if (is_open(t) && !t->document) {
		literal(b, "'anyOf':[{");
		answer_schema(b, resource, t, shape, dry, job);
		literal(b, "},{'type':'object','description':'Without a token','required':['status'],"
		           "'properties':{'status':{'type':'string','const':'ok'}}}]");
	} else {
		answer_schema(b, resource, t, shape, dry, job);
	}
	end(b);
	end(b);
	end(b);
}

/* `dry`: a dry run may be answered so. */
static void good_answer(struct buf *b, const struct resource *resource, const struct route *t, enum shape shape,
                        int status, bool dry)
{
	char name[12];

	snprintf(name, sizeof name, "%d", status);
	begin(b, name);
	text(b, "description", told(t, status, dry));
	begin(b, "headers");
	token_headers(b);
	if (t->does != DO_EXPORT && (t->method == M_GET || !dry || t->does != DO_DELETE))
		header(b, "ETag");
	if (status == 201)
		header(b, "Location");
	if (t->does == DO_LIST)
		header(b, "Link");
	if (t->method != M_GET)
		header(b, "Idempotent-Replayed");
	end(b);
	if (t->does == DO_EXPORT)
		export_content(b, t);
	else
		good_content(b, resource, t, shape, dry, false);
	end(b);
}

void openapi_headers(struct buf *b)
{
	literal(b, common_headers);
}

/* What operations answer alike: no change, a deletion, a job, an error. */
void openapi_shared_answers(struct buf *b, enum shape shape)
{
	static const struct route job = { .does = DO_ACTION, .method = M_POST };
	static const struct resource any = { .one = "job" };

	literal(b, "'NotModified':{'description':'The data is what If-None-Match names'");
	begin(b, "headers");
	token_headers(b);
	header(b, "ETag");
	end(b);
	end(b);
	literal(b, "'Deleted':{'description':'Deleted'");
	begin(b, "headers");
	token_headers(b);
	header(b, "ETag");
	header(b, "Idempotent-Replayed");
	end(b);
	end(b);
	literal(b, "'Accepted':{'description':'Accepted: a job does it'");
	begin(b, "headers");
	token_headers(b);
	header(b, "Location");
	header(b, "Idempotent-Replayed");
	end(b);
	good_content(b, &any, &job, shape, false, true);
	end(b);
	error_answers(b, shape);
}

/* Several accounts may claim a host name that none has proven yet: it then stands for none of their objects. */
static bool is_claimed(const struct resource *resource)
{
	const struct field *name = field_of(resource, resource->key);

	return name && name->type == F_HOSTNAME;
}

void openapi_answers(struct buf *b, const struct resource *resource, const struct route *t, enum shape shape)
{
	bool reads = t->method == M_GET, creates = t->does == DO_CREATE || t->flags & R_CREATES;

	begin(b, "responses");
	if (creates)
		good_answer(b, resource, t, shape, 201, false);
	if (t->does == DO_DELETE)
		refer(b, "204", "responses", "Deleted");
	if (t->does == DO_DELETE || t->flags & R_JOB)
		refer(b, "202", "responses", "Accepted");
	good_answer(b, resource, t, shape, 200, !reads);
	if (reads && t->does != DO_EXPORT)
		refer(b, "304", "responses", "NotModified");
	error_answer(b, ERR_BAD_REQUEST);
	error_answer(b, ERR_UNAUTHORIZED);
	error_answer(b, ERR_FORBIDDEN);
	if (takes_id(t))
		error_answer(b, ERR_NOT_FOUND);
	error_answer(b, ERR_NOT_ACCEPTABLE);
	if (!reads || (takes_id(t) && is_claimed(resource)))
		error_answer(b, ERR_CONFLICT);
	if (!reads && takes_id(t))
		error_answer(b, ERR_PRECONDITION_FAILED);
	error_answer(b, ERR_PAYLOAD_TOO_LARGE);
	if (!reads) {
		error_answer(b, ERR_UNSUPPORTED_MEDIA_TYPE);
		error_answer(b, ERR_VALIDATION);
	}
	error_answer(b, ERR_RATE_LIMITED);
	error_answer(b, ERR_INTERNAL);
	error_answer(b, ERR_UNAVAILABLE);
	end(b);
}
