/* test_nearest.c: a typing error finds its name, another word finds none. */
#include "nearest.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static const char *const names[] = { "domain", "document_root", "status", "rate_limit", "id", "mail_enabled" };

static const char *find(const char *word)
{
	return nearest(word, names, sizeof names / sizeof *names);
}

static void single_slips_are_found(void **state)
{
	(void)state;
	assert_string_equal(find("domian"), "domain");   /* swapped */
	assert_string_equal(find("dmoian"), "domain");   /* twice */
	assert_string_equal(find("domai"), "domain");    /* dropped */
	assert_string_equal(find("domainn"), "domain");  /* doubled */
	assert_string_equal(find("domaim"), "domain");   /* changed */
	assert_string_equal(find("domain"), "domain");
}

static void case_and_camel_case_are_found(void **state)
{
	(void)state;
	assert_string_equal(find("STATUS"), "status");
	assert_string_equal(find("rateLimit"), "rate_limit");
	assert_string_equal(find("mailEnabled"), "mail_enabled");
}

static void long_words_may_differ_by_a_third(void **state)
{
	(void)state;
	assert_string_equal(find("documentroute"), "document_root"); /* 3 of 13 */
	assert_null(find("docs_route"));
}

static void distant_words_find_nothing(void **state)
{
	(void)state;
	assert_null(find("colour"));
	assert_null(find(""));
	assert_null(find("xy")); /* two changes would make any two letters "id" */
	assert_null(find("x"));
}

static void the_closest_wins_and_then_the_first(void **state)
{
	(void)state;
	static const char *const close[] = { "abcd", "abce", "abcx" };
	assert_string_equal(nearest("abcx", close, 3), "abcx");
	assert_string_equal(nearest("abcy", close, 3), "abcd");
}

static void other_words_for_a_field_are_known(void **state)
{
	static const char *const list[] = { "page", "per_page", "domain", "status", "rate_limit" };
	static const char *const box[] = { "address", "password", "domain" };

	(void)state;
	assert_string_equal(intended("limit", list, 5), "per_page");
	assert_string_equal(intended("pageSize", list, 5), "per_page");
	assert_string_equal(intended("page-size", list, 5), "per_page");
	assert_string_equal(intended("name", list, 5), "domain");
	assert_string_equal(intended("name", box, 3), "address");
	assert_string_equal(intended("pwd", box, 3), "password");
	assert_string_equal(intended("statsu", list, 5), "status"); /* else the nearest */
	assert_null(intended("colour", list, 5));
	assert_null(intended("", list, 5));
	assert_null(intended("limitlimitlimitlimitlimitlimitlimitlimitlimitlimitlimitlimitlimitlimit", list, 5));
}

static void no_candidates_give_nothing(void **state)
{
	(void)state;
	assert_null(nearest("domain", names, 0));
}

static void words_beyond_the_bound_are_passed_over(void **state)
{
	(void)state;
	char word[NEAREST_WORD_MAX + 2];
	memset(word, 'a', sizeof word - 1);
	word[sizeof word - 1] = '\0';
	const char *const same[] = { word };
	assert_null(nearest(word, same, 1));
	char fits[NEAREST_WORD_MAX + 1];
	memset(fits, 'a', sizeof fits - 1);
	fits[sizeof fits - 1] = '\0';
	assert_null(nearest(fits, same, 1));
	const char *const itself[] = { fits };
	assert_string_equal(nearest(fits, itself, 1), fits);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(single_slips_are_found),
		cmocka_unit_test(case_and_camel_case_are_found),
		cmocka_unit_test(long_words_may_differ_by_a_third),
		cmocka_unit_test(distant_words_find_nothing),
		cmocka_unit_test(the_closest_wins_and_then_the_first),
		cmocka_unit_test(other_words_for_a_field_are_known), cmocka_unit_test(no_candidates_give_nothing),
		cmocka_unit_test(words_beyond_the_bound_are_passed_over),
	};
	return cmocka_run_group_tests_name("nearest", tests, NULL, NULL);
}
