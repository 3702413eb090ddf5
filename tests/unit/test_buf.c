/* test_buf.c: answers are built whole or marked failed, and any bytes become valid JSON. */
#include "buf.h"
#include "json.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static struct buf b;

static int open_buf(void **state)
{
	(void)state;
	buf_init(&b, 1 << 20);
	return 0;
}

static int close_buf(void **state)
{
	(void)state;
	buf_free(&b);
	return 0;
}

static void appends_add_up(void **state)
{
	(void)state;
	buf_str(&b, "a");
	buf_str(&b, NULL);
	buf_char(&b, 'b');
	buf_add(&b, "cd", 2);
	buf_add(&b, "", 0);
	buf_int(&b, -42);
	buf_printf(&b, "/%s", "e");
	assert_false(buf_failed(&b));
	assert_string_equal(b.data, "abcd-42/e");
	assert_int_equal(b.len, 9);
}

static void integers_of_any_size_are_written(void **state)
{
	(void)state;
	buf_int(&b, INT64_MIN);
	buf_char(&b, ' ');
	buf_int(&b, INT64_MAX);
	assert_string_equal(b.data, "-9223372036854775808 9223372036854775807");
}

static void the_ceiling_is_exact_and_failure_sticks_until_cleared(void **state)
{
	(void)state;
	struct buf small;
	buf_init(&small, 5);
	buf_str(&small, "12345");
	assert_false(buf_failed(&small));
	assert_string_equal(small.data, "12345");
	buf_char(&small, '6');
	assert_true(buf_failed(&small));
	assert_int_equal(small.len, 5);
	buf_str(&small, "");
	assert_true(buf_failed(&small));
	buf_clear(&small);
	assert_false(buf_failed(&small));
	assert_string_equal(small.data, "");
	buf_printf(&small, "%s", "123456");
	assert_true(buf_failed(&small));
	buf_free(&small);
}

static void an_append_too_long_is_not_done_in_part(void **state)
{
	(void)state;
	struct buf small;
	buf_init(&small, 10);
	buf_str(&small, "ab");
	buf_str(&small, "0123456789");
	assert_true(buf_failed(&small));
	assert_string_equal(small.data, "ab");
	buf_free(&small);
	buf_init(&small, SIZE_MAX);
	volatile size_t too_much = SIZE_MAX - 1; /* gcc need not know */
	buf_add(&small, "x", too_much);
	assert_true(buf_failed(&small));
	buf_free(&small);
}

static void a_ceiling_of_zero_takes_nothing(void **state)
{
	(void)state;
	struct buf none;
	buf_init(&none, 0);
	buf_str(&none, "");
	assert_false(buf_failed(&none));
	assert_string_equal(none.data, "");
	buf_char(&none, 'x');
	assert_true(buf_failed(&none));
	buf_free(&none);
}

static void growth_keeps_the_bytes(void **state)
{
	(void)state;
	for (int i = 0; i < 100000; i++)
		buf_char(&b, (char)('a' + i % 26));
	assert_false(buf_failed(&b));
	assert_int_equal(b.len, 100000);
	assert_int_equal(strlen(b.data), 100000);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(b.data[i], 'a' + i % 26);
}

static void json_strings_are_escaped(void **state)
{
	(void)state;
	buf_json(&b, "a\"b\\c\n\r\t\b\x01\x1f/\x7f");
	assert_string_equal(b.data, "\"a\\\"b\\\\c\\n\\r\\t\\u0008\\u0001\\u001f/\x7f\"");
}

static void json_null_and_empty_differ(void **state)
{
	(void)state;
	buf_json(&b, NULL);
	buf_json(&b, "");
	buf_json_n(&b, "a\0b", 3);
	assert_string_equal(b.data, "null\"\"\"a\\u0000b\"");
}

static void valid_utf8_stays_as_it_is(void **state)
{
	(void)state;
	buf_json(&b, "grün 漢字 \xf0\x9f\x9a\xaa \xf4\x8f\xbf\xbf");
	assert_string_equal(b.data, "\"grün 漢字 \xf0\x9f\x9a\xaa \xf4\x8f\xbf\xbf\"");
}

static void invalid_utf8_becomes_replacement_characters(void **state)
{
	(void)state;
	static const struct { const char *in, *out; } cases[] = {
		{ "a\x80z", "\"a\uFFFDz\"" },
		{ "\xff", "\"\uFFFD\"" },
		{ "\xc3", "\"\uFFFD\"" },                         /* cut short */
		{ "\xc3(", "\"\uFFFD(\"" },
		{ "\xc0\xaf", "\"\uFFFD\uFFFD\"" },               /* overlong '/' */
		{ "\xe0\x80\xaf", "\"\uFFFD\uFFFD\uFFFD\"" },
		{ "\xed\xa0\x80", "\"\uFFFD\uFFFD\uFFFD\"" },     /* surrogate */
		{ "\xf4\x90\x80\x80", "\"\uFFFD\uFFFD\uFFFD\uFFFD\"" }, /* beyond U+10FFFF */
		{ "\xe2\x82\"", "\"\uFFFD\uFFFD\\\"\"" },         /* a cut sequence does not swallow the quote */
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		buf_clear(&b);
		buf_json(&b, cases[i].in);
		assert_string_equal(b.data, cases[i].out);
	}
}

static void every_byte_makes_json_that_our_own_reader_takes(void **state)
{
	(void)state;
	for (int high = 1; high < 256; high++) {
		for (int low = 1; low < 256; low++) {
			const char *why;
			size_t at;
			buf_clear(&b);
			buf_json_n(&b, (char[]){ (char)high, (char)low }, 2);
			struct json_object *read = json_parse(b.data, b.len, &why, &at);
			assert_non_null(read);
			json_object_put(read);
		}
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_buf, close_buf)
	const struct CMUnitTest tests[] = {
		TEST(appends_add_up),
		TEST(integers_of_any_size_are_written),
		TEST(the_ceiling_is_exact_and_failure_sticks_until_cleared),
		TEST(an_append_too_long_is_not_done_in_part),
		TEST(a_ceiling_of_zero_takes_nothing),
		TEST(growth_keeps_the_bytes),
		TEST(json_strings_are_escaped),
		TEST(json_null_and_empty_differ),
		TEST(valid_utf8_stays_as_it_is),
		TEST(invalid_utf8_becomes_replacement_characters),
		TEST(every_byte_makes_json_that_our_own_reader_takes),
	};
	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
