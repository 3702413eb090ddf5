/* test_timestamp.c: instants are read strictly, and days end where the server stands. */
#include "timestamp.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define S INT64_C(1000000)

static void parses(const char *text, int64_t us)
{
	int64_t read = -1;
	if (!timestamp_parse(text, &read))
		fail_msg("refused: %s", text);
	if (read != us)
		fail_msg("%s is %lld, not %lld", text, (long long)read, (long long)us);
}

static void refuses(const char *text)
{
	int64_t read = 42;
	if (timestamp_parse(text, &read))
		fail_msg("accepted: %s", text);
	assert_true(read == 42);
}

static void formats(int64_t us, const char *text)
{
	char out[TIMESTAMP_TEXT_MAX];
	timestamp_format(us, out);
	assert_string_equal(out, text);
}

static void use_zone(const char *zone)
{
	if (zone)
		setenv("TZ", zone, 1);
	else
		unsetenv("TZ");
	tzset();
}

static int forget_zone(void **state)
{
	(void)state;
	use_zone(NULL);
	return 0;
}

static void ends(const char *zone, const char *date, const char *instant)
{
	int64_t us = -1;
	char out[TIMESTAMP_TEXT_MAX];
	use_zone(zone);
	assert_true(timestamp_end_of_day(date, &us));
	timestamp_format(us, out);
	assert_string_equal(out, instant);
}

static void instants_are_read(void **state)
{
	(void)state;
	parses("1970-01-01T00:00:00Z", 0);
	parses("2026-06-12T00:00:00Z", 1781222400 * S);
	parses("2026-06-12t00:00:00z", 1781222400 * S);
	parses("2000-02-29T12:34:56Z", 951827696 * S);
	parses("9999-12-31T23:59:59Z", 253402300799 * S);
	parses("9999-12-31T23:59:59.999999Z", 253402300799 * S + 999999);
}

static void fractions_have_one_to_six_digits(void **state)
{
	(void)state;
	parses("1970-01-01T00:00:00.5Z", 500000);
	parses("1970-01-01T00:00:00.05Z", 50000);
	parses("1970-01-01T00:00:00.000001Z", 1);
	parses("1970-01-01T00:00:00.123456+00:00", 123456);
	refuses("1970-01-01T00:00:00.Z");
	refuses("1970-01-01T00:00:00.1234567Z");
	refuses("1970-01-01T00:00:00,5Z");
}

static void offsets_lead_to_utc(void **state)
{
	(void)state;
	parses("2026-06-12T02:00:00+02:00", 1781222400 * S);
	parses("2026-06-11T19:00:00-05:00", 1781222400 * S);
	parses("2026-06-12T05:45:00+05:45", 1781222400 * S);
	parses("2026-06-12T00:00:00-00:00", 1781222400 * S);
	parses("2026-06-12T23:59:00+23:59", 1781222400 * S);
	parses("1970-01-01T01:00:00+01:00", 0);
	refuses("2026-06-12T00:00:00+24:00");
	refuses("2026-06-12T00:00:00+02:60");
	refuses("2026-06-12T00:00:00+0200");
	refuses("2026-06-12T00:00:00+02");
	refuses("2026-06-12T00:00:00+2:00");
	refuses("2026-06-12T00:00:00");
}

static void offsets_do_not_lead_beyond_the_years(void **state)
{
	(void)state;
	refuses("1970-01-01T00:00:00+00:01");
	refuses("9999-12-31T23:59:59-00:01");
	refuses("1969-12-31T23:59:59Z");
	refuses("0000-01-01T00:00:00Z");
}

static void the_calendar_is_checked(void **state)
{
	(void)state;
	refuses("2025-02-30T00:00:00Z");
	refuses("2025-02-29T00:00:00Z");
	parses("2024-02-29T00:00:00Z", 1709164800 * S);
	refuses("2100-02-29T00:00:00Z");
	refuses("2025-04-31T00:00:00Z");
	refuses("2025-00-10T00:00:00Z");
	refuses("2025-13-10T00:00:00Z");
	refuses("2025-01-00T00:00:00Z");
	refuses("2025-01-32T00:00:00Z");
	refuses("2025-01-01T24:00:00Z");
	refuses("2025-01-01T00:60:00Z");
	refuses("2016-12-31T23:59:60Z"); /* a leap second, even a real one */
}

static void other_spellings_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"", " ", "now", "1781222400", "2026", "2026-06-12", "2026-06-12T", "2026-06-12 00:00:00Z",
		"2026-6-12T00:00:00Z", "20260612T000000Z", "2026-06-12T00:00Z", "2026-06-12T00:00:00Z ",
		" 2026-06-12T00:00:00Z", "2026-06-12T00:00:00ZZ", "2026-06-12T00:00:00 Z", "2026-06-12T00:00:00UTC",
		"+2026-06-12T00:00:00Z", "-2026-06-12T00:00:00Z", "12026-06-12T00:00:00Z", "2026-06-12T0:00:00Z",
		"2026-06-12T00:00:-1Z", "2026-W24-5T00:00:00Z", "٢٠٢٦-06-12T00:00:00Z",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		refuses(bad[i]);
}

static void dates_are_read(void **state)
{
	(void)state;
	int year = 0, month = 0, day = 0;
	assert_true(timestamp_parse_date("2027-01-31", &year, &month, &day));
	assert_int_equal(year, 2027);
	assert_int_equal(month, 1);
	assert_int_equal(day, 31);
	assert_true(timestamp_parse_date("2000-02-29", &year, &month, &day));
	assert_false(timestamp_parse_date("2025-02-30", &year, &month, &day));
	assert_false(timestamp_parse_date("1900-02-29", &year, &month, &day));
	assert_false(timestamp_parse_date("1969-12-31", &year, &month, &day));
	assert_false(timestamp_parse_date("2027-01-31T00:00:00Z", &year, &month, &day));
	assert_false(timestamp_parse_date("2027-1-31", &year, &month, &day));
	assert_false(timestamp_parse_date("2027-01-31 ", &year, &month, &day));
	assert_false(timestamp_parse_date("", &year, &month, &day));
	assert_int_equal(year, 2000);
}

static void days_end_a_second_before_midnight_in_the_servers_zone(void **state)
{
	(void)state;
	ends("UTC0", "2027-01-31", "2027-01-31T23:59:59+00:00");
	ends("<+0530>-5:30", "2027-01-31", "2027-01-31T18:29:59+00:00");
	ends("<-08>8", "2027-01-31", "2027-02-01T07:59:59+00:00");
	ends("<+14>-14", "1970-01-01", "1970-01-01T09:59:59+00:00");
	ends("UTC0", "9999-12-31", "9999-12-31T23:59:59+00:00");
}

static void summer_and_winter_days_end_by_their_own_offset(void **state)
{
	(void)state;
	const char *zone = "CET-1CEST,M3.5.0,M10.5.0/3";
	ends(zone, "2026-01-15", "2026-01-15T22:59:59+00:00");
	ends(zone, "2026-07-15", "2026-07-15T21:59:59+00:00");
	ends(zone, "2026-03-28", "2026-03-28T22:59:59+00:00");
	ends(zone, "2026-03-29", "2026-03-29T21:59:59+00:00");
	ends(zone, "2026-10-24", "2026-10-24T21:59:59+00:00");
	ends(zone, "2026-10-25", "2026-10-25T22:59:59+00:00");
}

static void of_two_last_seconds_the_later_ends_the_day(void **state)
{
	(void)state;
	/* Clocks go back from 00:00 to 23:00. */
	ends("EET-2EEST,M3.5.0/0,M10.5.0/0", "2026-10-24", "2026-10-24T21:59:59+00:00");
	/* The same where winter counts as the time that is saved. */
	ends("<+02>-2<+01>-1,M10.5.0/0,M3.5.0/0", "2026-10-24", "2026-10-24T22:59:59+00:00");
}

static void a_day_whose_last_second_is_skipped_ends_before_the_next(void **state)
{
	(void)state;
	/* Clocks go from 23:00 to 00:00 of the next day. */
	ends("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-03-28", "2026-03-29T00:59:59+00:00");
}

static void what_is_no_date_has_no_end(void **state)
{
	(void)state;
	int64_t us = 42;
	use_zone("UTC0");
	assert_false(timestamp_end_of_day("2025-02-30", &us));
	assert_false(timestamp_end_of_day("2027-01-31T00:00:00Z", &us));
	assert_false(timestamp_end_of_day("", &us));
	use_zone("<-08>8"); /* its end lies in the year 10000 */
	assert_false(timestamp_end_of_day("9999-12-31", &us));
	assert_true(us == 42);
}

static void instants_are_written_in_utc(void **state)
{
	(void)state;
	formats(0, "1970-01-01T00:00:00+00:00");
	formats(1781222400 * S, "2026-06-12T00:00:00+00:00");
	formats(951827696 * S + 5, "2000-02-29T12:34:56.000005+00:00");
	formats(253402300799 * S + 999999, "9999-12-31T23:59:59.999999+00:00");
	formats(-1, "1969-12-31T23:59:59.999999+00:00");
	formats(-S, "1969-12-31T23:59:59+00:00");
	formats(INT64_MAX, "294247-01-10T04:00:54.775807+00:00");
	formats(INT64_MIN, "-290308-12-21T19:59:05.224192+00:00");
}

static void the_c_library_agrees_about_every_day(void **state)
{
	(void)state;
	for (int64_t day = 0; day < 2932897; day += 13) {
		time_t t = (time_t)(day * 86400);
		struct tm tm;
		char expected[TIMESTAMP_TEXT_MAX];
		assert_non_null(gmtime_r(&t, &tm));
		strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%S+00:00", &tm);
		formats(day * 86400 * S, expected);
		parses(expected, day * 86400 * S);
	}
}

static void now_is_microseconds_not_seconds(void **state)
{
	(void)state;
	int64_t first = timestamp_now(), second = timestamp_now();
	assert_true(first > 1700000000 * S && first < 253402300800 * S);
	assert_true(second > 1700000000 * S);
}

static void the_zone_has_a_name(void **state)
{
	static const char *const zones[][2] = { { "Europe/Berlin", "Europe/Berlin" }, { ":America/New_York", "America/New_York" },
	                                        { "/usr/share/zoneinfo/Asia/Kathmandu", "Asia/Kathmandu" }, { "", "UTC" }, { "<+03>-3", "UTC" },
	                                        { "/etc/localtime", "UTC" } };
	char out[TIMESTAMP_ZONE_MAX], longest[200];

	(void)state;
	for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
		use_zone(zones[i][0]);
		assert_string_equal(timestamp_zone(out), zones[i][1]);
	}
	memset(longest, 'a', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	use_zone(longest);
	assert_string_equal(timestamp_zone(out), "UTC");
	use_zone(NULL); /* the machine's, whatever it is */
	assert_true(*timestamp_zone(out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(instants_are_read),
		cmocka_unit_test(fractions_have_one_to_six_digits),
		cmocka_unit_test(offsets_lead_to_utc),
		cmocka_unit_test(offsets_do_not_lead_beyond_the_years),
		cmocka_unit_test(the_calendar_is_checked),
		cmocka_unit_test(other_spellings_are_refused),
		cmocka_unit_test(dates_are_read),
		cmocka_unit_test_teardown(days_end_a_second_before_midnight_in_the_servers_zone, forget_zone),
		cmocka_unit_test_teardown(summer_and_winter_days_end_by_their_own_offset, forget_zone),
		cmocka_unit_test_teardown(of_two_last_seconds_the_later_ends_the_day, forget_zone),
		cmocka_unit_test_teardown(a_day_whose_last_second_is_skipped_ends_before_the_next, forget_zone),
		cmocka_unit_test_teardown(what_is_no_date_has_no_end, forget_zone),
		cmocka_unit_test_teardown(the_zone_has_a_name, forget_zone),
		cmocka_unit_test(instants_are_written_in_utc),
		cmocka_unit_test(the_c_library_agrees_about_every_day),
		cmocka_unit_test(now_is_microseconds_not_seconds),
	};
	return cmocka_run_group_tests_name("timestamp", tests, NULL, NULL);
}
