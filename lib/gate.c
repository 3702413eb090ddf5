/* gate.c: see gate.h. */
#include "gate.h"

#include <arpa/inet.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http.h"
#include "json.h"
#include "log.h"
#include "timestamp.h"

enum { ATTEMPTS = 5, BATCH_MAX = 64, COLUMNS_ADMIT = 14, COLUMNS_WRITE = 7 };

/* One request in the turnstile, as the statement's arrays want it. */
struct entry {
	/* the columns, see `columns` below */
	const char *key;
	struct db_value digest;
	const char *ip;
	bool insecure;
	const char *wanted;
	bool no_wild;
	int32_t rank;
	bool admin, own, heavy;
	const char *op, *id;
	int32_t limit;
	const char *args, *match;
	int32_t early;
	const char *early_reason;
	bool later;
	const char *request_id, *method, *path, *action, *agent;
	int64_t elapsed_us;
	/* and the way back */
	struct request *request;
	struct verdict *verdict;
	struct entry *next;
	pthread_cond_t turn;
	bool done;
};

struct gate {
	const struct config *config;
	const struct resource *resource;
	/* the turnstile */
	pthread_mutex_t lock;
	struct entry *first, **last;
	bool busy;
	struct db *admit_db;
	char admit_sql[1024];
	struct db_stmt admit;
	/* changes and late rows */
	pthread_mutex_t write_lock;
	struct db *write_db;
	char write_sql[1024];
	struct db_stmt write;
	atomic_bool refusals;      /* some may have to be settled */
};

static const struct db_stmt stmt_record = {
	"record", "SELECT gate.record($1::text, $2::bytea, $3::text::inet, $4::text::uuid, $5::bigint, $6::text, $7::text, $8::text, "
	          "$9::text, $10::int, $11::text, $12::bigint, $13::text)", 13, 1
};
static const struct db_stmt stmt_keep = {
	"keep", "SELECT gate.keep($1::text, $2::bytea, $3::bytea, $4::bytea, $5::int, $6::text, $7::text)", 7, 1
};
static const struct db_stmt stmt_alive = { "alive", "SELECT gate.alive()", 0, 1 };
static const struct db_stmt stmt_settle = { "settle", "SELECT gate.settle()", 0, 1 };
static const struct db_stmt stmt_schema = {
	"schema", "SELECT gate.compatible_from(), ARRAY(SELECT attname::text FROM pg_catalog.pg_attribute "
	          "WHERE attrelid = pg_catalog.to_regclass($1::text) AND attnum > 0 AND NOT attisdropped ORDER BY attnum)", 1, 2
};

/* The schema this program was written for; SQL says from which on it serves. */
enum { SCHEMA_VERSION = 1 };

/* The view's columns must be the field table's, in order: rows are read by position. */
static bool schema_fits(struct db *db, void *arg)
{
	const struct resource *resource = arg;
	struct arena *arena = arena_new();
	struct db_error error;
	PGresult *result = NULL;
	struct rows names;
	struct db_value view = db_text(arena_printf(arena, "%s.item", resource->name));
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
	PQclear(result);
	arena_free(arena);
	return fits;
}

struct gate *gate_new(const struct config *config, const struct resource *resource)
{
	struct gate *gate = calloc(1, sizeof *gate);

	if (!gate)
		return NULL;
	gate->config = config;
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
	/* the name is a constant of the source, an identifier by its type */
	snprintf(gate->admit_sql, sizeof gate->admit_sql,
	         "SELECT * FROM %s.serve($1::text[], $2::bytea[], $3::text[], $4::bool[], $5::text[], $6::bool[], $7::int[], $8::bool[], "
	         "$9::bool[], $10::bool[], $11::text[], $12::text[], $13::int[], $14::text[], $15::text[], $16::int[], $17::text[], "
	         "$18::bool[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::bigint[])", resource->name);
	gate->admit = (struct db_stmt){ "admit", gate->admit_sql, 24, COLUMNS_ADMIT };
	snprintf(gate->write_sql, sizeof gate->write_sql,
	         "SELECT * FROM %s.write($1::text, $2::bytea, $3::text::inet, $4::bool, $5::text, $6::bool, $7::int, $8::bool, $9::bool, "
	         "$10::text, $11::text, $12::text::jsonb, $13::text[], $14::bool, $15::int, $16::text[], $17::text::uuid, $18::text, "
	         "$19::text, $20::text, $21::text, $22::bigint, $23::bytea, $24::bytea)", resource->name);
	gate->write = (struct db_stmt){ "write", gate->write_sql, 24, COLUMNS_WRITE };
	db_on_connect(gate->admit_db, schema_fits, (void *)(uintptr_t)resource);
	db_on_connect(gate->write_db, schema_fits, (void *)(uintptr_t)resource);
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
	{ K_TEXT, offsetof(struct entry, key) },       { K_BYTES, offsetof(struct entry, digest) },
	{ K_TEXT, offsetof(struct entry, ip) },        { K_BOOL, offsetof(struct entry, insecure) },
	{ K_TEXT, offsetof(struct entry, wanted) },    { K_BOOL, offsetof(struct entry, no_wild) },
	{ K_INT, offsetof(struct entry, rank) },       { K_BOOL, offsetof(struct entry, admin) },
	{ K_BOOL, offsetof(struct entry, own) },       { K_BOOL, offsetof(struct entry, heavy) },
	{ K_TEXT, offsetof(struct entry, op) },        { K_TEXT, offsetof(struct entry, id) },
	{ K_INT, offsetof(struct entry, limit) },      { K_TEXT, offsetof(struct entry, args) },
	{ K_TEXT, offsetof(struct entry, match) },     { K_INT, offsetof(struct entry, early) },
	{ K_TEXT, offsetof(struct entry, early_reason) }, { K_BOOL, offsetof(struct entry, later) },
	{ K_TEXT, offsetof(struct entry, request_id) },{ K_TEXT, offsetof(struct entry, method) },
	{ K_TEXT, offsetof(struct entry, path) },      { K_TEXT, offsetof(struct entry, action) },
	{ K_TEXT, offsetof(struct entry, agent) },     { K_LONG, offsetof(struct entry, elapsed_us) },
};
#define ARRAYS (sizeof columns / sizeof *columns)

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
static bool build_arrays(struct buf *all, struct entry *const *batch, size_t n, struct db_value value[ARRAYS])
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

static void uuid_from(const PGresult *result, int row, int col, char out[37])
{
	const unsigned char *at = (const unsigned char *)PQgetvalue(result, row, col);

	out[0] = '\0';
	if (PQgetlength(result, row, col) == 16)
		snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", at[0], at[1], at[2], at[3],
		         at[4], at[5], at[6], at[7], at[8], at[9], at[10], at[11], at[12], at[13], at[14], at[15]);
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

static void take_row(struct entry *e, const PGresult *result, int row)
{
	struct caller *c = &e->request->caller;
	struct verdict *v = e->verdict;

	v->db = DB_OK;
	v->status = db_get_int4(result, row, 1, 0);
	v->reason = db_get_text(result, row, 2);
	c->recognised = !PQgetisnull(result, row, 3);
	uuid_from(result, row, 3, c->token_id);
	c->token_name = db_get_text(result, row, 4);
	c->account_id = db_get_int8(result, row, 5, 0);
	c->rate_limit = db_get_int4(result, row, 6, 0);
	c->remaining = db_get_int4(result, row, 7, 0);
	c->reset_at_s = db_get_int8(result, row, 8, 0);
	c->held = joined(e->request->arena, result, row, 9);
	c->rank = db_get_int4(result, row, 10, 0);
	v->total = db_get_int8(result, row, 11, -1);
	if (!rows_read(result, row, 12, &v->rows))
		v->db = DB_ERROR;
	v->doc = db_get_text(result, row, 13);
	c->admitted = c->recognised && v->status != 401 && v->status != 403 && v->status != 429;
}

/* Hand a batch to PostgreSQL and its answers to the requests. The leader may use their arenas: their threads wait. */
static void run_batch(struct gate *gate, struct entry **batch, size_t n)
{
	struct db_value values[ARRAYS];
	struct arena *arena = batch[0]->request->arena;
	struct db_error error = { .message = "", .detail = "" };
	struct shared *shared = NULL;
	PGresult *result = NULL;
	enum db_status status = DB_GONE;
	struct buf all;

	buf_init(&all, ARENA_MAX_BYTES);
	if (build_arrays(&all, batch, n, values))
		for (int i = 0; i < ATTEMPTS; i++) {
			status = db_run(gate->admit_db, &gate->admit, values, &result, arena, &error);
			if (status == DB_ERROR && db_is_stale(&error))
				db_close(gate->admit_db);
			else if (status != DB_ERROR || !db_is_conflict(&error))
				break;
		}
	buf_free(&all);
	if (status == DB_ERROR && n > 1) { /* one of them is at fault: the others must not suffer for it */
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

/* Wait for a turn; whoever finds the gate free leads all that wait through it. */
static void pass(struct gate *gate, struct entry *e)
{
	pthread_cond_init(&e->turn, NULL);
	pthread_mutex_lock(&gate->lock);
	*gate->last = e;
	gate->last = &e->next;
	while (!e->done) {
		struct entry *batch[BATCH_MAX];
		size_t n = 0;

		if (gate->busy) {
			pthread_cond_wait(&e->turn, &gate->lock);
			continue;
		}
		gate->busy = true;
		while (gate->first && n < (size_t)gate->config->batch_max && n < BATCH_MAX) {
			batch[n++] = gate->first;
			gate->first = gate->first->next;
		}
		if (!gate->first)
			gate->last = &gate->first;
		pthread_mutex_unlock(&gate->lock);
		run_batch(gate, batch, n);
		pthread_mutex_lock(&gate->lock);
		gate->busy = false;
		for (size_t i = 0; i < n; i++) {
			batch[i]->done = true;
			if (batch[i] != e)
				pthread_cond_signal(&batch[i]->turn);
		}
		if (gate->first) /* the next leader */
			pthread_cond_signal(&gate->first->turn);
	}
	pthread_mutex_unlock(&gate->lock);
	pthread_cond_destroy(&e->turn);
}

/* ---- what a route reads ---- */

/* Arguments of a list in another than the default shape, as sql/functions/10_gate.sql (gate.list_query) wants them. */
static const char *list_args(const struct request *r)
{
	const struct query *q = &r->query;
	const char *text;
	struct buf out;

	buf_init(&out, 256 * 1024);
	buf_printf(&out, "{\"limit\":%d,\"sort\":\"%s\",\"descending\":%s", q->per_page + 1, q->sort, q->descending ? "true" : "false");
	if (q->page > 0)
		buf_printf(&out, ",\"offset\":%lld,\"count\":true", (q->page - 1) * q->per_page);
	if (q->cursor) {
		buf_str(&out, ",\"after\":[");
		buf_json(&out, r->position.value ? r->position.value : r->position.id);
		buf_char(&out, ',');
		buf_json(&out, r->position.id);
		buf_char(&out, ']');
	}
	if (q->filter) {
		buf_str(&out, ",\"filter\":");
		buf_str(&out, json_object_to_json_string_ext(q->filter, JSON_C_TO_STRING_PLAIN));
	}
	if (q->search) {
		char pattern[1024] = "%";
		size_t n = 1;

		for (const char *c = q->search; *c && n < sizeof pattern - 4; c++) {
			if (strchr("%_\\", *c))
				pattern[n++] = '\\';
			pattern[n++] = *c;
		}
		pattern[n++] = '%';
		pattern[n] = '\0';
		buf_str(&out, ",\"search\":");
		buf_json(&out, pattern);
		buf_str(&out, ",\"search_in\":");
		for (const struct field *f = r->resource->fields, *first = NULL; f->name; f++)
			if (f->flags & F_SEARCH) {
				buf_printf(&out, "%c\"%s\"", first ? ',' : '[', f->name);
				first = f;
			}
		buf_char(&out, ']');
	}
	if (q->since || q->until) {
		bool updated = false;

		for (const struct field *f = r->resource->fields; f->name; f++)
			updated |= strcmp(f->name, "updated_at") == 0;
		buf_printf(&out, ",\"since_column\":\"%s\"", updated ? "updated_at" : "at");
		if (q->since)
			buf_printf(&out, ",\"since\":\"%s\"", q->since);
		if (q->until)
			buf_printf(&out, ",\"until\":\"%s\"", q->until);
	}
	buf_char(&out, '}');
	text = buf_failed(&out) ? NULL : arena_strdup(r->arena, out.data);
	buf_free(&out);
	return text;
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

static struct db_value digests(const struct request *r)
{
	return db_bytes(r->digest, r->digest_len);
}

/* The parameters of gate.list_query and the static list; also for the CLI. */
void gate_read_arguments(struct request *r, const char **op, const char **id, int *limit, const char **args)
{
	const struct query *q = &r->query;

	*limit = 0;
	*args = NULL;
	*id = r->id;
	if (r->route->does == DO_LIST) {
		bool plain = !q->ordered && !q->filter && !q->search && !q->since && !q->until && (q->cursor || q->page == 1) &&
		             !r->resource->cursor_only;

		*op = "list";
		*limit = q->per_page + 1;
		*id = q->cursor ? r->position.id : NULL;
		*args = plain ? NULL : list_args(r);
	} else if (r->route->does == DO_GET) {
		*op = "get";
	} else if (r->route->does == DO_READ) {
		*op = r->route->call ? r->route->call : ""; /* "": what it answers is not in the database */
		*args = "{}";
	} else {
		*op = "";
	}
}

void gate_admit(struct gate *gate, struct request *r, bool later, struct verdict *v)
{
	const struct route *route = r->route;
	bool reads = route->does == DO_LIST || route->does == DO_GET || route->does == DO_READ;
	struct entry e = {
		.key = r->key_id, .digest = digests(r), .ip = *r->address ? r->address : NULL, .insecure = r->insecure,
		.wanted = route->scope, .no_wild = route->flags & R_NO_WILD, .rank = route->role, .admin = r->admin_path,
		.own = route->flags & R_OWN, .heavy = route->bucket == RATE_ACTION,
		.early = r->failure.set ? error_info(r->failure.code)->status : 0,
		.early_reason = r->failure.set ? (r->failure.reason ? r->failure.reason : error_info(r->failure.code)->code) : NULL,
		.later = later || !reads, .request_id = r->request_id, .method = r->method_name, .path = r->uri,
		.action = route->audit, .agent = r->user_agent, .elapsed_us = request_elapsed_us(r), .request = r, .verdict = v
	};
	int limit;

	*v = (struct verdict){ .total = -1 };
	gate_read_arguments(r, &e.op, &e.id, &limit, &e.args);
	e.limit = limit;
	e.match = route->does == DO_LIST ? r->position.bound : route->does == DO_GET && !later ? single_version(r) : NULL;
	pass(gate, &e);
}

/* ---- changes ---- */

/* If-Match as a list of versions; NULL when absent or "*" (any: the object must exist, which it must anyway). */
static struct db_value versions(struct request *r)
{
	const char *items[16];
	size_t n = 0;

	if (!r->if_match || strcmp(r->if_match, "*") == 0)
		return db_text_array(r->arena, NULL, 0);
	for (const char *at = r->if_match; *at && n < 16;) {
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

/* Everything that makes a request the same one. */
static struct db_value fingerprint(struct request *r)
{
	struct db_value digest = { NULL, 0 };
	struct buf all;

	buf_init(&all, ARENA_MAX_BYTES);
	buf_printf(&all, "%s\n%s\n%s\n", r->method_name, r->path, r->query_text);
	buf_add(&all, r->body_text ? r->body_text : "", r->body_len);
	if (!buf_failed(&all))
		digest = sha256(r, all.data, all.len);
	buf_free(&all);
	return digest;
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
static bool take_write(struct gate *gate)
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

	for (int i = 0; i < ATTEMPTS; i++) {
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

void gate_write(struct gate *gate, struct request *r, int status, struct verdict *v)
{
	const struct route *route = r->route;
	struct arena *a = r->arena;
	bool keeps = r->idempotency_key && !r->query.dry_run;
	PGresult *result = NULL;
	struct db_value values[] = {
		db_text(r->key_id), digests(r), db_text(*r->address ? r->address : NULL), db_bool(a, r->insecure), db_text(route->scope),
		db_bool(a, route->flags & R_NO_WILD), db_int4(a, route->role), db_bool(a, r->admin_path), db_bool(a, route->flags & R_OWN),
		db_text(route->call), db_text(r->id), db_text(body_text(r)), versions(r), db_bool(a, r->query.dry_run), db_int4(a, status),
		db_text_array(a, r->secrets, r->secret_count), db_text(r->request_id), db_text(r->method_name), db_text(r->uri),
		db_text(route->audit), db_text(r->user_agent), db_int8(a, request_elapsed_us(r)),
		keeps ? key_digest(r) : (struct db_value){ NULL, 0 }, keeps ? fingerprint(r) : (struct db_value){ NULL, 0 }
	};

	*v = (struct verdict){ .total = -1 };
	if (!take_write(gate))
		return;
	v->db = run_write(gate, r, &gate->write, values, &result, &v->error, keeps);
	if (!keeps || v->db != DB_OK)
		pthread_mutex_unlock(&gate->write_lock);
	if (v->db != DB_OK)
		return;
	if (PQntuples(result) != 1 || arena_defer(a, put_result, result) != 0 || !rows_read(result, 0, 2, &v->rows)) {
		v->db = DB_ERROR;
		if (keeps)
			gate_abandon(gate);
		return;
	}
	v->status = status;
	v->id = db_get_text(result, 0, 0);
	v->doc = db_get_text(result, 0, 3);
	v->kept_status = db_get_int4(result, 0, 4, 0);
	v->kept_headers = db_get_text(result, 0, 5);
	v->kept_body = db_get_text(result, 0, 6);
}

enum db_status gate_keep(struct gate *gate, struct request *r, const struct reply *kept)
{
	enum db_status status = DB_OK;
	struct db_error error;
	PGresult *result = NULL;

	if (kept) {
		struct db_value values[] = {
			db_text(r->key_id), digests(r), key_digest(r), fingerprint(r), db_int4(r->arena, kept->status),
			db_text(kept->head.data ? kept->head.data : ""), db_text(kept->body.data ? kept->body.data : "")
		};

		status = db_run(gate->write_db, &stmt_keep, values, &result, r->arena, &error);
		PQclear(result);
	}
	if (status != DB_OK) {
		gate_abandon(gate);
		return DB_GONE;
	}
	status = db_end(gate->write_db, true);
	pthread_mutex_unlock(&gate->write_lock);
	return status;
}

void gate_abandon(struct gate *gate)
{
	db_end(gate->write_db, false);
	pthread_mutex_unlock(&gate->write_lock);
}

enum db_status gate_record(struct gate *gate, struct request *r, int status, const char *reason)
{
	struct arena *a = r->arena;
	struct db_error error;
	PGresult *result = NULL;
	enum db_status done;
	struct db_value values[] = {
		db_text(r->key_id), digests(r), db_text(*r->address ? r->address : NULL), db_text(r->request_id),
		db_int8(a, r->caller.account_id), db_text(r->route->audit), db_text(r->id ? http_scrub(a, r->id, strlen(r->id)) : NULL),
		db_text(r->method_name), db_text(r->uri), db_int4(a, status), db_text(reason), db_int8(a, request_elapsed_us(r)),
		db_text(r->user_agent)
	};

	if (!take_write(gate))
		return DB_GONE;
	done = run_write(gate, r, &stmt_record, values, &result, &error, false);
	pthread_mutex_unlock(&gate->write_lock);
	PQclear(result);
	return done;
}

static bool run_plain(struct gate *gate, const struct db_stmt *stmt, int32_t *number)
{
	struct arena *arena = arena_new();
	struct db_error error;
	PGresult *result = NULL;
	bool ok = false;

	if (arena && take_write(gate)) {
		ok = db_run(gate->write_db, stmt, NULL, &result, arena, &error) == DB_OK;
		pthread_mutex_unlock(&gate->write_lock);
	}
	if (ok && number)
		*number = db_get_int4(result, 0, 0, 0);
	PQclear(result);
	arena_free(arena);
	return ok;
}

bool gate_alive(struct gate *gate)
{
	return run_plain(gate, &stmt_alive, NULL);
}

void gate_keep_house(struct gate *gate)
{
	int64_t now = timestamp_now();
	int32_t open = 0;

	/* counts of refusals are stated when their window is over, even when the token never comes back */
	if (atomic_load(&gate->refusals) && run_plain(gate, &stmt_settle, &open) && open == 0)
		atomic_store(&gate->refusals, false);
	pthread_mutex_lock(&gate->write_lock);
	db_close_idle(gate->write_db, now);
	pthread_mutex_unlock(&gate->write_lock);
	pthread_mutex_lock(&gate->lock);
	if (!gate->busy)
		db_close_idle(gate->admit_db, now);
	pthread_mutex_unlock(&gate->lock);
}
