/* test_error.c: the catalogue is complete and agrees with the contract. */
#include "error.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static void codes_have_the_status_and_exit_code_of_the_contract(void **state)
{
	(void)state;
	static const struct { enum error_code code; const char *name; int status, exit_code; } rows[] = {
		{ ERR_INTERNAL, "internal_error", 500, 1 },
		{ ERR_BAD_REQUEST, "bad_request", 400, 7 },
		{ ERR_UNAUTHORIZED, "unauthorized", 401, 5 },
		{ ERR_FORBIDDEN, "forbidden", 403, 5 },
		{ ERR_NOT_FOUND, "not_found", 404, 3 },
		{ ERR_METHOD_NOT_ALLOWED, "method_not_allowed", 405, 1 },
		{ ERR_NOT_ACCEPTABLE, "not_acceptable", 406, 1 },
		{ ERR_CONFLICT, "conflict", 409, 4 },
		{ ERR_PRECONDITION_FAILED, "precondition_failed", 412, 4 },
		{ ERR_PAYLOAD_TOO_LARGE, "payload_too_large", 413, 7 },
		{ ERR_UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", 415, 7 },
		{ ERR_VALIDATION, "validation_error", 422, 7 },
		{ ERR_RATE_LIMITED, "rate_limited", 429, 5 },
		{ ERR_UNAVAILABLE, "unavailable", 503, 6 },
	};
	assert_int_equal(sizeof rows / sizeof *rows, ERR_COUNT);
	for (size_t i = 0; i < ERR_COUNT; i++) {
		const struct error_info *info = error_info(rows[i].code);
		assert_string_equal(info->code, rows[i].name);
		assert_int_equal(info->status, rows[i].status);
		assert_int_equal(info->exit_code, rows[i].exit_code);
	}
}

static void every_code_says_what_it_means_and_what_to_do(void **state)
{
	(void)state;
	for (int code = 0; code < ERR_COUNT; code++) {
		const struct error_info *info = error_info((enum error_code)code);
		assert_true(strlen(info->title) > 5);
		assert_int_equal(info->meaning[strlen(info->meaning) - 1], '.');
		assert_int_equal(info->remedy[strlen(info->remedy) - 1], '.');
	}
}

static void codes_out_of_range_are_internal_errors(void **state)
{
	(void)state;
	assert_ptr_equal(error_info(ERR_COUNT), error_info(ERR_INTERNAL));
	assert_ptr_equal(error_info((enum error_code)-1), error_info(ERR_INTERNAL));
	assert_ptr_equal(error_info((enum error_code)1000), error_info(ERR_INTERNAL));
}

static void each_status_leads_back_to_its_code(void **state)
{
	(void)state;
	for (int code = 0; code < ERR_COUNT; code++)
		assert_int_equal(error_from_status(error_info((enum error_code)code)->status), code);
}

static void the_web_servers_own_statuses_have_a_neighbour(void **state)
{
	(void)state;
	assert_int_equal(error_from_status(414), ERR_BAD_REQUEST);
	assert_int_equal(error_from_status(431), ERR_BAD_REQUEST);
	assert_int_equal(error_from_status(505), ERR_BAD_REQUEST);
	assert_int_equal(error_from_status(502), ERR_UNAVAILABLE);
	assert_int_equal(error_from_status(504), ERR_UNAVAILABLE);
}

static void unknown_statuses_are_internal_errors(void **state)
{
	(void)state;
	assert_int_equal(error_from_status(0), ERR_INTERNAL);
	assert_int_equal(error_from_status(200), ERR_INTERNAL);
	assert_int_equal(error_from_status(418), ERR_INTERNAL);
	assert_int_equal(error_from_status(-1), ERR_INTERNAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(codes_have_the_status_and_exit_code_of_the_contract),
		cmocka_unit_test(every_code_says_what_it_means_and_what_to_do),
		cmocka_unit_test(codes_out_of_range_are_internal_errors),
		cmocka_unit_test(each_status_leads_back_to_its_code),
		cmocka_unit_test(the_web_servers_own_statuses_have_a_neighbour),
		cmocka_unit_test(unknown_statuses_are_internal_errors),
	};
	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
