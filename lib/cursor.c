/* cursor.c: see cursor.h. */
#include "cursor.h"

#include <openssl/crypto.h>
#include <string.h>

#include "json.h"

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
	buf_printf(&all, "\n%s %d\n%s\n%s\n%s\n%s\n", q->sort, q->descending, q->search ? q->search : "", q->since ? q->since : "",
	           q->until ? q->until : "", q->filter ? json_object_to_json_string_ext(q->filter, JSON_C_TO_STRING_PLAIN) : "");
	buf_add(&all, payload, len);
	ok = !buf_failed(&all) && token_sign(r->peppers, "cursor", all.data, all.len, out);
	buf_free(&all);
	return ok;
}

const char *cursor_make(const struct request *r, const char *value, const char *id, int64_t account_id)
{
	unsigned char mac[TOKEN_DIGEST_LEN];
	const char *text = NULL;
	struct buf all;

	buf_init(&all, CURSOR_MAX);
	buf_char(&all, '[');
	buf_json(&all, value);
	buf_char(&all, ',');
	buf_json(&all, id);
	buf_printf(&all, ",\"%lld\"]", (long long)account_id);
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
	struct json_object *list;
	const char *why;
	size_t len, at;

	if (strlen(text) > CURSOR_MAX || !(data = from_base64url(r->arena, text, &len)) || len <= MAC_LEN)
		return false;
	len -= MAC_LEN;
	if (!sign(r, (char *)data, len, mac) || CRYPTO_memcmp(mac, data + len, MAC_LEN) != 0)
		return false;
	if (!(list = json_parse((char *)data, len, &why, &at)))
		return false;
	r->position.value = arena_strdup(r->arena, json_object_get_string(json_object_array_get_idx(list, 0)));
	r->position.id = arena_strdup(r->arena, json_object_get_string(json_object_array_get_idx(list, 1)));
	r->position.bound = arena_strdup(r->arena, json_object_get_string(json_object_array_get_idx(list, 2)));
	json_object_put(list);
	return r->position.id && r->position.bound;
}
