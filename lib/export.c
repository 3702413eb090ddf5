/* export.c: see export.h. */
#include "export.h"

#include <stdio.h>
#include <string.h>

#include "db.h"
#include "reading.h"
#include "row.h"
#include "timestamp.h"

enum { CHUNK_ROWS = 2000, LINES_MAX = 64 << 20, HAND_OVER = 32 << 10 };

bool export_csv(const struct request *r)
{
	struct json_object *format = NULL;

	json_object_object_get_ex(r->query.input, "format", &format);
	return format && strcmp(json_object_get_string(format), "csv") == 0;
}

/* Where the next chunk begins, and where all end. Each outlives the chunk that it was read from. */
struct place { char at[TIMESTAMP_TEXT_MAX], id[24], until[TIMESTAMP_TEXT_MAX]; };

static enum db_status ask(const struct request *r, struct db *db, const char *args, struct arena *arena, PGresult **result)
{
	struct db_value values[4];
	struct db_error error;
	bool local = r->caller.local;
	struct db_stmt stmt = {
		.name = "export", .params = local ? 1 : 4, .columns = 3,
		.sql = arena_printf(arena, local ? "SELECT * FROM \"%s\".local_export($1::text::jsonb)"
		                                 : "SELECT * FROM \"%s\".export($1::text, $2::bytea, $3::bigint, $4::text::jsonb)", r->resource->name)
	};

	values[0] = db_text(r->key_id);
	values[1] = db_bytes(r->digest, r->digest_len);
	values[2] = db_int8(arena, r->caller.ticket);
	values[local ? 0 : 3] = db_text(args);
	return stmt.sql && args ? db_run(db, &stmt, values, result, arena, &error) : DB_ERROR;
}

/* One chunk, by a connection that is the export's own. Without rows: that was all. */
static enum db_status read_chunk(const struct request *r, struct db *db, const struct place *place, struct arena *arena, PGresult **result)
{
	struct request step = *r;

	step.arena = arena;
	step.query.per_page = CHUNK_ROWS;
	step.query.page = 0;
	step.query.descending = false;
	if (*place->until)
		step.query.until = place->until;
	step.query.cursor = *place->id ? place->id : NULL;
	step.position = (struct position){ .value = place->at, .id = place->id };
	return ask(r, db, reading_list(&step), arena, result);
}

/* The export ends at the time of its first chunk, or earlier where it was asked to. */
static void set_end(const struct request *r, const PGresult *result, struct place *place)
{
	int64_t asked, now = db_get_timestamp(result, 0, 1, 0);

	if (r->query.until && timestamp_parse(r->query.until, &asked) && asked < now)
		now = asked;
	timestamp_format(now, place->until);
}

static void names_line(const struct field *fields, struct buf *out)
{
	for (const struct field *f = fields; f->name; f++) {
		if (f != fields)
			buf_char(out, ',');
		buf_str(out, f->name);
	}
	buf_str(out, "\r\n");
}

static bool hand_over(struct buf *out, const struct sink *sink)
{
	bool taken = !buf_failed(out) && (!out->len || sink->write(sink->to, out->data, out->len));

	buf_clear(out);
	return taken;
}

/* The lines of a chunk. The place moves to its last row. */
static const char *write_chunk(const struct request *r, const PGresult *result, struct arena *arena, struct buf *out,
                               const struct sink *sink, struct place *place)
{
	const struct field *fields = r->route->output;
	bool csv = export_csv(r);
	int n = PQntuples(result);
	struct row row;
	const char *at, *id;

	for (int i = 0; i < n; i++) {
		row = (struct row){ (const unsigned char *)PQgetvalue(result, i, 0), (size_t)PQgetlength(result, i, 0) };
		if (!(csv ? row_csv(out, fields, &row) : row_json_open(out, fields, &row)))
			return "a row is not what the table of fields says; run postern migrate";
		buf_str(out, csv ? "\r\n" : "}\n");
		if ((out->len >= HAND_OVER || i + 1 == n) && !hand_over(out, sink))
			return "nobody takes it any more";
	}
	at = row_value(arena, fields, &row, r->query.sort);
	id = row_value(arena, fields, &row, "id");
	if (!at || !id || strlen(at) >= sizeof place->at || strlen(id) >= sizeof place->id)
		return "a row has no place in the order";
	memcpy(place->at, at, strlen(at) + 1);
	memcpy(place->id, id, strlen(id) + 1);
	return NULL;
}

/* What follows the rows where none was left out, line by line as the database has it; each chunk begins after a place that the
 * one before ended with. NULL, or why it was cut. */
static const char *write_tail(const struct request *r, struct db *db, const struct place *end, struct arena *arena, struct buf *out, const struct sink *sink)
{
	char after[64] = "";
	const char *why = NULL;
	PGresult *result;

	for (int n = 1; n > 0 && !why; arena_reset(arena)) {
		/* places are the database's own words: nothing in them to escape */
		if (ask(r, db, arena_printf(arena, "{\"tail\":\"%s\",\"until\":\"%s\"}", after, end->until), arena, &result) != DB_OK)
			return "the database did not give what follows the rows";
		n = PQntuples(result);
		for (int i = 0; i < n && !why; i++) {
			buf_add(out, PQgetvalue(result, i, 0), (size_t)PQgetlength(result, i, 0));
			buf_char(out, '\n');
			if ((out->len >= HAND_OVER || i + 1 == n) && !hand_over(out, sink))
				why = "nobody takes it any more";
		}
		if (n > 0)
			snprintf(after, sizeof after, "%.*s", PQgetlength(result, n - 1, 2), PQgetvalue(result, n - 1, 2));
		PQclear(result);
	}
	return why;
}

bool export_write(struct request *r, const struct sink *sink, int64_t *rows, const char **why)
{
	struct db *db = db_new(r->config, r->caller.local ? "cli" : r->resource->name);
	struct arena *arena = arena_new();
	struct place place = { "", "", "" };
	PGresult *result;
	struct buf out;
	int n = 0;

	*rows = 0;
	*why = db && arena ? NULL : "out of memory";
	buf_init(&out, LINES_MAX);
	if (export_csv(r))
		names_line(r->route->output, &out);
	while (!*why) {
		if (read_chunk(r, db, &place, arena, &result) != DB_OK) {
			*why = "the database did not give the rows";
			break;
		}
		if ((n = PQntuples(result)) > 0) {
			if (!*place.until)
				set_end(r, result, &place);
			*why = write_chunk(r, result, arena, &out, sink, &place);
			*rows += n;
		}
		PQclear(result);
		arena_reset(arena);
		if (n == 0)
			break;
		if (!*why && !sink->step(sink->to, *rows))
			*why = "nobody takes it any more";
	}
	if (!*why && *place.until && !export_csv(r) && !r->query.filter && !r->query.search && !r->query.since)
		*why = write_tail(r, db, &place, arena, &out, sink);
	if (!*why) {
		buf_printf(&out, export_csv(r) ? "# %lld rows\r\n" : "{\"count\":%lld}\n", (long long)*rows);
		if (!hand_over(&out, sink))
			*why = "nobody takes it any more";
	}
	buf_free(&out);
	arena_free(arena);
	db_free(db);
	return !*why;
}
