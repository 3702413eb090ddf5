/* local.c: see local.h. */
#include "local.h"

#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

#include "db_error.h"
#include "export.h"
#include "gate.h"
#include "input.h"
#include "json.h"
#include "person.h"
#include "reading.h"
#include "reply.h"
#include "resource.h"
#include "timestamp.h"

struct local {
	const struct config *config;
	struct settings *settings;
	struct held *held;         /* what the last call went by, or NULL */
	struct db *db;
	struct arena *arena;
	struct peppers peppers;
	char job[37];
	char person[PERSON_MAX];
	bool in_transaction;       /* of several calls: see local_begin() */
};

struct local *local_open(const struct config *config)
{
	struct local *local = calloc(1, sizeof *local);

	if (!local)
		return NULL;
	local->config = config;
	local->settings = settings_new(config);
	local->db = db_new(config, "cli");
	local->arena = arena_new();
	person_name(local->person);
	if (!local->settings || !local->db || !local->arena) {
		local_close(local);
		return NULL;
	}
	db_on_connect(local->db, db_fits, NULL);
	return local;
}

void local_close(struct local *local)
{
	if (!local)
		return;
	db_free(local->db);
	arena_free(local->arena);
	if (local->held)
		settings_release(local->settings, local->held);
	settings_free(local->settings);
	peppers_free(&local->peppers);
	free(local);
}

/* The parameters as a query text, so that they are read by the one reader there is. */
static const char *query_text(struct arena *arena, const struct local_parameter *query)
{
	struct buf out;
	const char *text;

	buf_init(&out, 64 * 1024);
	for (; query && query->name; query++) {
		const char *parts[] = { query->name, query->value };

		for (int i = 0; i < 2; i++) {
			buf_str(&out, i ? "=" : out.len ? "&" : "");
			for (const char *c = parts[i]; *c; c++)
				buf_printf(&out, "%%%02X", (unsigned char)*c);
		}
	}
	text = buf_failed(&out) ? NULL : arena_strdup(arena, out.data ? out.data : "");
	buf_free(&out);
	return text;
}

bool local_begin(struct local *local)
{
	local->in_transaction = db_begin(local->db) == DB_OK;
	return local->in_transaction;
}

bool local_end(struct local *local, bool commit)
{
	local->in_transaction = false;
	return db_end(local->db, commit) == DB_OK;
}

/* Within a transaction of several calls: the point to which a refused one is taken back. */
static bool mark(struct local *local, const char *sql)
{
	const struct db_stmt stmt = { NULL, sql, 0, 0 };
	struct db_error error;
	PGresult *result;
	bool done = !local->in_transaction || db_run(local->db, &stmt, NULL, &result, local->arena, &error) == DB_OK;

	if (local->in_transaction)
		PQclear(result);
	return done;
}

/* A read or a change as "system"; sql is built from the resource's name, a constant of the source. */
static enum db_status run(struct local *local, struct request *r, struct verdict *v)
{
	struct arena *a = local->arena;
	bool reads = r->route->method == M_GET;
	const char *name = r->resource->name;
	struct db_stmt stmt;
	PGresult *result = NULL;
	enum db_status status;

	if (reads) {
		struct reading reading = reading_of(r);
		struct db_value values[] = {
			db_text(reading.op), db_text(reading.id), db_int4(a, reading.limit), db_text(reading.args), db_text(r->request_id)
		};

		stmt = (struct db_stmt){ NULL, arena_printf(a,
			"SELECT * FROM \"%s\".local_read($1::text, $2::text, $3::int, $4::text::jsonb, $5::text::uuid)", name), 5, 4 };
		status = db_run(local->db, &stmt, values, &result, a, &v->error);
	} else {
		const char *body;

		if (r->query.cascade && r->body)
			json_object_object_add(r->body, "cascade", json_object_new_boolean(true));
		body = r->body ? json_object_to_json_string_ext(r->body, JSON_C_TO_STRING_PLAIN) : r->query.cascade ? "{\"cascade\":true}" : "{}";
		struct db_value values[] = {
			db_text(r->route->call), db_text(r->id), db_text(body), db_bool(a, r->query.dry_run), db_int4(a, resource_success(r)),
			db_text_array(a, r->secrets, r->secret_count), db_text(r->request_id), db_text(r->route->audit), db_text(local->person)
		};

		stmt = (struct db_stmt){ NULL, arena_printf(a,
			"SELECT * FROM \"%s\".local_write($1::text, $2::text, $3::text::jsonb, $4::bool, $5::int, $6::text[], $7::text::uuid, $8::text,"
			" $9::text)", name), 9, 5 };
		status = db_run(local->db, &stmt, values, &result, a, &v->error);
	}
	if (status != DB_OK)
		return status;
	if (PQntuples(result) != 1 || !rows_read(result, 0, 2, &v->rows)) {
		PQclear(result);
		return DB_ERROR;
	}
	v->job = reads ? NULL : arena_strdup(a, db_get_text(result, 0, 4));
	v->status = reads ? db_get_int4(result, 0, 0, 500) : v->job && resource_success(r) == 204 ? 202 : resource_success(r);
	v->total = reads ? db_get_int8(result, 0, 1, -1) : -1;
	v->id = reads ? NULL : arena_strdup(a, db_get_text(result, 0, 0));
	v->doc = arena_strdup(a, db_get_text(result, 0, 3));
	/* rows are borrowed until the answer is built */
	return arena_defer(a, (void (*)(void *))PQclear, result) == 0 ? DB_OK : DB_ERROR;
}

enum db_status local_settings(struct local *local, const struct config **config, struct db_error *error)
{
	static const struct db_stmt stmt = { NULL, "SELECT * FROM gate.settings_held($1::int)", 1, 2 };
	struct db_value known = db_int4(local->arena, settings_number(local->settings));
	PGresult *result = NULL;
	enum db_status status = db_run(local->db, &stmt, &known, &result, local->arena, error);

	if (status == DB_OK && PQntuples(result) == 1)
		settings_take(local->settings, db_get_int4(result, 0, 0, 0), db_get_text(result, 0, 1));
	PQclear(result);
	if (local->held)
		settings_release(local->settings, local->held);
	local->held = settings_hold(local->settings);
	*config = &local->held->config;
	return status;
}

const char *local_job(const struct local *local)
{
	return *local->job ? local->job : NULL;
}

/* A request as it comes from the command line, with its parameters read. */
static struct request begin(struct local *local, const struct resource *resource, const struct route *route, const char *id,
                            const struct local_parameter *query)
{
	struct request r = {
		.arena = local->arena, .peppers = &local->peppers, .resource = resource, .route = route,
		.method = route->method, .method_name = "", .uri = "", .path = "", .base = "", .id = id, .dialect = DIALECT_PLAIN,
		.caller = { .admitted = true, .local = true, .rank = ADMIN }, .begin_us = timestamp_now()
	};
	struct db_error error;
	enum db_status status;
	const char *why;
	uuid_t uuid;

	*local->job = '\0';
	uuid_generate_random(uuid);
	uuid_unparse_lower(uuid, r.request_id);
	/* minting and cursors need the peppers; without them (before init) the rest still works */
	if (!local->peppers.count)
		peppers_load(local->config->pepper_file, &local->peppers, &why);
	status = local_settings(local, &r.config, &error);
	if (status != DB_OK)
		db_failure(&r, status, &error);
	r.query_text = query_text(local->arena, query);
	if (!r.failure.set)
		input_query(&r);
	return r;
}

int local_export(struct local *local, const struct resource *resource, const struct route *route, const struct local_parameter *query,
                 const struct sink *sink, int64_t *rows, struct json_object **answer)
{
	struct request r = begin(local, resource, route, NULL, query);
	struct reply reply;
	const char *why;
	size_t at;
	int http;

	*answer = NULL;
	*rows = 0;
	reply_init(&reply);
	if (!r.failure.set) {
		http = export_write(&r, sink, rows, &why) ? 200 : 503;
	} else {
		reply_failure(&r, &reply);
		http = reply.status;
		if (!buf_failed(&reply.body))
			*answer = json_parse(reply.body.data, reply.body.len, &why, &at);
	}
	reply_free(&reply);
	arena_reset(local->arena);
	return http;
}

int local_call(struct local *local, const struct resource *resource, const struct route *route, const char *id,
               const struct local_parameter *query, struct json_object *body, struct json_object **answer)
{
	struct request r = begin(local, resource, route, id, query);
	struct verdict v = { .total = -1 };
	struct reply reply;
	enum db_status status;
	const char *why;
	size_t at;
	int http;

	*answer = NULL;
	reply_init(&reply);
	if (!r.failure.set && route->method != M_GET)
		input_object(&r, body);
	if (!r.failure.set && route->prepare)
		route->prepare(&r, r.body);
	if (!r.failure.set) {
		status = mark(local, "SAVEPOINT call") ? run(local, &r, &v) : DB_GONE;
		if (status == DB_ERROR && !mark(local, "ROLLBACK TO SAVEPOINT call"))
			status = DB_GONE;
		if (status != DB_GONE && !mark(local, "RELEASE SAVEPOINT call"))
			status = DB_GONE;
		if (status != DB_OK)
			db_failure(&r, status, &v.error);
		else if (v.status == 404 || v.status == 409)
			request_failf(&r, error_from_status(v.status), NULL, "%s", resource_absence(&r, v.status));
		else if (!resource_tell(&r, &v))
			request_failf(&r, ERR_INTERNAL, NULL, "the answer could not be made");
	}
	if (v.job && !r.failure.set)
		snprintf(local->job, sizeof local->job, "%s", v.job);
	if (r.failure.set)
		reply_failure(&r, &reply);
	else
		reply_result(&r, &v, v.status, false, &reply);
	http = reply.status;
	if (!reply.no_body && !buf_failed(&reply.body) && reply.body.data && route->type && http == 200)
		*answer = json_object_new_string_len(reply.body.data, (int)reply.body.len);
	else if (!reply.no_body && !buf_failed(&reply.body) && reply.body.data)
		*answer = json_parse(reply.body.data, reply.body.len, &why, &at);
	token_wipe(r.once_value, sizeof r.once_value);
	if (reply.body.data)
		token_wipe(reply.body.data, reply.body.len);
	reply_free(&reply);
	arena_reset(local->arena);
	return http;
}
