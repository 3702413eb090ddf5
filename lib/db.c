/* db.c: see db.h. */
#include "db.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "timestamp.h"

#define EPOCH_2000_US (INT64_C(946684800) * 1000000) /* PostgreSQL's */

struct db {
	const struct config *config;
	char *user;
	PGconn *conn;
	const char *prepared[DB_PREPARED_MAX];
	size_t prepared_count;
	int64_t used_us;
	bool in_transaction;       /* a lost connection must not be replaced half-way */
	bool (*check)(struct db *, void *);
	void *check_arg;
};

struct db *db_new(const struct config *config, const char *program)
{
	struct db *db = calloc(1, sizeof *db);
	size_t size = strlen(config->role_prefix) + strlen(program) + 1;

	if (!db || !(db->user = malloc(size))) {
		free(db);
		return NULL;
	}
	snprintf(db->user, size, "%s%s", config->role_prefix, program);
	db->config = config;
	return db;
}

void db_free(struct db *db)
{
	if (!db)
		return;
	db_close(db);
	free(db->user);
	free(db);
}

void db_close(struct db *db)
{
	PQfinish(db->conn);
	db->conn = NULL;
	db->prepared_count = 0;
}

bool db_close_idle(struct db *db, int64_t now_us)
{
	if (!db->conn || now_us - db->used_us <= (int64_t)db->config->db_idle_s * 1000000)
		return false;
	db_close(db);
	return true;
}

void db_on_connect(struct db *db, bool (*check)(struct db *, void *), void *arg)
{
	db->check = check;
	db->check_arg = arg;
}

/* Milliseconds that do not jump with the wall clock, for waiting. */
static int64_t monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Wait until the socket is ready. False at the deadline or on an error. */
static bool wait_socket(PGconn *conn, short events, int64_t deadline_ms)
{
	struct pollfd fd = { .fd = PQsocket(conn), .events = events };

	for (;;) {
		int64_t left = deadline_ms - monotonic_ms();
		int n;

		if (fd.fd < 0 || left <= 0)
			return false;
		n = poll(&fd, 1, (int)left);
		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
	}
}

static bool db_connect(struct db *db)
{
	/* Later entries win, and `user` is ours to choose: a binary logs in as its own role, whatever the dsn says. */
	const char *keys[] = { "dbname", "user", "application_name", "client_encoding", "connect_timeout", NULL };
	const char *values[] = { db->config->dsn, db->user, db->user, "UTF8", NULL, NULL };
	char seconds[12];
	int64_t deadline = monotonic_ms() + db->config->db_timeout_ms;
	PostgresPollingStatusType state = PGRES_POLLING_WRITING;

	snprintf(seconds, sizeof seconds, "%d", db->config->db_timeout_ms / 1000 + 2);
	values[4] = seconds;
	db_close(db);
	db->conn = PQconnectStartParams(keys, values, 1);
	if (!db->conn || PQstatus(db->conn) == CONNECTION_BAD)
		goto failed;
	while (state != PGRES_POLLING_OK) {
		if (state == PGRES_POLLING_FAILED ||
		    !wait_socket(db->conn, state == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline))
			goto failed;
		state = PQconnectPoll(db->conn);
	}
	if (db->check && !db->check(db, db->check_arg)) {
		db_close(db);
		return false;
	}
	return true;
failed:
	log_event("error", "database_unreachable", "message", db->conn ? PQerrorMessage(db->conn) : "out of memory", NULL);
	db_close(db);
	return false;
}

/*
 * A connection that PostgreSQL closed while it lay idle shows as readable. Finding out before sending means that a request
 * is never sent into a dead connection and never needs to be sent twice.
 */
static bool db_ready(struct db *db)
{
	struct pollfd fd = { .events = POLLIN };

	if (db->conn) {
		fd.fd = PQsocket(db->conn);
		if (poll(&fd, 1, 0) > 0 && (!PQconsumeInput(db->conn) || (fd.revents & (POLLHUP | POLLERR))))
			db_close(db);
		else if (PQstatus(db->conn) != CONNECTION_OK)
			db_close(db);
	}
	return db->conn || (!db->in_transaction && db_connect(db));
}

/* Collect what was sent for; the last result counts. NULL when the connection failed or time ran out. */
static PGresult *collect(struct db *db)
{
	int64_t deadline = monotonic_ms() + db->config->db_timeout_ms;
	PGresult *result = NULL, *next;

	for (;;) {
		int flushed = PQflush(db->conn);

		if (flushed < 0)
			goto failed;
		if (flushed == 0)
			break;
		if (!wait_socket(db->conn, POLLIN | POLLOUT, deadline) || !PQconsumeInput(db->conn))
			goto failed;
	}
	for (;;) {
		while (PQisBusy(db->conn))
			if (!wait_socket(db->conn, POLLIN, deadline) || !PQconsumeInput(db->conn))
				goto failed;
		if (!(next = PQgetResult(db->conn)))
			break;
		PQclear(result);
		result = next;
	}
	if (result && PQstatus(db->conn) == CONNECTION_OK)
		return result;
failed:
	PQclear(result);
	return NULL;
}

static bool is_prepared(const struct db *db, const char *name)
{
	for (size_t i = 0; i < db->prepared_count; i++)
		if (strcmp(db->prepared[i], name) == 0)
			return true;
	return false;
}

static enum db_status gone(struct db *db)
{
	log_event("error", "database_lost", "message", db->conn ? PQerrorMessage(db->conn) : NULL, NULL);
	db_close(db);
	return DB_GONE;
}

static const char *field_text(const PGresult *result, int field)
{
	const char *text = PQresultErrorField(result, field);

	return text ? text : "";
}

/* Turn a result that is an error into *error. Class 08, 57P0x and 25006 mean that this server cannot serve us. */
static enum db_status refuse(struct db *db, PGresult *result, struct arena *arena, struct db_error *error)
{
	const char *state = error->sqlstate;

	snprintf(error->sqlstate, sizeof error->sqlstate, "%s", field_text(result, PG_DIAG_SQLSTATE));
	error->message = arena_strdup(arena, field_text(result, PG_DIAG_MESSAGE_PRIMARY));
	error->detail = arena_strdup(arena, field_text(result, PG_DIAG_MESSAGE_DETAIL));
	if (!error->message)
		error->message = "";
	if (!error->detail)
		error->detail = "";
	PQclear(result);
	if (strncmp(state, "08", 2) == 0 || strncmp(state, "57P", 3) == 0 || strcmp(state, "25006") == 0 ||
	    strncmp(state, "53", 2) == 0)
		return gone(db);
	return DB_ERROR;
}

enum db_status db_run(struct db *db, const struct db_stmt *stmt, const struct db_value *values, PGresult **out,
                      struct arena *arena, struct db_error *error)
{
	const char *data[DB_PARAMS_MAX];
	int lengths[DB_PARAMS_MAX], formats[DB_PARAMS_MAX];
	bool prepare = db->config->prepare && stmt->name;
	PGresult *result;

	*out = NULL;
	*error = (struct db_error){ .message = "", .detail = "" };
	if (stmt->params > DB_PARAMS_MAX || !db_ready(db))
		return DB_GONE;
	for (int i = 0; i < stmt->params; i++) {
		data[i] = values[i].data;
		lengths[i] = values[i].len;
		formats[i] = 1;
	}
	if (prepare && !is_prepared(db, stmt->name)) {
		if (!PQsendPrepare(db->conn, stmt->name, stmt->sql, stmt->params, NULL) || !(result = collect(db)))
			return gone(db);
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			return refuse(db, result, arena, error);
		PQclear(result);
		if (db->prepared_count < DB_PREPARED_MAX)
			db->prepared[db->prepared_count++] = stmt->name;
	}
	if (!(prepare
	          ? PQsendQueryPrepared(db->conn, stmt->name, stmt->params, data, lengths, formats, 1)
	          : PQsendQueryParams(db->conn, stmt->sql, stmt->params, NULL, data, lengths, formats, 1)) ||
	    !(result = collect(db)))
		return gone(db);
	db->used_us = timestamp_now();
	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		return refuse(db, result, arena, error);
	if (PQnfields(result) != stmt->columns) {
		PQclear(result);
		error->message = "the result has another shape than this program knows; run postern migrate";
		return DB_ERROR;
	}
	*out = result;
	return DB_OK;
}

static enum db_status run_command(struct db *db, const char *command)
{
	PGresult *result;
	bool ok;

	if (!db_ready(db))
		return DB_GONE;
	if (!PQsendQuery(db->conn, command) || !(result = collect(db)))
		return gone(db);
	ok = PQresultStatus(result) == PGRES_COMMAND_OK;
	PQclear(result);
	return ok ? DB_OK : gone(db);
}

enum db_status db_begin(struct db *db)
{
	enum db_status status = run_command(db, "BEGIN");

	db->in_transaction = status == DB_OK;
	return status;
}

enum db_status db_end(struct db *db, bool commit)
{
	enum db_status status = run_command(db, commit ? "COMMIT" : "ROLLBACK");

	db->in_transaction = false;
	return status;
}

bool db_is_conflict(const struct db_error *error)
{
	return strcmp(error->sqlstate, "40001") == 0 || strcmp(error->sqlstate, "40P01") == 0;
}

/* Besides the two that say so: class 42 (but missing privileges) and XX000 are what a statement meets that was running when a
 * migration replaced what it uses ("cache lookup failed"). */
bool db_is_stale(const struct db_error *error)
{
	return strcmp(error->sqlstate, "0A000") == 0 || strcmp(error->sqlstate, "26000") == 0 ||
	       strcmp(error->sqlstate, "XX000") == 0 || strcmp(error->sqlstate, "3F000") == 0 ||
	       (strncmp(error->sqlstate, "42", 2) == 0 && strcmp(error->sqlstate, "42501") != 0);
}

struct db_value db_text(const char *text)
{
	return (struct db_value){ text, text ? (int)strlen(text) : 0 };
}

struct db_value db_bytes(const void *data, size_t len)
{
	return (struct db_value){ data, (int)len };
}

/* A value of its own in the arena; SQL null when memory is out, which every statement refuses. */
static struct db_value store(struct arena *arena, const void *bytes, size_t len)
{
	void *copy = arena_alloc(arena, len);

	if (copy)
		memcpy(copy, bytes, len);
	return (struct db_value){ copy, (int)len };
}

struct db_value db_int4(struct arena *arena, int32_t n)
{
	uint32_t net = htonl((uint32_t)n);

	return store(arena, &net, sizeof net);
}

struct db_value db_int8(struct arena *arena, int64_t n)
{
	uint32_t net[2] = { htonl((uint32_t)((uint64_t)n >> 32)), htonl((uint32_t)n) };

	return store(arena, net, sizeof net);
}

struct db_value db_bool(struct arena *arena, bool yes)
{
	char byte = yes;

	return store(arena, &byte, 1);
}

struct db_value db_text_array(struct arena *arena, const char *const *items, size_t n)
{
	enum { TEXT_OID = 25, HEADER = 20 };
	uint32_t header[5] = { htonl(n ? 1 : 0), 0, htonl(TEXT_OID), htonl((uint32_t)n), htonl(1) };
	size_t size = n ? HEADER : 12;
	char *at, *all;

	if (!items)
		return (struct db_value){ NULL, 0 };
	for (size_t i = 0; i < n; i++)
		size += 4 + strlen(items[i]);
	if (!(all = at = arena_alloc(arena, size)))
		return (struct db_value){ NULL, 0 };
	memcpy(at, header, n ? HEADER : 12);
	at += n ? HEADER : 12;
	for (size_t i = 0; i < n; i++) {
		uint32_t len = (uint32_t)strlen(items[i]), net = htonl(len);

		memcpy(at, &net, 4);
		memcpy(at + 4, items[i], len);
		at += 4 + len;
	}
	return (struct db_value){ all, (int)size };
}

int32_t db_get_int4(const PGresult *result, int row, int col, int32_t if_null)
{
	uint32_t net;

	if (PQgetisnull(result, row, col) || PQgetlength(result, row, col) != 4)
		return if_null;
	memcpy(&net, PQgetvalue(result, row, col), 4);
	return (int32_t)ntohl(net);
}

int64_t db_get_int8(const PGresult *result, int row, int col, int64_t if_null)
{
	uint32_t net[2];

	if (PQgetisnull(result, row, col) || PQgetlength(result, row, col) != 8)
		return if_null;
	memcpy(net, PQgetvalue(result, row, col), 8);
	return (int64_t)((uint64_t)ntohl(net[0]) << 32 | ntohl(net[1]));
}

int64_t db_get_timestamp(const PGresult *result, int row, int col, int64_t if_null)
{
	return PQgetisnull(result, row, col) ? if_null : db_get_int8(result, row, col, 0) + EPOCH_2000_US;
}

const char *db_get_text(const PGresult *result, int row, int col)
{
	return PQgetisnull(result, row, col) ? NULL : PQgetvalue(result, row, col);
}

bool db_ran(struct db *db, const struct db_stmt *stmt, const struct db_value *values, PGresult **result, struct arena *arena)
{
	PGresult *own = NULL;
	struct db_error error;
	enum db_status status = db_run(db, stmt, values, result ? result : &own, arena, &error);

	PQclear(own);
	if (status == DB_ERROR) {
		log_event("error", "statement_failed", "statement", stmt->name, "sqlstate", error.sqlstate, "message", error.message, NULL);
		if (db_is_stale(&error))
			db_close(db);
	}
	return status == DB_OK;
}
