/* json.c: the scan that judges a text, and json-c, which builds the tree of what passed. */
#include "json.h"
#include "utf8.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_TEXT_MAX 64

/* A key of an object that is still open, unescaped, in scan.text. */
struct key {
	size_t start, len;
	size_t at; /* where it stands in the source, for messages */
};

struct scan {
	const char *source;
	size_t len, at;
	const char *why;     /* set once, by the first refusal */
	size_t values, containers;
	char *text;          /* unescaped keys; never more bytes than the source has */
	size_t text_len;
	struct key *keys;    /* a stack: an object's keys lie together, for those of its members are gone again */
	size_t keys_len, keys_cap;
};

static bool refuse(struct scan *s, const char *why)
{
	s->why = why;
	return false;
}

static int peek(const struct scan *s)
{
	return s->at < s->len ? (unsigned char)s->source[s->at] : EOF;
}

static void skip_space(struct scan *s)
{
	while (s->at < s->len && memchr(" \t\r\n", s->source[s->at], 4))
		s->at++;
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static bool scan_digits(struct scan *s)
{
	if (!is_digit(peek(s)))
		return refuse(s, "a number lacks a digit here");
	while (is_digit(peek(s)))
		s->at++;
	return true;
}

static bool scan_number(struct scan *s)
{
	char text[NUMBER_TEXT_MAX + 1];
	size_t start = s->at;
	bool whole = true;

	if (peek(s) == '-')
		s->at++;
	if (peek(s) == '0') {
		s->at++;
		if (is_digit(peek(s)))
			return refuse(s, "a number starts with 0: leave leading zeros out");
	} else if (!scan_digits(s)) {
		return false;
	}
	if (peek(s) == '.') {
		whole = false;
		s->at++;
		if (!scan_digits(s))
			return false;
	}
	if (peek(s) == 'e' || peek(s) == 'E') {
		whole = false;
		s->at++;
		if (peek(s) == '+' || peek(s) == '-')
			s->at++;
		if (!scan_digits(s))
			return false;
	}
	size_t n = s->at - start;
	bool fits = n <= NUMBER_TEXT_MAX;
	if (fits) {
		memcpy(text, s->source + start, n);
		text[n] = '\0';
		if (whole) {
			errno = 0;
			strtoll(text, NULL, 10);
			fits = errno != ERANGE;
		} else {
			fits = isfinite(strtod(text, NULL));
		}
	}
	if (!fits) {
		s->at = start;
		return refuse(s, "a number is out of range: integers are 64 bit, numbers have at most 64 characters");
	}
	return true;
}

static int hex4(const char *p)
{
	int value = 0;
	for (int i = 0; i < 4; i++) {
		int c = (unsigned char)p[i];
		if (!isxdigit(c))
			return -1;
		value = value * 16 + (is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return value;
}

/* The code unit of \uXXXX at s->at, moving on; -1 when there is none. */
static int scan_unit(struct scan *s)
{
	if (s->len - s->at < 6 || s->source[s->at] != '\\' || s->source[s->at + 1] != 'u')
		return -1;
	int unit = hex4(s->source + s->at + 2);
	if (unit >= 0)
		s->at += 6;
	return unit;
}

static size_t utf8_encode(unsigned code, char out[4])
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	for (size_t i = n - 1; i > 0; i--, code >>= 6)
		out[i] = (char)(0x80 | (code & 0x3f));
	out[0] = (char)(lead[n] | code);
	return n;
}

/* An escape at s->at as UTF-8 into out. Bytes, or 0 when refused. */
static size_t scan_escape(struct scan *s, char out[4])
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	int c = s->at + 1 < s->len ? (unsigned char)s->source[s->at + 1] : EOF;
	if (c != 'u') {
		const char *known = c > 0 ? strchr(from, c) : NULL;
		if (!known) {
			refuse(s, "an unknown escape in a string: use \\\" \\\\ \\/ \\b \\f \\n \\r \\t or \\uXXXX");
			return 0;
		}
		s->at += 2;
		out[0] = to[known - from];
		return 1;
	}
	size_t start = s->at;
	int unit = scan_unit(s), low = 0;
	if (unit >= 0xd800 && unit <= 0xdbff)
		low = scan_unit(s);
	if (unit > 0 && (unit < 0xd800 || unit > 0xdfff))
		return utf8_encode((unsigned)unit, out);
	if (unit >= 0xd800 && unit <= 0xdbff && low >= 0xdc00 && low <= 0xdfff)
		return utf8_encode(0x10000 + (((unsigned)unit - 0xd800) << 10) + ((unsigned)low - 0xdc00), out);
	s->at = start;
	refuse(s, unit < 0  ? "an escape in a string lacks digits: \\u wants four hexadecimal ones"
	       : unit == 0 ? "a string holds \\u0000, which cannot be stored: leave it out"
	                   : "a string holds half a surrogate pair: write both halves, or the character itself");
	return 0;
}

/* A string at s->at. Its unescaped bytes go to s->text when it is a key. */
static bool scan_string(struct scan *s, bool is_key)
{
	s->at++;
	for (;;) {
		char decoded[4];
		const char *bytes = s->source + s->at;
		size_t n;
		int c = peek(s);
		if (c == EOF)
			return refuse(s, "a string is not closed: its final quote is missing");
		if (c == '"') {
			s->at++;
			return true;
		}
		if (c < ' ')
			return refuse(s, "a control character in a string: write it as an escape (\\n, \\t, \\uXXXX)");
		if (c == '\\') {
			n = scan_escape(s, decoded);
			if (!n)
				return false;
			bytes = decoded;
		} else {
			n = utf8_sequence(bytes, s->len - s->at);
			if (!n)
				return refuse(s, "bytes that are not valid UTF-8: send the text in UTF-8");
			s->at += n;
		}
		if (is_key) {
			memcpy(s->text + s->text_len, bytes, n);
			s->text_len += n;
		}
	}
}

static bool scan_key(struct scan *s)
{
	if (s->keys_len == s->keys_cap) {
		size_t cap = s->keys_cap ? 2 * s->keys_cap : 64;
		struct key *keys = realloc(s->keys, cap * sizeof *keys);
		if (!keys)
			return refuse(s, "out of memory: try again later");
		s->keys = keys;
		s->keys_cap = cap;
	}
	struct key key = { .start = s->text_len, .at = s->at };
	if (!scan_string(s, true))
		return false;
	key.len = s->text_len - key.start;
	s->keys[s->keys_len++] = key;
	return true;
}

static int compare_keys(const void *a, const void *b, void *text)
{
	const struct key *ka = a, *kb = b;
	int order = memcmp((char *)text + ka->start, (char *)text + kb->start, ka->len < kb->len ? ka->len : kb->len);
	if (order)
		return order;
	return ka->len < kb->len ? -1 : ka->len > kb->len;
}

/* Judge the keys of an object, which are those from `first` on. Sorted, equal ones are neighbours: n log n of work. */
static bool keys_differ(struct scan *s, size_t first)
{
	struct key *keys = s->keys + first;
	size_t n = s->keys_len - first;
	if (n > 1)
		qsort_r(keys, n, sizeof *keys, compare_keys, s->text);
	for (size_t i = 1; i < n; i++) {
		if (compare_keys(&keys[i - 1], &keys[i], s->text) == 0) {
			s->at = keys[i - 1].at > keys[i].at ? keys[i - 1].at : keys[i].at;
			return refuse(s, "a duplicate key in an object: give each key once");
		}
	}
	return true;
}

static bool scan_value(struct scan *s, int depth);

static bool scan_array(struct scan *s, int depth)
{
	s->at++;
	skip_space(s);
	if (peek(s) == ']') {
		s->at++;
		return true;
	}
	for (;;) {
		if (!scan_value(s, depth))
			return false;
		skip_space(s);
		int c = peek(s);
		if (c != ',' && c != ']')
			return refuse(s, "a list goes on with ',' or ends with ']'");
		s->at++;
		if (c == ']')
			return true;
	}
}

static bool scan_object(struct scan *s, int depth)
{
	size_t first = s->keys_len;
	s->at++;
	skip_space(s);
	if (peek(s) == '}') {
		s->at++;
		return true;
	}
	for (;;) {
		skip_space(s);
		if (peek(s) != '"')
			return refuse(s, "a key in double quotes belongs here");
		if (!scan_key(s))
			return false;
		skip_space(s);
		if (peek(s) != ':')
			return refuse(s, "a ':' belongs between key and value");
		s->at++;
		if (!scan_value(s, depth))
			return false;
		skip_space(s);
		int c = peek(s);
		if (c != ',' && c != '}')
			return refuse(s, "an object goes on with ',' or ends with '}'");
		s->at++;
		if (c == '}')
			break;
	}
	if (!keys_differ(s, first))
		return false;
	s->keys_len = first;
	return true;
}

static bool scan_word(struct scan *s, const char *word)
{
	size_t n = strlen(word);
	if (s->len - s->at < n || memcmp(s->source + s->at, word, n))
		return refuse(s, "an unknown word: texts stand in double quotes, the only bare words are true, false and null");
	s->at += n;
	return true;
}

static bool scan_value(struct scan *s, int depth)
{
	skip_space(s);
	int c = peek(s);
	if (++s->values > JSON_VALUES_MAX)
		return refuse(s, "there are too many values: at most 100000 are read, send them in several requests");
	if (c == '{' || c == '[') {
		if (depth == JSON_DEPTH_MAX)
			return refuse(s, "objects and lists are nested too deeply: at most 16 levels are read");
		if (++s->containers > JSON_CONTAINERS_MAX)
			return refuse(s, "there are too many objects and lists: at most 10000 are read, send several requests");
	}
	switch (c) {
	case '{': return scan_object(s, depth + 1);
	case '[': return scan_array(s, depth + 1);
	case '"': return scan_string(s, false);
	case 't': return scan_word(s, "true");
	case 'f': return scan_word(s, "false");
	case 'n': return scan_word(s, "null");
	case EOF: return refuse(s, "the text ends where a value belongs");
	default:
		if (c == '-' || is_digit(c))
			return scan_number(s);
		return refuse(s, "a value belongs here: an object, list, string in double quotes, number, true, false or null");
	}
}

static bool scan_text(struct scan *s)
{
	if (s->len > INT_MAX - 1)
		return refuse(s, "the text is too long");
	if (s->len >= 3 && !memcmp(s->source, "\xef\xbb\xbf", 3))
		return refuse(s, "the text starts with a byte order mark: send UTF-8 without one");
	s->text = malloc(s->len + 1);
	if (!s->text)
		return refuse(s, "out of memory: try again later");
	if (!scan_value(s, 0))
		return false;
	skip_space(s);
	return s->at == s->len || refuse(s, "text follows the value: send one JSON value only");
}

struct json_object *json_parse(const char *text, size_t len, const char **why, size_t *at)
{
	struct scan s = { .source = text, .len = len };
	bool fine = scan_text(&s);
	free(s.text);
	free(s.keys);
	*why = s.why;
	*at = s.at;
	if (!fine)
		return NULL;

	*at = 0;
	struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX + 2);
	if (!tokener) {
		*why = "out of memory: try again later";
		return NULL;
	}
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	struct json_object *tree = json_tokener_parse_ex(tokener, text, (int)len);
	/* A number at the end of the text might go on; a NUL says that it does not. */
	if (json_tokener_get_error(tokener) == json_tokener_continue)
		tree = json_tokener_parse_ex(tokener, "", 1);
	if (json_tokener_get_error(tokener) != json_tokener_success)
		*why = "the text cannot be read as JSON";
	json_tokener_free(tokener);
	return tree;
}

bool utf8_valid(const char *text, size_t len)
{
	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_sequence(text + i, len - i);
		if (!n || !text[i])
			return false;
	}
	return true;
}
