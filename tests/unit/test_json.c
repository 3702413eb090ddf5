/* test_json.c: what json-c would let through is refused, and what is JSON is read. */
#include "json.h"
#include "buf.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static struct json_object *read_n(const char *text, size_t len, const char **why, size_t *at)
{
	/* An exact copy on the heap, so that the sanitizers see a read beyond its end. */
	char *copy = malloc(len ? len : 1);
	assert_non_null(copy);
	memcpy(copy, text, len);
	struct json_object *tree = json_parse(copy, len, why, at);
	free(copy);
	return tree;
}

static void accepts(const char *text, const char *canonical)
{
	const char *why;
	size_t at;
	struct json_object *tree = read_n(text, strlen(text), &why, &at);
	if (why)
		fail_msg("%s: %s", text, why);
	assert_string_equal(json_object_to_json_string_ext(tree, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
	                    canonical);
	json_object_put(tree);
}

static void refuses_n(const char *text, size_t len, size_t where, const char *word)
{
	const char *why;
	size_t at;
	struct json_object *tree = read_n(text, len, &why, &at);
	if (tree || !why)
		fail_msg("accepted: %s", text);
	if (!strstr(why, word))
		fail_msg("%s: \"%s\" does not say \"%s\"", text, why, word);
	assert_int_equal(at, where);
}

static void refuses(const char *text, size_t where, const char *word)
{
	refuses_n(text, strlen(text), where, word);
}

static void plain_values_are_read(void **state)
{
	(void)state;
	accepts("{}", "{}");
	accepts("[]", "[]");
	accepts(" \t\r\n[ 1 , 2 ]\n", "[1,2]");
	accepts("{\"a\":{\"b\":[true,false,null,\"x\"]}}", "{\"a\":{\"b\":[true,false,null,\"x\"]}}");
	accepts("{\"\":1}", "{\"\":1}");
	accepts("\"text\"", "\"text\"");
	accepts("7", "7");
	accepts("true", "true");
	accepts("null", "null");
}

static void null_as_the_whole_text_is_no_error(void **state)
{
	(void)state;
	const char *why = "unset";
	size_t at;
	assert_null(json_parse("null", 4, &why, &at));
	assert_null(why);
}

static void text_behind_the_length_is_not_read(void **state)
{
	(void)state;
	const char *why;
	size_t at;
	struct json_object *tree = json_parse("123456", 3, &why, &at);
	assert_null(why);
	assert_int_equal(json_object_get_int64(tree), 123);
	json_object_put(tree);
}

static void numbers_follow_the_grammar(void **state)
{
	(void)state;
	accepts("[0,-0,10,-7,0.5,-0.5,1e3,1E+3,1.5e-3]", "[0,0,10,-7,0.5,-0.5,1e3,1E+3,1.5e-3]");
	refuses("[01]", 2, "leading zeros");
	refuses("[-01]", 3, "leading zeros");
	refuses("[+1]", 1, "value belongs");
	refuses("[.5]", 1, "value belongs");
	refuses("[1.]", 3, "digit");
	refuses("[1.e3]", 3, "digit");
	refuses("[1e]", 3, "digit");
	refuses("[1e+]", 4, "digit");
	refuses("[-]", 2, "digit");
	refuses("-", 1, "digit");
	refuses("[--1]", 2, "digit");
	refuses("[0x10]", 2, "','");
	refuses("[1_000]", 2, "','");
	refuses("[1 2]", 3, "','");
}

static void integers_are_64_bit(void **state)
{
	(void)state;
	accepts("[9223372036854775807,-9223372036854775808]", "[9223372036854775807,-9223372036854775808]");
	refuses("[9223372036854775808]", 1, "out of range");
	refuses("[-9223372036854775809]", 1, "out of range");
	refuses("[18446744073709551615]", 1, "out of range");
	refuses("123456789012345678901234567890123456789012345678901234567890123456789", 0, "out of range");
	const char *why;
	size_t at;
	struct json_object *tree = json_parse("9223372036854775807", 19, &why, &at);
	assert_true(json_object_get_int64(tree) == INT64_MAX);
	json_object_put(tree);
}

static void numbers_beyond_a_double_are_refused(void **state)
{
	(void)state;
	accepts("[1e308]", "[1e308]");
	refuses("[1e309]", 1, "out of range");
	refuses("[-1e999]", 1, "out of range");
	refuses("[NaN]", 1, "value belongs");
	refuses("[nan]", 1, "unknown word");
	refuses("[Infinity]", 1, "value belongs");
	refuses("[-Infinity]", 2, "digit");
}

static void duplicate_keys_are_refused(void **state)
{
	(void)state;
	refuses("{\"a\":1,\"a\":2}", 7, "duplicate key");
	refuses("{\"a\":1,\"b\":2,\"a\":1}", 13, "duplicate key");
	refuses("[{\"x\":{\"a\":1,\"a\":2}}]", 13, "duplicate key");
	refuses("{\"\":1,\"\":2}", 6, "duplicate key");
}

static void keys_equal_after_unescaping_are_duplicates(void **state)
{
	(void)state;
	refuses("{\"a\":1,\"\\u0061\":2}", 7, "duplicate key");
	refuses("{\"/\":1,\"\\/\":2}", 7, "duplicate key");
	refuses("{\"\\u00e9\":1,\"\xc3\xa9\":2}", 12, "duplicate key");
	refuses("{\"\\uD83D\\uDEAA\":1,\"\xf0\x9f\x9a\xaa\":2}", 18, "duplicate key");
	refuses("{\"\\n\":1,\"\\u000A\":2}", 8, "duplicate key");
}

static void the_same_key_in_other_objects_is_fine(void **state)
{
	(void)state;
	accepts("{\"a\":{\"a\":{\"a\":1}},\"b\":{\"a\":1}}", "{\"a\":{\"a\":{\"a\":1}},\"b\":{\"a\":1}}");
	accepts("[{\"a\":1},{\"a\":1}]", "[{\"a\":1},{\"a\":1}]");
	accepts("{\"a\":1,\"A\":2,\"aa\":3,\"\":4}", "{\"a\":1,\"A\":2,\"aa\":3,\"\":4}");
}

static void a_key_that_follows_a_nested_object_is_still_compared(void **state)
{
	(void)state;
	refuses("{\"a\":{\"b\":1,\"c\":{\"d\":1}},\"e\":[{\"a\":1}],\"a\":2}", 39, "duplicate key");
}

static void many_keys_are_compared_without_quadratic_work(void **state)
{
	(void)state;
	/* Comparing each of 60,000 keys with each other would be 1.8e9 steps. */
	struct buf b;
	buf_init(&b, 4 << 20);
	buf_char(&b, '{');
	for (int i = 0; i < 60000; i++)
		buf_printf(&b, "%s\"common-start-%d\":%d", i ? "," : "", i, i);
	size_t before_end = b.len;
	buf_char(&b, '}');
	const char *why;
	size_t at;
	struct json_object *tree = json_parse(b.data, b.len, &why, &at);
	assert_non_null(tree);
	assert_int_equal(json_object_object_length(tree), 60000);
	json_object_put(tree);

	b.len = before_end;
	buf_str(&b, ",\"common-start-0\":1}");
	assert_null(json_parse(b.data, b.len, &why, &at));
	assert_non_null(strstr(why, "duplicate key"));
	assert_int_equal(at, before_end + 1);
	buf_free(&b);
}

static void depth_is_16_and_no_more(void **state)
{
	(void)state;
	accepts("[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", "[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]");
	refuses("[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", 16, "nested");
	accepts("{\"a\":[{\"a\":[{\"a\":[{\"a\":[{\"a\":[{\"a\":[{\"a\":[{\"a\":[]}]}]}]}]}]}]}]}",
	        "{\"a\":[{\"a\":[{\"a\":[{\"a\":[{\"a\":[{\"a\":[{\"a\":[{\"a\":[]}]}]}]}]}]}]}]}");
	refuses("{\"a\":[{\"a\":[{\"a\":[{\"a\":[{\"a\":[{\"a\":[{\"a\":[{\"a\":[{}]}]}]}]}]}]}]}]}", 48, "nested");

	size_t n = 1 << 20;
	char *deep = malloc(n);
	assert_non_null(deep);
	memset(deep, '[', n);
	const char *why;
	size_t at;
	assert_null(json_parse(deep, n, &why, &at));
	assert_int_equal(at, 16);
	free(deep);
}

/* A list of n items of the same text. */
static struct json_object *read_list(const char *item, size_t n, const char **why)
{
	struct buf b;
	size_t at;
	buf_init(&b, 1 << 20);
	buf_char(&b, '[');
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%s", i ? "," : "", item);
	buf_char(&b, ']');
	assert_false(buf_failed(&b));
	struct json_object *tree = json_parse(b.data, b.len, why, &at);
	buf_free(&b);
	return tree;
}

static void a_small_text_cannot_become_a_huge_tree(void **state)
{
	(void)state;
	static const struct { const char *item; size_t most; const char *word; } cases[] = {
		{ "0", JSON_VALUES_MAX - 1, "too many values" },
		{ "{}", JSON_CONTAINERS_MAX - 1, "too many objects and lists" },
		{ "[]", JSON_CONTAINERS_MAX - 1, "too many objects and lists" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *why;
		struct json_object *tree = read_list(cases[i].item, cases[i].most, &why);
		assert_non_null(tree);
		json_object_put(tree);
		assert_null(read_list(cases[i].item, cases[i].most + 1, &why));
		assert_non_null(strstr(why, cases[i].word));
	}
}

static void strings_are_double_quoted_and_closed(void **state)
{
	(void)state;
	refuses("['a']", 1, "value belongs");
	refuses("{'a':1}", 1, "double quotes");
	refuses("{a:1}", 1, "double quotes");
	refuses("[\"a]", 4, "not closed");
	refuses("\"", 1, "not closed");
	refuses("\"\\\"", 3, "not closed");
}

static void control_characters_are_refused(void **state)
{
	(void)state;
	for (char c = 1; c < ' '; c++)
		refuses((char[]){ '[', '"', 'a', c, '"', ']', '\0' }, 3, "control character");
	refuses("[\"\t\"]", 2, "control character");
	refuses_n("[\"\0\"]", 5, 2, "control character");
	refuses_n("[1]\0", 4, 3, "follows");
	refuses("[\x01]", 1, "value belongs");
	refuses("[\v1]", 1, "value belongs");
	accepts("\"\x7f\"", "\"\x7f\"");
}

static void escapes_are_the_ones_of_the_standard(void **state)
{
	(void)state;
	accepts("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\"");
	accepts("\"\\u0041\\u00fC\\u6f22\"", "\"A\xc3\xbc\xe6\xbc\xa2\"");
	refuses("\"\\x41\"", 1, "unknown escape");
	refuses("\"\\'\"", 1, "unknown escape");
	refuses("\"\\0\"", 1, "unknown escape");
	refuses("\"\\U0041\"", 1, "unknown escape");
	refuses("\"\\", 1, "unknown escape");
	refuses("\"\\u00g0\"", 1, "four hexadecimal");
	refuses("\"\\u12\"", 1, "four hexadecimal");
	refuses("\"\\u 123\"", 1, "four hexadecimal");
}

static void surrogates_come_in_pairs(void **state)
{
	(void)state;
	accepts("\"\\uD83D\\uDEAA\\uDBFF\\uDFFF\\uD800\\uDC00\"", "\"\xf0\x9f\x9a\xaa\xf4\x8f\xbf\xbf\xf0\x90\x80\x80\"");
	refuses("\"\\uD800\"", 1, "surrogate");
	refuses("\"\\uD800x\"", 1, "surrogate");
	refuses("\"\\uDC00\"", 1, "surrogate");
	refuses("\"\\uDC00\\uD800\"", 1, "surrogate");
	refuses("\"\\uD800\\uD800\"", 1, "surrogate");
	refuses("\"\\uD800\\n\"", 1, "surrogate");
	refuses("\"a\\uD800\\uE000\"", 2, "surrogate");
}

static void a_nul_escape_is_refused_in_values_and_keys(void **state)
{
	(void)state;
	refuses("\"a\\u0000b\"", 2, "\\u0000");
	refuses("{\"a\\u0000\":1}", 3, "\\u0000");
}

static void invalid_utf8_is_refused(void **state)
{
	(void)state;
	refuses("\"\x80\"", 1, "UTF-8");
	refuses("\"\xc0\xaf\"", 1, "UTF-8");
	refuses("\"\xe0\x80\xaf\"", 1, "UTF-8");
	refuses("\"\xf0\x80\x80\xaf\"", 1, "UTF-8");
	refuses("\"\xed\xa0\x80\"", 1, "UTF-8");
	refuses("\"\xf4\x90\x80\x80\"", 1, "UTF-8");
	refuses("\"\xf8\x88\x80\x80\x80\"", 1, "UTF-8");
	refuses("\"a\xc3\"", 2, "UTF-8");
	refuses("\"a\xc3", 2, "UTF-8");
	refuses("{\"\xff\":1}", 2, "UTF-8");
}

static void a_byte_order_mark_is_refused_at_the_start_only(void **state)
{
	(void)state;
	refuses("\xef\xbb\xbf{}", 0, "byte order mark");
	accepts("\"\xef\xbb\xbf\"", "\"\xef\xbb\xbf\"");
}

static void trailing_text_is_refused(void **state)
{
	(void)state;
	refuses("{}x", 2, "follows");
	refuses("{} {}", 3, "follows");
	refuses("1 2", 2, "follows");
	refuses("null,", 4, "follows");
	refuses("truefalse", 4, "follows");
	refuses("[1] // note", 4, "follows");
}

static void broken_structures_are_refused(void **state)
{
	(void)state;
	refuses("", 0, "ends");
	refuses(" \n", 2, "ends");
	refuses("[", 1, "ends");
	refuses("[1", 2, "','");
	refuses("[1,", 3, "ends");
	refuses("[1,]", 3, "value belongs");
	refuses("[,1]", 1, "value belongs");
	refuses("{", 1, "key");
	refuses("{\"a\"", 4, "':'");
	refuses("{\"a\":", 5, "ends");
	refuses("{\"a\":1", 6, "','");
	refuses("{\"a\":1,}", 7, "key");
	refuses("{\"a\" 1}", 5, "':'");
	refuses("{1:1}", 1, "key");
	refuses("[1}", 2, "','");
	refuses("{\"a\":1]", 6, "','");
	refuses("]", 0, "value belongs");
	refuses("tru", 0, "unknown word");
	refuses("True", 0, "value belongs");
	refuses("nul", 0, "unknown word");
	refuses("/* */1", 0, "value belongs");
}

static void nothing_at_all_is_refused_without_being_touched(void **state)
{
	(void)state;
	const char *why = NULL;
	size_t at;
	assert_null(json_parse(NULL, 0, &why, &at));
	assert_non_null(why);
}

static void utf8_is_told_from_other_bytes(void **state)
{
	(void)state;
	assert_true(utf8_valid("", 0));
	assert_true(utf8_valid("abc \xc3\xa9 \xe2\x82\xac \xf0\x9f\x9a\xaa", 15));
	assert_true(utf8_valid("\xed\x9f\xbf\xee\x80\x80", 6));
	assert_false(utf8_valid("a\0b", 3));
	assert_false(utf8_valid("\xed\xa0\x80", 3));
	assert_false(utf8_valid("\xc1\xbf", 2));
	assert_false(utf8_valid("\xe2\x82\xac", 2));
	assert_false(utf8_valid("\xf5\x80\x80\x80", 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_values_are_read),
		cmocka_unit_test(null_as_the_whole_text_is_no_error),
		cmocka_unit_test(text_behind_the_length_is_not_read),
		cmocka_unit_test(numbers_follow_the_grammar),
		cmocka_unit_test(integers_are_64_bit),
		cmocka_unit_test(numbers_beyond_a_double_are_refused),
		cmocka_unit_test(duplicate_keys_are_refused),
		cmocka_unit_test(keys_equal_after_unescaping_are_duplicates),
		cmocka_unit_test(the_same_key_in_other_objects_is_fine),
		cmocka_unit_test(a_key_that_follows_a_nested_object_is_still_compared),
		cmocka_unit_test(many_keys_are_compared_without_quadratic_work),
		cmocka_unit_test(depth_is_16_and_no_more),
		cmocka_unit_test(a_small_text_cannot_become_a_huge_tree),
		cmocka_unit_test(strings_are_double_quoted_and_closed),
		cmocka_unit_test(control_characters_are_refused),
		cmocka_unit_test(escapes_are_the_ones_of_the_standard),
		cmocka_unit_test(surrogates_come_in_pairs),
		cmocka_unit_test(a_nul_escape_is_refused_in_values_and_keys),
		cmocka_unit_test(invalid_utf8_is_refused),
		cmocka_unit_test(a_byte_order_mark_is_refused_at_the_start_only),
		cmocka_unit_test(trailing_text_is_refused),
		cmocka_unit_test(broken_structures_are_refused),
		cmocka_unit_test(nothing_at_all_is_refused_without_being_touched),
		cmocka_unit_test(utf8_is_told_from_other_bytes),
	};
	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
