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
#define WIDTH_LEAST 6             /* what a column is cut to at most */
#define ITEMS_MAX 20              /* of a list in an object's lines */

int show_width(void)
{
	struct winsize size;

	if (!isatty(STDOUT_FILENO))
		return 0;
	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* ---- colour ---- */

static bool has_colour(FILE *out)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return !(no && *no) && !(term && !strcmp(term, "dumb")) && isatty(fileno(out));
}

/* Green: it is as it should be. Red: it is not. Yellow: it is on its way, or kept from it. */
static const char *colour_of(const char *name, const char *value)
{
	static const struct { const char *colour, *words; } colours[] = {
		{ "\033[32m", " active succeeded ok allowed running applied " },
		{ "\033[31m", " error failed not_found denied finding revoked expired down critical partial " },
		{ "\033[33m", " pending queued reloading activating deactivating inactive deleting suspended expiring cancelled unproven warning skipped degraded " },
	};
	char word[40];

	if (strcmp(name, "status") != 0 && strcmp(name, "state") != 0 && strcmp(name, "outcome") != 0)
		return NULL;
	if (snprintf(word, sizeof word, " %s ", value) < (int)sizeof word)
		for (size_t i = 0; i < sizeof colours / sizeof *colours; i++)
			if (strstr(colours[i].words, word))
				return colours[i].colour;
	return NULL;
}

void show_word(FILE *out, const char *name, const char *word)
{
	const char *colour = has_colour(out) ? colour_of(name, word) : NULL;

	fprintf(out, "%s%s%s", colour ? colour : "", word, colour ? "\033[0m" : "");
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

void show_cut(FILE *out, const char *text, int columns)
{
	struct buf clean;

	buf_init(&clean, TEXT_MAX_BYTES);
	add_text(&clean, text, columns, false);
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
	case json_type_boolean:
		buf_str(to, json_object_get_boolean(value) ? "yes" : "no");
		break;
	default: /* no cell is blank, so that words can be counted */
		buf_str(to, *json_object_get_string(value) ? json_object_get_string(value) : "-");
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
	int heading_width;
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
	if (f->flags & F_SEARCH || !strcmp(f->name, "status") || !strcmp(f->name, "at") || !strcmp(f->name, "time") || !strcmp(f->name, "value"))
		return 1;
	if (f->type == F_ENUM)
		return 2;
	if (f->flags & F_FILTER)
		return 3;
	return f->flags & F_SORT ? 4 : 5;
}

/* max: columns of a cell that is no key; 0: whole. */
static bool column_fill(struct column *c, struct json_object *rows, size_t n, int max)
{
	bool empty = true;

	snprintf(c->heading, sizeof c->heading, "%s", c->field->name);
	for (char *at = c->heading; *at; at++)
		*at = (char)(*at == '_' ? ' ' : *at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at);
	c->width = c->heading_width = (int)strlen(c->heading);
	c->cells = calloc(n ? n : 1, sizeof *c->cells);
	c->widths = calloc(n ? n : 1, sizeof *c->widths);
	if (!c->cells || !c->widths)
		return false;
	for (size_t i = 0; i < n; i++) {
		struct json_object *value = NULL, *row = json_object_array_get_idx(rows, i);
		if (json_object_is_type(row, json_type_object))
			json_object_object_get_ex(row, c->field->name, &value);
		empty = empty && !value;
		c->cells[i] = cell(value, c->rank == 0 ? 0 : max, &c->widths[i], ",", 0);
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

/* Sooner ones first, each as long as it fits; the first always. width 0: all. Returns how many are left out. */
static size_t choose(struct column *columns, size_t n, int width)
{
	int used = -2;
	size_t left_out = 0;

	for (int r = 0; r <= 8; r++)
		for (size_t i = 0; i < n; i++)
			if (columns[i].rank == r && (used < 0 || !width || used + 2 + columns[i].width <= width)) {
				columns[i].chosen = true;
				used += 2 + columns[i].width;
			} else if (columns[i].rank == r) {
				left_out++;
			}
	return left_out;
}

/* What is too wide for the terminal is cut, the widest column first. */
static void narrow(struct column *columns, size_t n, size_t rows, int width)
{
	for (;;) {
		struct column *widest = NULL;
		int used = -2;

		for (size_t i = 0; i < n; i++)
			if (columns[i].chosen) {
				used += 2 + columns[i].width;
				widest = !widest || columns[i].width > widest->width ? &columns[i] : widest;
			}
		if (used <= width || widest->width <= WIDTH_LEAST)
			break;
		widest->width--;
	}
	for (size_t i = 0; i < n; i++) {
		struct column *c = &columns[i];
		struct buf cut;

		if (!c->chosen)
			continue;
		for (size_t row = 0; row <= rows; row++) {
			char *text = row < rows ? c->cells[row] : c->heading;

			if ((row < rows ? c->widths[row] : c->heading_width) <= c->width)
				continue;
			buf_init(&cut, TEXT_MAX_BYTES);
			const int now = add_text(&cut, text, c->width, false);
			if (!buf_failed(&cut) && cut.data && row < rows) {
				free(c->cells[row]);
				c->cells[row] = strdup(cut.data);
				c->widths[row] = now;
			} else if (!buf_failed(&cut) && cut.data) {
				snprintf(c->heading, sizeof c->heading, "%s", cut.data);
				c->heading_width = now;
			}
			buf_free(&cut);
		}
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
			if (row)
				show_word(out, c->field->name, c->cells[row - 1] ? c->cells[row - 1] : "");
			else
				fputs(c->heading, out);
			behind = c->width - (row ? c->widths[row - 1] : c->heading_width) + 2;
		}
		fputc('\n', out);
	}
}

/* As many as there can be: all fields, or one for each name. */
static size_t columns_room(const struct field *fields, const char *names)
{
	size_t room = 1;

	for (const struct field *f = fields; f->name; f++)
		room++;
	return room + (names ? strlen(names) : 0);
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

size_t show_list(FILE *out, const struct field *fields, struct json_object *rows, const char *names, int width)
{
	const size_t room = columns_room(fields, names);
	struct column *columns = calloc(room, sizeof *columns);
	const size_t n = columns ? columns_make(columns, room, fields, names) : 0;
	const size_t count = json_object_array_length(rows);
	size_t left_out = 0;
	bool ok = columns;

	for (size_t i = 0; i < n && ok; i++)
		ok = column_fill(&columns[i], rows, count, width ? CELL_MAX : 0);
	if (ok && !names)
		drop_twin(columns, n, count);
	if (ok && !names)
		left_out = choose(columns, n, width);
	if (ok && width)
		narrow(columns, n, count, width);
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
	free(columns);
	return left_out;
}

void show_values(FILE *out, struct json_object *object, const char *names)
{
	for (const char *at = names; *at;) {
		const size_t len = strcspn(at, ",");
		struct json_object *value = NULL;
		char name[64];

		snprintf(name, sizeof name, "%.*s", (int)len, at);
		json_object_object_get_ex(object, name, &value);
		const char *text = !value ? "" : json_object_is_type(value, json_type_string) ? json_object_get_string(value)
		                 : json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
		if (isatty(fileno(out)))
			show_text(out, text);
		else
			fputs(text, out);
		at += len + (at[len] == ',');
		fputc(*at ? '\t' : '\n', out);
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
			show_word(lines->out, name, text ? text : "");
			fputc('\n', lines->out);
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

/* What the answer says in terms of the API is said in terms of the command: cascade=true is --cascade. */
static void add_in_words(struct buf *to, const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz_";

	for (bool within = false; *text;) {
		const size_t len = within ? 0 : strspn(text, letters);

		if (len && !strncmp(text + len, "=true", 5) && !strchr(letters, text[len + 5] ? text[len + 5] : ' ')) {
			buf_str(to, "--");
			for (size_t i = 0; i < len; i++)
				buf_char(to, text[i] == '_' ? '-' : text[i]);
			text += len + 5;
		} else {
			within = strchr(letters, *text) != NULL;
			buf_char(to, *text++);
		}
	}
}

struct json_object *show_in_words(const char *text)
{
	struct json_object *said;
	struct buf words;

	buf_init(&words, TEXT_MAX_BYTES);
	add_in_words(&words, text);
	said = json_object_new_string(words.data && !buf_failed(&words) ? words.data : text);
	buf_free(&words);
	return said;
}

/* "name: text" is said once where it is the message as well. */
static bool said_already(const char *message, const char *name, const char *text)
{
	const size_t len = strlen(name);

	return message && !strncmp(message, name, len) && !strncmp(message + len, ": ", 2) && !strcmp(message + len + 2, text);
}

static void sentence(FILE *err, const char *before, const char *name, const char *text)
{
	fputs(before, err);
	if (name) {
		show_text(err, name);
		fputs(": ", err);
	}
	show_text(err, text);
	fputc('\n', err);
}

int show_error(FILE *err, int status, struct json_object *answer)
{
	const struct error_info *about = info(status, answer);
	struct json_object *error = member(answer, "error");
	struct json_object *fields = member(error, "fields"), *details = member(error, "details");
	struct json_object *message = show_in_words(member(error, "message") ? json_object_get_string(member(error, "message")) : about->title);
	struct json_object *more = show_in_words(details ? json_object_get_string(details) : "");
	const char *said = json_object_get_string(message);

	if (!strcmp(json_object_get_string(more), about->remedy)) /* its own stands for it */
		json_object_set_string(more, "");
	if (cli_wants_json()) {
		struct json_object *all = json_object_new_object(), *inner = json_object_new_object();

		json_object_object_add(inner, "code", json_object_new_string(about->code));
		json_object_object_add(inner, "message", json_object_get(message));
		json_object_object_add(inner, "details", *json_object_get_string(more) ? json_object_get(more)
		                                                                       : json_object_new_string(about->command_remedy));
		if (fields)
			json_object_object_add(inner, "fields", json_object_get(fields));
		json_object_object_add(all, "error", inner);
		if (member(answer, "request_id"))
			json_object_object_add(all, "request_id", json_object_get(member(answer, "request_id")));
		fprintf(err, "%s\n", json_object_to_json_string_ext(all, SHOW_JSON));
		json_object_put(all);
	} else {
		sentence(err, "postern: ", NULL, said);
		if (json_object_is_type(fields, json_type_object)) {
			json_object_object_foreach(fields, name, value) {
				struct json_object *text = show_in_words(value ? json_object_get_string(value) : "");
				if (!said_already(said, name, json_object_get_string(text)))
					sentence(err, "  ", name, json_object_get_string(text));
				json_object_put(text);
			}
		}
		if (*json_object_get_string(more))
			sentence(err, "  ", NULL, json_object_get_string(more));
		if (status >= 500 && member(answer, "request_id"))
			fprintf(err, "  request_id: %s\n", json_object_get_string(member(answer, "request_id")));
		fprintf(err, "  %s\n", about->command_remedy);
	}
	json_object_put(message);
	json_object_put(more);
	return about->exit_code;
}
