/* buf.c: doubles its memory until the ceiling. */
#include "buf.h"
#include "utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST_BYTES ((size_t)256)

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max };
}

void buf_free(struct buf *b)
{
	free(b->data);
	buf_init(b, b->max);
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->failed = false;
	if (b->data)
		b->data[0] = '\0';
}

bool buf_failed(const struct buf *b)
{
	return b->failed;
}

char *buf_grow(struct buf *b, size_t n)
{
	if (b->failed || n > b->max - b->len || n > SIZE_MAX / 4 - b->len) {
		b->failed = true;
		return NULL;
	}
	size_t need = b->len + n + 1, cap = b->cap ? b->cap : BUF_FIRST_BYTES;
	while (cap < need)
		cap *= 2;
	if (cap - 1 > b->max)
		cap = b->max + 1;
	char *data = realloc(b->data, cap);
	if (!data) {
		b->failed = true;
		return NULL;
	}
	b->data = data;
	b->cap = cap;
	return data + b->len;
}

void buf_int(struct buf *b, int64_t n)
{
	char digits[24], *at = digits + sizeof digits;
	uint64_t left = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

	do
		*--at = (char)('0' + left % 10);
	while (left /= 10);
	if (n < 0)
		*--at = '-';
	buf_add(b, at, (size_t)(digits + sizeof digits - at));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list args, again;
	va_start(args, fmt);
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, fmt, args);
	char *at = len < 0 ? NULL : buf_room(b, (size_t)len);
	if (at)
		buf_wrote(b, at + vsnprintf(at, (size_t)len + 1, fmt, again));
	else
		b->failed = true;
	va_end(again);
	va_end(args);
}

static void add_escaped(struct buf *b, unsigned char c)
{
	switch (c) {
	case '"':  buf_str(b, "\\\""); break;
	case '\\': buf_str(b, "\\\\"); break;
	case '\n': buf_str(b, "\\n"); break;
	case '\r': buf_str(b, "\\r"); break;
	case '\t': buf_str(b, "\\t"); break;
	default:   buf_printf(b, "\\u%04x", c);
	}
}

/* Are these eight bytes ASCII that JSON shows as it is? The high bit of a byte that is not, that is a control character, a quote
 * or a backslash, is set in one of the four; bytes above the first such one do not matter. */
static bool plain(uint64_t eight)
{
	const uint64_t each = 0x0101010101010101;

	return !((eight | (eight - each * ' ') | ((eight ^ each * '"') - each) | ((eight ^ each * '\\') - each)) & each * 0x80);
}

static bool all_plain(const char *s, size_t len)
{
	uint64_t eight;

	for (; len >= 8; s += 8, len -= 8) {
		memcpy(&eight, s, 8);
		if (!plain(eight))
			return false;
	}
	memset(&eight, ' ', 8);
	memcpy(&eight, s, len);
	return plain(eight);
}

void buf_json_n(struct buf *b, const char *s, size_t len)
{
	if (!s) {
		buf_str(b, "null");
		return;
	}
	if (all_plain(s, len)) {
		char *at = buf_room(b, len + 2);

		if (!at)
			return;
		*at++ = '"';
		memcpy(at, s, len);
		at[len] = '"';
		buf_wrote(b, at + len + 1);
		return;
	}
	buf_char(b, '"');
	size_t done = 0; /* what lies before it was copied */
	for (size_t i = 0; i < len;) {
		unsigned char c = (unsigned char)s[i];
		size_t n = c && c < 0x80 ? 1 : utf8_sequence(s + i, len - i);
		if (n && c >= ' ' && c != '"' && c != '\\') {
			i += n;
			continue;
		}
		buf_add(b, s + done, i - done);
		if (n)
			add_escaped(b, c);
		else
			buf_str(b, "\xef\xbf\xbd");
		done = ++i;
	}
	buf_add(b, s + done, len - done);
	buf_char(b, '"');
}

void buf_json(struct buf *b, const char *s)
{
	buf_json_n(b, s, s ? strlen(s) : 0);
}
