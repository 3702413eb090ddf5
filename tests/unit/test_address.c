/* test_address.c: one spelling per address, and no block that means something else than it says. */
#include "address.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static void parses(const char *text, const char *canonical)
{
	char out[ADDRESS_TEXT_MAX];
	if (!address_parse(text, out))
		fail_msg("refused: %s", text);
	assert_string_equal(out, canonical);
}

static void refuses(const char *text)
{
	char out[ADDRESS_TEXT_MAX] = "left over";
	if (address_parse(text, out))
		fail_msg("accepted: %s", text);
	assert_string_equal(out, "");
}

static void block(const char *text, const char *canonical)
{
	char out[ADDRESS_TEXT_MAX];
	const char *why = "unset";
	if (!address_parse_cidr(text, out, &why))
		fail_msg("%s %s", text, why);
	assert_string_equal(out, canonical);
	assert_null(why);
}

static void no_block(const char *text, const char *word)
{
	char out[ADDRESS_TEXT_MAX] = "left over";
	const char *why = NULL;
	if (address_parse_cidr(text, out, &why))
		fail_msg("accepted: %s", text);
	assert_string_equal(out, "");
	assert_non_null(why);
	if (!strstr(why, word))
		fail_msg("%s: \"%s\" does not say \"%s\"", text, why, word);
}

static void addresses_have_one_spelling(void **state)
{
	(void)state;
	parses("192.0.2.1", "192.0.2.1");
	parses("0.0.0.0", "0.0.0.0");
	parses("255.255.255.255", "255.255.255.255");
	parses("2001:DB8:0:0:0:0:0:1", "2001:db8::1");
	parses("2001:0db8::0001", "2001:db8::1");
	parses("::", "::");
	parses("::1", "::1");
	parses("fe80::1", "fe80::1");
	parses("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8");
}

static void mapped_addresses_count_as_ipv4(void **state)
{
	(void)state;
	parses("::ffff:10.0.0.1", "10.0.0.1");
	parses("::FFFF:a00:1", "10.0.0.1");
	parses("0:0:0:0:0:ffff:10.0.0.1", "10.0.0.1");
	block("::ffff:10.0.0.1", "10.0.0.1/32");
	block("::ffff:10.0.0.0/104", "10.0.0.0/8");
	block("::ffff:0:0/96", "0.0.0.0/0");
	block("::ffff:10.0.0.1/128", "10.0.0.1/32");
	no_block("::ffff:0:0/95", "host bits");
	no_block("::ffff:10.0.0.1/8", "host bits");
	no_block("::ffff:10.0.0.1/129", "prefix");
	parses("::fffe:10.0.0.1", "::fffe:a00:1");
}

static void what_is_not_exactly_one_address_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"", " ", "192.0.2.1 ", " 192.0.2.1", "192.0.2", "192.0.2.1.1", "192.0.2.256", "192.0.2.01", "192.0.2.-1",
		"0x7f.0.0.1", "2130706433", "127.1", "192.0.2.1:80", "192.0.2.1/32", "192.0.2.1\n", "١.0.0.1", "localhost",
		"[::1]", "::1%lo", "fe80::1%eth0", "1::2::3", ":::", "12345::", "::ffff:10.0.0", "1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:8:9",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		refuses(bad[i]);
}

static void blocks_are_canonical(void **state)
{
	(void)state;
	block("10.0.0.0/8", "10.0.0.0/8");
	block("0.0.0.0/0", "0.0.0.0/0");
	block("192.0.2.1", "192.0.2.1/32");
	block("192.0.2.1/32", "192.0.2.1/32");
	block("192.0.2.254/31", "192.0.2.254/31");
	block("2001:DB8::/32", "2001:db8::/32");
	block("2001:db8::1", "2001:db8::1/128");
	block("::/0", "::/0");
	block("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128");
}

static void host_bits_are_refused_with_the_remedy(void **state)
{
	(void)state;
	no_block("10.0.0.1/8", "host bits are set; zero them");
	no_block("192.0.2.1/0", "host bits");
	no_block("192.0.2.255/31", "host bits");
	no_block("2001:db8::1/64", "host bits");
	no_block("8000::/0", "host bits");
}

static void bad_prefixes_are_refused(void **state)
{
	(void)state;
	no_block("10.0.0.0/33", "prefix");
	no_block("::/129", "prefix");
	no_block("10.0.0.0/", "prefix");
	no_block("10.0.0.0/08", "prefix");
	no_block("10.0.0.0/+8", "prefix");
	no_block("10.0.0.0/-1", "prefix");
	no_block("10.0.0.0/8 ", "prefix");
	no_block("10.0.0.0/8/8", "prefix");
	no_block("10.0.0.0/255.0.0.0", "prefix");
	no_block("10.0.0.0/99999999999999999999", "prefix");
}

static void blocks_that_cannot_be_read_are_refused(void **state)
{
	(void)state;
	no_block("", "is not an address or block");
	no_block("/8", "is not an address or block");
	no_block("10.0.0/8", "is not an address or block");
	no_block("localhost/8", "is not an address or block");
	no_block("fe80::1%eth0/64", "is not an address or block");
	no_block("1111111111111111111111111111111111111111111111111111111111111111111111/8", "is not an address or block");
}

static void loopback_is_127_and_1_and_nothing_unreadable(void **state)
{
	(void)state;
	assert_true(address_is_loopback("127.0.0.1"));
	assert_true(address_is_loopback("127.255.255.255"));
	assert_true(address_is_loopback("::1"));
	assert_true(address_is_loopback("::ffff:127.0.0.1"));
	assert_false(address_is_loopback(""));
	assert_false(address_is_loopback("localhost"));
	assert_false(address_is_loopback("127.0.0.1:80"));
	assert_false(address_is_loopback("127.1"));
	assert_false(address_is_loopback("128.0.0.1"));
	assert_false(address_is_loopback("126.255.255.255"));
	assert_false(address_is_loopback("::"));
	assert_false(address_is_loopback("::2"));
	assert_false(address_is_loopback("::127.0.0.1"));
	assert_false(address_is_loopback("7f00::"));
}

static void buckets_are_ipv4_addresses_and_ipv6_networks(void **state)
{
	(void)state;
	char out[ADDRESS_TEXT_MAX];
	address_bucket("192.0.2.1", out);
	assert_string_equal(out, "192.0.2.1");
	address_bucket("::ffff:192.0.2.1", out);
	assert_string_equal(out, "192.0.2.1");
	address_bucket("2001:db8::ffff:1:2:3", out);
	assert_string_equal(out, "2001:db8::/64");
	address_bucket("2001:db8:1:2:3:4:5:6", out);
	assert_string_equal(out, "2001:db8:1:2::/64");
	address_bucket("2001:db8:0:1::", out);
	assert_string_equal(out, "2001:db8:0:1::/64");
	address_bucket("unix:", out);
	assert_string_equal(out, "unknown");
	address_bucket("", out);
	assert_string_equal(out, "unknown");
}

static void lists_hold_addresses_of_their_blocks_and_nothing_unreadable(void **state)
{
	(void)state;
	assert_true(address_is_listed("192.0.2.7", "10.0.0.0/8 192.0.2.7"));
	assert_true(address_is_listed("10.255.0.1", "10.0.0.0/8 192.0.2.7"));
	assert_true(address_is_listed("::ffff:10.1.2.3", "10.0.0.0/8"));
	assert_true(address_is_listed("2001:db8:0:1::9", "2001:db8::/32"));
	assert_true(address_is_listed("203.0.113.1", "0.0.0.0/0"));
	assert_true(address_is_listed("10.0.0.1", "  10.0.0.1  "));
	assert_false(address_is_listed("192.0.2.8", "10.0.0.0/8 192.0.2.7"));
	assert_false(address_is_listed("2001:db9::1", "2001:db8::/32 0.0.0.0/0"));
	assert_false(address_is_listed("10.0.0.1", "::/0"));
	assert_false(address_is_listed("10.0.0.1", ""));
	assert_false(address_is_listed("", "0.0.0.0/0 ::/0"));
	assert_false(address_is_listed("10.0.0.1:80", "0.0.0.0/0 ::/0"));
	assert_false(address_is_listed("10.0.0.1", "10.0.0.1/8 x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_have_one_spelling),
		cmocka_unit_test(mapped_addresses_count_as_ipv4),
		cmocka_unit_test(what_is_not_exactly_one_address_is_refused),
		cmocka_unit_test(blocks_are_canonical),
		cmocka_unit_test(host_bits_are_refused_with_the_remedy),
		cmocka_unit_test(bad_prefixes_are_refused),
		cmocka_unit_test(blocks_that_cannot_be_read_are_refused),
		cmocka_unit_test(loopback_is_127_and_1_and_nothing_unreadable),
		cmocka_unit_test(lists_hold_addresses_of_their_blocks_and_nothing_unreadable),
		cmocka_unit_test(buckets_are_ipv4_addresses_and_ipv6_networks),
	};
	return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
