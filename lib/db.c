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

enum { STAGGER_MS = 1000, LOOK_MS = 1000 };

#define EPOCH_2000_US (INT64_C(946684800) * 1000000) /* PostgreSQL's */

/* What one connection finds out holds for all of this program's: when a server was last found to hang, since before
 * which no connection is used again, and which host let one in last. */
static _Atomic int64_t hung_ms;
static _Atomic size_t good_host;

struct host { char *name, *address, *port; }; /* each may be NULL */

struct db {
	const struct config *config;
	bool direct;               /* by dsn_direct */
	char *user;
	PGconn *conn;
	PQconninfoOption *options; /* of the connection string, but for the hosts: */
	struct host *hosts;
	size_t host_count, host;   /* the one that is in use, or the first to be asked */
	unsigned opened;
	int64_t opened_ms;
	struct prepared { const char *name; uint64_t sql; } *prepared; /* on this connection; it grows */
	size_t prepared_count, prepared_room;
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

struct db *db_new_direct(const struct config *config, const char *program)
{
	struct db *db = db_new(config, program);

	if (db)
		db->direct = true;
	return db;
}

void db_free(struct db *db)
{
	if (!db)
		return;
	db_close(db);
	for (size_t i = 0; i < db->host_count; i++) {
		free(db->hosts[i].name);
		free(db->hosts[i].address);
		free(db->hosts[i].port);
	}
	free(db->hosts);
	PQconninfoFree(db->options);
	free(db->prepared);
	free(db->user);
	free(db);
}

void db_close(struct db *db)
{
	PQfinish(db->conn);
	db->conn = NULL;
	db->prepared_count = 0;
}

PGconn *db_connection(struct db *db)
{
	return db->conn;
}

unsigned db_opened(const struct db *db)
{
	return db->opened;
}

bool db_fits(struct db *db, void *unused)
{
	static const struct db_stmt fits = { NULL, "SELECT gate.compatible_from()", 0, 1 };
	struct arena *arena = arena_new();
	bool good = arena && db_ran(db, &fits, NULL, NULL, arena);

	(void)unused;
	arena_free(arena);
	return good;
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

/* ---- hosts ---- */

/* Part `n` of a list with commas, as libpq reads them; of a list of one, that one where `spread`. NULL: empty, or out
 * of memory. */
static char *part_of(const char *list, size_t n, bool spread)
{
	const char *at = list ? list : "";

	if (spread && !strchr(at, ','))
		n = 0;
	for (; n && *at; n--)
		at += strcspn(at, ","), at += *at == ',';
	return !n && strcspn(at, ",") ? strndup(at, strcspn(at, ",")) : NULL;
}

static size_t parts_in(const char *list)
{
	size_t n = list && *list;

	for (const char *at = list ? list : ""; (at = strchr(at, ',')); at++)
		n++;
	return n;
}

/* Read the connection string, once: libpq's own time limit for each of several hosts holds for its blocking calls only,
 * so each host gets a connection attempt of its own. */
static bool read_hosts(struct db *db)
{
	char *why = NULL;
	const char *name = NULL, *address = NULL, *port = NULL;
	size_t n;

	if (db->hosts)
		return true;
	PQconninfoFree(db->options);
	if (!(db->options = PQconninfoParse(db->direct ? db->config->dsn_direct : db->config->dsn, &why))) {
		log_event("error", "database_unreachable", "message", why ? why : "out of memory", NULL);
		PQfreemem(why);
		return false;
	}
	for (PQconninfoOption *o = db->options; o->keyword; o++) {
		const char **list = strcmp(o->keyword, "host") == 0       ? &name
		                    : strcmp(o->keyword, "hostaddr") == 0 ? &address
		                    : strcmp(o->keyword, "port") == 0     ? &port
		                                                          : NULL;
		if (list)
			*list = o->val;
	}
	n = parts_in(address) ? parts_in(address) : parts_in(name) ? parts_in(name) : 1;
	if (!(db->hosts = calloc(n, sizeof *db->hosts)))
		return false;
	db->host_count = n;
	db->host = good_host % n;
	for (size_t i = 0; i < n; i++)
		db->hosts[i] = (struct host){
			part_of(name, i, false), part_of(address, i, false), part_of(port, i, true)
		};
	return true;
}

static const char *host_name(const struct host *h)
{
	return h->name ? h->name : h->address ? h->address : "the default host";
}

/* Begin to connect to one host. `user` is ours to choose: a binary logs in as its own role, whatever the connection
 * string says. */
static PGconn *begin_connect(const struct db *db, const struct host *host)
{
	enum { KEYS_MAX = 80 };
	const char *keys[KEYS_MAX], *values[KEYS_MAX];
	size_t n = 0;
	const struct { const char *key, *value; } ours[] = {
		{ "host", host->name }, { "hostaddr", host->address }, { "port", host->port }, { "user", db->user },
		{ "application_name", db->user }, { "client_encoding", "UTF8" }
	};

	for (const PQconninfoOption *o = db->options; o->keyword && n < KEYS_MAX - sizeof ours / sizeof *ours - 1; o++)
		if (o->val && strcmp(o->keyword, "host") != 0 && strcmp(o->keyword, "hostaddr") != 0 &&
		    strcmp(o->keyword, "port") != 0) {
			keys[n] = o->keyword;
			values[n++] = o->val;
		}
	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
		if (ours[i].value) { /* of two equal keys the later one holds */
			keys[n] = ours[i].key;
			values[n++] = ours[i].value;
		}
	keys[n] = NULL;
	values[n] = NULL;
	return PQconnectStartParams(keys, values, 0);
}

struct attempt {
	PGconn *conn;                    /* NULL: not begun yet, or it failed */
	PostgresPollingStatusType state;
	int64_t at_ms;                   /* when it began, or failed; 0: not yet */
};

static void attempt_begin(struct db *db, struct attempt *t, const struct host *host, int64_t now)
{
	t->conn = begin_connect(db, host);
	t->state = PGRES_POLLING_WRITING;
	t->at_ms = now;
}

/* It failed, or is no longer wanted: what it said of it is kept. */
static void attempt_end(struct attempt *t, const struct host *host, int64_t now, struct buf *said)
{
	if (said && host)
		buf_printf(said, "%s%s: %s", said->len ? "; " : "", host_name(host),
		           t->conn ? PQerrorMessage(t->conn) : "out of memory");
	PQfinish(t->conn);
	t->conn = NULL;
	t->at_ms = now;
}

/*
 * Ask the hosts one after the other, beginning with the one that was good last: the next one when this one refuses, or
 * when it has not answered for a second; this one goes on meanwhile. While any may still answer, those that refused are
 * asked again each second: a standby may become the primary. NULL when all have refused, or time ran out.
 */
static PGconn *connect_any(struct db *db, struct attempt *tries, struct pollfd *fds, int64_t deadline, struct buf *said)
{
	size_t n = db->host_count, first = db->host;

	for (;;) {
		int64_t now = monotonic_ms(), wake = deadline;
		size_t open = 0, begun = 0;

		for (size_t k = 0; k < n; k++) {
			struct attempt *t = &tries[k];
			const struct host *host = &db->hosts[(first + k) % n];

			if (!t->at_ms && (k == 0 || (tries[k - 1].at_ms &&
			                             (!tries[k - 1].conn || now - tries[k - 1].at_ms >= STAGGER_MS))))
				attempt_begin(db, t, host, now);
			if (t->at_ms && (!t->conn || PQstatus(t->conn) == CONNECTION_BAD) &&
			    t->state != PGRES_POLLING_FAILED) {
				t->state = PGRES_POLLING_FAILED;
				attempt_end(t, host, now, said);
			}
			begun += t->at_ms != 0;
			open += t->conn != NULL;
		}
		if (now >= deadline || (!open && begun == n))
			return NULL;
		for (size_t k = 0; k < n; k++) {
			struct attempt *t = &tries[k];

			if (t->at_ms && !t->conn && now - t->at_ms >= STAGGER_MS)
				attempt_begin(db, t, &db->hosts[(first + k) % n], now);
			if (t->at_ms && !t->conn && t->at_ms + STAGGER_MS < wake)
				wake = t->at_ms + STAGGER_MS;
			if (!t->at_ms)
				wake = tries[k - 1].at_ms && tries[k - 1].at_ms + STAGGER_MS < wake
				               ? tries[k - 1].at_ms + STAGGER_MS
				               : wake;
			fds[k] = (struct pollfd){ .fd = t->conn ? PQsocket(t->conn) : -1,
			                          .events = t->state == PGRES_POLLING_READING ? POLLIN : POLLOUT };
		}
		if (begun == n || open)
			poll(fds, (nfds_t)n, wake > now ? (int)(wake - now) : 0);
		now = monotonic_ms();
		for (size_t k = 0; k < n; k++) {
			struct attempt *t = &tries[k];

			if (!t->conn || fds[k].fd < 0 || !fds[k].revents)
				continue;
			t->state = PQconnectPoll(t->conn);
			if (t->state == PGRES_POLLING_OK) {
				PGconn *good = t->conn;

				t->conn = NULL;
				good_host = db->host = (first + k) % n;
				return good;
			}
			if (t->state == PGRES_POLLING_FAILED)
				attempt_end(t, &db->hosts[(first + k) % n], now, said);
		}
	}
}

static bool db_connect(struct db *db)
{
	int64_t deadline = monotonic_ms() + db->config->db_timeout_ms;
	struct attempt *tries;
	struct pollfd *fds;
	struct buf said;

	db_close(db);
	if (!read_hosts(db))
		return false;
	tries = calloc(db->host_count, sizeof *tries);
	fds = calloc(db->host_count, sizeof *fds);
	buf_init(&said, 2000);
	if (tries && fds)
		db->conn = connect_any(db, tries, fds, deadline, &said);
	for (size_t k = 0; tries && k < db->host_count; k++)
		PQfinish(tries[k].conn);
	free(tries);
	free(fds);
	if (!db->conn)
		log_event("error", "database_unreachable", "message",
		          said.len && !buf_failed(&said) ? said.data : "no answer within db_timeout_ms", NULL);
	buf_free(&said);
	if (!db->conn)
		return false;
	PQsetnonblocking(db->conn, 1); /* a server that hangs takes nothing off us, either */
	db->opened++;
	db->opened_ms = monotonic_ms();
	if (db->check && !db->check(db, db->check_arg)) {
		db_close(db);
		return false;
	}
	return true;
}

/* Does the host that we are connected to answer anybody? One whose server hangs takes connections (the kernel does),
 * and says nothing. */
static bool host_answers(const struct db *db)
{
	int64_t deadline = monotonic_ms() + LOOK_MS;
	PostgresPollingStatusType state = PGRES_POLLING_WRITING;
	PGconn *conn = begin_connect(db, &db->hosts[db->host]);
	bool answers = false;

	while (conn && !answers && PQstatus(conn) != CONNECTION_BAD && state != PGRES_POLLING_FAILED &&
	       wait_socket(conn, state == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline)) {
		answers = state == PGRES_POLLING_READING; /* whatever it says */
		if (!answers)
			state = PQconnectPoll(conn);
	}
	PQfinish(conn);
	return answers;
}

/* Wait for an answer. Where there are other hosts, one that takes long is looked after: whether its host still answers.
 */
static bool wait_answer(struct db *db, short events, int64_t deadline)
{
	for (;;) {
		int64_t look = monotonic_ms() + LOOK_MS;

		if (wait_socket(db->conn, events, db->host_count > 1 && look < deadline ? look : deadline))
			return true;
		if (PQsocket(db->conn) < 0 || monotonic_ms() >= deadline)
			return false;
		if (db->host_count > 1 && !host_answers(db)) {
			hung_ms = monotonic_ms();
			return false;
		}
	}
}

/* Close it; the other hosts are asked first. */
static void leave(struct db *db)
{
	db_close(db);
	if (db->host_count)
		db->host = (db->host + 1) % db->host_count;
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
		else if (db->opened_ms < hung_ms && !db->in_transaction)
			leave(db);
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
		if (!wait_answer(db, POLLIN | POLLOUT, deadline) || !PQconsumeInput(db->conn))
			goto failed;
	}
	for (;;) {
		while (PQisBusy(db->conn))
			if (!wait_answer(db, POLLIN, deadline) || !PQconsumeInput(db->conn))
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

static const struct prepared *prepared_as(const struct db *db, const char *name)
{
	for (size_t i = 0; i < db->prepared_count; i++)
		if (strcmp(db->prepared[i].name, name) == 0)
			return &db->prepared[i];
	return NULL;
}

/* FNV-1a: tells statements of one program apart. */
static uint64_t digest_of(const char *text)
{
	uint64_t digest = UINT64_C(14695981039346656037);

	for (; *text; text++)
		digest = (digest ^ (unsigned char)*text) * UINT64_C(1099511628211);
	return digest;
}

/* Room to remember one more, before it is prepared: one that is forgotten would be prepared again, which PostgreSQL refuses
 * (42P05). */
static bool room_for_prepared(struct db *db)
{
	size_t room = db->prepared_room ? 2 * db->prepared_room : 32;
	struct prepared *grown;

	if (db->prepared_count < db->prepared_room)
		return true;
	if (!(grown = realloc(db->prepared, room * sizeof *grown)))
		return false;
	db->prepared = grown;
	db->prepared_room = room;
	return true;
}

static enum db_status gone(struct db *db)
{
	const char *why = db->conn ? PQerrorMessage(db->conn) : NULL;

	log_event("error", "database_lost", "message", why && *why ? why : "no answer", NULL);
	leave(db);
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
	const struct prepared *same;
	PGresult *result;

	*out = NULL;
	*error = (struct db_error){ .message = "", .detail = "" };
	if (stmt->params > DB_PARAMS_MAX) {
		error->message = "the statement has more parameters than this program can send";
		return DB_ERROR;
	}
	if (!db_ready(db))
		return DB_GONE;
	for (int i = 0; i < stmt->params; i++) {
		data[i] = values[i].data;
		lengths[i] = values[i].len;
		formats[i] = 1;
	}
	same = prepare ? prepared_as(db, stmt->name) : NULL;
	if (same && same->sql != digest_of(stmt->sql)) {
		error->message = "two statements of this program have one name";
		return DB_ERROR;
	}
	if (prepare && !same) {
		if (!room_for_prepared(db)) {
			log_event("error", "out_of_memory", "statement", stmt->name, NULL);
			return gone(db);
		}
		if (!PQsendPrepare(db->conn, stmt->name, stmt->sql, stmt->params, NULL) || !(result = collect(db)))
			return gone(db);
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			return refuse(db, result, arena, error);
		PQclear(result);
		db->prepared[db->prepared_count++] = (struct prepared){ stmt->name, digest_of(stmt->sql) };
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

enum db_status db_command(struct db *db, const char *command)
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
	enum db_status status = db_command(db, "BEGIN");

	db->in_transaction = status == DB_OK;
	return status;
}

enum db_status db_end(struct db *db, bool commit)
{
	enum db_status status = db_command(db, commit ? "COMMIT" : "ROLLBACK");

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
