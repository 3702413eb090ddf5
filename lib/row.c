/* row.c: see row.h. The binary formats are those of PostgreSQL's record_send, array_send and the types' own. */
#include "row.h"

#include <arpa/inet.h>
#include <endian.h>
#include <inttypes.h>
#include <string.h>

#include "hostname.h"
#include "timestamp.h"

enum oid {
	OID_BOOL = 16, OID_NAME = 19, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_TEXT = 25, OID_JSON = 114, OID_CIDR = 650,
	OID_INET = 869, OID_VARCHAR = 1043, OID_TIMESTAMPTZ = 1184, OID_UUID = 2950, OID_JSONB = 3802
};
#define EPOCH_2000_US (INT64_C(946684800) * 1000000)

/* A cursor over bytes that never reads beyond their end. */
struct bytes { const unsigned char *at; size_t left; };

static bool take(struct bytes *b, size_t n, const unsigned char **out)
{
	if (b->left < n)
		return false;
	*out = b->at;
	b->at += n;
	b->left -= n;
	return true;
}

static bool take_int(struct bytes *b, int32_t *out)
{
	const unsigned char *at;
	uint32_t net;

	if (!take(b, 4, &at))
		return false;
	memcpy(&net, at, 4);
	*out = (int32_t)ntohl(net);
	return true;
}

/* A signed number of n bytes; 0 when no number has so many. */
static int64_t big_endian(const unsigned char *at, size_t n)
{
	uint64_t eight;
	uint32_t four;
	uint16_t two;

	switch (n) {
	case 8: memcpy(&eight, at, n); return (int64_t)be64toh(eight);
	case 4: memcpy(&four, at, n); return (int32_t)be32toh(four);
	case 2: memcpy(&two, at, n); return (int16_t)be16toh(two);
	default: return 0;
	}
}

/* The header of an array: element type and count. An empty array has no dimensions. */
static bool array_head(struct bytes *b, int32_t *oid, int32_t *count)
{
	int32_t dimensions, flags, lower;

	if (!take_int(b, &dimensions) || !take_int(b, &flags) || !take_int(b, oid))
		return false;
	*count = 0;
	return dimensions == 0 || (dimensions == 1 && take_int(b, count) && take_int(b, &lower) && *count >= 0);
}

bool rows_read(const PGresult *result, int row, int col, struct rows *rows)
{
	struct bytes b = { (const unsigned char *)PQgetvalue(result, row, col), (size_t)PQgetlength(result, row, col) };
	int32_t oid, count, len;

	rows->count = 0;
	if (PQgetisnull(result, row, col))
		return true;
	if (!array_head(&b, &oid, &count) || count > ROWS_MAX)
		return false;
	for (int32_t i = 0; i < count; i++) {
		struct row *item = &rows->item[rows->count];

		if (!take_int(&b, &len) || len < 0 || !take(&b, (size_t)len, &item->data))
			return false;
		item->len = (size_t)len;
		rows->count++;
	}
	return true;
}

static bool uuid_json(struct buf *out, const unsigned char *at, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	char *to = len == 16 ? buf_room(out, 38) : NULL;

	if (!to)
		return false;
	*to++ = '"';
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*to++ = '-';
		*to++ = hex[at[i] >> 4];
		*to++ = hex[at[i] & 15];
	}
	*to++ = '"';
	buf_wrote(out, to);
	return true;
}

/* inet_send: family (2 or 3), bits, is_cidr, length, bytes. A host address is shown without its bits. */
static bool address_json(struct buf *out, const unsigned char *at, size_t len)
{
	char text[INET6_ADDRSTRLEN];

	if (len < 4 || (at[3] != 4 && at[3] != 16) || len != 4u + at[3] ||
	    !inet_ntop(at[3] == 4 ? AF_INET : AF_INET6, at + 4, text, sizeof text))
		return false;
	buf_char(out, '"');
	buf_str(out, text);
	if (at[2] || at[1] != at[3] * 8) {
		buf_char(out, '/');
		buf_int(out, at[1]);
	}
	buf_char(out, '"');
	return true;
}

static bool timestamp_json(struct buf *out, const unsigned char *at, size_t len)
{
	char *to = len == 8 ? buf_room(out, TIMESTAMP_TEXT_MAX + 2) : NULL;

	if (!to)
		return false;
	*to++ = '"';
	to = timestamp_format(big_endian(at, 8) + EPOCH_2000_US, to);
	*to++ = '"';
	buf_wrote(out, to);
	return true;
}

static bool has_a_label(const char *name, size_t len)
{
	for (size_t i = 0; i + 4 <= len; i++)
		if (name[i] == 'x' && memcmp(name + i, "xn--", 4) == 0)
			return true;
	return false;
}

static void unicode_json(struct buf *out, const unsigned char *at, size_t len)
{
	char ascii[HOSTNAME_MAX], text[HOSTNAME_UNICODE_MAX];

	memcpy(ascii, at, len);
	ascii[len] = '\0';
	hostname_to_unicode(ascii, text);
	buf_json(out, text);
}

static bool is_number(const unsigned char *at, size_t len)
{
	size_t digits = 0;

	while (digits < len && at[digits] >= '0' && at[digits] <= '9')
		digits++;
	return len && len <= 18 && digits == len && (len == 1 || *at != '0');
}

static bool array_json(struct buf *, enum field_type, int32_t oid, const unsigned char *at, size_t len);

static bool value_json(struct buf *out, enum field_type type, int32_t oid, const unsigned char *at, size_t len)
{
	switch (oid) {
	case OID_TEXT: case OID_VARCHAR: case OID_NAME:
		if (type == F_UNICODE && len < HOSTNAME_MAX && has_a_label((const char *)at, len))
			unicode_json(out, at, len);
		else if (type == F_OBJECT_ID && is_number(at, len))
			buf_add(out, (const char *)at, len);
		else
			buf_json_n(out, (const char *)at, len);
		return true;
	case OID_BOOL:
		if (len != 1)
			return false;
		if (*at)
			buf_str(out, "true");
		else
			buf_str(out, "false");
		return true;
	case OID_INT2: case OID_INT4: case OID_INT8:
		buf_int(out, big_endian(at, len));
		return len <= 8;
	case OID_TIMESTAMPTZ:
		return timestamp_json(out, at, len);
	case OID_UUID:
		return uuid_json(out, at, len);
	case OID_INET: case OID_CIDR:
		return address_json(out, at, len);
	case OID_JSONB: /* a version number comes first */
		if (len < 1)
			return false;
		buf_add(out, at + 1, len - 1);
		return true;
	case OID_JSON:
		buf_add(out, at, len);
		return true;
	default:
		return array_json(out, type, oid, at, len);
	}
}

/* What is left are arrays of the above. */
static bool array_json(struct buf *out, enum field_type type, int32_t oid, const unsigned char *at, size_t len)
{
	struct bytes b = { at, len };
	int32_t element, count, size;

	if (!array_head(&b, &element, &count) || element == oid)
		return false;
	buf_char(out, '[');
	for (int32_t i = 0; i < count; i++) {
		if (!take_int(&b, &size))
			return false;
		if (i)
			buf_char(out, ',');
		if (size < 0)
			buf_str(out, "null");
		else if (!take(&b, (size_t)size, &at) || !value_json(out, type, element, at, (size_t)size))
			return false;
	}
	buf_char(out, ']');
	return true;
}

/* Step to the next column: its type, its length or -1 for null, its bytes. */
static bool next_column(struct bytes *b, int32_t *oid, int32_t *len, const unsigned char **at)
{
	if (b->left < 8)
		return false;
	*oid = (int32_t)big_endian(b->at, 4);
	*len = (int32_t)big_endian(b->at + 4, 4);
	b->at += 8;
	b->left -= 8;
	*at = NULL;
	return *len < 0 || take(b, (size_t)*len, at);
}

bool row_json_open(struct buf *out, const struct field *fields, const struct row *row)
{
	struct bytes b = { row->data, row->len };
	const unsigned char *at;
	int32_t columns, oid, len;
	char separator = '{', *to;
	size_t name_len;

	if (!take_int(&b, &columns))
		return false;
	for (const struct field *f = fields; f->name; f++) {
		if (f->flags & F_WRITEONLY)
			continue;
		if (!next_column(&b, &oid, &len, &at))
			return false;
		name_len = strlen(f->name);
		if (!(to = buf_room(out, name_len + 4)))
			return false;
		*to++ = separator;
		*to++ = '"';
		memcpy(to, f->name, name_len);
		to += name_len;
		*to++ = '"';
		*to++ = ':';
		buf_wrote(out, to);
		separator = ',';
		if (len < 0)
			buf_str(out, "null");
		else if (oid == OID_TEXT && f->type != F_UNICODE && f->type != F_OBJECT_ID) /* most values: the shortest way */
			buf_json_n(out, (const char *)at, (size_t)len);
		else if (!value_json(out, f->type, oid, at, (size_t)len))
			return false;
	}
	return separator == ',';
}

/* A text as a cell of CSV. */
static void csv_text(struct buf *out, const char *text, size_t len)
{
	bool formula = len && strchr("=+-@'\t\r", text[0]), quoted = !len;

	for (size_t i = 0; i < len && !quoted; i++)
		quoted = strchr("\",\r\n", text[i]) != NULL;
	if (quoted)
		buf_char(out, '"');
	if (formula)
		buf_char(out, '\'');
	for (size_t i = 0, n; i < len; i += n) {
		const char *quote = memchr(text + i, '"', len - i);

		n = quote ? (size_t)(quote - text) - i + 1 : len - i;
		buf_add(out, text + i, n);
		if (quote)
			buf_char(out, '"');
	}
	if (quoted)
		buf_char(out, '"');
}

bool row_csv(struct buf *out, const struct field *fields, const struct row *row)
{
	struct bytes b = { row->data, row->len };
	const unsigned char *at;
	int32_t columns, oid, len;

	if (!take_int(&b, &columns))
		return false;
	for (const struct field *f = fields; f->name; f++) {
		size_t from;

		if (!next_column(&b, &oid, &len, &at))
			return false;
		if (f != fields)
			buf_char(out, ',');
		from = out->len;
		if (len < 0)
			continue;
		if (oid == OID_TEXT) {
			csv_text(out, (const char *)at, (size_t)len);
		} else if (!value_json(out, f->type, oid, at, (size_t)len)) {
			return false;
		} else if (!buf_failed(out) && out->len > from + 1 && out->data[from] == '"') { /* plain, but for JSON's quotes */
			memmove(out->data + from, out->data + from + 1, out->len - from - 2);
			buf_wrote(out, out->data + out->len - 2);
		}
	}
	return true;
}

/* The bytes of a named column; "version" is the one after the fields. */
static bool find_column(const struct field *fields, const struct row *row, const char *name, enum field_type *type,
                        int32_t *oid, const unsigned char **at, int32_t *len)
{
	struct bytes b = { row->data, row->len };
	int32_t columns;

	if (!take_int(&b, &columns))
		return false;
	for (const struct field *f = fields;; f++) {
		if (f->name && f->flags & F_WRITEONLY)
			continue;
		if (!next_column(&b, oid, len, at))
			return false;
		*type = f->type;
		if (strcmp(f->name ? f->name : "version", name) == 0)
			return true;
		if (!f->name)
			return false;
	}
}

const char *row_value(struct arena *arena, const struct field *fields, const struct row *row, const char *name)
{
	enum field_type type;
	const unsigned char *at;
	int32_t oid, len;
	struct buf out;
	char *text = NULL;

	if (!find_column(fields, row, name, &type, &oid, &at, &len) || len < 0)
		return NULL;
	if (oid == OID_TEXT || oid == OID_VARCHAR)
		return arena_strndup(arena, (const char *)at, (size_t)len);
	buf_init(&out, 4096);
	if (value_json(&out, type, oid, at, (size_t)len) && !buf_failed(&out) && out.len > 0)
		text = out.data[0] == '"' ? arena_strndup(arena, out.data + 1, out.len - 2) : arena_strndup(arena, out.data, out.len);
	buf_free(&out);
	return text;
}

int64_t row_version(const struct field *fields, const struct row *row)
{
	enum field_type type;
	const unsigned char *at;
	int32_t oid, len;

	if (!find_column(fields, row, "version", &type, &oid, &at, &len) || len < 0 || len > 8)
		return 0;
	return big_endian(at, (size_t)len);
}
