/* test_hostname.c: domain names have one stored form, and what is none is refused with the reason. */
#include "hostname.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#define L10 "abcdefghij"
#define L60 L10 L10 L10 L10 L10 L10

static void becomes(const char *text, const char *ascii)
{
	char out[HOSTNAME_MAX];
	const char *why;
	if (!hostname_to_ascii(text, out, &why))
		fail_msg("%s %s", text, why);
	assert_string_equal(out, ascii);
	assert_null(why);
}

static void refuses(const char *text, const char *word)
{
	char out[HOSTNAME_MAX] = "left over";
	const char *why = NULL;
	if (hostname_to_ascii(text, out, &why))
		fail_msg("accepted: %s as %s", text, out);
	assert_string_equal(out, "");
	assert_non_null(why);
	if (!strstr(why, word))
		fail_msg("%s: \"%s\" does not say \"%s\"", text, why, word);
}

static void shows(const char *ascii, const char *unicode)
{
	char out[HOSTNAME_UNICODE_MAX];
	hostname_to_unicode(ascii, out);
	assert_string_equal(out, unicode);
}

static void plain_names_are_lower_case_without_final_dot(void **state)
{
	(void)state;
	becomes("example.org", "example.org");
	becomes("EXAMPLE.Org", "example.org");
	becomes("example.org.", "example.org");
	becomes("a.b", "a.b");
	becomes("1.2.3.example", "1.2.3.example");
	becomes("a-b.c--d.example", "a-b.c--d.example");
	becomes("123.x4", "123.x4");
}

static void unicode_names_become_a_labels(void **state)
{
	(void)state;
	becomes("münchen.de", "xn--mnchen-3ya.de");
	becomes("MÜNCHEN.DE", "xn--mnchen-3ya.de");
	becomes("mu\xcc\x88nchen.de", "xn--mnchen-3ya.de"); /* u and combining dots */
	becomes("中国.cn", "xn--fiqs8s.cn");
	becomes("bücher.example.", "xn--bcher-kva.example");
	becomes("例え.テスト", "xn--r8jz45g.xn--zckzah");
}

static void eszett_is_kept_not_made_ss(void **state)
{
	(void)state;
	becomes("straße.de", "xn--strae-oqa.de");
	becomes("faß.de", "xn--fa-hia.de");
}

static void foreign_dots_and_wide_letters_are_mapped(void **state)
{
	(void)state;
	becomes("a\xe3\x80\x82" "b.de", "a.b.de");
	becomes("\xef\xbd\x85xample.org", "example.org");
	becomes("example.org\xe3\x80\x82", "example.org");
}

static void a_labels_stay_what_they_are(void **state)
{
	(void)state;
	becomes("xn--mnchen-3ya.de", "xn--mnchen-3ya.de");
	becomes("XN--MNCHEN-3YA.de", "xn--mnchen-3ya.de");
}

static void broken_a_labels_are_refused(void **state)
{
	(void)state;
	refuses("xn--a.example", "A-label");
	refuses("xn--.de", "A-label");
	refuses("xn--abc-.de", "A-label");
	refuses("xn--ls8h.la", "A-label"); /* a pictograph */
}

static void empty_labels_are_refused(void **state)
{
	(void)state;
	refuses("", "is empty");
	refuses(".", "empty label");
	refuses("..", "empty label");
	refuses("a..b", "empty label");
	refuses(".example.org", "empty label");
	refuses("example.org..", "empty label");
	refuses("\xc2\xad.example", "empty label"); /* a soft hyphen is mapped to nothing */
}

static void a_single_label_is_no_domain(void **state)
{
	(void)state;
	refuses("localhost", "one label");
	refuses("localhost.", "one label");
	refuses("münchen", "one label");
}

static void addresses_are_no_domains(void **state)
{
	(void)state;
	refuses("192.0.2.1", "ends in a number");
	refuses("example.123", "ends in a number");
	refuses("example.0.", "ends in a number");
	refuses("2001:db8::1", "characters");
}

static void only_letters_digits_and_hyphens_are_taken(void **state)
{
	(void)state;
	refuses("*.example.org", "wildcards");
	refuses("_dmarc.example.org", "underscores");
	refuses("a_b.example.org", "underscores");
	refuses("a b.example.org", "spaces");
	refuses("example.org ", "spaces");
	refuses("example.org\n", "characters");
	refuses("exa'mple.org", "characters");
	refuses("user@example.org", "characters");
	refuses("example.org/x", "characters");
	refuses("example.org:80", "characters");
	refuses("a\xc2\xa0" "b.example", "spaces");
}

static void hyphens_stand_inside_labels_only(void **state)
{
	(void)state;
	refuses("-a.example", "'-'");
	refuses("a-.example", "'-'");
	refuses("a.-", "'-'");
	refuses("ab--cd.example", "'--'");
	refuses("-ü.example", "'-'");
}

static void letters_that_idna_forbids_are_refused(void **state)
{
	(void)state;
	refuses("\xe2\x98\x83.example", "IDNA");
	refuses("a\xe2\x80\x8d" "b.example", "IDNA"); /* a joiner without its context */
	refuses("\xcc\x88" "a.example", "IDNA");      /* a combining mark first */
	refuses("\xff\xfe.example", "UTF-8");
	refuses("a\xc3.example", "UTF-8");
}

static void lengths_are_exact(void **state)
{
	(void)state;
	becomes(L60 "abc.example", L60 "abc.example");
	refuses(L60 "abcd.example", "63");
	/* Four labels of 62, each with its dot, make 252; "x" fills up to 253. */
	becomes(L60 "aa." L60 "bb." L60 "cc." L60 "dd.x", L60 "aa." L60 "bb." L60 "cc." L60 "dd.x");
	becomes(L60 "aa." L60 "bb." L60 "cc." L60 "dd.x.", L60 "aa." L60 "bb." L60 "cc." L60 "dd.x");
	refuses(L60 "aa." L60 "bb." L60 "cc." L60 "dd.xy", "253");
	refuses(L60 "aa." L60 "bb." L60 "cc." L60 "dd.xy.", "253");
	char huge[5000];
	memset(huge, 'a', sizeof huge - 1);
	huge[sizeof huge - 1] = '\0';
	refuses(huge, "too long");
}

static void names_are_shown_in_letters(void **state)
{
	(void)state;
	shows("xn--mnchen-3ya.de", "münchen.de");
	shows("xn--strae-oqa.de", "straße.de");
	shows("www.xn--fiqs8s.cn", "www.中国.cn");
	shows("example.org", "example.org");
	shows("", "");
}

static void what_does_not_convert_is_shown_as_it_is(void **state)
{
	(void)state;
	shows("xn--a.example", "xn--a.example");
	shows("xn--.de", "xn--.de");
	shows("xn--ls8h.la", "xn--ls8h.la");
	shows("xn--mnchen-3ya", "xn--mnchen-3ya");
	shows("xn--Mnchen-3ya.de", "xn--Mnchen-3ya.de"); /* would lead back to another spelling */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_names_are_lower_case_without_final_dot),
		cmocka_unit_test(unicode_names_become_a_labels),
		cmocka_unit_test(eszett_is_kept_not_made_ss),
		cmocka_unit_test(foreign_dots_and_wide_letters_are_mapped),
		cmocka_unit_test(a_labels_stay_what_they_are),
		cmocka_unit_test(broken_a_labels_are_refused),
		cmocka_unit_test(empty_labels_are_refused),
		cmocka_unit_test(a_single_label_is_no_domain),
		cmocka_unit_test(addresses_are_no_domains),
		cmocka_unit_test(only_letters_digits_and_hyphens_are_taken),
		cmocka_unit_test(hyphens_stand_inside_labels_only),
		cmocka_unit_test(letters_that_idna_forbids_are_refused),
		cmocka_unit_test(lengths_are_exact),
		cmocka_unit_test(names_are_shown_in_letters),
		cmocka_unit_test(what_does_not_convert_is_shown_as_it_is),
	};
	return cmocka_run_group_tests_name("hostname", tests, NULL, NULL);
}
