/* import_outcome.c: see import_private.h. The rows of an import as a table or as JSON. */
#include "import_private.h"
#include "buf.h"
#include "json.h"
#include "show.h"

#include <stdarg.h>
#include <string.h>

#define ITEM_MAX     (1u << 20) /* bytes of one JSON item */
#define MESSAGE_MAX  2048u
#define NAME_COLUMNS 60         /* of a skipped name, which may be a long expression */

void import_message(FILE *err, const char *format, ...)
{
	char text[MESSAGE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	fputs("postern: ", err);
	show_text(err, text);
	fputc('\n', err);
}

enum { DOMAIN = 0, TYPE, ACCOUNT, ROOT, CERTIFICATE, OUTCOME, COLUMNS };

static const char *outcome_text(struct import *im, const struct import_row *row)
{
	const char *file = row->site ? row->site->content.file : row->skip->file;
	unsigned line = row->site ? row->site->content.line : row->skip->line;
	const char *text = NULL;

	switch (row->action) {
	case CREATED:
		text = im->options->dry_run ? "would create" : "create";
		if (row->site->content.kind == SITE_REDIRECT && !row->site->alias_of)
			text = arena_printf(im->arena, "%s, without its redirect (%s:%u)", text, file, line);
		break;
	case EXISTING:
		return "already there";
	case SKIPPED:
		text = arena_printf(im->arena, "skip: %s (%s:%u)", row->reason, file, line);
		break;
	case UNASSIGNED:
		text = arena_printf(im->arena, "unassigned: give --account (%s; %s:%u)", row->reason, file, line);
		break;
	case FAILED:
		text = arena_printf(im->arena, "failed: %s (%s:%u)", row->reason, file, line);
		break;
	case UNDECIDED:
		break;
	}
	return text ? text : "failed";
}

static size_t columns_of(const char *text)
{
	size_t count = 0;

	for (; *text; text++)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

/* A skipped name as it is shown: "" for the server without a name, cut when it is a long expression. */
static const char *shown_name(struct import *im, const char *name)
{
	size_t len = strlen(name);
	const char *cut = name;

	if (!len)
		return "\"\"";
	if (len > NAME_COLUMNS) {
		len = NAME_COLUMNS - 3;
		while (len && ((unsigned char)name[len] & 0xc0) == 0x80)
			len--;
		cut = arena_printf(im->arena, "%.*s...", (int)len, name);
	}
	return cut ? cut : "-";
}

static void row_cells(struct import *im, const struct import_row *row, const char *cells[COLUMNS])
{
	const char *const values[COLUMNS] = {
		row->site ? row->site->name : shown_name(im, row->skip->name),
		row->type, row->account, row->root, row->ssl, outcome_text(im, row)
	};

	for (int c = 0; c < COLUMNS; c++)
		cells[c] = values[c] ? values[c] : "-";
}

static void print_cells(FILE *out, const char *const cells[COLUMNS], const size_t widths[COLUMNS])
{
	for (int c = 0; c < COLUMNS; c++) {
		show_text(out, cells[c]);
		if (c < OUTCOME)
			fprintf(out, "%*s", (int)(widths[c] - columns_of(cells[c])) + 2, "");
	}
	fputc('\n', out);
}

static bool print_table(struct import *im, FILE *out)
{
	static const char *const heads[COLUMNS] = {
		"DOMAIN", "TYPE", "ACCOUNT", "DOCUMENT ROOT", "CERTIFICATE", "WHAT HAPPENS"
	};
	const char *(*cells)[COLUMNS] = arena_array(im->arena, im->row_count, sizeof *cells);
	size_t widths[COLUMNS];

	if (!cells)
		return false;
	for (int c = 0; c < COLUMNS; c++)
		widths[c] = columns_of(heads[c]);
	for (size_t i = 0; i < im->row_count; i++) {
		row_cells(im, &im->rows[i], cells[i]);
		for (int c = 0; c < COLUMNS; c++)
			if (columns_of(cells[i][c]) > widths[c])
				widths[c] = columns_of(cells[i][c]);
	}
	print_cells(out, heads, widths);
	for (size_t i = 0; i < im->row_count; i++)
		print_cells(out, cells[i], widths);
	return true;
}

static void json_text(struct buf *b, const char *name, const char *text)
{
	buf_char(b, ',');
	buf_json(b, name);
	buf_char(b, ':');
	buf_json(b, text);
}

static bool print_json_text(const char *text, FILE *out)
{
	struct buf b;

	buf_init(&b, ITEM_MAX);
	buf_json(&b, text);
	bool complete = !buf_failed(&b);
	if (complete)
		fwrite(b.data, 1, b.len, out);
	buf_free(&b);
	return complete;
}

/* Written by hand: what stands in a configuration need not be UTF-8, which buf_json() mends. */
static bool print_json_row(const struct import_row *row, FILE *out)
{
	static const char *const actions[] = { "failed", "create", "existing", "skip", "unassigned", "failed" };
	const struct site *site = row->site;
	struct buf b;

	buf_init(&b, ITEM_MAX);
	buf_str(&b, "{\"domain\":");
	buf_json(&b, site ? site->name : row->skip->name);
	json_text(&b, "type", row->type);
	json_text(&b, "account", row->account);
	json_text(&b, "document_root", row->root);
	json_text(&b, "ssl_status", row->ssl);
	json_text(&b, "action", actions[row->action]);
	json_text(&b, "reason", row->reason);
	if (site) {
		json_text(&b, "alias_of", site->alias_of ? site->alias_of->name : NULL);
		json_text(&b, "kind", site_kind_name(site->content.kind));
		json_text(&b, "redirect", site->content.redirect);
		json_text(&b, "certificate", site->certificate);
		buf_str(&b, ",\"ports\":[");
		for (size_t i = 0; i < site->port_count; i++)
			buf_printf(&b, "%s%d", i ? "," : "", site->ports[i]);
		buf_char(&b, ']');
	}
	json_text(&b, "file", site ? site->content.file : row->skip->file);
	buf_printf(&b, ",\"line\":%u}", site ? site->content.line : row->skip->line);
	bool complete = !buf_failed(&b);
	if (complete)
		fwrite(b.data, 1, b.len, out);
	buf_free(&b);
	return complete;
}

bool import_print(struct import *im, FILE *out)
{
	size_t count[FAILED + 1] = { 0 }, accounts = 0;
	const bool dry_run = im->options->dry_run;
	bool complete = true;

	for (size_t i = 0; i < im->row_count; i++)
		count[im->rows[i].action]++;
	for (const struct account *a = im->accounts; a; a = a->next)
		accounts += a->created;
	if (im->options->json) {
		fputs("{\"items\":[", out);
		for (size_t i = 0; i < im->row_count && complete; i++) {
			if (i)
				fputc(',', out);
			complete = print_json_row(&im->rows[i], out);
		}
		fputs("],\"warnings\":[", out);
		for (size_t i = 0; i < im->conf->warning_count && complete; i++) {
			if (i)
				fputc(',', out);
			complete = print_json_text(im->conf->warnings[i], out);
		}
		fprintf(out, "],\"created\":%zu,\"existing\":%zu,\"skipped\":%zu,\"unassigned\":%zu,\"failed\":%zu,"
		        "\"accounts_created\":%zu,\"dry_run\":%s}\n", count[CREATED], count[EXISTING], count[SKIPPED],
		        count[UNASSIGNED], count[FAILED], accounts, dry_run ? "true" : "false");
	} else {
		complete = print_table(im, out);
		fprintf(out, "\n%zu %s, %zu already there, %zu skipped, %zu unassigned, %zu failed; %zu account%s %s\n",
		        count[CREATED], dry_run ? "would be created" : "created", count[EXISTING], count[SKIPPED],
		        count[UNASSIGNED], count[FAILED], accounts, accounts == 1 ? "" : "s",
		        dry_run ? "would be created" : "created");
	}
	complete = complete && fflush(out) == 0 && !ferror(out);
	if (count[UNASSIGNED])
		import_message(im->err, "%zu domain%s left out without an account: run again with --account NAME",
		        count[UNASSIGNED], count[UNASSIGNED] == 1 ? " was" : "s were");
	return complete;
}
