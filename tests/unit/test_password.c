/* test_password.c: passwords are kept as bcrypt hashes with a salt of their own; what bcrypt would cut off is refused. */
#include "password.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <crypt.h>
#include <string.h>

static void a_hash_names_its_scheme_and_cost_and_fits_its_password_alone(void **state)
{
	char hash[PASSWORD_HASH_MAX];
	(void)state;
	assert_true(password_bcrypt("correct h\xc3\xb6rse", hash));
	assert_int_equal(strncmp(hash, "{BLF-CRYPT}$2b$10$", 18), 0);
	assert_int_equal(strlen(hash), 11 + 60);
	assert_string_equal(crypt("correct h\xc3\xb6rse", hash + 11), hash + 11);
	assert_string_not_equal(crypt("correct horse", hash + 11), hash + 11);
}

static void equal_passwords_have_different_hashes(void **state)
{
	char one[PASSWORD_HASH_MAX], two[PASSWORD_HASH_MAX];
	(void)state;
	assert_true(password_bcrypt("correct horse", one) && password_bcrypt("correct horse", two));
	assert_string_not_equal(one, two);
}

static void lengths_beyond_the_bounds_are_refused_and_leave_nothing(void **state)
{
	char long_one[PASSWORD_MAX + 2], hash[PASSWORD_HASH_MAX] = "left over";
	(void)state;
	memset(long_one, 'x', sizeof long_one);
	long_one[PASSWORD_MAX + 1] = '\0';
	assert_false(password_bcrypt(long_one, hash));
	assert_string_equal(hash, "");
	assert_false(password_bcrypt("1234567", hash));
	assert_false(password_bcrypt("", hash));
	long_one[PASSWORD_MAX] = '\0';
	assert_true(password_bcrypt(long_one, hash));
	long_one[PASSWORD_MAX - 1] = 'y';
	assert_string_not_equal(crypt(long_one, hash + 11), hash + 11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hash_names_its_scheme_and_cost_and_fits_its_password_alone),
		cmocka_unit_test(equal_passwords_have_different_hashes),
		cmocka_unit_test(lengths_beyond_the_bounds_are_refused_and_leave_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
