/* change.c: changes and late rows of the trail: gate_write, gate_keep, gate_record; see gate.h. */
#include <openssl/sha.h>
#include <string.h>
#include <time.h>

#include "gate_private.h"
#include "http.h"
#include "json.h"

static const struct db_stmt stmt_record = {
	"record", "SELECT gate.record($1::text, $2::bytea, $3::bigint, $4::int, $5::text, $6::bigint)", 6, 1
};
static const struct db_stmt stmt_keep = {
	"keep", "SELECT gate.keep($1::text, $2::bytea, $3::bytea, $4::int, $5::text, $6::text)", 6, 1
};

/* If-Match as a list of versions; NULL when absent or "*" (any: the object must exist, which it must anyway). */
static struct db_value versions(struct request *r)
{
	static const char *const none[] = { "" };
	const char **items;
	size_t n = 0;

	if (!r->if_match || strcmp(r->if_match, "*") == 0)
		return db_text_array(r->arena, NULL, 0);
	if (!(items = arena_array(r->arena, strlen(r->if_match) / 2 + 1, sizeof *items))) /* each takes two bytes at least */
		return db_text_array(r->arena, none, 1); /* which matches nothing */
	for (const char *at = r->if_match; *at;) {
		size_t len;

		at += strspn(at, " \t,");
		if (*at != '"') { /* a weak tag or junk matches nothing here (RFC 9110 section 13.1.1) */
			at += strcspn(at, ",");
			continue;
		}
		len = strcspn(at + 1, "\"");
		items[n++] = arena_strndup(r->arena, at + 1, len);
		at += 1 + len;
		at += *at == '"';
	}
	return db_text_array(r->arena, items, n);
}

/* SHA-256 in the arena; null when out of memory, which the statement refuses. */
static struct db_value sha256(struct request *r, const void *data, size_t len)
{
	unsigned char *digest = arena_alloc(r->arena, SHA256_DIGEST_LENGTH);

	return digest && SHA256(data, len, digest) ? db_bytes(digest, SHA256_DIGEST_LENGTH) : (struct db_value){ NULL, 0 };
}

/* Everything that makes a request the same one. Under the pepper, as there may be a password in it. */
static struct db_value fingerprint(struct request *r)
{
	unsigned char *digest = arena_alloc(r->arena, TOKEN_DIGEST_LEN);
	struct db_value value = { NULL, 0 };
	struct buf all;

	buf_init(&all, ARENA_MAX_BYTES);
	buf_printf(&all, "%s\n%s\n%s\n", r->method_name, r->path, r->query_text);
	buf_add(&all, r->body_text ? r->body_text : "", r->body_len);
	if (digest && !buf_failed(&all) && token_sign(r->peppers, "fingerprint", all.data, all.len, digest))
		value = db_bytes(digest, TOKEN_DIGEST_LEN);
	buf_free(&all);
	return value;
}

/* Kept by its digest: whatever a caller puts into the header, a token even, is stored nowhere. */
static struct db_value key_digest(struct request *r)
{
	return sha256(r, r->idempotency_key, strlen(r->idempotency_key));
}

/* The body as SQL wants it: what was checked, and cascade. */
static const char *body_text(struct request *r)
{
	if (!r->body)
		return r->query.cascade ? "{\"cascade\":true}" : "{}";
	if (r->query.cascade)
		json_object_object_add(r->body, "cascade", json_object_new_boolean(true));
	return json_object_to_json_string_ext(r->body, JSON_C_TO_STRING_PLAIN);
}

static void put_result(void *result)
{
	PQclear(result);
}

/* Wait for the write connection, but no longer than for the database itself: behind one that hangs, all are told in time. */
bool gate_take_write(struct gate *gate)
{
	int64_t wait_ns = (int64_t)gate->config->db_timeout_ms * 1000000;
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	wait_ns += end.tv_nsec;
	end.tv_sec += wait_ns / 1000000000;
	end.tv_nsec = wait_ns % 1000000000;
	return pthread_mutex_clocklock(&gate->write_lock, CLOCK_MONOTONIC, &end) == 0;
}

/* Run on the write connection, which the caller holds; again after a conflict or a stale plan. With `begin` as the first
 * statement of a transaction, which is open when the answer is DB_OK. */
static enum db_status run_write(struct gate *gate, struct request *r, const struct db_stmt *stmt, const struct db_value *values,
                                PGresult **result, struct db_error *error, bool begin)
{
	enum db_status status = DB_GONE;

	for (int i = 0; i < GATE_ATTEMPTS; i++) {
		if (begin && (status = db_begin(gate->write_db)) != DB_OK)
			return status;
		status = db_run(gate->write_db, stmt, values, result, r->arena, error);
		if (status == DB_OK)
			return status;
		if (status == DB_ERROR && db_is_stale(error))
			db_close(gate->write_db);
		if (begin)
			db_end(gate->write_db, false);
		if (status != DB_ERROR || !(db_is_stale(error) || db_is_conflict(error)))
			return status;
	}
	return status;
}

/* Take back what an open transaction did, and give the write connection back. */
static void abandon(struct gate *gate)
{
	db_end(gate->write_db, false);
	pthread_mutex_unlock(&gate->write_lock);
}

void gate_write(struct gate *gate, struct request *r, int status, struct verdict *v)
{
	struct arena *a = r->arena;
	bool keeps = r->idempotency_key && !r->query.dry_run;
	PGresult *result = NULL;
	struct db_value values[] = {
		db_text(r->key_id), gate_digests(r), db_int8(a, r->caller.ticket), db_text(r->id), db_text(body_text(r)), versions(r),
		db_bool(a, r->query.dry_run), db_bool(a, r->wait_s > 0), db_text_array(a, r->secrets, r->secret_count), db_int8(a, request_elapsed_us(r)),
		keeps ? key_digest(r) : (struct db_value){ NULL, 0 }, keeps ? fingerprint(r) : (struct db_value){ NULL, 0 }
	};

	*v = (struct verdict){ .total = -1 };
	if (!gate_take_write(gate))
		return;
	v->db = run_write(gate, r, &gate->write, values, &result, &v->error, keeps);
	if (!keeps || v->db != DB_OK)
		pthread_mutex_unlock(&gate->write_lock);
	if (v->db != DB_OK)
		return;
	if (PQntuples(result) != 1 || arena_defer(a, put_result, result) != 0 || !rows_read(result, 0, 2, &v->rows)) {
		v->db = DB_ERROR;
		if (keeps)
			abandon(gate);
		return;
	}
	v->job = db_get_text(result, 0, 7);
	v->status = status == 204 && v->job ? 202 : status;
	v->id = db_get_text(result, 0, 0);
	v->doc = db_get_text(result, 0, 3);
	v->kept_status = db_get_int4(result, 0, 4, 0);
	v->kept_headers = db_get_text(result, 0, 5);
	v->kept_body = db_get_text(result, 0, 6);
}

/* Did the job end well? By its document. */
static bool is_done(const char *doc)
{
	const char *why;
	size_t at;
	struct json_object *job = doc ? json_parse(doc, strlen(doc), &why, &at) : NULL, *status = NULL;
	bool done = json_object_object_get_ex(job, "status", &status) && strcmp(json_object_get_string(status), "succeeded") == 0;

	json_object_put(job);
	return done;
}

bool gate_outcome(struct gate *gate, struct request *r, struct verdict *v, bool last)
{
	struct db_value values[] = {
		db_text(r->key_id), gate_digests(r), db_int8(r->arena, r->caller.ticket), db_bool(r->arena, last)
	};
	struct verdict now = *v;
	struct db_error error;
	PGresult *result = NULL;
	enum db_status done;
	bool ended;

	if (!gate_take_write(gate))
		return false;
	done = run_write(gate, r, &gate->outcome, values, &result, &error, false);
	pthread_mutex_unlock(&gate->write_lock);
	ended = done == DB_OK && PQntuples(result) == 1 && !PQgetisnull(result, 0, 0) && *PQgetvalue(result, 0, 0);
	if (done != DB_OK || PQntuples(result) != 1 || !(ended || last) ||
	    !rows_read(result, 0, 1, &now.rows) || arena_defer(r->arena, put_result, result) != 0) {
		PQclear(result);
		return false;
	}
	if (now.rows.count)
		v->rows = now.rows;
	if (v->status == 202)
		v->doc = db_get_text(result, 0, 2);
	if (v->status == 202 && ended && is_done(v->doc)) {
		v->status = 200;
		v->rows.count = 0; /* the job is the answer */
	}
	return ended;
}

enum db_status gate_keep(struct gate *gate, struct request *r, const struct reply *kept)
{
	enum db_status status = DB_OK;
	struct db_error error;
	PGresult *result = NULL;

	if (kept) {
		struct db_value values[] = {
			db_text(r->key_id), gate_digests(r), key_digest(r), db_int4(r->arena, kept->status),
			db_text(kept->head.data ? kept->head.data : ""), db_text(kept->body.data ? kept->body.data : "")
		};

		status = db_run(gate->write_db, &stmt_keep, values, &result, r->arena, &error);
		PQclear(result);
	}
	if (status != DB_OK) {
		abandon(gate);
		return DB_GONE;
	}
	status = db_end(gate->write_db, true);
	pthread_mutex_unlock(&gate->write_lock);
	return status;
}

enum db_status gate_record(struct gate *gate, struct request *r, int status, const char *reason)
{
	struct arena *a = r->arena;
	struct db_error error;
	PGresult *result = NULL;
	enum db_status done;
	struct db_value values[] = {
		db_text(r->key_id), gate_digests(r), db_int8(a, r->caller.ticket), db_int4(a, status), db_text(reason), db_int8(a, request_elapsed_us(r))
	};

	if (!gate_take_write(gate))
		return DB_GONE;
	done = run_write(gate, r, &stmt_record, values, &result, &error, false);
	pthread_mutex_unlock(&gate->write_lock);
	PQclear(result);
	return done;
}
