/* show.c: see show.h. */
#include "show.h"
#include "buf.h"
#include "cli.h"
#include "error.h"
#include "utf8.h"
#include <json-c/json.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define TEXT_MAX_BYTES (1u << 20) /* of one shown value; answers are smaller than that by far */
#define CELL_MAX 40               /* columns of a cell that is no key */
#define WIDTH_ELSEWHERE 120
#define ITEMS_MAX 20              /* of a list in an object's lines */

int show_width(void)
{
	struct winsize size;

	if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	return WIDTH_ELSEWHERE;
}

/* Columns of the sequence, or -1 where a terminal must not see it. */
static int columns_of(const char *text, size_t len)
{
	static locale_t utf8;
	wchar_t wide = 0;
	mbstate_t state;

	if (!utf8)
		utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
	if (len == 1)
		return (unsigned char)*text < 0x20 || *text == 0x7f ? -1 : 1;
	memset(&state, 0, sizeof state);
	const locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;
	int columns = mbrtowc(&wide, text, len, &state) == len ? wcwidth(wide) : -1;
	if (utf8)
		uselocale(before);
	/* Marks and overrides that turn the direction of what follows. */
	if (wide == 0x200e || wide == 0x200f || (wide >= 0x202a && wide <= 0x202e) || (wide >= 0x2066 && wide <= 0x2069))
		columns = -1;
	return columns;
}

/* Append text, at most max columns of it (0: all), harmless. Returns the columns used. */
static int add_text(struct buf *to, const char *text, int max, bool lines)
{
	const size_t len = strlen(text);
	int used = 0;

	for (size_t at = 0; at < len;) {
		const size_t n = utf8_sequence(text + at, len - at);
		int columns = n ? columns_of(text + at, n) : -1;
		const bool blank = n == 1 && (text[at] == '\n' || text[at] == '\t');
		const bool bad = columns < 0;
		if (bad)
			columns = 1;
		if (max && used + columns > max - (at + (n ? n : 1) < len)) {
			buf_str(to, "…");
			return used + 1;
		}
		if (blank)
			buf_char(to, lines ? text[at] : ' ');
		else if (bad)
			buf_char(to, '?');
		else
			buf_add(to, text + at, n);
		used += columns;
		at += n ? n : 1;
	}
	return used;
}

void show_text(FILE *out, const char *text)
{
	struct buf clean;

	buf_init(&clean, TEXT_MAX_BYTES);
	add_text(&clean, text, 0, true);
	fputs(buf_failed(&clean) || !clean.data ? "" : clean.data, out);
	buf_free(&clean);
}

static void add_value(struct buf *to, struct json_object *value, const char *between, size_t items_max)
{
	switch (json_object_get_type(value)) {
	case json_type_null:
		buf_char(to, '-');
		break;
	case json_type_array: {
		const size_t n = json_object_array_length(value);
		for (size_t i = 0; i < n; i++) {
			if (i)
				buf_str(to, between);
			if (items_max && i == items_max) {
				buf_printf(to, "… %zu more (--json shows all)", n - i);
				break;
			}
			add_value(to, json_object_array_get_idx(value, i), ",", 0);
		}
		if (!n)
			buf_char(to, '-');
		break;
	}
	case json_type_object:
		buf_str(to, json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
		break;
	default:
		buf_str(to, json_object_get_string(value));
	}
}

/* The value in at most max columns (0: all) on one line; its own memory. */
static char *cell(struct json_object *value, int max, int *columns, const char *between, size_t items_max)
{
	struct buf raw, clean;

	buf_init(&raw, TEXT_MAX_BYTES);
	buf_init(&clean, TEXT_MAX_BYTES);
	add_value(&raw, value, between, items_max);
	*columns = add_text(&clean, raw.data && !buf_failed(&raw) ? raw.data : "", max, false);
	buf_free(&raw);
	char *text = strdup(clean.data && !buf_failed(&clean) ? clean.data : "");
	buf_free(&clean);
	return text;
}

char *show_value(struct json_object *value)
{
	int columns;
	return cell(value, 0, &columns, ",", 0);
}

static void pad(FILE *out, int columns)
{
	fprintf(out, "%*s", columns > 0 ? columns : 0, "");
}

/* ---- lists ---- */

struct column {
	const struct field *field;
	char heading[64];
	char **cells;
	int *widths;
	int width;
	int rank;     /* the lower, the sooner it is shown; -1: not at all */
	bool chosen;
};

static bool exists(const struct field *fields, const char *name, size_t len)
{
	for (; fields->name; fields++)
		if (strlen(fields->name) == len && !memcmp(fields->name, name, len))
			return true;
	return false;
}

static int rank(const struct field *fields, const struct field *f)
{
	const size_t len = strlen(f->name);

	if (!strcmp(f->name, "id") || !strcmp(f->name, "name"))
		return 0;
	if (len > 3 && !strcmp(f->name + len - 3, "_id") && exists(fields, f->name, len - 3))
		return 8; /* said twice: account_id beside account */
	if ((f->type == F_JSON && strcmp(f->name, "value")) || f->type == F_SCOPE_LIST || f->type == F_CIDR_LIST || f->type == F_UUID_LIST || f->type == F_HOSTNAME_LIST ||
	    f->type == F_PORT_LIST)
		return 7;
	if (f->type == F_UNICODE || f->type == F_UUID) /* said already; for programs more than for people */
		return 6;
	if (f->flags & F_SEARCH || !strcmp(f->name, "status") || !strcmp(f->name, "at") || !strcmp(f->name, "value"))
		return 1;
	if (f->type == F_ENUM)
		return 2;
	if (f->flags & F_FILTER)
		return 3;
	return f->flags & F_SORT ? 4 : 5;
}

static bool column_fill(struct column *c, struct json_object *rows, size_t n)
{
	bool empty = true;

	snprintf(c->heading, sizeof c->heading, "%s", c->field->name);
	for (char *at = c->heading; *at; at++)
		*at = (char)(*at == '_' ? ' ' : *at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at);
	c->width = (int)strlen(c->heading);
	c->cells = calloc(n ? n : 1, sizeof *c->cells);
	c->widths = calloc(n ? n : 1, sizeof *c->widths);
	if (!c->cells || !c->widths)
		return false;
	for (size_t i = 0; i < n; i++) {
		struct json_object *value = NULL, *row = json_object_array_get_idx(rows, i);
		if (json_object_is_type(row, json_type_object))
			json_object_object_get_ex(row, c->field->name, &value);
		empty = empty && !value;
		c->cells[i] = cell(value, c->rank == 0 ? 0 : CELL_MAX, &c->widths[i], ",", 0);
		if (!c->cells[i])
			return false;
		if (c->widths[i] > c->width)
			c->width = c->widths[i];
	}
	if (empty && n && c->rank > 0)
		c->rank = -1;
	return true;
}

/* What has no number but a name is called by it once. */
static void drop_twin(struct column *columns, size_t n, size_t rows)
{
	struct column *id = NULL, *name = NULL;
	bool same = rows > 0;

	for (size_t i = 0; i < n; i++) {
		id = !strcmp(columns[i].field->name, "id") ? &columns[i] : id;
		name = !strcmp(columns[i].field->name, "name") ? &columns[i] : name;
	}
	for (size_t row = 0; id && name && same && row < rows; row++)
		same = !strcmp(id->cells[row], name->cells[row]);
	if (id && name && same)
		id->rank = -1;
}

/* Sooner ones first, each as long as it fits; the first always. */
static void choose(struct column *columns, size_t n, int width)
{
	int used = -2;

	for (int r = 0; r <= 8; r++)
		for (size_t i = 0; i < n; i++)
			if (columns[i].rank == r && (used < 0 || used + 2 + columns[i].width <= width)) {
				columns[i].chosen = true;
				used += 2 + columns[i].width;
			}
}

static void print_rows(FILE *out, struct column *columns, size_t n, size_t rows)
{
	for (size_t row = 0; row <= rows; row++) {
		int behind = 0; /* blanks owed before the next column, so that no line ends in them */
		for (size_t i = 0; i < n; i++) {
			const struct column *c = &columns[i];
			if (!c->chosen)
				continue;
			pad(out, behind);
			fputs(row ? c->cells[row - 1] : c->heading, out);
			behind = c->width - (row ? c->widths[row - 1] : (int)strlen(c->heading)) + 2;
		}
		fputc('\n', out);
	}
}

static size_t columns_make(struct column *columns, size_t max, const struct field *fields, const char *names)
{
	size_t n = 0;

	if (!names) {
		for (const struct field *f = fields; f->name && n < max; f++)
			if (!(f->flags & (F_SECRET | F_WRITEONLY)) && f->type != F_DATE)
				columns[n++] = (struct column){ .field = f, .rank = rank(fields, f) };
		return n;
	}
	for (const char *at = names; *at && n < max; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ',')) {
		const size_t len = strcspn(at, ",");
		for (const struct field *f = fields; f->name; f++)
			if (strlen(f->name) == len && !memcmp(f->name, at, len))
				columns[n++] = (struct column){ .field = f, .rank = 0, .chosen = true };
	}
	return n;
}

void show_list(FILE *out, const struct field *fields, struct json_object *rows, const char *names, int width)
{
	enum { COLUMNS_MAX = 64 };
	struct column columns[COLUMNS_MAX];
	const size_t n = columns_make(columns, COLUMNS_MAX, fields, names);
	const size_t count = json_object_array_length(rows);
	bool ok = true;

	for (size_t i = 0; i < n && ok; i++)
		ok = column_fill(&columns[i], rows, count);
	if (ok && !names)
		drop_twin(columns, n, count);
	if (ok && !names)
		choose(columns, n, width);
	if (ok)
		print_rows(out, columns, n, count);
	else
		cli_error(CLI_FAILED, "out of memory");
	for (size_t i = 0; i < n; i++) {
		for (size_t row = 0; columns[i].cells && row < count; row++)
			free(columns[i].cells[row]);
		free(columns[i].cells);
		free(columns[i].widths);
	}
}

/* ---- objects ---- */

struct lines {
	FILE *out;   /* NULL: only measure */
	int width;   /* of the names */
};

static void member_lines(struct lines *, const char *name, struct json_object *value);

static bool has_objects(struct json_object *value)
{
	return json_object_is_type(value, json_type_array) && json_object_array_length(value) > 0 &&
	       json_object_is_type(json_object_array_get_idx(value, 0), json_type_object);
}

static void nested_lines(struct lines *lines, const char *outer, const char *inner, struct json_object *value)
{
	char name[256];

	snprintf(name, sizeof name, "%s.%s", outer, inner);
	member_lines(lines, name, value);
}

static void member_lines(struct lines *lines, const char *name, struct json_object *value)
{
	if (json_object_is_type(value, json_type_object) && json_object_object_length(value) > 0) {
		json_object_object_foreach(value, key, inner)
			nested_lines(lines, name, key, inner);
	} else if (has_objects(value)) {
		for (size_t i = 0; i < json_object_array_length(value); i++) {
			char index[24];
			snprintf(index, sizeof index, "%zu", i);
			nested_lines(lines, name, index, json_object_array_get_idx(value, i));
		}
	} else {
		struct buf clean;
		int columns;
		buf_init(&clean, TEXT_MAX_BYTES);
		columns = add_text(&clean, name, 0, false);
		if (columns > lines->width)
			lines->width = columns;
		if (lines->out) {
			int ignored;
			char *text = cell(value, 0, &ignored, ", ", ITEMS_MAX);
			fputs(clean.data ? clean.data : "", lines->out);
			pad(lines->out, lines->width - columns + 2);
			fprintf(lines->out, "%s\n", text ? text : "");
			free(text);
		}
		buf_free(&clean);
	}
}

void show_object(FILE *out, const struct field *fields, struct json_object *object)
{
	static const struct field none = { 0 };
	struct lines lines = { NULL, 0 };

	if (!json_object_is_type(object, json_type_object)) {
		char *text = show_value(object);
		fprintf(out, "%s\n", text ? text : "");
		free(text);
		return;
	}
	if (!fields)
		fields = &none;
	for (int pass = 0; pass < 2; pass++) {
		lines.out = pass ? out : NULL;
		for (const struct field *f = fields; f->name; f++) {
			struct json_object *value;
			if (json_object_object_get_ex(object, f->name, &value))
				member_lines(&lines, f->name, value);
		}
		json_object_object_foreach(object, key, value)
			if (!exists(fields, key, strlen(key)))
				member_lines(&lines, key, value);
	}
}

/* ---- errors ---- */

static struct json_object *member(struct json_object *object, const char *name)
{
	struct json_object *value = NULL;

	if (json_object_is_type(object, json_type_object))
		json_object_object_get_ex(object, name, &value);
	return value;
}

static const struct error_info *info(int status, struct json_object *answer)
{
	const char *code = json_object_get_string(member(member(answer, "error"), "code"));

	for (int i = 0; code && i < ERR_COUNT; i++)
		if (!strcmp(code, error_info((enum error_code)i)->code))
			return error_info((enum error_code)i);
	return error_info(error_from_status(status));
}

int show_exit_code(int status, struct json_object *answer)
{
	return status < 400 ? CLI_OK : info(status, answer)->exit_code;
}

int show_error(FILE *err, int status, struct json_object *answer)
{
	const struct error_info *about = info(status, answer);
	struct json_object *error = member(answer, "error");
	struct json_object *fields = member(error, "fields"), *details = member(error, "details");
	const char *message = json_object_get_string(member(error, "message"));

	fputs("postern: ", err);
	show_text(err, message ? message : about->title);
	fputc('\n', err);
	if (json_object_is_type(fields, json_type_object)) {
		json_object_object_foreach(fields, name, value) {
			fputs("  ", err);
			show_text(err, name);
			fputs(": ", err);
			show_text(err, value ? json_object_get_string(value) : "");
			fputc('\n', err);
		}
	}
	const char *more = details ? json_object_get_string(details) : "";
	if (*more && strcmp(more, about->remedy) != 0) {
		fputs("  ", err);
		show_text(err, more);
		fputc('\n', err);
	}
	if (status >= 500 && member(answer, "request_id"))
		fprintf(err, "  request_id: %s\n", json_object_get_string(member(answer, "request_id")));
	fprintf(err, "  %s\n", about->remedy);
	return about->exit_code;
}
