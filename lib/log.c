/* log.c: a line is put together on the stack in pieces that fit whole or not at all. */
#include "log.h"
#include "timestamp.h"
#include "utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TAIL_BYTES 16 /* room for what ends a cut line */

struct line {
	char text[LOG_LINE_MAX];
	size_t len;
	bool cut;
};

static char program_name[32] = "postern";
static enum log_format line_format;

void log_open(const char *program, enum log_format format)
{
	snprintf(program_name, sizeof program_name, "%s", program);
	line_format = format;
}

static void put(struct line *line, const char *piece, size_t len)
{
	if (line->cut || line->len + len > sizeof line->text - TAIL_BYTES) {
		line->cut = true;
		return;
	}
	memcpy(line->text + line->len, piece, len);
	line->len += len;
}

/* The end of a line, for which put() left room. */
static void put_tail(struct line *line, const char *tail)
{
	size_t len = strlen(tail);
	memcpy(line->text + line->len, tail, len);
	line->len += len;
}

/* The same escapes in both formats; C1 controls count, since terminals obey them. */
static void put_escaped(struct line *line, const char *s)
{
	for (size_t left = strlen(s); left;) {
		size_t n = utf8_sequence(s, left);
		unsigned code = (unsigned char)s[0];
		if (n == 2 && code == 0xc2)
			code = (unsigned char)s[1];
		else if (n > 1)
			code = 0x100;
		if (!n) {
			put(line, "\xef\xbf\xbd", 3);
			n = 1;
		} else if (code == '"' || code == '\\') {
			put(line, code == '"' ? "\\\"" : "\\\\", 2);
		} else if (code < 0x20 || (code >= 0x7f && code < 0xa0)) {
			char escape[7];
			snprintf(escape, sizeof escape, "\\u%04x", code);
			put(line, escape, 6);
		} else {
			put(line, s, n);
		}
		s += n;
		left -= n;
	}
}

/* Words of visible ASCII that need no quotes and no escapes are most of what is logged. */
static void put_word(struct line *line, const char *s, size_t len)
{
	if (line->len + len > sizeof line->text - TAIL_BYTES)
		put_escaped(line, s); /* as much of it as there is room for */
	else
		put(line, s, len);
}

/* The length of such a word, 0 when it is none. */
static size_t plain_word(const char *s)
{
	size_t len = 0;

	while (s[len] > ' ' && s[len] <= '~' && s[len] != '"' && s[len] != '\\' && s[len] != '=')
		len++;
	return s[len] ? 0 : len;
}

/* Text: after a space, `value` or `name=value`, quoted where it is not a plain word. */
static void put_text(struct line *line, const char *name, const char *value)
{
	size_t len = plain_word(value);
	put(line, " ", line->len ? 1 : 0);
	if (name) {
		put(line, name, strlen(name));
		put(line, "=", 1);
	}
	if (len) {
		put_word(line, value, len);
		return;
	}
	put(line, "\"", 1);
	put_escaped(line, value);
	put(line, "\"", 1);
}

/* JSON: what is cut stays valid JSON: a value ends in "...", a name that does not fit goes whole. */
static void put_json(struct line *line, const char *name, const char *value)
{
	if (line->cut)
		return;
	size_t start = line->len, len;
	put(line, start ? ",\"" : "{\"", 2);
	put(line, name, strlen(name));
	put(line, "\":\"", 3);
	if (line->cut) {
		line->len = start;
		put_tail(line, ",\"cut\":\"...\"");
		return;
	}
	if ((len = plain_word(value)))
		put_word(line, value, len);
	else
		put_escaped(line, value);
	if (line->cut)
		put_tail(line, "...\"");
	else
		put_tail(line, "\"");
}

void log_event(const char *level, const char *event, ...)
{
	struct line line;
	char now[TIMESTAMP_TEXT_MAX];
	timestamp_format(timestamp_now() / 1000000 * 1000000, now);
	line.len = 0; /* the text needs no clearing */
	line.cut = false;

	if (line_format == LOG_JSON) {
		put_json(&line, "time", now);
		put_json(&line, "program", program_name);
		put_json(&line, "level", level);
		put_json(&line, "event", event);
	} else {
		put_text(&line, NULL, now);
		put_text(&line, NULL, program_name);
		put_text(&line, NULL, level);
		put_text(&line, NULL, event);
	}

	va_list args;
	va_start(args, event);
	for (const char *name; (name = va_arg(args, const char *));) {
		const char *value = va_arg(args, const char *);
		if (value)
			(line_format == LOG_JSON ? put_json : put_text)(&line, name, value);
	}
	va_end(args);

	if (line_format == LOG_JSON)
		put_tail(&line, "}\n");
	else
		put_tail(&line, line.cut ? "...\n" : "\n");
	/* Where stderr is gone there is nobody left to tell. */
	ssize_t written = write(STDERR_FILENO, line.text, line.len);
	(void)written;
}
