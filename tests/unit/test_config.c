/* test_config.c: settings are read strictly, and what is refused is named with its remedy. */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static char path[] = "/tmp/postern-test-config-XXXXXX";
static struct config config;
static char *said; /* what config_load() wrote to err */

static int open_file(void **state)
{
	(void)state;
	int fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int close_file(void **state)
{
	(void)state;
	return unlink(path);
}

static int forget(void **state)
{
	(void)state;
	config_free(&config);
	free(said);
	said = NULL;
	for (char **e = environ; *e;) {
		char *name = strndup(*e, strcspn(*e, "="));
		if (name && !strncmp(name, "POSTERN_", 8)) {
			unsetenv(name);
			e = environ;
		} else {
			e++;
		}
		free(name);
	}
	return 0;
}

static void write_n(const char *text, size_t len)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static bool load_path(const char *where)
{
	size_t size;
	free(said);
	FILE *err = open_memstream(&said, &size);
	assert_non_null(err);
	bool fine = config_load(&config, where, err);
	fclose(err);
	assert_int_equal(fine, size == 0);
	return fine;
}

static bool load(const char *text)
{
	write_n(text, strlen(text));
	config_free(&config);
	return load_path(path);
}

static void says(const char *words)
{
	if (!strstr(said, words))
		fail_msg("\"%s\" does not say \"%s\"", said, words);
}

static char *printed(void)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	assert_non_null(out);
	config_print(&config, out);
	fclose(out);
	return text;
}

static void an_empty_file_gives_the_defaults(void **state)
{
	(void)state;
	assert_true(load(""));
	assert_string_equal(config.dsn, "dbname=postern");
	assert_string_equal(config.dsn_direct, "dbname=postern");
	assert_string_equal(config.role_prefix, "postern_");
	assert_string_equal(config.pepper_file, "/etc/postern/pepper");
	assert_non_null(strstr(config.sql_dir, "/sql"));
	assert_string_equal(config.socket_dir, "/run/postern");
	assert_string_equal(config.token_prefix, "pst");
	assert_true(config.prepare);
	assert_true(config.require_https);
	assert_true(config.open_health);
	assert_true(config.open_docs);
	assert_int_equal(config.threads, 32);
	assert_int_equal(config.batch_max, 32);
	assert_int_equal(config.db_idle_s, 60);
	assert_int_equal(config.db_timeout_ms, 10000);
	assert_int_equal(config.io_timeout_s, 10);
	assert_int_equal(config.body_max_bytes, 1048576);
	assert_int_equal(config.unknown_token_limit, 20);
	assert_int_equal(config.log_format, LOG_TEXT);
}

static void the_file_goes_over_the_defaults(void **state)
{
	(void)state;
	assert_true(load("# comment\n\n  threads = 7  \nrequire_https=off\nlog_format = json # why\n"
	                 "\tdsn = host=/run dbname=x\r\n"));
	assert_int_equal(config.threads, 7);
	assert_false(config.require_https);
	assert_int_equal(config.log_format, LOG_JSON);
	assert_string_equal(config.dsn, "host=/run dbname=x");
	assert_string_equal(config.dsn_direct, "host=/run dbname=x");
}

static void the_environment_goes_over_the_file(void **state)
{
	(void)state;
	setenv("POSTERN_THREADS", "9", 1);
	setenv("POSTERN_DSN_DIRECT", "dbname=direct", 1);
	setenv("POSTERN_URL", "not ours", 1);
	assert_true(load("threads = 7\nbatch_max = 3\n"));
	assert_int_equal(config.threads, 9);
	assert_int_equal(config.batch_max, 3);
	assert_string_equal(config.dsn, "dbname=postern");
	assert_string_equal(config.dsn_direct, "dbname=direct");
}

static void a_bad_value_in_the_environment_is_named_by_its_variable(void **state)
{
	(void)state;
	setenv("POSTERN_THREADS", "many", 1);
	assert_false(load(""));
	says("POSTERN_THREADS: threads: must be a whole number from 1 to 256; default: 32.");
	setenv("POSTERN_THREADS", "", 1);
	assert_false(load(""));
}

static void values_may_be_quoted(void **state)
{
	(void)state;
	assert_true(load("dsn = \"dbname=x application_name='a # b'\" # note\nsql_dir = \" /x\"\n") == false);
	says("sql_dir: must be an absolute path");
	assert_true(load("dsn = \"dbname=x application_name='a # b'\" # note\nsql_dir = \"/a b\"\n"));
	assert_string_equal(config.dsn, "dbname=x application_name='a # b'");
	assert_string_equal(config.sql_dir, "/a b");
	assert_true(load("sql_dir = /a#b #c\n"));
	assert_string_equal(config.sql_dir, "/a#b");
}

static void an_unknown_setting_is_refused_with_file_line_and_nearest_name(void **state)
{
	(void)state;
	assert_false(load("threads = 1\nthraeds = 2\n"));
	says(":2: thraeds: unknown setting; did you mean threads?");
	says(path);
	assert_false(load("colour = blue\n"));
	says("colour: unknown setting; remove the line");
	assert_false(load("Threads = 2\n"));
	says("did you mean threads?");
	assert_false(load(" = 2\n"));
	says("unknown setting");
}

static void services_and_blocks_are_lists(void **state)
{
	(void)state;
	static const char *const good[] = { "services = nginx", "services = php8.2-fpm postgresql@15-main web:/run/a_b.pid", "services =",
		"metrics_addresses = 127.0.0.1 ::1 10.0.0.0/8", "metrics_addresses =" };
	static const char *const bad[] = { "services = -x", "services = 8", "services = a/b", "services = a;b", "services = a:", "services = a:b", "services = \xc3\xa9",
		"services = a\tb", "metrics_addresses = localhost", "metrics_addresses = 10.0.0.1/8", "metrics_addresses = 127.0.0.1,::1", "metrics_addresses = 10.0.0.0/33" };

	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_true(load(good[i]));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_false(load(bad[i]));
		says("separated by spaces");
	}
}

static void numbers_are_whole_and_within_bounds(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"0", "257", "-1", "+1", "1.5", "1e2", "0x10", "", "\"\"", "7 threads", "99999999999999999999",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char text[64];
		snprintf(text, sizeof text, "threads = %s\n", bad[i]);
		assert_false(load(text));
		says(":1: threads: must be a whole number from 1 to 256; default: 32.");
	}
	assert_true(load("threads = 1\n"));
	assert_true(load("threads = 256\n"));
	assert_false(load("db_timeout_ms = 99\n"));
	says("a whole number of milliseconds from 100 to 600000; default: 10000");
}

static void switches_are_on_or_off_and_nothing_else_is_on(void **state)
{
	(void)state;
	assert_true(load("prepare = no\nopen_docs = false\nopen_health = yes\nrequire_https = true\n"));
	assert_false(config.prepare);
	assert_false(config.open_docs);
	assert_true(config.open_health);
	assert_true(config.require_https);
	assert_false(load("require_https = of\n"));
	says("must be on or off; default: on");
	assert_false(load("require_https =\n"));
	assert_false(load("log_format = xml\n"));
	says("must be text or json");
}

static void texts_keep_to_their_form(void **state)
{
	(void)state;
	assert_false(load("token_prefix = p\n"));
	assert_false(load("token_prefix = Pst\n"));
	assert_false(load("token_prefix = 1pst\n"));
	assert_false(load("token_prefix = pst_x\n"));
	assert_false(load("token_prefix = abcdefghijk\n"));
	assert_true(load("token_prefix = abcdefghi9\n"));
	assert_false(load("role_prefix = \"x; drop\"\n"));
	assert_true(load("role_prefix = web2_\n"));
	assert_false(load("pepper_file = pepper\n"));
	assert_false(load("dsn =\n"));
	assert_false(load("dsn = what is this\n"));
	assert_true(load("dsn = postgresql://db.example/postern\ndsn_direct =\n"));
	assert_string_equal(config.dsn_direct, "postgresql://db.example/postern");
}

static void every_mistake_is_reported_not_only_the_first(void **state)
{
	(void)state;
	assert_false(load("threads = 0\nbatch = 2\nbatch_max\n"));
	says(":1: threads:");
	says(":2: batch:");
	says(":3: line: has no '='");
}

static void a_setting_given_twice_is_refused(void **state)
{
	(void)state;
	assert_false(load("threads = 2\nthreads = 3\n"));
	says(":2: threads: is set twice");
}

static void wrong_quotes_are_refused(void **state)
{
	(void)state;
	assert_false(load("sql_dir = \"/x\n"));
	says("no closing double quote");
	assert_false(load("sql_dir = \"/x\" y\n"));
	says("text after its value");
	assert_false(load("sql_dir = /x\"y\n"));
	says("without double quotes");
}

static void files_that_are_no_text_are_refused(void **state)
{
	(void)state;
	write_n("threads = 2\0\n", 13);
	assert_false(load_path(path));
	says("control characters");
	assert_false(load("dsn = dbname=\xff\n"));
	says("UTF-8");
	assert_false(load_path("/"));

	char *large = malloc(70000);
	assert_non_null(large);
	memset(large, '\n', 70000);
	write_n(large, 70000);
	free(large);
	assert_false(load_path(path));
	says("too large");
}

static void a_long_value_is_refused(void **state)
{
	(void)state;
	char text[1200] = "sql_dir = /";
	memset(text + 11, 'x', 1100);
	assert_false(load(text));
	says("at most 1024 bytes");
}

static void a_missing_file_that_was_asked_for_is_an_error(void **state)
{
	(void)state;
	assert_false(load_path("/nonexistent/postern.conf"));
	says("/nonexistent/postern.conf: file: No such file or directory");
	setenv("POSTERN_CONFIG", "/nonexistent/other.conf", 1);
	assert_false(load_path(NULL));
	says("/nonexistent/other.conf");
}

static void the_path_comes_from_the_environment_when_not_given(void **state)
{
	(void)state;
	write_n("threads = 5\n", 12);
	setenv("POSTERN_CONFIG", path, 1);
	assert_true(load_path(NULL));
	assert_int_equal(config.threads, 5);
}

static void after_an_error_nothing_is_left_to_use(void **state)
{
	(void)state;
	assert_false(load("threads = 0\n"));
	assert_null(config.dsn);
	assert_int_equal(config.threads, 0);
}

static void messages_never_repeat_values(void **state)
{
	(void)state;
	assert_false(load("dsn = hunter2 hunter2\nthreads = hunter2\n"
	                  "password=hunter2\nhunter2x\ndsn_direct = \"hunter2\n"));
	assert_null(strstr(said, "hunter2"));
}

static void printing_masks_passwords_in_either_form_of_a_dsn(void **state)
{
	(void)state;
	static const char *const forms[] = {
		"dsn = host=db password=hunter2 dbname=x\n",
		"dsn = host=db password = 'hunter2 \\' hunter2' dbname=x\n",
		"dsn = postgresql://u:hunter2@db/x\n",
		"dsn = postgresql://db/x?password=hunter2\n",
		"dsn = postgresql://db/x?sslpassword=hunter2\n",
	};
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		assert_true(load(forms[i]));
		char *text = printed();
		assert_null(strstr(text, "hunter2"));
		assert_non_null(strstr(text, "password=********"));
		assert_non_null(strstr(text, "dbname=x"));
		free(text);
	}
}

static void what_is_printed_loads_again_to_the_same(void **state)
{
	(void)state;
	assert_true(load("dsn = \"host='/a b' application_name='it\\'s' dbname=''\"\n"
	                 "threads = 3\nprepare = off\nlog_format = json\nsql_dir = \"/a # b\"\n"));
	char *first = printed();
	assert_true(load(first));
	assert_int_equal(config.threads, 3);
	assert_false(config.prepare);
	char *second = printed();
	assert_string_equal(first, second);
	free(first);
	free(second);
}

static void the_sample_shows_each_setting_and_loads_as_it_is_and_uncommented(void **state)
{
	(void)state;
	char *sample;
	size_t size;
	FILE *out = open_memstream(&sample, &size);
	assert_non_null(out);
	config_print_sample(out);
	fclose(out);
	assert_non_null(strstr(sample, "a whole number of seconds from 1 to 3600"));
	assert_true(load(sample));
	char *defaults = printed();

	/* "#name = value" stands for a default; prose comments have a space behind the '#'. */
	size_t settings = 0;
	for (char *p = sample; (p = strchr(p, '\n'));)
		if (*++p == '#' && p[1] != ' ')
			*p = ' ', settings++;
	struct setting_text s;
	size_t described = 0;
	while (config_describe(described, &s))
		described++;
	assert_int_equal(settings, described);
	assert_true(load(sample));
	char *uncommented = printed();
	assert_string_equal(defaults, uncommented);
	free(sample);
	free(defaults);
	free(uncommented);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, forget)
	const struct CMUnitTest tests[] = {
		TEST(an_empty_file_gives_the_defaults),
		TEST(the_file_goes_over_the_defaults),
		TEST(the_environment_goes_over_the_file),
		TEST(a_bad_value_in_the_environment_is_named_by_its_variable),
		TEST(values_may_be_quoted),
		TEST(an_unknown_setting_is_refused_with_file_line_and_nearest_name),
		TEST(services_and_blocks_are_lists),
		TEST(numbers_are_whole_and_within_bounds),
		TEST(switches_are_on_or_off_and_nothing_else_is_on),
		TEST(texts_keep_to_their_form),
		TEST(every_mistake_is_reported_not_only_the_first),
		TEST(a_setting_given_twice_is_refused),
		TEST(wrong_quotes_are_refused),
		TEST(files_that_are_no_text_are_refused),
		TEST(a_long_value_is_refused),
		TEST(a_missing_file_that_was_asked_for_is_an_error),
		TEST(the_path_comes_from_the_environment_when_not_given),
		TEST(after_an_error_nothing_is_left_to_use),
		TEST(messages_never_repeat_values),
		TEST(printing_masks_passwords_in_either_form_of_a_dsn),
		TEST(what_is_printed_loads_again_to_the_same),
		TEST(the_sample_shows_each_setting_and_loads_as_it_is_and_uncommented),
	};
	forget(NULL);
	return cmocka_run_group_tests_name("config", tests, open_file, close_file);
}
