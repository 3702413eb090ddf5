/* test_log.c: a log line is one line, bounded, and safe to show on a terminal. */
#include "json.h"
#include "log.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char line[2 * LOG_LINE_MAX];
static size_t line_len;

/* Keeps what a call writes to stderr as `line`. */
static int saved, ends[2];

static void capture_start(void)
{
	saved = dup(STDERR_FILENO);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	close(ends[1]);
}

static void capture_end(void)
{
	dup2(saved, STDERR_FILENO);
	close(saved);
	line_len = 0;
	for (ssize_t n; (n = read(ends[0], line + line_len, sizeof line - 1 - line_len)) > 0;)
		line_len += (size_t)n;
	line[line_len] = '\0';
	close(ends[0]);
}

#define CAPTURE(call) do { capture_start(); call; capture_end(); } while (0)

/* The line behind its time, which is of the form 2026-06-12T00:00:00+00:00. */
static const char *behind_time(void)
{
	assert_true(line_len > 26);
	assert_int_equal(line[10], 'T');
	assert_memory_equal(line + 19, "+00:00 ", 7);
	return line + 26;
}

static const char *member(struct json_object *object, const char *name)
{
	return json_object_get_string(json_object_object_get(object, name));
}

static struct json_object *read_line(void)
{
	const char *why;
	size_t at;
	assert_int_equal(line[line_len - 1], '\n');
	struct json_object *object = json_parse(line, line_len - 1, &why, &at);
	if (!object)
		fail_msg("%s at %zu: %s", why, at, line);
	return object;
}

static void a_text_line_has_time_program_level_event_and_pairs(void **state)
{
	(void)state;
	log_open("domains", LOG_TEXT);
	CAPTURE(log_event("info", "request", "id", "7", "status", "200", NULL));
	assert_string_equal(behind_time(), "domains info request id=7 status=200\n");
}

static void a_null_value_is_left_out(void **state)
{
	(void)state;
	log_open("domains", LOG_TEXT);
	CAPTURE(log_event("warn", "x", "a", NULL, "b", "2", NULL));
	assert_string_equal(behind_time(), "domains warn x b=2\n");
	log_open("domains", LOG_JSON);
	CAPTURE(log_event("warn", "x", "a", NULL, NULL));
	assert_null(strstr(line, "\"a\""));
}

static void values_that_are_no_plain_word_are_quoted(void **state)
{
	(void)state;
	log_open("p", LOG_TEXT);
	CAPTURE(log_event("info", "e", "a", "two words", "b", "", "c", "say \"hi\"", "d", "x=y", "e", "back\\slash", NULL));
	assert_string_equal(behind_time(),
	                    "p info e a=\"two words\" b=\"\" c=\"say \\\"hi\\\"\" d=\"x=y\" e=\"back\\\\slash\"\n");
}

static void control_characters_never_reach_the_log(void **state)
{
	(void)state;
	const char *evil = "a\nb\r\x1b[31m\x7f\xc2\x9b" "2J\xff\xc3";
	log_open("p", LOG_TEXT);
	CAPTURE(log_event("info", "e", "v", evil, NULL));
	assert_string_equal(behind_time(),
	                    "p info e v=\"a\\u000ab\\u000d\\u001b[31m\\u007f\\u009b2J\xef\xbf\xbd\xef\xbf\xbd\"\n");
	log_open("p", LOG_JSON);
	CAPTURE(log_event("info", "e", "v", evil, NULL));
	assert_ptr_equal(strchr(line, '\n'), line + line_len - 1);
	assert_null(strchr(line, 0x1b));
	struct json_object *object = read_line();
	assert_string_equal(member(object, "v"), "a\nb\r\x1b[31m\x7f\xc2\x9b" "2J\xef\xbf\xbd\xef\xbf\xbd");
	json_object_put(object);
}

static void a_json_line_is_one_object(void **state)
{
	(void)state;
	log_open("tokens", LOG_JSON);
	CAPTURE(log_event("error", "stop", "reason", "Grün \"x\"", NULL));
	struct json_object *object = read_line();
	assert_string_equal(member(object, "program"), "tokens");
	assert_string_equal(member(object, "level"), "error");
	assert_string_equal(member(object, "event"), "stop");
	assert_string_equal(member(object, "reason"), "Grün \"x\"");
	assert_int_equal(strlen(member(object, "time")), 25);
	assert_int_equal(json_object_object_length(object), 5);
	json_object_put(object);
}

static void long_text_lines_are_cut_with_dots(void **state)
{
	(void)state;
	char value[3 * LOG_LINE_MAX];
	memset(value, 'x', sizeof value - 1);
	value[sizeof value - 1] = '\0';
	log_open("p", LOG_TEXT);
	CAPTURE(log_event("info", "e", "v", value, "w", "never", NULL));
	assert_in_range(line_len, LOG_LINE_MAX - 20, LOG_LINE_MAX);
	assert_string_equal(line + line_len - 5, "x...\n");
	assert_null(strstr(line, "never"));
}

static void json_lines_of_any_length_stay_json_within_the_bound(void **state)
{
	(void)state;
	char value[LOG_LINE_MAX + 100];
	log_open("p", LOG_JSON);
	/* Around the bound the cut falls into a value, an escape, a name, and between them. */
	for (size_t len = LOG_LINE_MAX - 200; len < sizeof value; len++) {
		memset(value, len % 2 ? 'x' : '"', len);
		if (len % 2 == 0)
			memset(value, 'x', len - 60);
		value[len] = '\0';
		CAPTURE(log_event("info", "e", "v", value, "second", "2", "third", "3", NULL));
		assert_true(line_len <= LOG_LINE_MAX);
		struct json_object *object = read_line();
		bool whole = json_object_object_get(object, "third") && !strcmp(member(object, "third"), "3");
		if (!whole)
			assert_non_null(strstr(line, "..."));
		json_object_put(object);
	}
}

static void a_missing_stderr_is_survived(void **state)
{
	(void)state;
	log_open("p", LOG_TEXT);
	int keep = dup(STDERR_FILENO);
	close(STDERR_FILENO);
	log_event("info", "nobody listens", NULL);
	assert_int_equal(dup2(keep, STDERR_FILENO), STDERR_FILENO);
	close(keep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_line_has_time_program_level_event_and_pairs),
		cmocka_unit_test(a_null_value_is_left_out),
		cmocka_unit_test(values_that_are_no_plain_word_are_quoted),
		cmocka_unit_test(control_characters_never_reach_the_log),
		cmocka_unit_test(a_json_line_is_one_object),
		cmocka_unit_test(long_text_lines_are_cut_with_dots),
		cmocka_unit_test(json_lines_of_any_length_stay_json_within_the_bound),
		cmocka_unit_test(a_missing_stderr_is_survived),
	};
	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
