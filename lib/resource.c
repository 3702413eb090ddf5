/* resource.c: see resource.h. */
#include "resource.h"

#include <string.h>
#include <time.h>

#include "db_error.h"
#include "export.h"
#include "input.h"
#include "json.h"
#include "log.h"
#include "refusal.h"
#include "shares.h"
#include "timestamp.h"

/* ---- routes ---- */

static const struct { const char *text; enum dialect dialect; bool admin; } prefixes[] = {
	{ "/api/v1/admin/", DIALECT_ENVELOPE, true },
	{ "/api/v1/", DIALECT_ENVELOPE, false },
	{ "/api/", DIALECT_PLAIN, false },
};

/* What follows the resource's name in a path; NULL when it is another's. */
static const char *after_name(struct request *r, const char *at)
{
	const char *names[] = { r->resource->name, r->resource->alias };

	for (size_t i = 0; i < 2; i++) {
		size_t len = names[i] ? strlen(names[i]) : 0;

		if (!len || strncmp(at, names[i], len) != 0)
			continue;
		r->php = strncmp(at + len, ".php", 4) == 0;
		if (r->php)
			len += 4;
		if (at[len] == '\0' || at[len] == '/' || (at[len] == '.' && !r->php))
			return at + len;
	}
	return NULL;
}

/* The ?id= of a .php path, undecoded characters only: anything else is no id of ours. */
static const char *query_id(struct request *r)
{
	for (const char *at = r->query_text; at && *at; at += strcspn(at, "&"), at += *at == '&')
		if (strncmp(at, "id=", 3) == 0 && at[3] && at[3] != '&')
			return memchr(at, '/', strcspn(at, "&")) ? NULL : arena_strndup(r->arena, at + 3, strcspn(at + 3, "&"));
	return NULL;
}

/* Does a path template match? Words of their own beat {id}: *literal tells. */
static bool matches(struct request *r, const char *template, const char *path, const char **id, bool *literal)
{
	*id = NULL;
	*literal = true;
	while (*template && *path) {
		if (strncmp(template, "{id}", 4) == 0) {
			size_t len = strcspn(path, "/");

			if (!len)
				return false;
			*literal = false;
			*id = arena_strndup(r->arena, path, len);
			template += 4;
			path += len;
		} else if (*template++ != *path++) {
			return false;
		}
	}
	return !*template && !*path;
}

bool resource_route(struct request *r)
{
	enum method method = r->method == M_HEAD ? M_GET : r->method;
	const char *rest = NULL, *id;
	bool literal, found_literal = false;

	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes && !rest; i++) {
		size_t len = strlen(prefixes[i].text);

		if (strncmp(r->path, prefixes[i].text, len) != 0 || !(rest = after_name(r, r->path + len)))
			continue;
		r->dialect = prefixes[i].dialect;
		r->admin_path = prefixes[i].admin;
	}
	if (!rest) {
		r->dialect = strncmp(r->path, "/api/v1", 7) == 0 ? DIALECT_ENVELOPE : DIALECT_PLAIN;
		return false;
	}
	if (strchr(r->path, '?'))
		return false; /* what no path has: see lib/http.c */
	r->base = arena_strndup(r->arena, r->path, (size_t)(rest - r->path));
	if (strcmp(rest, "/") == 0)
		rest = "";
	r->id_in_query = r->php && !*rest && (id = query_id(r));
	if (r->id_in_query)
		rest = arena_printf(r->arena, "/%s", id);
	if (!rest || !r->base)
		return false;
	for (const struct route *route = r->resource->routes; route->path; route++) {
		if (!matches(r, route->path, rest, &id, &literal) || (found_literal && !literal) ||
		    (*route->path == '.' && (r->dialect != DIALECT_PLAIN || r->php)))
			continue;
		if (literal && !found_literal) {
			found_literal = true;
			r->allowed = 0;
			r->route = NULL;
		}
		r->allowed |= 1u << route->method;
		if (route->method == method && !r->route) {
			r->route = route;
			r->id = id;
		}
	}
	return r->allowed != 0;
}

bool resource_address(struct request *r)
{
	if (!resource_route(r)) {
		request_failf(r, ERR_NOT_FOUND, NULL, "there is no such path");
		r->failure.details = "There is no such route. /api/openapi.json lists all of them, and so does /api/v1/openapi with the scope platform:read.";
	} else if (!r->route && r->method != M_OPTIONS) {
		r->failure = (struct failure){ .set = true, .code = ERR_METHOD_NOT_ALLOWED };
	}
	return !r->failure.set;
}

bool resource_check(const struct resource *resource, const char **why)
{
	*why = NULL;
	for (const struct field *f = resource->fields; f->name && !*why; f++)
		if (!f->type || !f->about || (f->type == F_ENUM && !f->choices))
			*why = "a field lacks its type, choices or description";
	for (const struct route *t = resource->routes; t->path && !*why; t++) {
		if (!t->method || !t->operation_id || !t->scope || !*t->scope || !t->role || !t->bucket || !t->summary)
			*why = "a route lacks its method, operation id, scope, role, rate bucket or summary";
		else if (!t->audit || !strchr(t->audit, '.'))
			*why = "a route lacks its audit action";
		else if (!t->does || (t->does != DO_LIST && t->does != DO_GET && t->does != DO_EXPORT && !t->call && !t->document))
			*why = "a route does nothing";
		else if (t->does == DO_EXPORT && (!t->output || !t->input || !t->type || t->method != M_GET))
			*why = "an export lacks its parameters, its line or its media type";
		else if (!(t->flags & R_SHOW_ONCE) != !t->once)
			*why = "a route shows a secret once, but does not name it";
		else if (strcmp(t->scope, SCOPE_NONE) != 0 && !strchr(t->scope, ':'))
			*why = "a route's scope is no resource:verb";
	}
	return !*why;
}

/* ---- Accept ---- */

/* Judge Accept: may JSON be sent, and are errors wanted as RFC 9457? Absent means anything. */
static bool acceptable(struct request *r)
{
	bool json = !r->accept || !*r->accept;

	for (const char *at = r->accept; at && *at;) {
		size_t all, len;
		bool never;

		at += strspn(at, " \t,");
		all = strcspn(at, ",");
		len = strcspn(at, ";, \t");
		never = false;
		for (const char *q = at; q + 4 < at + all + 1; q++)
			if (strncmp(q, ";q=0", 4) == 0 && strspn(q + 4, ".0") == strcspn(q + 4, ", ;"))
				never = true;
		if (!never) {
			bool problem = len == 24 && strncmp(at, "application/problem+json", len) == 0;

			r->wants_problem |= problem;
			json |= problem || (len == 3 && strncmp(at, "*/*", 3) == 0) || (len == 13 && strncmp(at, "application/*", 13) == 0) ||
			        (len == 16 && strncmp(at, "application/json", 16) == 0);
		}
		at += all;
	}
	return json;
}

/* ---- the way ---- */

int resource_status(const struct route *route)
{
	if (route->flags & R_JOB)
		return 202;
	if (route->does == DO_CREATE || route->flags & R_CREATES)
		return 201;
	return route->does == DO_DELETE ? 204 : 200;
}

int resource_success(const struct request *r)
{
	return r->query.dry_run ? 200 : resource_status(r->route);
}

static void fail(struct request *r, enum error_code code, const char *message, struct reply *out)
{
	r->failure = (struct failure){ .set = true, .code = code, .message = message };
	reply_failure(r, out);
}

/* No audit, no answer. */
static const char unrecorded[] = "the audit trail cannot be written; try again";

/* Answer r->failure after admission: its row first. */
static void fail_recorded(struct service *s, struct request *r, struct reply *out)
{
	const struct error_info *info = error_info(r->failure.code);

	if (r->failure.code != ERR_UNAVAILABLE &&
	    gate_record(s->gate, r, info->status, r->failure.reason ? r->failure.reason : info->code) != DB_OK)
		fail(r, ERR_UNAVAILABLE, unrecorded, out);
	else
		reply_failure(r, out);
}

/* The gate said no: 401, 403 or 429. */
static void refuse(struct service *s, struct request *r, const char *reason, struct reply *out)
{
	int64_t reset_at_us;

	if (!reason)
		reason = "unknown";
	if (!r->caller.recognised && !address_limit_pass(s->limit, r->config->unknown_token_limit, r->address, timestamp_now(), &reset_at_us)) {
		r->caller.reset_at_s = reset_at_us / 1000000;
		reason = "address_limit";
	}
	refusal_set(r, reason);
	reply_failure(r, out);
}

/* PostgreSQL could not judge it, so nobody was recognised and no row can be written. It counts as an unknown token does. */
static void unjudged(struct service *s, struct request *r, const struct verdict *v, struct reply *out)
{
	int64_t reset_at_us;

	db_failure(r, v->db, &v->error); /* for the log */
	r->failure = (struct failure){ 0 };
	if (address_limit_pass(s->limit, r->config->unknown_token_limit, r->address, timestamp_now(), &reset_at_us)) {
		fail(r, ERR_UNAVAILABLE, "the database could not judge the request; try again in a moment", out);
		return;
	}
	r->caller.reset_at_s = reset_at_us / 1000000;
	refusal_set(r, "address_limit");
	reply_failure(r, out);
}

bool resource_tell(struct request *r, struct verdict *v)
{
	const struct field *f = r->route->output ? r->route->output : r->resource->fields;
	struct json_object *document, *ordered, *value;
	const char *why, *text = NULL;
	size_t at;

	if (!r->route->tell)
		return true;
	ordered = json_object_new_object();
	document = v->doc ? json_parse(v->doc, strlen(v->doc), &why, &at) : NULL;
	if (document && ordered && r->route->tell(r, document) == 0) {
		for (; f->name; f++) /* what it tells, in the order of its table */
			json_object_object_add(ordered, f->name, json_object_object_get_ex(document, f->name, &value) ? json_object_get(value) : NULL);
		text = json_object_to_json_string_ext(ordered, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	}
	v->doc = text ? arena_strdup(r->arena, text) : NULL;
	json_object_put(ordered);
	json_object_put(document);
	return v->doc != NULL;
}

const char *resource_absence(const struct request *r, int status)
{
	return arena_printf(r->arena, status == 409 ? "several accounts claim this name and none has proven it; give the number of the %s that is meant"
	                                            : "there is no such %s", r->resource->one);
}

static void read_answer(struct service *s, struct request *r, struct verdict *v, bool later, struct reply *out)
{
	int status = v->status;

	if (status == 400) {
		request_failf(r, ERR_BAD_REQUEST, "cursor", "belongs to another account; begin the list again");
		reply_failure(r, out);
		return;
	}
	if (status == 404 || status == 409) {
		fail(r, error_from_status(status), resource_absence(r, status), out);
		return;
	}
	if (!resource_tell(r, v)) {
		fail(r, ERR_INTERNAL, NULL, out);
		return;
	}
	reply_result(r, v, status, false, out);
	if (later && status == 200) {
		status = reply_none_match(r, out->etag) ? 304 : 200;
		if (gate_record(s->gate, r, status, NULL) != DB_OK)
			fail(r, ERR_UNAVAILABLE, unrecorded, out);
		else if (status == 304)
			reply_result(r, v, status, false, out);
	}
}

/* An administrator whose token is bound to no account? */
static bool is_unbound(const struct request *r)
{
	return r->caller.rank == ADMIN && r->caller.account_id == 0;
}

static int at_least_one(int n)
{
	return n > 1 ? n : 1;
}

/* Prefer: wait (RFC 7240): look until the job has ended, for as long as was asked, and answer with what there is then. At most
 * a quarter of the threads wait, and a quarter of these for one account; the others are for those who do not. */
static void await_job(struct service *s, struct request *r, struct verdict *v)
{
	enum { LOOK_MS = 100 };
	static struct shares waiting = SHARES_INIT;
	const struct timespec pause = { .tv_nsec = LOOK_MS * 1000000L };
	int64_t end_us = timestamp_now() + (int64_t)r->wait_s * 1000000;
	int most = at_least_one(s->config->threads / 4), each = is_unbound(r) ? most : at_least_one(most / 4);
	bool last;

	if (!r->wait_s || !v->job || shares_take(&waiting, r->caller.account_id, most, each) != SHARE_TAKEN)
		return;
	r->waited = true;
	do {
		last = timestamp_now() >= end_us;
		if (gate_outcome(s->gate, r, v, last))
			break;
		if (!last)
			nanosleep(&pause, NULL);
	} while (!last);
	shares_give(&waiting, r->caller.account_id);
}

static void write_answer(struct service *s, struct request *r, struct reply *out)
{
	bool keeps = r->idempotency_key && !r->query.dry_run;
	struct verdict v;
	struct reply kept;

	if (r->admin_field && !is_unbound(r)) {
		request_failf(r, ERR_FORBIDDEN, r->admin_field, "%s", r->admin_why ? r->admin_why : "may be set by an administrator only");
		r->failure.reason = "role";
		r->failure.details = refusal_in_part;
		fail_recorded(s, r, out);
		return;
	}
	if (r->route->prepare && r->route->prepare(r, r->body) != 0) {
		fail_recorded(s, r, out);
		return;
	}
	gate_write(s->gate, r, resource_success(r), &v);
	if (v.db != DB_OK) {
		db_failure(r, v.db, &v.error);
		if (r->failure.code == ERR_UNAUTHORIZED || (r->failure.code == ERR_FORBIDDEN && !strchr(v.error.message, ' ')))
			refusal_set(r, v.error.message); /* the token was refused between admission and change */
		fail_recorded(s, r, out);
		return;
	}
	if (keeps && v.kept_status) {
		reply_kept(r, &v, out);
		if (gate_keep(s->gate, r, NULL) != DB_OK)
			fail(r, ERR_UNAVAILABLE, NULL, out);
		return;
	}
	if (!resource_tell(r, &v)) {
		if (keeps)
			gate_keep(s->gate, r, NULL);
		fail(r, ERR_INTERNAL, NULL, out);
		return;
	}
	if (keeps) {
		enum db_status done;

		reply_init(&kept);
		reply_result(r, &v, v.status, true, &kept);
		done = gate_keep(s->gate, r, &kept);
		reply_free(&kept);
		if (done != DB_OK) {
			fail(r, ERR_UNAVAILABLE, "whether the change was made is not known; send it again with the same Idempotency-Key", out);
			return;
		}
	}
	await_job(s, r, &v);
	reply_result(r, &v, v.status, false, out);
}

/* The places for exports: one of an account, and administrators' own, which no tenant takes. */
struct export_place { struct shares *of; int64_t account; };

static void end_export(void *what)
{
	const struct export_place *place = what;

	shares_give(place->of, place->account);
}

static bool stream_export(struct service *s, struct request *r, const struct sink *sink)
{
	char count[24], ms[24];
	const char *why;
	int64_t rows;
	bool whole = export_write(r, sink, &rows, &why);

	(void)s;
	snprintf(count, sizeof count, "%lld", (long long)rows);
	snprintf(ms, sizeof ms, "%lld", (long long)(request_elapsed_us(r) / 1000));
	log_event(whole ? "info" : "warn", whole ? "export" : "export_cut", "id", r->request_id, "rows", count, "ms", ms, "message", why, NULL);
	return whole;
}

/* There was no place for it. */
static void refuse_export(struct service *s, struct request *r, enum share got, int most, struct reply *out)
{
	if (got == SHARE_OWN_TAKEN && !is_unbound(r)) {
		request_failf(r, ERR_RATE_LIMITED, NULL, "an export of the account is under way; try again when it has ended");
		r->failure.reason = "export_of_account";
	} else {
		request_failf(r, ERR_UNAVAILABLE, NULL, "%d exports are under way, as many as export_max allows; try again when one has ended", most);
		r->failure.reason = "export_max";
	}
	if (gate_record(s->gate, r, error_info(r->failure.code)->status, r->failure.reason) != DB_OK)
		fail(r, ERR_UNAVAILABLE, unrecorded, out);
	else
		reply_failure(r, out);
}

/* Its row in the trail comes first; then its lines, which are written when the head is. */
static void export_answer(struct service *s, struct request *r, struct reply *out)
{
	static struct shares tenants = SHARES_INIT, administrators = SHARES_INIT;
	bool head = r->method == M_HEAD, unbound = is_unbound(r);
	int half = at_least_one((s->config->threads - 1) / 2), most = r->config->export_max < half ? r->config->export_max : half;
	struct export_place *place = arena_alloc(r->arena, sizeof *place);
	enum share got;

	if (!place) {
		request_failf(r, ERR_INTERNAL, NULL, "out of memory");
		fail_recorded(s, r, out);
		return;
	}
	*place = (struct export_place){ unbound ? &administrators : &tenants, r->caller.account_id };
	if (!head && (got = shares_take(place->of, place->account, most, unbound ? most : 1)) != SHARE_TAKEN) {
		refuse_export(s, r, got, most, out);
		return;
	}
	if (!head && arena_defer(r->arena, end_export, place) != 0) {
		request_failf(r, ERR_INTERNAL, NULL, "out of memory");
		fail_recorded(s, r, out);
	} else if (gate_record(s->gate, r, 200, NULL) != DB_OK) {
		fail(r, ERR_UNAVAILABLE, unrecorded, out);
	} else {
		reply_export(r, export_csv(r), out);
		out->stream = head ? NULL : stream_export;
	}
}

/* Does this route answer without a token? Settings close what is open. */
bool resource_is_open(const struct request *r)
{
	if (!(r->route->flags & (R_OPEN_TOO | R_LISTED)) || r->admin_path)
		return false;
	if (r->route->flags & R_LISTED)
		return address_is_listed(r->address, r->config->metrics_addresses);
	return r->route->document ? r->config->open_docs : r->config->open_health;
}

struct use { struct settings *settings; struct held *held; };

static void put_held(void *what)
{
	const struct use *use = what;

	settings_release(use->settings, use->held);
}

/* From here on the request goes by the settings of now. */
static void catch_up(struct service *s, struct request *r)
{
	struct use *use = arena_alloc(r->arena, sizeof *use);

	if (!use)
		return; /* it goes by those that it has */
	*use = (struct use){ s->settings, settings_hold(s->settings) };
	if (arena_defer(r->arena, put_held, use) != 0)
		return;
	r->config = &use->held->config;
	r->settings_number = use->held->number;
}

/* Is the row of its trail left to what its answer turns out to be? */
static bool is_later(const struct request *r)
{
	return r->route->method == M_GET && r->if_none_match && !(r->route->does == DO_GET && !strpbrk(r->if_none_match, ",/"));
}

/* Reading what was sent touches no data, so it may come before admission; what is wrong with it is told only to those whom the
 * gate lets through. What was judged by settings that have changed since, is judged again. */
static void admit(struct service *s, struct request *r, bool accept_ok, struct verdict *v)
{
	enum { LOOKS = 5 };
	const struct request sent = *r;

	for (int looks = 0; looks < LOOKS; looks++) {
		r->open = resource_is_open(r);
		if (!accept_ok && !r->route->type && !r->open)
			request_failf(r, ERR_NOT_ACCEPTABLE, NULL, "only application/json and application/problem+json can be sent");
		if (!r->failure.set && (!r->open || r->route->document))
			input_query(r);
		if (!r->failure.set && !r->open)
			input_body(r);
		gate_admit(s->gate, r, is_later(r), v);
		if (!gate_is_behind(v))
			return;
		v->db = DB_GONE; /* unless it comes through */
		if (!gate_refresh(s->gate))
			return;
		*r = sent;
		catch_up(s, r);
	}
}

/* As nobody is answered: a document, or the short form of what a route tells. */
static void open_answer(struct service *s, struct request *r, bool alive, struct reply *out)
{
	struct verdict v = { .total = -1 };

	if (r->failure.set) { /* of a document's parameters */
		reply_failure(r, out);
	} else if (r->route->flags & R_LISTED && !(v.doc = gate_open(s->gate, r->arena))) {
		fail(r, ERR_UNAVAILABLE, "PostgreSQL cannot be reached", out);
	} else if (r->route->document || v.doc) {
		reply_result(r, &v, 200, false, out);
		if (reply_none_match(r, out->etag))
			reply_result(r, &v, 304, false, out);
	} else if (alive) {
		reply_open(r, 200, "{\"status\":\"ok\"}", out);
	} else {
		fail(r, ERR_UNAVAILABLE, "PostgreSQL cannot be reached", out);
	}
}

static void answer(struct service *s, struct request *r, struct reply *out)
{
	struct verdict v;
	bool accept_ok = acceptable(r), alive;

	if (!resource_address(r)) {
		reply_failure(r, out);
		return;
	}
	if (r->method == M_OPTIONS) {
		reply_options(r, out);
		return;
	}
	if (r->credential != CREDENTIAL_TOKEN && r->credential != CREDENTIAL_TWO && r->route->flags & (R_OPEN_TOO | R_LISTED)) {
		alive = gate_refresh(s->gate); /* no admission says whether it still is open */
		catch_up(s, r);
		if (resource_is_open(r)) {
			if (r->route->document)
				input_query(r);
			open_answer(s, r, alive, out);
			return;
		}
	}
	if (r->credential == CREDENTIAL_NONE) {
		fail(r, ERR_UNAUTHORIZED, "no token was sent; send Authorization: Bearer <token>", out);
		return;
	}
	if (r->credential == CREDENTIAL_TWO) {
		fail(r, ERR_BAD_REQUEST, "two different tokens were sent at once; send one, in Authorization or in X-API-Key", out);
		return;
	}
	if (r->credential == CREDENTIAL_BAD) {
		refusal_set(r, "unknown");
		reply_failure(r, out);
		return;
	}
	admit(s, r, accept_ok, &v);
	if (r->open && (v.db != DB_OK || !r->caller.admitted)) { /* a token never sees less than nobody */
		open_answer(s, r, v.db == DB_OK, out);
	} else if (v.db == DB_GONE) {
		fail(r, ERR_UNAVAILABLE, "the database cannot be reached; try again in a moment", out);
	} else if (v.db != DB_OK) {
		unjudged(s, r, &v, out);
	} else if (!r->caller.admitted) {
		refuse(s, r, v.reason, out);
	} else if (r->failure.set) {
		reply_failure(r, out);
	} else if (r->route->does == DO_EXPORT) {
		export_answer(s, r, out);
	} else if (r->route->method == M_GET) {
		read_answer(s, r, &v, is_later(r), out);
	} else {
		write_answer(s, r, out);
	}
}

void resource_answer(struct service *s, struct request *r, struct reply *out)
{
	char status[12], ms[24];
	int64_t us;

	answer(s, r, out);
	if (buf_failed(&out->body) || buf_failed(&out->head)) {
		buf_clear(&out->head);
		buf_clear(&out->body);
		fail(r, ERR_INTERNAL, NULL, out);
	}
	if (r->method == M_HEAD)
		out->no_body = true;
	token_wipe(r->once_value, sizeof r->once_value);
	snprintf(status, sizeof status, "%d", out->status);
	us = request_elapsed_us(r);
	snprintf(ms, sizeof ms, "%lld.%03d", (long long)(us / 1000), (int)(us % 1000));
	log_event("info", "request", "id", r->request_id, "key", *r->key_id ? r->key_id : NULL, "method", r->method_name, "path", r->uri,
	          "route", r->route ? r->route->operation_id : NULL, "status", status,
	          "reason", r->failure.set ? (r->failure.reason ? r->failure.reason : error_info(r->failure.code)->code) : NULL,
	          "ms", ms, NULL);
}
