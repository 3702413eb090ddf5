/*
 * nginx_words.c: see nginx_reader.h. Words as in nginx's own reader: quotes, escapes, "${", comments at the start of a word
 * only.
 */
#include "nginx_reader.h"

#include <string.h>

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void read_word(struct parser *p, struct lexer *lx)
{
	size_t start = p->text.len;
	char quote = lx->text[lx->pos] == '"' || lx->text[lx->pos] == '\'' ? lx->text[lx->pos++] : '\0';
	bool variable = false, closed = !quote;

	for (; lx->pos < lx->len; lx->pos++) {
		char c = lx->text[lx->pos];
		if (quote && c == quote) {
			lx->pos++;
			closed = true;
			break;
		}
		if (!quote && (is_space(c) || c == ';' || (c == '{' && !variable)))
			break;
		if (c == '\n')
			lx->line++;
		variable = c == '$';
		if (c == '\\' && lx->pos + 1 < lx->len) {
			char next = lx->text[++lx->pos];
			if (next == '\n')
				lx->line++;
			switch (next) {
			case '"': case '\'': case '\\': c = next; break;
			case 't': c = '\t'; break;
			case 'r': c = '\r'; break;
			case 'n': c = '\n'; break;
			default: buf_char(&p->text, c); c = next; break;
			}
		}
		buf_char(&p->text, c);
	}
	if (!closed)
		sites_warn(p, lx->file, lx->start, "a quoted word is not closed", NULL);
	buf_char(&p->text, '\0');
	if (p->word_count < SITES_WORDS_MAX)
		p->word[p->word_count++] = start;
	else
		p->words_dropped = true;
}

enum stop nginx_next_directive(struct parser *p, struct lexer *lx)
{
	enum stop stop = AT_END;

	p->word_count = 0;
	p->words_dropped = false;
	buf_clear(&p->text);
	while (stop == AT_END && lx->pos < lx->len && !p->stopped) {
		char c = lx->text[lx->pos];
		if (is_space(c)) {
			lx->line += c == '\n';
			lx->pos++;
		} else if (c == '#') {
			const char *end = memchr(lx->text + lx->pos, '\n', lx->len - lx->pos);
			lx->pos = end ? (size_t)(end - lx->text) : lx->len;
		} else if (c == '}' && p->word_count) {
			sites_warn(p, lx->file, lx->line, "a \";\" is missing before \"}\"", NULL);
			stop = AT_SEMICOLON;
		} else if (c == ';' || c == '{' || c == '}') {
			lx->pos++;
			stop = c == ';' ? AT_SEMICOLON : c == '{' ? AT_OPEN : AT_CLOSE;
		} else {
			if (!p->word_count)
				lx->start = lx->line;
			read_word(p, lx);
		}
	}
	if (p->words_dropped)
		sites_warn(p, lx->file, lx->start, "the directive has too many words, the last ones are left out", NULL);
	if (buf_failed(&p->text)) {
		sites_warn(p, lx->file, lx->start, "the directive is too long and is left out", NULL);
		p->word_count = 0;
	}
	if (stop == AT_END && p->word_count) {
		sites_warn(p, lx->file, lx->start, "the text ends within a directive", NULL);
		p->word_count = 0;
	}
	return stop;
}

/* Behind Lua's "[[" or "[==[" at pos: the position after its end; pos itself when none begins there. */
static size_t skip_long_bracket(struct lexer *lx, size_t pos)
{
	size_t level = pos + 1;

	while (level < lx->len && lx->text[level] == '=')
		level++;
	if (level >= lx->len || lx->text[level] != '[')
		return pos;
	size_t equals = level - pos - 1;
	for (size_t at = level + 1; at < lx->len; at++) {
		lx->line += lx->text[at] == '\n';
		if (lx->text[at] != ']')
			continue;
		size_t end = at + 1;
		while (end < lx->len && end - at - 1 < equals && lx->text[end] == '=')
			end++;
		if (end < lx->len && end - at - 1 == equals && lx->text[end] == ']')
			return end + 1;
		at = end - 1;
	}
	return lx->len;
}

void nginx_skip_lua(struct parser *p, struct lexer *lx)
{
	size_t depth = 1;

	while (lx->pos < lx->len) {
		char c = lx->text[lx->pos++];
		if (c == '\n') {
			lx->line++;
		} else if (c == '{') {
			depth++;
		} else if (c == '}') {
			if (--depth == 0)
				return;
		} else if (c == '[') {
			size_t after = skip_long_bracket(lx, lx->pos - 1);
			lx->pos = after > lx->pos ? after : lx->pos;
		} else if (c == '-' && lx->pos < lx->len && lx->text[lx->pos] == '-') {
			size_t after = ++lx->pos;
			if (after < lx->len && lx->text[after] == '[')
				after = skip_long_bracket(lx, after);
			if (after > lx->pos)
				lx->pos = after;
			else
				while (lx->pos < lx->len && lx->text[lx->pos] != '\n')
					lx->pos++;
		} else if (c == '"' || c == '\'') {
			for (; lx->pos < lx->len && lx->text[lx->pos] != c && lx->text[lx->pos] != '\n'; lx->pos++) {
				if (lx->text[lx->pos] == '\\' && lx->pos + 1 < lx->len)
					lx->line += lx->text[++lx->pos] == '\n';
			}
			if (lx->pos < lx->len && lx->text[lx->pos] == c)
				lx->pos++;
		}
	}
	sites_warn(p, lx->file, lx->start, "the text ends within a block of Lua", NULL);
}

bool nginx_begins_lua(const struct parser *p)
{
	static const char tail[] = "_by_lua_block";
	size_t len = strlen(sites_word(p, 0));

	return len >= sizeof tail && strcmp(sites_word(p, 0) + len - (sizeof tail - 1), tail) == 0;
}

void nginx_skip_block(struct parser *p, struct lexer *lx)
{
	unsigned start = lx->start;

	for (size_t depth = 1; depth;) {
		switch (nginx_next_directive(p, lx)) {
		case AT_OPEN:
			if (nginx_begins_lua(p))
				nginx_skip_lua(p, lx);
			else
				depth++;
			break;
		case AT_CLOSE:
			depth--;
			break;
		case AT_END:
			if (!p->stopped)
				sites_warn(p, lx->file, start, "the text ends within a block", NULL);
			return;
		case AT_SEMICOLON:
			break;
		}
	}
}
