/* test_verifier.c: what database servers keep of a password. The expected values are from Python's hashlib; the first SCRAM
 * one gives the server signature that RFC 7677 section 3 has. */
#include "verifier.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <string.h>

static char text[SCRAM_VERIFIER_MAX];

static void scram_verifiers_are_those_of_the_rfc(void **state)
{
	static const unsigned char rfc[] = { 0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81 };
	static const unsigned char counted[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

	(void)state;
	assert_true(verifier_scram("pencil", rfc, text));
	assert_string_equal(text, "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
	                          "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
	assert_true(verifier_scram(" !\"'\\~", counted, text));
	assert_string_equal(text, "SCRAM-SHA-256$4096:AAECAwQFBgcICQoLDA0ODw==$foYvLhaWoBaots+jX5JpA6UucGlDE6cZE4ZE8I1OchE=:"
	                          "kuCa9s8IaEjsapekYJljCgM6t6dfIBH0uq1Iux/2FP4=");
}

static void a_salt_is_never_used_twice(void **state)
{
	char other[SCRAM_VERIFIER_MAX];

	(void)state;
	assert_true(verifier_scram("pencil", NULL, text));
	assert_true(verifier_scram("pencil", NULL, other));
	assert_string_not_equal(text, other);
	assert_true(verifier_is_scram(text) && verifier_is_scram(other));
}

static void native_verifiers_are_mariadbs(void **state)
{
	(void)state;
	assert_true(verifier_native("pencil", text));
	assert_string_equal(text, "*7614BE58636C810A9D8970A50B3B2A78450413E4");
	assert_true(verifier_native(" !\"'\\~", text));
	assert_string_equal(text, "*641AE7F9C3EF792E11EBD36B1DBFAE441F4EF03E");
	assert_true(verifier_is_native(text));
}

static void passwords_are_random_base62(void **state)
{
	char one[PASSWORD_LEN + 1], two[PASSWORD_LEN + 1];
	bool seen[128] = { false };
	int letters = 0;

	(void)state;
	for (int i = 0; i < 200; i++) {
		assert_true(verifier_password(one));
		assert_true(verifier_password(two));
		assert_string_not_equal(one, two);
		assert_int_equal(strlen(one), PASSWORD_LEN);
		for (const char *c = one; *c; c++) {
			assert_true(isalnum((unsigned char)*c));
			seen[(int)*c] = true;
		}
	}
	for (int c = 0; c < 128; c++)
		letters += seen[c];
	assert_int_equal(letters, 62); /* of 5,600 drawn, one would be missing in 10^37 runs */
}

static void a_password_is_printable_ascii(void **state)
{
	(void)state;
	assert_true(verifier_can_be_password(" a~"));
	assert_false(verifier_can_be_password(""));
	assert_false(verifier_can_be_password("tab\there"));
	assert_false(verifier_can_be_password("del\x7f"));
	assert_false(verifier_can_be_password("caf\xc3\xa9"));
}

static void whatever_is_no_verifier_is_seen(void **state)
{
	static const char *const others[] = {
		"", "*", "pencil", "SCRAM-SHA-256$4096:", "*7614BE58636C810A9D8970A50B3B2A78450413E", "*7614BE58636C810A9D8970A50B3B2A78450413E44",
		"*7614be58636c810a9d8970a50b3b2a78450413e4", "*7614BE58636C810A9D8970A50B3B2A78450413E4 ",
		"SCRAM-SHA-256$1:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
		"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=x",
		"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4q'=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
		"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=",
	};

	(void)state;
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		assert_false(verifier_is_scram(others[i]) || verifier_is_native(others[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scram_verifiers_are_those_of_the_rfc), cmocka_unit_test(a_salt_is_never_used_twice),
		cmocka_unit_test(native_verifiers_are_mariadbs), cmocka_unit_test(passwords_are_random_base62),
		cmocka_unit_test(a_password_is_printable_ascii), cmocka_unit_test(whatever_is_no_verifier_is_seen),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
