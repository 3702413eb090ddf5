/* test_suffix.c: which names are public suffixes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "suffix.h"

#define PACKAGED "/usr/share/publicsuffix/public_suffix_list.dafsa"

static void packaged(void **state)
{
	(void)state;
	assert_int_equal(suffix_of(PACKAGED, "co.uk"), SUFFIX_REGISTRY);
	assert_int_equal(suffix_of(PACKAGED, "foo.ck"), SUFFIX_REGISTRY); /* a wildcard of the list */
	assert_int_equal(suffix_of(PACKAGED, "www.ck"), SUFFIX_NONE);     /* its exception */
	assert_int_equal(suffix_of(PACKAGED, "xn--55qx5d.cn"), SUFFIX_REGISTRY);
	assert_int_equal(suffix_of(PACKAGED, "github.io"), SUFFIX_PRIVATE);
	assert_int_equal(suffix_of(PACKAGED, "alice.github.io"), SUFFIX_NONE);
	assert_int_equal(suffix_of(PACKAGED, "gmail.com"), SUFFIX_NONE);
	assert_int_equal(suffix_of(PACKAGED, "example.invalid"), SUFFIX_NONE);
}

static void another_list(void **state)
{
	char path[] = "/tmp/suffixes-XXXXXX";
	int fd = mkstemp(path);
	FILE *list = fd < 0 ? NULL : fdopen(fd, "w");

	(void)state;
	assert_non_null(list);
	fputs("// ===BEGIN ICANN DOMAINS===\nexample\nco.example\n// ===END ICANN DOMAINS===\n"
	      "// ===BEGIN PRIVATE DOMAINS===\nhosts.example\n// ===END PRIVATE DOMAINS===\n", list);
	fclose(list);
	assert_int_equal(suffix_of(path, "co.example"), SUFFIX_REGISTRY);
	assert_int_equal(suffix_of(path, "hosts.example"), SUFFIX_PRIVATE);
	assert_int_equal(suffix_of(path, "a.hosts.example"), SUFFIX_NONE);
	assert_int_equal(suffix_of(path, "co.uk"), SUFFIX_NONE);
	unlink(path);
	assert_int_equal(suffix_of(path, "a.example"), SUFFIX_UNKNOWN); /* no list is not an empty one */
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(packaged), cmocka_unit_test(another_list) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
