/* audit_verify.c: `postern audit verify`: recomputes the trail's every digest, link and signature, from the database or from an
 * export alone, and says what was changed, removed, added, swapped or cut off, and which row is the first. */
#include "cli.h"
#include "hba.h"
#include "json.h"
#include "timestamp.h"
#include "trail.h"
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 2000, SEALS_CHUNK = 50, FINDINGS_SHOWN = 100, SWAPS_MAX = 200, LINE_MAX_BYTES = 64 << 20, MONTHS_PER_YEAR = 12 };

/* What is kept of a row: 72 bytes. */
struct row {
	unsigned char key[TRAIL_KEY], content[TRAIL_HASH];
	uint64_t xid;
	bool sealed, wrong;
};

struct finding { const char *kind; char text[300]; struct trail_key key; bool has_key; };

/* By whose key checkpoints are signed, from the first one on. */
struct signers {
	unsigned char key[TRAIL_PUBLIC];
	EVP_PKEY *public;           /* the same; NULL: none is known yet */
	bool vouched; /* the key that we trust signed since a key was last replaced without its own signature */
	int64_t broken_at;          /* the checkpoint that last did that; 0: none */
	bool named;                 /* a checkpoint has named its key; before December 2026 none did */
	struct early { struct trail_checkpoint c; unsigned char signature[TRAIL_SIGNATURE]; } *early;
	size_t earlies, early_room; /* those of before that are not by the trusted key: theirs is named later */
};

struct verify {
	struct cli *cli;
	unsigned char trusted[TRAIL_PUBLIC];
	struct signers signers;     /* of the checkpoints; the file's are told by themselves */
	int64_t keys;               /* how often the key was changed */
	struct row *rows;
	size_t count, room;
	int64_t gone_before_us;     /* months before that were dropped, as a row of the trail says */
	struct finding findings[FINDINGS_SHOWN];
	size_t found;               /* in all */
	int64_t seals, sealed, checkpoints;
	unsigned char head[TRAIL_HASH];
	/* the newest checkpoint, and that of the file */
	struct trail_checkpoint newest;
	unsigned char newest_digest[TRAIL_HASH];
	int64_t *seal_rows;         /* rows sealed up to each seal, and its hash: what checkpoints refer to */
	unsigned char (*seal_hash)[TRAIL_HASH];
	size_t seal_room;
	/* rows whose sealed digest differs, for telling a swap from changes */
	struct { struct row *row; unsigned char due[TRAIL_HASH]; } wrong[SWAPS_MAX];
	size_t wrongs;
	bool out_of_memory;
	int64_t told_us;
};

static void find(struct verify *v, const char *kind, const struct trail_key *key, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
static void find(struct verify *v, const char *kind, const struct trail_key *key, const char *format, ...)
{
	va_list args;

	if (v->found++ >= FINDINGS_SHOWN)
		return;
	struct finding *f = &v->findings[v->found - 1];
	f->kind = kind;
	f->has_key = key != NULL;
	if (key)
		f->key = *key;
	va_start(args, format);
	vsnprintf(f->text, sizeof f->text, format, args);
	va_end(args);
}

static void progress(struct verify *v, const char *what, int64_t n)
{
	int64_t now = timestamp_now();

	if (now - v->told_us < 1000000)
		return;
	v->told_us = now;
	cli_note(v->cli, "%s: %" PRId64, what, n);
}

/* ---- rows ---- */

/* "202601": what that month's end is, in microseconds since 1970. 0: it is no month. */
static int64_t end_of_month(const char *text)
{
	struct tm t = { 0 };

	if (!text || strlen(text) != 6 || strspn(text, "0123456789") != 6)
		return 0;
	t.tm_year = (int)(strtol(text, NULL, 10) / 100) - 1900;
	t.tm_mon = (int)(strtol(text, NULL, 10) % 100) - 1 + 1;
	t.tm_mday = 1;
	return (int64_t)timegm(&t) * 1000000;
}

static void take_row(struct verify *v, const char *const columns[TRAIL_COLUMNS])
{
	struct trail_key key;
	struct row *row;

	if (v->count == v->room) {
		size_t room = v->room ? 2 * v->room : 1 << 16;
		struct row *grown = reallocarray(v->rows, room, sizeof *grown);

		if (!grown) {
			v->out_of_memory = true;
			return;
		}
		v->rows = grown;
		v->room = room;
	}
	row = &v->rows[v->count];
	*row = (struct row){ .xid = columns[TRAIL_XID] ? strtoull(columns[TRAIL_XID], NULL, 10) : 0 };
	if (!trail_key_of(columns, &key) || !trail_content_hash(columns, row->content)) {
		find(v, "unreadable", NULL, "a row has no numbers where they belong");
		return;
	}
	trail_key_pack(&key, row->key);
	v->count++;
	if (columns[TRAIL_RESOURCE] && columns[TRAIL_VERB] && !strcmp(columns[TRAIL_RESOURCE], "audit") && !strcmp(columns[TRAIL_VERB], "drop") &&
	    end_of_month(columns[TRAIL_OBJECT_ID]) > v->gone_before_us)
		v->gone_before_us = end_of_month(columns[TRAIL_OBJECT_ID]);
	if (v->count % 4096 == 0)
		progress(v, "rows read", (int64_t)v->count);
}

static int by_key(const void *a, const void *b)
{
	return memcmp(((const struct row *)a)->key, ((const struct row *)b)->key, TRAIL_KEY);
}

/* ---- seals ---- */

static void take_seal(struct verify *v, int64_t number, const struct trail_seal *s, const unsigned char stored[TRAIL_HASH])
{
	unsigned char hash[TRAIL_HASH], own[TRAIL_HASH];

	if (number != v->seals + 1)
		find(v, "removed", NULL, number > v->seals + 1 ? "seal %" PRId64 " is missing" : "seal %" PRId64 " is there twice, or out of its order",
		     number > v->seals + 1 ? v->seals + 1 : number);
	if (memcmp(s->before, v->head, TRAIL_HASH) != 0)
		find(v, "reordered", NULL, "seal %" PRId64 " does not follow the one before it", number);
	if (!trail_seal_hash(s, hash) || memcmp(hash, stored, TRAIL_HASH) != 0)
		find(v, "changed", NULL, "seal %" PRId64 " is not what its digest says: its list of rows was changed or reordered", number);
	for (int64_t i = 0; i < s->count; i++) {
		struct row wanted, *row;
		struct trail_key key = trail_key_unpack(s->keys + i * TRAIL_KEY);

		memcpy(wanted.key, s->keys + i * TRAIL_KEY, TRAIL_KEY);
		row = v->count ? bsearch(&wanted, v->rows, v->count, sizeof *v->rows, by_key) : NULL;
		if (!row) {
			if (key.at_us >= v->gone_before_us)
				find(v, "removed", &key, "a sealed row is not there (seal %" PRId64 ")", number);
			continue;
		}
		if (row->sealed)
			find(v, "reordered", &key, "the row is sealed twice, by seal %" PRId64 " again", number);
		row->sealed = true;
		if (!trail_row_hash(row->key, row->content, own) || memcmp(own, s->hashes + i * TRAIL_HASH, TRAIL_HASH) != 0) {
			row->wrong = true;
			if (v->wrongs < SWAPS_MAX) {
				v->wrong[v->wrongs].row = row;
				memcpy(v->wrong[v->wrongs++].due, s->hashes + i * TRAIL_HASH, TRAIL_HASH);
			}
			find(v, "changed", &key, "the row is not what was sealed (seal %" PRId64 ")", number);
		}
	}
	if ((size_t)number >= v->seal_room) {
		size_t room = v->seal_room ? 2 * v->seal_room : 4096;

		while (room <= (size_t)number)
			room *= 2;
		int64_t *rows = reallocarray(v->seal_rows, room, sizeof *rows);
		if (rows)
			v->seal_rows = rows;
		void *hashes = reallocarray(v->seal_hash, room, TRAIL_HASH);
		if (hashes)
			v->seal_hash = hashes;
		if (!rows || !hashes) {
			v->out_of_memory = true;
			return;
		}
		v->seal_room = room;
	}
	v->seals = number;
	v->sealed += s->count;
	memcpy(v->head, stored, TRAIL_HASH);
	v->seal_rows[number] = v->sealed;
	memcpy(v->seal_hash[number], hash, TRAIL_HASH);
	progress(v, "seals checked", number);
}

/* A row that is older than the newest sealed one, but in no seal. */
static void look_for_added(struct verify *v)
{
	uint64_t xid = 0;
	int64_t id = 0;

	for (size_t i = 0; i < v->count; i++) {
		int64_t own = trail_key_unpack(v->rows[i].key).id;

		if (v->rows[i].sealed && !v->rows[i].wrong && (v->rows[i].xid > xid || (v->rows[i].xid == xid && own > id))) {
			xid = v->rows[i].xid;
			id = own;
		}
	}
	for (size_t i = 0; i < v->count; i++) {
		struct trail_key key = trail_key_unpack(v->rows[i].key);

		if (!v->rows[i].sealed && (v->rows[i].xid < xid || (v->rows[i].xid == xid && key.id < id)))
			find(v, "added", &key, "no seal knows the row, though later ones are sealed");
	}
}

/* ---- checkpoints ---- */

/* One of before checkpoints named their keys, which the trusted key has not signed. */
static bool keep_early(struct signers *s, const struct trail_checkpoint *c,
                       const unsigned char signature[TRAIL_SIGNATURE])
{
	if (s->earlies == s->early_room) {
		size_t room = s->early_room ? 2 * s->early_room : 64;
		struct early *grown = reallocarray(s->early, room, sizeof *grown);

		if (!grown)
			return false;
		s->early = grown;
		s->early_room = room;
	}
	s->early[s->earlies].c = *c;
	memcpy(s->early[s->earlies++].signature, signature, TRAIL_SIGNATURE);
	return true;
}

/* Are those by the key that is named now (NULL: none ever was)? */
static void look_at_early(struct verify *v, struct signers *s, EVP_PKEY *key)
{
	char text[TRAIL_TEXT_MAX];

	for (size_t i = 0; i < s->earlies; i++) {
		size_t len = trail_checkpoint_text(&s->early[i].c, text);

		if (!key || !trail_verify(key, text, len, s->early[i].signature))
			find(v, "forged", NULL,
			     "the signature of checkpoint %" PRId64 " is not by the key that the trail goes on with",
			     s->early[i].c.number);
	}
	free(s->early);
	s->early = NULL;
	s->earlies = s->early_room = 0;
}

static bool know_signer(struct signers *s, const unsigned char key[TRAIL_PUBLIC])
{
	EVP_PKEY_free(s->public);
	memcpy(s->key, key, TRAIL_PUBLIC);
	return (s->public = trail_public_of(key)) != NULL;
}

/*
 * Is the checkpoint signed by the key that those before it lead to? A checkpoint that names the next key is signed by
 * the one of before, which so vouches for it; where that was lost it is signed by the next one itself, and only who
 * trusts that one, or a later one, may trust the trail. What a checkpoint signs it binds with all before it, so trust
 * in a later key holds for what earlier ones signed.
 */
static bool signed_well(struct verify *v, struct signers *s, const struct trail_checkpoint *c, const char *text,
                        const unsigned char signature[TRAIL_SIGNATURE])
{
	bool good, replaced = false;

	if (!c->keyed && !c->changes && !s->named) {
		good = (s->public || know_signer(s, v->trusted)) &&
		       trail_verify(s->public, text, strlen(text), signature);
		s->vouched |= good;
		if (!good && !keep_early(s, c, signature))
			v->out_of_memory = true;
		return true;
	}
	if (c->keyed && !s->named) {
		s->named = true;
		if (s->earlies && !s->vouched && !know_signer(s, c->key))
			v->out_of_memory = true;
		look_at_early(v, s, s->public);
	}
	if (!s->public && !know_signer(s, c->keyed ? c->key : v->trusted))
		v->out_of_memory = true;
	good = s->public && (!c->keyed || memcmp(c->key, s->key, TRAIL_PUBLIC) == 0);
	if (good && !trail_verify(s->public, text, strlen(text), signature)) {
		EVP_PKEY *next = c->changes ? trail_public_of(c->next) : NULL;

		good = replaced = next && trail_verify(next, text, strlen(text), signature);
		EVP_PKEY_free(next);
	}
	if (replaced) {
		s->vouched = false;
		s->broken_at = c->number;
	}
	if (good && c->changes && !know_signer(s, c->next))
		v->out_of_memory = true;
	if (good && !c->changes)
		s->vouched |= memcmp(s->key, v->trusted, TRAIL_PUBLIC) == 0;
	else if (good)
		s->vouched |= memcmp(replaced ? c->next : c->key, v->trusted, TRAIL_PUBLIC) == 0;
	return good;
}

/* Every checkpoint is by the key before it; is any of them by the one that we were given? */
static void look_for_trust(struct verify *v, struct signers *s, const char *where)
{
	look_at_early(v, s, NULL);
	if (!s->public || s->vouched)
		return;
	if (s->broken_at)
		find(v, "forged", NULL,
		     "%scheckpoint %" PRId64
		     " replaces a key without its signature, and the key that is trusted signed nothing since: "
		     "if you lost the old key, give the new one with --key",
		     where, s->broken_at);
	else
		find(v, "forged", NULL, "no %scheckpoint is signed by the key that is trusted", where);
}

static void take_checkpoint(struct verify *v, const char *text, const unsigned char signature[TRAIL_SIGNATURE])
{
	struct trail_checkpoint c;

	if (!trail_checkpoint_parse(text, &c)) {
		find(v, "changed", NULL, "checkpoint %" PRId64 " is no checkpoint", v->checkpoints + 1);
		v->checkpoints++;
		return;
	}
	if (!signed_well(v, &v->signers, &c, text, signature))
		find(v, "forged", NULL,
		     "the signature of checkpoint %" PRId64 " is not by the key that those before it lead to",
		     c.number);
	v->keys += c.changes;
	if (c.number != v->newest.number + 1)
		find(v, "removed", NULL, "checkpoint %" PRId64 " is missing", v->newest.number + 1);
	else if (memcmp(c.before, v->newest_digest, TRAIL_HASH) != 0)
		find(v, "changed", NULL, "checkpoint %" PRId64 " does not follow the one before it", c.number);
	if (c.seal > v->seals)
		find(v, "truncated", NULL, "checkpoint %" PRId64 " signs seal %" PRId64 ", but seals end at %" PRId64, c.number, c.seal, v->seals);
	else if (c.seal < 1 || memcmp(c.head, v->seal_hash[c.seal], TRAIL_HASH) != 0 || c.rows != v->seal_rows[c.seal])
		find(v, "rewritten", NULL, "checkpoint %" PRId64 " signs another seal %" PRId64 " than the one there is", c.number, c.seal);
	v->newest = c;
	v->checkpoints++;
	EVP_Q_digest(NULL, "SHA256", NULL, text, strlen(text), v->newest_digest, NULL);
}

/* {"text":…,"signature":hex}; false: the line is none. */
static bool checkpoint_of(struct json_object *line, const char **text, unsigned char signature[TRAIL_SIGNATURE])
{
	struct json_object *t = NULL, *s = NULL;

	if (!json_object_object_get_ex(line, "text", &t) || !json_object_object_get_ex(line, "signature", &s) ||
	    !json_object_is_type(t, json_type_string) || !json_object_is_type(s, json_type_string))
		return false;
	*text = json_object_get_string(t);
	return trail_unhex(json_object_get_string(s), signature, TRAIL_SIGNATURE);
}

/* The copy outside the database: what it has signed must be there. */
static int take_file(struct verify *v, const char *path, bool asked_for)
{
	FILE *file = fopen(path, "re");
	struct trail_checkpoint c, last = { 0 };
	struct signers signers = { 0 };
	unsigned char signature[TRAIL_SIGNATURE];
	char *line = NULL;
	size_t size = 0, number = 0;
	ssize_t len;

	if (!file && (asked_for || errno != ENOENT)) {
		if (asked_for)
			return cli_error(CLI_FAILED, "%s: %s", path, strerror(errno));
		cli_note(v->cli, "%s cannot be read (%s): truncation at the end is not looked for", path, strerror(errno));
		return CLI_OK;
	}
	if (!file) {
		cli_note(v->cli, "there is no file of checkpoints (%s): truncation at the end is not looked for", path);
		return CLI_OK;
	}
	while ((len = getline(&line, &size, file)) > 0) {
		const char *why, *text = NULL;
		size_t at;
		struct json_object *json = json_parse(line, (size_t)len, &why, &at);

		number++;
		if (!json || !checkpoint_of(json, &text, signature) || !trail_checkpoint_parse(text, &c) ||
		    !signed_well(v, &signers, &c, text, signature))
			find(v, "forged", NULL,
			     "line %zu of the file of checkpoints is none that the key has signed which those before "
			     "it lead to",
			     number);
		else if (c.number != last.number + 1)
			find(v, "removed", NULL, "the file of checkpoints lacks number %" PRId64, last.number + 1);
		else if (c.seal <= v->seals && (memcmp(c.head, v->seal_hash[c.seal], TRAIL_HASH) != 0 || c.rows != v->seal_rows[c.seal]))
			find(v, "rewritten", NULL, "the file's checkpoint %" PRId64 " signs another seal %" PRId64 " than the one there is", c.number, c.seal);
		if (json && text)
			last = c;
		json_object_put(json);
	}
	free(line);
	fclose(file);
	look_for_trust(v, &signers, "file's ");
	EVP_PKEY_free(signers.public);
	if (last.seal > v->seals)
		find(v, "truncated", NULL, "the file of checkpoints knows seal %" PRId64 " (%" PRId64 " rows), but seals end at %" PRId64 " (%" PRId64 " rows)",
		     last.seal, last.rows, v->seals, v->sealed);
	else if (last.number > v->newest.number)
		find(v, "truncated", NULL, "the file knows checkpoint %" PRId64 ", but they end at %" PRId64, last.number, v->newest.number);
	return CLI_OK;
}

/* ---- from the database ---- */

static int64_t number_at(const PGresult *r, int row, int column)
{
	return strtoll(PQgetvalue(r, row, column), NULL, 10);
}

static PGresult *ask(PGconn *db, const char *sql, int n, const char *const *values, int format)
{
	PGresult *result = PQexecParams(db, sql, n, NULL, values, NULL, NULL, format);

	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		return result;
	cli_error(CLI_FAILED, "%s", PQresultErrorMessage(result));
	PQclear(result);
	return NULL;
}

static int read_rows(struct verify *v, PGconn *db)
{
	char account[24] = "-1", at[24] = "0", id[24] = "0", max[12];
	const char *values[] = { account, at, id, max };

	snprintf(max, sizeof max, "%d", CHUNK);
	for (int n = CHUNK; n == CHUNK;) {
		PGresult *r = ask(db, "SELECT * FROM seals.read_rows($1::bigint, $2::bigint, $3::bigint, $4::int)", 4, values, 0);

		if (!r)
			return CLI_FAILED;
		n = PQntuples(r);
		for (int i = 0; i < n; i++) {
			const char *columns[TRAIL_COLUMNS];

			for (int c = 0; c < TRAIL_COLUMNS; c++)
				columns[c] = PQgetisnull(r, i, c) ? NULL : PQgetvalue(r, i, c);
			take_row(v, columns);
		}
		if (n) {
			snprintf(account, sizeof account, "%s", PQgetvalue(r, n - 1, TRAIL_ACCOUNT_ID));
			snprintf(at, sizeof at, "%s", PQgetvalue(r, n - 1, TRAIL_AT));
			snprintf(id, sizeof id, "%s", PQgetvalue(r, n - 1, TRAIL_ID));
		}
		PQclear(r);
	}
	return CLI_OK;
}

static int64_t int_of(const PGresult *r, int row, int column)
{
	const unsigned char *bytes = (const unsigned char *)PQgetvalue(r, row, column);
	uint64_t n = 0;

	for (int i = 0; i < PQgetlength(r, row, column); i++)
		n = n << 8 | bytes[i];
	return (int64_t)n;
}

static int read_seals(struct verify *v, PGconn *db)
{
	char after[24] = "0", max[12];
	const char *values[] = { after, max };

	snprintf(max, sizeof max, "%d", SEALS_CHUNK);
	for (int n = SEALS_CHUNK; n == SEALS_CHUNK;) {
		PGresult *r = ask(db, "SELECT number, count, keys, hashes, before, hash FROM seals.read_seals($1::bigint, $2::int)", 2, values, 1);

		if (!r)
			return CLI_FAILED;
		n = PQntuples(r);
		for (int i = 0; i < n; i++) {
			struct trail_seal s = { int_of(r, i, 0), int_of(r, i, 1), (const unsigned char *)PQgetvalue(r, i, 2),
				                (const unsigned char *)PQgetvalue(r, i, 3), (const unsigned char *)PQgetvalue(r, i, 4) };

			if (PQgetlength(r, i, 2) == s.count * TRAIL_KEY && PQgetlength(r, i, 3) == s.count * TRAIL_HASH &&
			    PQgetlength(r, i, 4) == TRAIL_HASH && PQgetlength(r, i, 5) == TRAIL_HASH)
				take_seal(v, s.number, &s, (const unsigned char *)PQgetvalue(r, i, 5));
			else
				find(v, "changed", NULL, "seal %" PRId64 " has lost bytes", s.number);
			snprintf(after, sizeof after, "%" PRId64, s.number);
		}
		PQclear(r);
	}
	return CLI_OK;
}

static int read_checkpoints(struct verify *v, PGconn *db)
{
	char after[24] = "0";
	const char *values[] = { after };

	for (int n = 1; n;) {
		PGresult *r = ask(db, "SELECT number::text, text, encode(signature, 'hex') FROM seals.read_checkpoints($1::bigint, 1000)", 1, values, 0);

		if (!r)
			return CLI_FAILED;
		n = PQntuples(r);
		for (int i = 0; i < n; i++) {
			unsigned char signature[TRAIL_SIGNATURE] = { 0 };

			trail_unhex(PQgetvalue(r, i, 2), signature, TRAIL_SIGNATURE);
			take_checkpoint(v, PQgetvalue(r, i, 1), signature);
			snprintf(after, sizeof after, "%" PRId64, number_at(r, i, 0));
		}
		PQclear(r);
	}
	return CLI_OK;
}

static int from_database(struct verify *v, const struct config *config)
{
	PGconn *db = hba_login(config, "cli", NULL);
	int rc = CLI_OK;

	if (PQstatus(db) != CONNECTION_OK)
		rc = cli_unreachable(PQerrorMessage(db), NULL);
	else /* one look at all of it: what is sealed while this runs is not seen by half */
		PQclear(PQexec(db, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
	if (rc == CLI_OK)
		rc = read_rows(v, db);
	if (rc == CLI_OK) {
		qsort(v->rows, v->count, sizeof *v->rows, by_key);
		rc = read_seals(v, db);
	}
	if (rc == CLI_OK)
		rc = read_checkpoints(v, db);
	PQfinish(db);
	return rc;
}

/* ---- from an export alone ---- */

/* A row's member as the text that was sealed: the export has numbers and null as JSON has them, and times as RFC 3339. */
static bool column_text(struct json_object *line, int column, char *number, size_t size, const char **out)
{
	struct json_object *value = NULL;
	int64_t us;

	*out = NULL;
	if (!json_object_object_get_ex(line, trail_column_names[column], &value) || !value)
		return true;
	if (column == TRAIL_AT) {
		if (!timestamp_parse(json_object_get_string(value), &us))
			return false;
		snprintf(number, size, "%" PRId64, us);
		*out = number;
	} else if (json_object_is_type(value, json_type_int)) {
		snprintf(number, size, "%" PRId64, json_object_get_int64(value));
		*out = number;
	} else if (json_object_is_type(value, json_type_string)) {
		*out = json_object_get_string(value);
	} else {
		return false;
	}
	return true;
}

static void row_of_line(struct verify *v, struct json_object *line)
{
	const char *columns[TRAIL_COLUMNS];
	char numbers[TRAIL_COLUMNS][24];

	for (int i = 0; i < TRAIL_COLUMNS; i++)
		if (!column_text(line, i, numbers[i], sizeof numbers[i], &columns[i])) {
			find(v, "unreadable", NULL, "row %zu of the export: %s is neither text nor number", v->count + 1, trail_column_names[i]);
			return;
		}
	take_row(v, columns);
}

static unsigned char *hex_member(struct json_object *line, const char *name, size_t bytes)
{
	struct json_object *value = NULL;
	unsigned char *out = malloc(bytes + 1);

	if (out && json_object_object_get_ex(line, name, &value) && json_object_is_type(value, json_type_string) &&
	    trail_unhex(json_object_get_string(value), out, bytes))
		return out;
	free(out);
	return NULL;
}

static void seal_of_line(struct verify *v, struct json_object *line)
{
	struct json_object *number = NULL, *count = NULL;
	struct trail_seal s = { 0 };
	unsigned char *keys, *hashes, *before, *hash;

	json_object_object_get_ex(line, "number", &number);
	json_object_object_get_ex(line, "count", &count);
	s.number = json_object_get_int64(number);
	s.count = json_object_get_int64(count);
	if (s.count < 1 || s.count > 1000000)
		s.count = 0;
	keys = hex_member(line, "keys", (size_t)s.count * TRAIL_KEY);
	hashes = hex_member(line, "hashes", (size_t)s.count * TRAIL_HASH);
	before = hex_member(line, "before", TRAIL_HASH);
	hash = hex_member(line, "hash", TRAIL_HASH);
	s.keys = keys;
	s.hashes = hashes;
	s.before = before;
	if (s.count && keys && hashes && before && hash)
		take_seal(v, s.number, &s, hash);
	else
		find(v, "changed", NULL, "seal %" PRId64 " of the export has lost bytes", s.number);
	free(keys);
	free(hashes);
	free(before);
	free(hash);
}

/* The lines: rows, then {"seal":{…}}, then {"checkpoint":{…}}, then {"count":N}. */
static int from_export(struct verify *v, const char *path)
{
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char *line = NULL;
	size_t size = 0, number = 0;
	ssize_t len;
	int64_t counted = -1;
	bool sorted = false;
	int rc = CLI_OK;

	if (!file)
		return cli_error(CLI_FAILED, "%s: %s", path, strerror(errno));
	while (rc == CLI_OK && (len = getline(&line, &size, file)) > 0) {
		const char *why = NULL, *text;
		unsigned char signature[TRAIL_SIGNATURE];
		size_t at;
		struct json_object *json = NULL, *part = NULL;

		number++;
		if (len <= LINE_MAX_BYTES)
			json = json_parse(line, (size_t)len, &why, &at);
		if (!json || counted >= 0) {
			rc = cli_error(CLI_INVALID, "%s: line %zu is no line of an NDJSON export%s%s", path, number, why ? ": " : "", why ? why : "");
		} else if (json_object_object_get_ex(json, "seal", &part)) {
			if (!sorted)
				qsort(v->rows, v->count, sizeof *v->rows, by_key);
			sorted = true;
			seal_of_line(v, part);
		} else if (json_object_object_get_ex(json, "checkpoint", &part)) {
			if (checkpoint_of(part, &text, signature))
				take_checkpoint(v, text, signature);
			else
				find(v, "changed", NULL, "checkpoint %" PRId64 " of the export is none", v->checkpoints + 1);
		} else if (json_object_object_get_ex(json, "count", &part) && json_object_object_length(json) == 1) {
			counted = json_object_get_int64(part);
		} else {
			row_of_line(v, json);
		}
		json_object_put(json);
	}
	free(line);
	if (file != stdin)
		fclose(file);
	if (rc != CLI_OK)
		return rc;
	if (counted < 0)
		return cli_error(CLI_INVALID, "%s: the last line, which states the count, is missing: the export was cut off", path);
	if (counted != (int64_t)v->count)
		find(v, "removed", NULL, "the export says that it has %" PRId64 " rows; there are %zu", counted, v->count);
	if (!v->seals)
		return cli_error(CLI_INVALID, "%s: there are no seals in it; make it with postern audit export, without filters", path);
	return CLI_OK;
}

/* ---- the verdict ---- */

/* Two changed rows, each with the content that the other should have: they changed places. */
static void look_for_swaps(struct verify *v)
{
	for (size_t a = 0; a < v->wrongs; a++)
		for (size_t b = a + 1; b < v->wrongs; b++) {
			const struct row *one = v->wrong[a].row, *two = v->wrong[b].row;
			unsigned char first[TRAIL_HASH], second[TRAIL_HASH];

			if (!trail_row_hash(one->key, two->content, first) || !trail_row_hash(two->key, one->content, second) ||
			    memcmp(first, v->wrong[a].due, TRAIL_HASH) != 0 || memcmp(second, v->wrong[b].due, TRAIL_HASH) != 0)
				continue;
			for (size_t i = 0; i < v->found && i < FINDINGS_SHOWN; i++) {
				struct finding *f = &v->findings[i];
				int64_t id = trail_key_unpack(one->key).id, other = trail_key_unpack(two->key).id;

				if (!f->has_key || (f->key.id != id && f->key.id != other))
					continue;
				f->kind = "swapped";
				snprintf(f->text, sizeof f->text, "it has the content of row %" PRId64, f->key.id == id ? other : id);
			}
		}
}

static void when(int64_t us, char out[TIMESTAMP_TEXT_MAX])
{
	timestamp_format(us, out);
}

static struct json_object *finding_json(const struct finding *f)
{
	struct json_object *o = json_object_new_object();
	char at[TIMESTAMP_TEXT_MAX];

	json_object_object_add(o, "kind", json_object_new_string(f->kind));
	json_object_object_add(o, "finding", json_object_new_string(f->text));
	if (f->has_key) {
		when(f->key.at_us, at);
		json_object_object_add(o, "id", json_object_new_int64(f->key.id));
		json_object_object_add(o, "at", json_object_new_string(at));
		json_object_object_add(o, "account_id", json_object_new_int64(f->key.account_id));
	}
	return o;
}

static int report(struct verify *v)
{
	size_t shown = v->found < FINDINGS_SHOWN ? v->found : FINDINGS_SHOWN, open = 0;
	char at[TIMESTAMP_TEXT_MAX];

	for (size_t i = 0; i < v->count; i++)
		open += !v->rows[i].sealed;
	if (v->cli->json) {
		struct json_object *all = json_object_new_object(), *list = json_object_new_array();

		for (size_t i = 0; i < shown; i++)
			json_object_array_add(list, finding_json(&v->findings[i]));
		json_object_object_add(all, "intact", json_object_new_boolean(!v->found));
		json_object_object_add(all, "rows", json_object_new_int64((int64_t)v->count));
		json_object_object_add(all, "not_sealed", json_object_new_int64((int64_t)open));
		json_object_object_add(all, "seals", json_object_new_int64(v->seals));
		json_object_object_add(all, "checkpoints", json_object_new_int64(v->checkpoints));
		json_object_object_add(all, "key_changes", json_object_new_int64(v->keys));
		json_object_object_add(all, "findings", json_object_new_int64((int64_t)v->found));
		json_object_object_add(all, "data", list);
		puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(all);
		return v->found ? CLI_FAILED : CLI_OK;
	}
	for (size_t i = 0; i < shown; i++) {
		const struct finding *f = &v->findings[i];

		printf("%-10s %s", f->kind, f->text);
		if (f->has_key) {
			when(f->key.at_us, at);
			printf(": row %" PRId64 " of %s, account %" PRId64, f->key.id, at, f->key.account_id);
		}
		putchar('\n');
	}
	if (v->found > shown)
		printf("… and %zu more\n", v->found - shown);
	printf("%s: %zu rows (%zu not sealed yet), %" PRId64 " seals, %" PRId64 " checkpoints\n", v->found ? "NOT INTACT" : "intact", v->count, open,
	       v->seals, v->checkpoints);
	if (!v->found && v->checkpoints)
		when(v->newest.at_us, at), printf("signed up to row %" PRId64 " at %s\n", v->newest.rows, at);
	if (!v->found && v->keys)
		printf("changes of the key: %" PRId64 "\n", v->keys);
	return v->found ? CLI_FAILED : CLI_OK;
}

static const struct option options[] = {
        {.name = "export",
         .value = "FILE",
         .about = "An unfiltered NDJSON export instead of the database; - is standard input"},
        {.name = "key",
         .value = "FILE",
         .about = "A public key of the trail's, an earlier one or the last; default: the setting audit_public_key"},
        {.name = "checkpoints",
         .value = "FILE",
         .about = "The copy of the checkpoints; default: the setting audit_checkpoints, but for an export"},
        {.name = ""}};

static int run(struct cli *cli, int argc, char **argv)
{
	const char *values[3], *words[1], *why = NULL, *key;
	struct verify v = { .cli = cli, .gone_before_us = INT64_MIN, .told_us = timestamp_now() };
	EVP_PKEY *public;
	bool known;
	size_t n;
	int rc = option_parse(options, argc, argv, values, words, &n, 0, "audit verify");
	const struct config *config = rc || (values[0] && values[1]) ? NULL : cli_config(cli);

	if (rc || (!config && !(values[0] && values[1])))
		return rc ? rc : CLI_FAILED;
	key = values[1] ? values[1] : config->audit_public_key;
	public = trail_public_key(key, &why);
	known = public && trail_public_bytes(public, v.trusted);
	EVP_PKEY_free(public);
	if (!known)
		return cli_error(CLI_FAILED, "%s: %s\nThe setting audit_public_key, or --key, names the public key.", key, why);
	rc = values[0] ? from_export(&v, values[0]) : from_database(&v, config);
	if (rc == CLI_OK && v.out_of_memory)
		rc = cli_error(CLI_FAILED, "out of memory: 72 bytes are kept of each row");
	if (rc == CLI_OK) {
		look_for_trust(&v, &v.signers, "");
		look_for_added(&v);
	}
	if (rc == CLI_OK && (values[2] || !values[0]))
		rc = take_file(&v, values[2] ? values[2] : config->audit_checkpoints, values[2] != NULL);
	if (rc == CLI_OK)
		look_for_swaps(&v);
	if (rc == CLI_OK)
		rc = report(&v);
	EVP_PKEY_free(v.signers.public);
	free(v.rows);
	free(v.seal_rows);
	free(v.seal_hash);
	return rc;
}

const struct command command_audit_verify = {
	"audit verify", run, "audit verify [--export FILE --key FILE] [--checkpoints FILE]", "Recompute the audit trail's digests, links and signatures",
	options,
	"Tells rows that were changed, removed, added or swapped, and seals that were rewritten or cut off; the first finding is the first "
	"row at fault. Works without a database from an export and the public key alone. Ends with 0 when the trail is intact, with 1 when it is not.",
	"audit verify\naudit verify --export trail.ndjson --key audit.pub\n"
};
