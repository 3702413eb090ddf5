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

/* How many bytes from the start, or some less, JSON shows as they are. Eight at a time: a high bit tells of a byte that is
 * not ASCII, a control character, a quote or a backslash. */
static size_t plain_bytes(const char *s, size_t len)
{
	const uint64_t each = 0x0101010101010101;
	size_t n = 0;

	for (uint64_t eight; n + 8 <= len; n += 8) {
		memcpy(&eight, s + n, 8);
		if ((eight | (eight - each * ' ') | ((eight ^ each * '"') - each) | ((eight ^ each * '\\') - each)) & each * 0x80)
			return n;
	}
	while (n < len && s[n] >= ' ' && s[n] <= '~' && s[n] != '"' && s[n] != '\\')
		n++;
	return n;
}

void buf_json_n(struct buf *b, const char *s, size_t len)
{
	if (!s) {
		buf_str(b, "null");
		return;
	}
	buf_char(b, '"');
	size_t plain = 0; /* start of the bytes that can be copied as they are */
	for (size_t i = plain_bytes(s, len); i < len;) {
		unsigned char c = (unsigned char)s[i];
		size_t n = c && c < 0x80 ? 1 : utf8_sequence(s + i, len - i);
		if (n && c >= ' ' && c != '"' && c != '\\') {
			i += n;
			continue;
		}
		buf_add(b, s + plain, i - plain);
		if (n)
			add_escaped(b, c);
		else
			buf_str(b, "\xef\xbf\xbd");
		plain = ++i;
	}
	buf_add(b, s + plain, len - plain);
	buf_char(b, '"');
}

void buf_json(struct buf *b, const char *s)
{
	buf_json_n(b, s, s ? strlen(s) : 0);
}
