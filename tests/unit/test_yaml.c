/* test_yaml.c: every value keeps its type in a reader of YAML. */
#include "yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void is_written_as(const char *json, const char *yaml)
{
	struct buf b;

	buf_init(&b, 4096);
	assert_true(yaml_from_json(&b, json));
	assert_string_equal(b.data, yaml);
	buf_free(&b);
}

static void words_stand_bare_and_what_yaml_would_read_otherwise_in_quotes(void **state)
{
	(void)state;
	is_written_as("\"plain-word_2/x.y\"", "plain-word_2/x.y\n");
	is_written_as("\"\"", "\"\"\n");
	is_written_as("\"yes\"", "\"yes\"\n");
	is_written_as("\"Null\"", "\"Null\"\n");
	is_written_as("\"200\"", "\"200\"\n");
	is_written_as("\"3.1.0\"", "\"3.1.0\"\n");
	is_written_as("\"a: b # c\\n\"", "\"a: b # c\\n\"\n");
	is_written_as("\"#/x\"", "\"#/x\"\n");
}

static void numbers_truth_and_null_stay_what_they_are(void **state)
{
	(void)state;
	is_written_as("{\"count\":200,\"is\":true,\"none\":null,\"n\":1}", "count: 200\nis: true\nnone: null\n\"n\": 1\n");
}

static void objects_and_lists_are_blocks_and_empty_ones_are_not_lost(void **state)
{
	(void)state;
	is_written_as("{\"a\":{\"b\":[1,{\"c\":[],\"d\":{}},[2,3]]},\"200\":[]}",
	              "a:\n  b:\n    - 1\n    - c: []\n      d: {}\n    - - 2\n      - 3\n\"200\": []\n");
}

static void what_is_no_json_or_does_not_fit_is_refused(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_false(yaml_from_json(&b, "{\"a\":"));
	buf_free(&b);
	buf_init(&b, 4);
	assert_false(yaml_from_json(&b, "[\"longer than four bytes\"]"));
	buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_stand_bare_and_what_yaml_would_read_otherwise_in_quotes),
		cmocka_unit_test(numbers_truth_and_null_stay_what_they_are),
		cmocka_unit_test(objects_and_lists_are_blocks_and_empty_ones_are_not_lost),
		cmocka_unit_test(what_is_no_json_or_does_not_fit_is_refused),
	};

	return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}
