/* reading.c: see reading.h. */
#include "reading.h"

#include <string.h>

/* As sql/functions/10_gate.sql (gate.list_query) wants them. */
const char *reading_list(const struct request *r)
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
		char pattern[2048] = "%"; /* 200 characters of four bytes, some of them escaped */
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
		const char *column = "at";

		for (const struct field *f = r->resource->fields; f->name; f++)
			if (strcmp(f->name, "updated_at") == 0 || strcmp(f->name, "time") == 0)
				column = f->name;
		buf_printf(&out, ",\"since_column\":\"%s\"", column);
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

struct reading reading_of(struct request *r)
{
	const struct query *q = &r->query;
	struct reading reading = { "", r->id, 0, NULL };

	if (r->route->does == DO_LIST) {
		bool plain = !q->ordered && !q->filter && !q->search && !q->since && !q->until && !r->resource->cursor_only;

		reading.limit = q->per_page + 1;
		if (plain && q->cursor) {
			reading.op = "next";
			reading.id = r->position.id;
		} else if (plain && q->page > 0) {
			reading.op = "page";
			reading.id = arena_printf(r->arena, "%lld", (long long)(q->page - 1) * q->per_page);
		} else {
			reading.op = "list";
			reading.id = NULL;
			reading.args = reading_list(r);
		}
	} else if (r->route->does == DO_GET) {
		reading.op = "get";
	} else if (r->route->does == DO_READ) {
		reading.op = r->route->call ? r->route->call : ""; /* "": what it answers is not in the database */
		reading.args = "{}";
	}
	return reading;
}
