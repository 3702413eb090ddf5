/* sealer.c: see sealer.h. */
#include "sealer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "timestamp.h"

enum { ROWS_A_SEAL = 1000, RETAIN_S = 3600, LEASE_S = 60, TELL_S = 3600 };
#define SECOND ((int64_t)1000000)

static const struct db_stmt last = { "seals_last", "SELECT * FROM seals.last()", 0, 6 };
static const struct db_stmt elect = {
	"seals_elect", "SELECT seals.elect($1::text, $2::text, $3::text, $4::int)", 4, 1
};
static const struct db_stmt unsealed = { "unsealed", "SELECT * FROM seals.unsealed($1::int)", 1, TRAIL_COLUMNS };
static const struct db_stmt add = {
	"seals_add", "SELECT seals.add($1::bigint, $2::int, $3::bytea, $4::bytea, $5::bytea, $6::bytea, $7::text, $8::bigint)", 8, 1
};
static const struct db_stmt add_checkpoint = { "checkpoint", "SELECT seals.add_checkpoint($1::bigint, $2::text, $3::bytea)", 3, 1 };
static const struct db_stmt read_checkpoints = { "read_checkpoints", "SELECT * FROM seals.read_checkpoints($1::bigint, $2::int)", 2, 3 };
static const struct db_stmt drop = { "drop_months", "SELECT seals.drop_months($1::int)", 1, 1 };

void sealer_open(struct sealer *s, const char *node, const char *machine)
{
	*s = (struct sealer){ .node = node, .machine = machine };
}

void sealer_close(struct sealer *s)
{
	EVP_PKEY_free(s->key);
	s->key = NULL;
}

/* What the trail's newest seal and checkpoint are. */
struct head {
	int64_t number, rows, checkpoint;
	unsigned char hash[TRAIL_HASH];
	char text[TRAIL_TEXT_MAX];
	unsigned char signature[TRAIL_SIGNATURE];
};
static bool read_head(struct db *db, struct arena *arena, struct head *h)
{
	PGresult *result = NULL;
	bool good = db_ran(db, &last, NULL, &result, arena) && PQntuples(result) == 1 && PQgetlength(result, 0, 1) == TRAIL_HASH;

	if (good) {
		h->number = db_get_int8(result, 0, 0, 0);
		memcpy(h->hash, PQgetvalue(result, 0, 1), TRAIL_HASH);
		h->rows = db_get_int8(result, 0, 2, 0);
		h->checkpoint = db_get_int8(result, 0, 3, 0);
		snprintf(h->text, sizeof h->text, "%s", db_get_text(result, 0, 4) ? db_get_text(result, 0, 4) : "");
		if (PQgetlength(result, 0, 5) == TRAIL_SIGNATURE)
			memcpy(h->signature, PQgetvalue(result, 0, 5), TRAIL_SIGNATURE);
	}
	PQclear(result);
	return good;
}

/* ---- by which key, and who ---- */

/* Take a file's key if it is the one that the trail goes on with. */
static bool adopt(struct sealer *s, const char *path, const struct head *h, const char **why)
{
	EVP_PKEY *key = trail_private_key(path, why);

	if (!key || (h->checkpoint && !trail_key_follows(key, h->text, h->signature))) {
		EVP_PKEY_free(key);
		return false;
	}
	EVP_PKEY_free(s->key);
	s->key = key;
	return true;
}

/*
 * Have the key that the next checkpoint is to be signed by: ours, the file's, or the one that a checkpoint named
 * (postern audit rotate-key leaves it beside, and from here on it is the key). False with the reason in s->fault.
 */
static bool have_key(struct sealer *s, const struct config *config, const struct head *h)
{
	char path[PATH_MAX], next[PATH_MAX + 8];
	const char *why = NULL, *wrong = NULL;
	EVP_PKEY *public;
	bool named = false;

	snprintf(path, sizeof path, "%s/audit.key", config->worker_dir);
	snprintf(next, sizeof next, "%s.next", path);
	if (s->key && (!h->checkpoint || trail_key_follows(s->key, h->text, h->signature)))
		return true;
	EVP_PKEY_free(s->key);
	s->key = NULL;
	if (!adopt(s, path, h, &wrong) && !(named = h->checkpoint && adopt(s, next, h, &why))) {
		if (h->checkpoint) {
			snprintf(s->fault, sizeof s->fault,
			         "%s%s%s. Put the audit.key of the posternd that signed checkpoint %" PRId64
			         " into its worker_dir; if this posternd was started by mistake, end it; if the key is lost: "
			         "postern audit rotate-key --lost",
			         path, wrong ? ": " : " ", wrong ? wrong : "is not the key that the trail goes on with",
			         h->checkpoint);
		} else if (access(path, F_OK) == 0) {
			snprintf(s->fault, sizeof s->fault, "%s: %s", path, wrong);
		} else if ((public = trail_public_key(config->audit_public_key, &why))) {
			EVP_PKEY_free(public);
			snprintf(s->fault, sizeof s->fault,
			         "%s is there, but not its private key, %s: put that there; if nothing was signed by "
			         "it, remove the file, and a pair is made",
			         config->audit_public_key, path);
		}
		return !*s->fault; /* whoever is elected makes the pair */
	}
	if (!trail_publish(s->key, config->audit_public_key, &why))
		log_event("error", "audit_public_key", "path", config->audit_public_key, "message", why, NULL);
	else if (named && rename(next, path) != 0)
		log_event("error", "audit_key", "path", path, "message", strerror(errno), NULL); /* found beside again */
	else if (named)
		log_event("info", "audit_key_changed", "public", config->audit_public_key, "message",
		          "keep a copy of it elsewhere", NULL);
	return true;
}

/* A pair for a trail that has no checkpoint yet. */
static bool make_key(struct sealer *s, const struct config *config)
{
	char path[PATH_MAX];
	const char *why = NULL;

	snprintf(path, sizeof path, "%s/audit.key", config->worker_dir);
	if ((s->key = trail_make_key(path, &why)) && trail_publish(s->key, config->audit_public_key, &why))
		return true;
	log_event("error", "no_sealing", "key", path, "public", config->audit_public_key, "message", why, NULL);
	return false;
}

/* Are we the one that seals? */
static bool elected(struct sealer *s, const struct config *config, struct db *db, struct arena *arena,
                    const struct head *h, int64_t now)
{
	char was[sizeof s->fault];
	PGresult *result = NULL;
	bool yes;

	memcpy(was, s->fault, sizeof was);
	*s->fault = '\0';
	if (!have_key(s, config, h) && (strcmp(was, s->fault) != 0 || now >= s->told_us)) {
		log_event("error", "no_sealing", "node", s->node, "message", s->fault, NULL);
		s->told_us = now + TELL_S * SECOND;
	}
	struct db_value values[] = {
		db_text(s->node), db_text(s->machine), db_text(*s->fault ? s->fault : NULL),
		db_int4(arena, config->audit_seal_s + LEASE_S)
	};
	yes = db_ran(db, &elect, values, &result, arena) && PQntuples(result) == 1 && PQgetvalue(result, 0, 0)[0] == 1;
	PQclear(result);
	return yes && (s->key || make_key(s, config));
}

/* ---- seals and checkpoints ---- */

/* One seal of the rows of a result. */
static bool seal_rows(struct db *db, struct arena *arena, struct head *h, const PGresult *rows)
{
	int count = PQntuples(rows);
	unsigned char *keys = arena_array(arena, (size_t)count, TRAIL_KEY), *hashes = arena_array(arena, (size_t)count, TRAIL_HASH);
	const char *columns[TRAIL_COLUMNS];
	struct trail_key key = { 0 };
	struct trail_seal seal = { h->number + 1, count, keys, hashes, h->hash };
	unsigned char hash[TRAIL_HASH];
	PGresult *result = NULL;

	if (!keys || !hashes)
		return false;
	for (int i = 0; i < count; i++) {
		for (int c = 0; c < TRAIL_COLUMNS; c++)
			columns[c] = db_get_text(rows, i, c);
		if (!trail_key_of(columns, &key) || !trail_content_hash(columns, hash))
			return false;
		trail_key_pack(&key, keys + (size_t)i * TRAIL_KEY);
		if (!trail_row_hash(keys + (size_t)i * TRAIL_KEY, hash, hashes + (size_t)i * TRAIL_HASH))
			return false;
	}
	if (!trail_seal_hash(&seal, hash))
		return false;
	struct db_value values[] = {
		db_int8(arena, seal.number), db_int4(arena, count), db_bytes(keys, (size_t)count * TRAIL_KEY), db_bytes(hashes, (size_t)count * TRAIL_HASH),
		db_bytes(h->hash, TRAIL_HASH), db_bytes(hash, TRAIL_HASH), db_text(columns[TRAIL_XID]), db_int8(arena, key.id)
	};
	if (!db_ran(db, &add, values, &result, arena))
		return false;
	PQclear(result);
	h->number++;
	h->rows += count;
	memcpy(h->hash, hash, TRAIL_HASH);
	return true;
}

/* The same checkpoint in a file, where whoever changes the database does not reach it: appended, and on disk before it counts. */
static bool append(const char *path, const char *text, const unsigned char signature[TRAIL_SIGNATURE])
{
	char hex[2 * TRAIL_SIGNATURE + 1];
	struct buf line;
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
	bool good;

	trail_hex(signature, TRAIL_SIGNATURE, hex);
	buf_init(&line, 4096);
	buf_str(&line, "{\"text\":");
	buf_json(&line, text);
	buf_printf(&line, ",\"signature\":\"%s\"}\n", hex);
	good = fd >= 0 && !buf_failed(&line) && write(fd, line.data, line.len) == (ssize_t)line.len && fdatasync(fd) == 0;
	if (!good)
		log_event("error", "checkpoint_file", "path", path, "message", strerror(errno), NULL);
	if (fd >= 0)
		close(fd);
	buf_free(&line);
	return good;
}

/* The number of the file's last checkpoint; 0: there is none; -1: it cannot be read. */
static int64_t last_in_file(const char *path)
{
	char tail[4 * TRAIL_TEXT_MAX + 1], *number = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	if (size > (off_t)sizeof tail - 1)
		lseek(fd, size - (off_t)(sizeof tail - 1), SEEK_SET);
	else
		lseek(fd, 0, SEEK_SET);
	n = read(fd, tail, sizeof tail - 1);
	close(fd);
	if (n <= 0)
		return n;
	tail[n] = '\0';
	for (char *at = tail; (at = strstr(at, "\\nnumber ")); at += 9)
		number = at + 9;
	return number ? strtoll(number, NULL, 10) : -1;
}

/* Bring the file up to what the database has: also what a kill between the two has left out. */
static void copy_checkpoints(const struct config *config, struct db *db, struct arena *arena, int64_t newest)
{
	int64_t in_file = last_in_file(config->audit_checkpoints);
	struct db_value values[] = { db_int8(arena, in_file), db_int4(arena, 1000) };
	PGresult *result = NULL;

	if (in_file < 0 || in_file > newest) {
		log_event("error", "checkpoint_file", "path", config->audit_checkpoints, "message", in_file < 0 ? "cannot be read"
		          : "knows later checkpoints than the database; was that restored? run postern audit verify, then move the file away", NULL);
		return;
	}
	if (in_file < newest && db_ran(db, &read_checkpoints, values, &result, arena))
		for (int i = 0; i < PQntuples(result); i++)
			if (PQgetlength(result, i, 2) != TRAIL_SIGNATURE ||
			    !append(config->audit_checkpoints, db_get_text(result, i, 1), (const unsigned char *)PQgetvalue(result, i, 2)))
				break;
	PQclear(result);
}

static void sign(struct sealer *s, const struct config *config, struct db *db, struct arena *arena, const struct head *h)
{
	struct trail_checkpoint c = { .number = h->checkpoint + 1, .seal = h->number, .rows = h->rows, .at_us = timestamp_now() }, present;
	unsigned char signature[TRAIL_SIGNATURE];
	char text[TRAIL_TEXT_MAX];
	size_t len;
	PGresult *result = NULL;

	if (*h->text && trail_checkpoint_parse(h->text, &present) && present.seal == h->number) { /* nothing new */
		copy_checkpoints(config, db, arena, h->checkpoint);
		return;
	}
	memcpy(c.head, h->hash, TRAIL_HASH);
	c.keyed = trail_public_bytes(s->key, c.key);
	if (*h->text && !EVP_Q_digest(NULL, "SHA256", NULL, h->text, strlen(h->text), c.before, NULL))
		return;
	len = trail_checkpoint_text(&c, text);
	if (!trail_sign(s->key, text, len, signature))
		return;
	struct db_value values[] = { db_int8(arena, c.number), db_text(text), db_bytes(signature, TRAIL_SIGNATURE) };
	if (db_ran(db, &add_checkpoint, values, &result, arena))
		copy_checkpoints(config, db, arena, c.number);
	PQclear(result);
}

bool sealer_round(struct sealer *s, const struct config *config, struct db *db, struct arena *arena, int64_t now)
{
	PGresult *rows = NULL, *result = NULL;
	struct db_value batch[] = { db_int4(arena, ROWS_A_SEAL) }, months[] = { db_int4(arena, config->audit_months) };
	struct head h;
	bool more = false;

	if (now < s->seal_us)
		return false;
	s->seal_us = now + (int64_t)(config->audit_seal_s < LEASE_S ? config->audit_seal_s : LEASE_S) * SECOND;
	if (!read_head(db, arena, &h) || !elected(s, config, db, arena, &h, now))
		return false;
	s->seal_us = now + (int64_t)config->audit_seal_s * SECOND;
	if (!db_ran(db, &unsealed, batch, &rows, arena))
		return false;
	if (PQntuples(rows) > 0 && seal_rows(db, arena, &h, rows) && PQntuples(rows) == ROWS_A_SEAL) {
		more = true;
		s->seal_us = now;
	}
	PQclear(rows);
	if (now >= s->checkpoint_us && !more) {
		s->checkpoint_us = now + (int64_t)config->audit_checkpoint_s * SECOND;
		if (read_head(db, arena, &h) && h.number > 0)
			sign(s, config, db, arena, &h);
	}
	if (now >= s->retain_us) {
		s->retain_us = now + RETAIN_S * SECOND;
		if (config->audit_months && db_ran(db, &drop, months, &result, arena) && db_get_int4(result, 0, 0, 0) > 0)
			log_event("info", "audit_months_dropped", NULL);
		PQclear(result);
	}
	return more;
}
