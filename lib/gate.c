/* gate.c: see gate.h. */
#include "gate_private.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <semaphore.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"
#include "log.h"
#include "reading.h"
#include "timestamp.h"

enum { BATCH_MAX = 64, ARRAYS = 20, COLUMNS_ADMIT = 13, COLUMNS_WRITE = 8 };

/* One request in the turnstile, as the statement's arrays want it. */
struct gate_entry {
	/* the columns, see `columns` below */
	const char *key;
	struct db_value digest;
	const char *ip;
	bool insecure, admin;
	const char *operation, *op, *id;
	int32_t limit;
	const char *args, *match;
	int32_t early;
	const char *early_reason;
	bool later;
	const char *request_id, *object, *method, *path, *agent;
	int64_t elapsed_us;
	/* and the way back */
	struct request *request;
	struct verdict *verdict;
	struct gate_entry *next;
	sem_t turn;
	bool done;                 /* else woken to lead */
	bool heavy;
};

static const struct db_stmt stmt_held = { "held", "SELECT * FROM gate.settings_held($1::int)", 1, 2 };
static const struct db_stmt stmt_settle = { "settle", "SELECT gate.settle()", 0, 1 };
static const struct db_stmt stmt_schema = {
	"schema", "SELECT gate.compatible_from(), ARRAY(SELECT attname::text FROM pg_catalog.pg_attribute "
	          "WHERE attrelid = pg_catalog.to_regclass($1::text) AND attnum > 0 AND NOT attisdropped ORDER BY attnum)", 1, 2
};

/* The schema this program was written for; SQL says from which on it serves. */
enum { SCHEMA_VERSION = 1 };

/* Read what the database holds of the settings, if that is not what we have. */
static enum db_status read_settings(struct gate *gate, struct db *db)
{
	struct arena *arena = arena_new();
	struct db_value known = db_int4(arena, settings_number(gate->settings));
	struct db_error error;
	PGresult *result = NULL;
	enum db_status status = arena ? db_run(db, &stmt_held, &known, &result, arena, &error) : DB_GONE;

	if (status == DB_OK && PQntuples(result) == 1 &&
	    !settings_take(gate->settings, db_get_int4(result, 0, 0, 0), db_get_text(result, 0, 1)))
		status = DB_GONE;
	PQclear(result);
	arena_free(arena);
	return status;
}

/* What this program knows of the settings and the database does not, for a resource that shows it. */
static bool teach(struct gate *gate, struct db *db, struct arena *arena)
{
	struct json_object *told = gate->resource->knows ? gate->resource->knows(gate->config) : NULL;
	struct db_stmt stmt = { NULL, arena_printf(arena, "SELECT \"%s\".learn($1::text::jsonb, false)", gate->resource->name), 1, 1 };
	struct db_value value = db_text(told ? json_object_to_json_string_ext(told, JSON_C_TO_STRING_PLAIN) : NULL);
	struct db_error error;
	PGresult *result = NULL;
	bool good = !told || db_run(db, &stmt, &value, &result, arena, &error) == DB_OK;

	PQclear(result);
	json_object_put(told);
	return good;
}

/* The view's columns must be the field table's, in order: rows are read by position. */
static bool schema_fits(struct db *db, void *arg)
{
	struct gate *gate = arg;
	const struct resource *resource = gate->resource;
	struct arena *arena = arena_new();
	struct db_error error;
	PGresult *result = NULL;
	struct rows names;
	struct db_value view = db_text(arena_printf(arena, "\"%s\".item", resource->name));
	bool fits = arena && db_run(db, &stmt_schema, &view, &result, arena, &error) == DB_OK &&
	            db_get_int4(result, 0, 0, SCHEMA_VERSION + 1) <= SCHEMA_VERSION && rows_read(result, 0, 1, &names);
	size_t i = 0;

	for (const struct field *f = resource->fields; fits && names.count && f->name; f++)
		if (!(f->flags & F_WRITEONLY)) {
			fits = i < names.count && names.item[i].len == strlen(f->name) &&
			       memcmp(names.item[i].data, f->name, names.item[i].len) == 0;
			i++;
		}
	if (!fits)
		log_event("error", "schema_mismatch", "resource", resource->name, "message",
		          "the database's schema is not the one this program knows; run postern migrate", NULL);
	fits = fits && teach(gate, db, arena) && read_settings(gate, db) == DB_OK;
	PQclear(result);
	arena_free(arena);
	if (fits && !atomic_exchange(&gate->connected, true))
		atomic_store(&gate->refusals, true); /* a predecessor may have left some to be settled */
	return fits;
}

struct gate *gate_new(const struct config *config, struct settings *settings, const struct resource *resource)
{
	struct gate *gate = calloc(1, sizeof *gate);

	if (!gate)
		return NULL;
	gate->config = config;
	gate->settings = settings;
	gate->resource = resource;
	gate->last = &gate->first;
	pthread_mutex_init(&gate->lock, NULL);
	pthread_mutex_init(&gate->write_lock, NULL);
	gate->admit_db = db_new(config, resource->name);
	gate->write_db = db_new(config, resource->name);
	if (!gate->admit_db || !gate->write_db) {
		gate_free(gate);
		return NULL;
	}
	/* the name is a constant of the source: lower case, digits and "-" */
	snprintf(gate->admit_sql, sizeof gate->admit_sql,
	         "SELECT * FROM \"%s\".serve($1::text[], $2::bytea[], $3::text[], $4::bool[], $5::bool[], $6::text[], $7::text[], $8::text[], "
	         "$9::int[], $10::text[], $11::text[], $12::int[], $13::text[], $14::bool[], $15::text[], $16::text[], $17::text[], "
	         "$18::text[], $19::text[], $20::bigint[], $21::int)", resource->name);
	gate->admit = (struct db_stmt){ "admit", gate->admit_sql, ARRAYS + 1, COLUMNS_ADMIT };
	snprintf(gate->write_sql, sizeof gate->write_sql,
	         "SELECT * FROM \"%s\".write($1::text, $2::bytea, $3::bigint, $4::text, $5::text::jsonb, $6::text[], $7::bool, $8::bool, "
	         "$9::text[], $10::bigint, $11::bytea, $12::bytea)", resource->name);
	gate->write = (struct db_stmt){ "write", gate->write_sql, 12, COLUMNS_WRITE };
	snprintf(gate->outcome_sql, sizeof gate->outcome_sql, "SELECT * FROM \"%s\".outcome($1::text, $2::bytea, $3::bigint, $4::bool)", resource->name);
	gate->outcome = (struct db_stmt){ "outcome", gate->outcome_sql, 4, 3 };
	snprintf(gate->open_sql, sizeof gate->open_sql, "SELECT \"%s\".open()::text", resource->name);
	gate->open = (struct db_stmt){ "open", gate->open_sql, 0, 1 };
	db_on_connect(gate->admit_db, schema_fits, gate);
	db_on_connect(gate->write_db, schema_fits, gate);
	return gate;
}

void gate_free(struct gate *gate)
{
	if (!gate)
		return;
	db_free(gate->admit_db);
	db_free(gate->write_db);
	pthread_mutex_destroy(&gate->lock);
	pthread_mutex_destroy(&gate->write_lock);
	free(gate);
}

/* ---- the turnstile ---- */

enum kind { K_TEXT, K_BYTES, K_BOOL, K_INT, K_LONG };

/* The statement's arrays, in order, and where each element comes from. */
static const struct { enum kind kind; size_t offset; } columns[] = {
	{ K_TEXT, offsetof(struct gate_entry, key) },       { K_BYTES, offsetof(struct gate_entry, digest) },
	{ K_TEXT, offsetof(struct gate_entry, ip) },        { K_BOOL, offsetof(struct gate_entry, insecure) },
	{ K_BOOL, offsetof(struct gate_entry, admin) },     { K_TEXT, offsetof(struct gate_entry, operation) },
	{ K_TEXT, offsetof(struct gate_entry, op) },        { K_TEXT, offsetof(struct gate_entry, id) },
	{ K_INT, offsetof(struct gate_entry, limit) },      { K_TEXT, offsetof(struct gate_entry, args) },
	{ K_TEXT, offsetof(struct gate_entry, match) },     { K_INT, offsetof(struct gate_entry, early) },
	{ K_TEXT, offsetof(struct gate_entry, early_reason) }, { K_BOOL, offsetof(struct gate_entry, later) },
	{ K_TEXT, offsetof(struct gate_entry, request_id) },{ K_TEXT, offsetof(struct gate_entry, object) },
	{ K_TEXT, offsetof(struct gate_entry, method) },    { K_TEXT, offsetof(struct gate_entry, path) },
	{ K_TEXT, offsetof(struct gate_entry, agent) },     { K_LONG, offsetof(struct gate_entry, elapsed_us) },
};
_Static_assert(sizeof columns / sizeof *columns == ARRAYS, "one array for each parameter of serve");

static void add_net32(struct buf *out, int32_t n)
{
	uint32_t net = htonl((uint32_t)n);

	buf_add(out, &net, 4);
}

/* One element of an array: its length and bytes. An absent text, and the int 0 of `early`, are null. */
static void add_element(struct buf *out, enum kind kind, const void *at)
{
	const char *text;
	struct db_value bytes;
	int64_t n;

	switch (kind) {
	case K_TEXT:
		text = *(const char *const *)at;
		add_net32(out, text ? (int32_t)strlen(text) : -1);
		buf_str(out, text);
		return;
	case K_BYTES:
		bytes = *(const struct db_value *)at;
		add_net32(out, bytes.len);
		buf_add(out, bytes.data, (size_t)bytes.len);
		return;
	case K_BOOL:
		add_net32(out, 1);
		buf_char(out, *(const bool *)at);
		return;
	case K_INT:
		if (*(const int32_t *)at == 0) {
			add_net32(out, -1);
			return;
		}
		add_net32(out, 4);
		add_net32(out, *(const int32_t *)at);
		return;
	case K_LONG:
		n = *(const int64_t *)at;
		add_net32(out, 8);
		add_net32(out, (int32_t)(n >> 32));
		add_net32(out, (int32_t)n);
		return;
	}
}

/* All arrays into one buffer; value[i] gets offsets first, pointers when the buffer no longer moves. */
static bool build_arrays(struct buf *all, struct gate_entry *const *batch, size_t n, struct db_value value[ARRAYS])
{
	static const int32_t oid[] = { [K_TEXT] = 25, [K_BYTES] = 17, [K_BOOL] = 16, [K_INT] = 23, [K_LONG] = 20 };
	size_t start[ARRAYS + 1];

	for (size_t c = 0; c < ARRAYS; c++) {
		start[c] = all->len;
		add_net32(all, 1);
		add_net32(all, 1);
		add_net32(all, oid[columns[c].kind]);
		add_net32(all, (int32_t)n);
		add_net32(all, 1);
		for (size_t i = 0; i < n; i++)
			add_element(all, columns[c].kind, (const char *)batch[i] + columns[c].offset);
	}
	start[ARRAYS] = all->len;
	for (size_t c = 0; c < ARRAYS && !buf_failed(all); c++)
		value[c] = db_bytes(all->data + start[c], start[c + 1] - start[c]);
	return !buf_failed(all);
}

/* A result that several requests borrow rows from; the last one clears it. */
struct shared { PGresult *result; atomic_int users; };

static void release(void *arg)
{
	struct shared *shared = arg;

	if (atomic_fetch_sub(&shared->users, 1) == 1) {
		PQclear(shared->result);
		free(shared);
	}
}

/* A text[] column as "a, b". */
static const char *joined(struct arena *arena, const PGresult *result, int row, int col)
{
	struct rows items;
	const char *text = "";

	if (PQgetisnull(result, row, col) || !rows_read(result, row, col, &items))
		return NULL;
	for (size_t i = 0; text && i < items.count; i++)
		text = arena_printf(arena, "%s%s%.*s", text, i ? ", " : "", (int)items.item[i].len, items.item[i].data);
	return text;
}

static void take_row(struct gate_entry *e, const PGresult *result, int row)
{
	struct caller *c = &e->request->caller;
	struct verdict *v = e->verdict;

	v->db = DB_OK;
	v->status = db_get_int4(result, row, 1, 0);
	v->reason = db_get_text(result, row, 2);
	c->recognised = !PQgetisnull(result, row, 3);
	c->account_id = db_get_int8(result, row, 3, 0);
	c->rate_limit = db_get_int4(result, row, 4, 0);
	c->remaining = db_get_int4(result, row, 5, 0);
	c->reset_at_s = db_get_int8(result, row, 6, 0);
	c->held = joined(e->request->arena, result, row, 7);
	c->rank = db_get_int4(result, row, 8, 0);
	v->total = db_get_int8(result, row, 9, -1);
	if (!rows_read(result, row, 10, &v->rows))
		v->db = DB_ERROR;
	v->doc = db_get_text(result, row, 11);
	c->ticket = db_get_int8(result, row, 12, 0);
	c->admitted = c->recognised && v->status != 401 && v->status != 403 && v->status != 429 &&
	              !(v->reason && strcmp(v->reason, "open") == 0);
}

/* Hand a batch to PostgreSQL and its answers to the requests. The leader may use their arenas: their threads wait. */
static void run_batch(struct gate *gate, struct gate_entry **batch, size_t n)
{
	struct db_value values[ARRAYS + 1];
	int oldest = batch[0]->request->settings_number;
	struct arena *arena = batch[0]->request->arena;
	struct db_error error = { .message = "", .detail = "" };
	struct shared *shared = NULL;
	PGresult *result = NULL;
	enum db_status status = DB_GONE;
	struct buf all;

	for (size_t i = 1; i < n; i++)
		if (batch[i]->request->settings_number < oldest)
			oldest = batch[i]->request->settings_number;
	values[ARRAYS] = db_int4(arena, oldest);
	buf_init(&all, ARENA_MAX_BYTES);
	if (build_arrays(&all, batch, n, values))
		for (int i = 0; i < GATE_ATTEMPTS; i++) {
			status = db_run(gate->admit_db, &gate->admit, values, &result, arena, &error);
			if (status == DB_ERROR && db_is_stale(&error))
				db_close(gate->admit_db);
			else if (status != DB_ERROR || !db_is_conflict(&error))
				break;
		}
	buf_free(&all);
	if (n > 1 && (status == DB_ERROR || (status == DB_OK && (size_t)PQntuples(result) != n))) {
		/* one of them is at fault, and the others must not suffer for it; or a limit is reached, which exactly the surplus must feel */
		if (status == DB_OK)
			PQclear(result);
		for (size_t i = 0; i < n; i++)
			run_batch(gate, &batch[i], 1);
		return;
	}
	if (status == DB_OK && ((size_t)PQntuples(result) != n || !(shared = malloc(sizeof *shared)))) {
		PQclear(result);
		status = DB_GONE;
	}
	if (shared) {
		shared->result = result;
		atomic_init(&shared->users, (int)n);
	}
	for (size_t i = 0; i < n; i++) {
		batch[i]->verdict->db = status;
		batch[i]->verdict->error = error;
	}
	for (size_t row = 0; row < n && status == DB_OK; row++) { /* in the order of their tokens; column 0 says whose it is */
		size_t i = (size_t)db_get_int4(result, (int)row, 0, 0) - 1;

		if (i >= n) {
			release(shared);
			continue;
		}
		take_row(batch[i], result, (int)row);
		if (batch[i]->verdict->reason && batch[i]->request->caller.recognised)
			atomic_store(&gate->refusals, true);
		if (arena_defer(batch[i]->request->arena, release, shared) != 0)
			batch[i]->verdict->db = DB_ERROR;
	}
}

/* The first that wait, as one statement takes them. Under the lock. */
static size_t take_batch(struct gate *gate, struct gate_entry *batch[BATCH_MAX])
{
	size_t n = 0;

	while (gate->first && n < (size_t)gate->config->batch_max && n < BATCH_MAX) {
		if (n && (gate->first->heavy || batch[0]->heavy))
			break; /* a heavy action goes alone: two buckets are counted for one request at a time */
		batch[n++] = gate->first;
		gate->first = gate->first->next;
	}
	if (!gate->first)
		gate->last = &gate->first;
	return n;
}

/*
 * Wait for a turn; whoever finds the gate free leads all that wait through it. The lead is handed on before those who came
 * through are told, and each is woken once, by a semaphore of its own: with a lock between them they would queue up again.
 */
static void pass(struct gate *gate, struct gate_entry *e)
{
	struct gate_entry *batch[BATCH_MAX], *next;
	bool lead;
	size_t n;

	sem_init(&e->turn, 0, 0);
	pthread_mutex_lock(&gate->lock);
	*gate->last = e;
	gate->last = &e->next;
	lead = !gate->busy;
	gate->busy = true;
	if (!lead) {
		pthread_mutex_unlock(&gate->lock);
		while (sem_wait(&e->turn) != 0) /* interrupted by a signal */
			;
		if (e->done) {
			sem_destroy(&e->turn);
			return;
		}
		pthread_mutex_lock(&gate->lock);
	}
	n = take_batch(gate, batch);
	pthread_mutex_unlock(&gate->lock);
	run_batch(gate, batch, n);
	pthread_mutex_lock(&gate->lock);
	next = gate->first;
	gate->busy = next != NULL;
	pthread_mutex_unlock(&gate->lock);
	if (next)
		sem_post(&next->turn);
	for (size_t i = 0; i < n; i++)
		if (batch[i] != e) {
			batch[i]->done = true;
			sem_post(&batch[i]->turn);
		}
	sem_destroy(&e->turn);
}

/* The one version that If-None-Match names, so that SQL can answer 304; several are the reply's business. */
static const char *single_version(struct request *r)
{
	const char *text = r->if_none_match;
	size_t len = text ? strlen(text) : 0;

	if (len == 1 && *text == '*')
		return text;
	if (len < 3 || text[0] != '"' || text[len - 1] != '"' || strcspn(text + 1, "\"") != len - 2)
		return NULL;
	return arena_strndup(r->arena, text + 1, len - 2);
}
struct db_value gate_digests(const struct request *r)
{
	return db_bytes(r->digest, r->digest_len);
}
void gate_admit(struct gate *gate, struct request *r, bool later, struct verdict *v)
{
	const struct route *route = r->route;
	bool reads = route->does == DO_LIST || route->does == DO_GET || route->does == DO_READ;
	struct reading reading = reading_of(r);
	struct gate_entry e = {
		.op = reading.op, .id = reading.id, .limit = reading.limit, .args = reading.args,
		.key = r->key_id, .digest = gate_digests(r), .ip = *r->address ? r->address : NULL, .insecure = r->insecure && r->config->require_https,
		.admin = r->admin_path, .operation = route->operation_id, .heavy = route->bucket == RATE_ACTION,
		.early = r->failure.set ? error_info(r->failure.code)->status : 0,
		.early_reason = r->failure.set ? (r->failure.reason ? r->failure.reason : error_info(r->failure.code)->code) : NULL,
		.later = later || !reads, .request_id = r->request_id,
		.object = r->id ? http_scrub(r->arena, r->id, strlen(r->id)) : NULL, .method = r->method_name, .path = r->uri,
		.agent = r->user_agent, .elapsed_us = request_elapsed_us(r), .request = r, .verdict = v
	};

	*v = (struct verdict){ .total = -1 };
	e.match = r->open ? "open" : route->does == DO_LIST ? r->position.bound : route->does == DO_GET && !later ? single_version(r) : NULL;
	pass(gate, &e);
}

static bool run_plain(struct gate *gate, const struct db_stmt *stmt, int32_t *number)
{
	struct arena *arena = arena_new();
	struct db_error error;
	PGresult *result = NULL;
	bool ok = false;

	if (arena && gate_take_write(gate)) {
		ok = db_run(gate->write_db, stmt, NULL, &result, arena, &error) == DB_OK;
		pthread_mutex_unlock(&gate->write_lock);
	}
	if (ok && number)
		*number = db_get_int4(result, 0, 0, 0);
	PQclear(result);
	arena_free(arena);
	return ok;
}

bool gate_refresh(struct gate *gate)
{
	bool good = gate_take_write(gate);

	if (good) {
		good = read_settings(gate, gate->write_db) == DB_OK;
		pthread_mutex_unlock(&gate->write_lock);
	}
	return good;
}

bool gate_is_behind(const struct verdict *v)
{
	return v->db == DB_ERROR && strcmp(v->error.sqlstate, "PNSET") == 0;
}

const char *gate_open(struct gate *gate, struct arena *arena)
{
	struct db_error error;
	PGresult *result = NULL;
	const char *doc = NULL;

	if (!gate_take_write(gate))
		return NULL;
	for (int i = 0; i < GATE_ATTEMPTS; i++) {
		enum db_status status = db_run(gate->write_db, &gate->open, NULL, &result, arena, &error);

		if (status == DB_OK)
			doc = arena_strdup(arena, db_get_text(result, 0, 0));
		if (status != DB_ERROR || !db_is_stale(&error))
			break;
		db_close(gate->write_db);
	}
	pthread_mutex_unlock(&gate->write_lock);
	PQclear(result);
	return doc;
}

void gate_keep_house(struct gate *gate)
{
	int64_t now = timestamp_now();
	int32_t open = 0;
	bool closed;

	/* counts of refusals are stated when their window is over, even when the token never comes back */
	if (atomic_load(&gate->refusals) && run_plain(gate, &stmt_settle, &open) && open == 0)
		atomic_store(&gate->refusals, false);
	pthread_mutex_lock(&gate->write_lock);
	closed = db_close_idle(gate->write_db, now);
	pthread_mutex_unlock(&gate->write_lock);
	pthread_mutex_lock(&gate->lock);
	if (!gate->busy)
		closed |= db_close_idle(gate->admit_db, now);
	pthread_mutex_unlock(&gate->lock);
	if (closed)
		malloc_trim(0); /* what a busy time took is given back */
}
