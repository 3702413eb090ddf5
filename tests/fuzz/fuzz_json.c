/*
 * fuzz_json.c: whatever bytes come, json_parse() refuses them with a reason and a place within the text, or gives a tree
 * that json-c writes as JSON which reads as the same tree again; and json-c itself took what our scan let through.
 * Also: buf_json_n() makes of any bytes one JSON string.
 */
#include "buf.h"
#include "json.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(struct json_object *tree)
{
	const char *why;
	size_t at, len;
	const char *text = json_object_to_json_string_length(tree, JSON_C_TO_STRING_PLAIN, &len);
	assert(utf8_valid(text, len));
	struct json_object *again = json_parse(text, len, &why, &at);
	assert(!why);
	assert(json_object_equal(tree, again));
	json_object_put(again);
}

static void check_string(const char *text, size_t len)
{
	const char *why;
	size_t at;
	struct buf b;
	buf_init(&b, 6 * len + 2);
	buf_json_n(&b, text, len);
	assert(!buf_failed(&b));
	struct json_object *string = json_parse(b.data, b.len, &why, &at);
	if (memchr(text, '\0', len)) {
		assert(!string && strstr(why, "\\u0000"));
	} else {
		assert(json_object_is_type(string, json_type_string));
		/* Valid bytes come back as they were. */
		if (utf8_valid(text, len)) {
			assert((size_t)json_object_get_string_len(string) == len);
			assert(!memcmp(json_object_get_string(string), text, len));
		}
	}
	json_object_put(string);
	buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *why = "unset";
	size_t at = SIZE_MAX;
	struct json_object *tree = json_parse(text, size, &why, &at);
	if (why) {
		assert(!tree);
		assert(at <= size);
		assert(strcmp(why, "the text cannot be read as JSON"));
	} else {
		assert(utf8_valid(text, size));
		check_round_trip(tree);
	}
	json_object_put(tree);
	if (size)
		check_string(text, size);
	return 0;
}
