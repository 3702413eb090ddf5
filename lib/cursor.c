/* cursor.c: see cursor.h. */
#include "cursor.h"

#include <openssl/crypto.h>
#include <string.h>

enum { MAC_LEN = 16 };
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* RFC 4648 section 5, without padding. */
static char *base64url(struct arena *arena, const unsigned char *data, size_t len)
{
	char *text = arena_alloc(arena, (len + 2) / 3 * 4 + 1), *o = text;

	for (size_t i = 0; text && i < len; i += 3) {
		unsigned v = (unsigned)data[i] << 16 | (i + 1 < len ? (unsigned)data[i + 1] << 8 : 0) | (i + 2 < len ? data[i + 2] : 0);

		*o++ = alphabet[v >> 18];
		*o++ = alphabet[v >> 12 & 63];
		if (i + 1 < len)
			*o++ = alphabet[v >> 6 & 63];
		if (i + 2 < len)
			*o++ = alphabet[v & 63];
	}
	return text;
}

static unsigned char *from_base64url(struct arena *arena, const char *text, size_t *len)
{
	size_t n = strlen(text);
	unsigned char *data = arena_alloc(arena, n), *o = data;
	unsigned v = 0, bits = 0;

	for (size_t i = 0; data && i < n; i++) {
		const char *at = strchr(alphabet, text[i]);

		if (!at)
			return NULL;
		v = v << 6 | (unsigned)(at - alphabet);
		if ((bits += 6) >= 8)
			*o++ = (unsigned char)(v >> (bits -= 8));
	}
	/* bits that belong to no byte must be zero, or several texts would mean the same position */
	if (!data || n % 4 == 1 || (v & ((1u << bits) - 1)))
		return NULL;
	*len = (size_t)(o - data);
	return data;
}

/* What a position is signed with besides itself: everything that shapes the list. */
static bool sign(const struct request *r, const char *payload, size_t len, unsigned char out[TOKEN_DIGEST_LEN])
{
	const struct query *q = &r->query;
	struct buf all;
	bool ok;

	buf_init(&all, 64 * 1024);
	buf_str(&all, r->resource->name);
	buf_char(&all, '\n');
	buf_str(&all, q->sort);
	buf_str(&all, q->descending ? " desc\n" : "\n");
	buf_json(&all, q->search); /* may hold a line's end */
	buf_char(&all, '\n');
	buf_str(&all, q->since);
	buf_char(&all, '\n');
	buf_str(&all, q->until);
	buf_char(&all, '\n');
	if (q->filter)
		buf_str(&all, json_object_to_json_string_ext(q->filter, JSON_C_TO_STRING_PLAIN));
	buf_char(&all, '\n');
	buf_add(&all, payload, len);
	ok = !buf_failed(&all) && token_sign(r->peppers, "cursor", all.data, all.len, out);
	buf_free(&all);
	return ok;
}

/* A position is lines: the account it is bound to, the id, and the sort field's value where there is one. */
const char *cursor_make(const struct request *r, const char *value, const char *id, int64_t account_id)
{
	unsigned char mac[TOKEN_DIGEST_LEN];
	const char *text = NULL;
	struct buf all;

	buf_init(&all, CURSOR_MAX);
	buf_int(&all, account_id);
	buf_char(&all, '\n');
	buf_str(&all, id);
	if (value)
		buf_char(&all, '\n');
	buf_str(&all, value);
	if (!buf_failed(&all) && sign(r, all.data, all.len, mac)) {
		buf_add(&all, mac, MAC_LEN);
		if (!buf_failed(&all))
			text = base64url(r->arena, (unsigned char *)all.data, all.len);
	}
	buf_free(&all);
	return text;
}

bool cursor_open(struct request *r, const char *text)
{
	unsigned char mac[TOKEN_DIGEST_LEN], *data;
	char *line;
	size_t len;

	if (strlen(text) > CURSOR_MAX || !(data = from_base64url(r->arena, text, &len)) || len <= MAC_LEN)
		return false;
	len -= MAC_LEN;
	if (!sign(r, (char *)data, len, mac) || CRYPTO_memcmp(mac, data + len, MAC_LEN) != 0)
		return false;
	data[len] = '\0';
	line = (char *)data;
	r->position.bound = strsep(&line, "\n");
	r->position.id = strsep(&line, "\n");
	r->position.value = line;
	return r->position.id != NULL;
}
