/*
 * apache_lines.c: see apache_reader.h. Line by line as in Apache's own reader: a backslash at its end continues a line,
 * variables are replaced before it is cut into words.
 */
#include "apache_reader.h"

#include "arena.h"

#include <string.h>
#include <strings.h>

#define MACROS_MAX    1000u

/* --- lines --- */

bool apache_is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

const struct define *apache_find_define(const struct apache *a, const char *name, size_t len)
{
	for (const struct define *d = a->defines; d; d = d->next)
		if (strlen(d->name) == len && strncmp(d->name, name, len) == 0)
			return d;
	return NULL;
}

const char *apache_value(const struct apache *a, const char *name, size_t len)
{
	const struct define *d = apache_find_define(a, name, len);

	return d ? d->value : NULL;
}

/* Add a line's text; ${NAME} becomes its value where it has one. */
static void add_text(struct parser *p, const char *text, size_t len)
{
	struct apache *a = p->own;

	for (size_t i = 0; i < len;) {
		const char *end = text[i] == '$' && i + 1 < len && text[i + 1] == '{' ? memchr(text + i, '}', len - i) : NULL;
		const char *value = end ? apache_value(a, text + i + 2, (size_t)(end - text) - i - 2) : NULL;
		if (value) {
			if (!sites_spend(p, a->define_count + strlen(value)))
				p->stopped = true;
			buf_str(&a->line, value);
			i = (size_t)(end - text) + 1;
		} else {
			buf_char(&a->line, text[i++]);
		}
	}
}

/* The next line that says something, without its continuations' backslashes. False at the end. */
static bool next_line(struct parser *p, struct lexer *lx)
{
	struct apache *a = p->own;

	while (lx->pos < lx->len && !p->stopped) {
		bool more = true;
		lx->start = lx->line;
		buf_clear(&a->line);
		while (more && lx->pos < lx->len) {
			const char *begin = lx->text + lx->pos, *newline = memchr(begin, '\n', lx->len - lx->pos);
			size_t len = newline ? (size_t)(newline - begin) : lx->len - lx->pos;
			lx->pos += len + (newline != NULL);
			lx->line += newline != NULL;
			if (len && begin[len - 1] == '\r')
				len--;
			more = len && begin[len - 1] == '\\';
			add_text(p, begin, len - more);
		}
		if (buf_failed(&a->line)) {
			sites_warn(p, lx->file, lx->start, "the line is too long and is left out", NULL);
			continue;
		}
		const char *text = a->line.data ? a->line.data : "";
		while (apache_is_space(*text))
			text++;
		if (*text && *text != '#')
			return true;
	}
	return false;
}

static void add_word(struct parser *p, const struct lexer *lx, const char *begin, size_t len, char quote)
{
	if (p->word_count == SITES_WORDS_MAX) {
		if (!p->words_dropped)
			sites_warn(p, lx->file, lx->start, "the directive has too many words, the last ones are left out", NULL);
		p->words_dropped = true;
		return;
	}
	p->word[p->word_count++] = p->text.len;
	for (size_t i = 0; i < len; i++) {
		if (begin[i] == '\\' && i + 1 < len && (begin[i + 1] == '\\' || (quote && begin[i + 1] == quote)))
			i++;
		buf_char(&p->text, begin[i]);
	}
	buf_char(&p->text, '\0');
}

enum line apache_next_words(struct parser *p, struct lexer *lx)
{
	struct apache *a = p->own;
	enum line kind = DIRECTIVE;

	p->word_count = 0;
	p->words_dropped = false;
	buf_clear(&p->text);
	if (!next_line(p, lx))
		return AT_END;
	char *at = a->line.data, *end = at + strlen(at);
	while (apache_is_space(*at))
		at++;
	while (end > at && apache_is_space(end[-1]))
		end--;
	if (*at == '<') {
		kind = at[1] == '/' ? SECTION_END : SECTION;
		at += kind == SECTION_END ? 2 : 1;
		if (kind == SECTION_END && strchr(at, '>')) /* what stands behind it means nothing to the server */
			end = strchr(at, '>') + 1;
		if (end > at && end[-1] == '>')
			end--;
		else
			sites_warn(p, lx->file, lx->start, "a \">\" is missing", NULL);
	}
	for (;;) {
		while (at < end && apache_is_space(*at))
			at++;
		if (at >= end)
			break;
		char quote = *at == '"' || *at == '\'' ? *at++ : '\0';
		const char *begin = at;
		while (at < end && (quote ? *at != quote : !apache_is_space(*at)))
			at += *at == '\\' && at + 1 < end && (at[1] == '\\' || (quote && at[1] == quote)) ? 2 : 1;
		if (quote && at >= end)
			sites_warn(p, lx->file, lx->start, "a quoted word is not closed", NULL);
		add_word(p, lx, begin, (size_t)(at - begin), quote);
		at += quote && at < end;
	}
	if (buf_failed(&p->text))
		p->word_count = 0;
	return kind;
}

bool apache_is(const struct parser *p, const char *name)
{
	return strcasecmp(sites_word(p, 0), name) == 0;
}

/* --- variables and macros --- */

void apache_define(struct parser *p, const struct lexer *lx, const char *name, const char *value)
{
	struct apache *a = p->own;

	if (a->define_count == APACHE_DEFINES_MAX) {
		sites_stop(p, lx, "there are too many variables");
		return;
	}
	struct define *d = sites_need(p, arena_alloc(p->arena, sizeof *d));
	if (!d)
		return;
	*d = (struct define){ sites_keep(p, name), value ? sites_keep(p, value) : NULL, a->defines };
	if (d->name) {
		a->defines = d;
		a->define_count++;
	}
}

/* Does this line of the text begin with </Macro? */
static bool ends_macro(const char *line, const char *end)
{
	static const char mark[] = "</macro";

	while (line < end && apache_is_space(*line))
		line++;
	return (size_t)(end - line) >= sizeof mark - 1 && strncasecmp(line, mark, sizeof mark - 1) == 0;
}

void apache_read_macro(struct parser *p, struct lexer *lx)
{
	struct apache *a = p->own;
	size_t begin = lx->pos, end = lx->len;
	unsigned start = lx->start;

	while (lx->pos < lx->len && end == lx->len) {
		const char *line = lx->text + lx->pos, *newline = memchr(line, '\n', lx->len - lx->pos);
		const char *after = newline ? newline + 1 : lx->text + lx->len;
		if (ends_macro(line, after))
			end = lx->pos;
		lx->pos = (size_t)(after - lx->text);
		lx->line += newline != NULL;
	}
	if (end == lx->len)
		sites_warn(p, lx->file, start, "the text ends within a macro", NULL);
	if (p->word_count < 2)
		return;
	if (a->macro_count == MACROS_MAX || p->word_count - 2 > APACHE_PARAMS_MAX) {
		sites_warn(p, lx->file, start, "there are too many macros or parameters, this one is left out", sites_word(p, 1));
		return;
	}
	struct macro *m = sites_need(p, arena_alloc(p->arena, sizeof *m));
	if (!m)
		return;
	*m = (struct macro){ .name = sites_keep(p, sites_word(p, 1)), .len = end - begin, .next = a->macros };
	m->text = sites_need(p, arena_strndup(p->arena, lx->text + begin, m->len));
	for (size_t i = 2; i < p->word_count; i++)
		if (*sites_word(p, i))
			m->param[m->param_count++] = sites_keep(p, sites_word(p, i));
	if (p->no_memory)
		return;
	m->len = strlen(m->text); /* a NUL ends it */
	a->macros = m;
	a->macro_count++;
}

/* The parameter that the text begins with, the longest where there are several; param_count when none. */
static size_t param_at(const struct macro *m, const char *text)
{
	size_t best = m->param_count, best_len = 0;

	for (size_t i = 0; i < m->param_count; i++) {
		size_t len = strlen(m->param[i]);
		if (len > best_len && strncmp(text, m->param[i], len) == 0) {
			best = i;
			best_len = len;
		}
	}
	return best;
}

void apache_use_macro(struct parser *p, struct lexer *lx, enum place place, struct block *b)
{
	struct apache *a = p->own;
	const struct macro *m = a->macros;
	struct buf text;

	while (m && strcasecmp(m->name, sites_word(p, 1)) != 0)
		m = m->next;
	if (!m) {
		sites_warn(p, lx->file, lx->start, "there is no such macro", sites_word(p, 1));
		return;
	}
	if (!sites_spend(p, m->len * (m->param_count + 1))) {
		sites_stop(p, lx, "macros are used too often");
		return;
	}
	buf_init(&text, SITES_LINE_MAX);
	for (const char *c = m->text; *c;) {
		size_t i = param_at(m, c);
		if (i < m->param_count) {
			buf_str(&text, sites_word(p, i + 2));
			c += strlen(m->param[i]);
		} else {
			buf_char(&text, *c++);
		}
	}
	const char *within = strstr(lx->file, " (macro ");
	size_t file_len = within ? (size_t)(within - lx->file) : strlen(lx->file);
	const char *name = sites_need(p, arena_printf(p->arena, "%.*s (macro %s)", (int)file_len, lx->file, m->name));
	if (buf_failed(&text))
		sites_warn(p, lx->file, lx->start, "the macro's text is too long and is left out", m->name);
	else if (name && text.len)
		sites_read_file(p, lx, (struct file){ name, text.data, text.len }, (int)place, b);
	buf_free(&text);
}
