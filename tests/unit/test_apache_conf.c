/* test_apache_conf.c: which domains an Apache configuration serves, on texts as Debian, certbot and admins leave them. */
#include "../../lib/sites_reader.c"
#include "../../lib/sites.c"
#include "../../lib/apache_conf.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "sites_tests.h"

#define FIXTURES "tests/fixtures/apache/"
#define TEXT(literal) read_text(literal, sizeof literal - 1)

static void read_text(const char *text, size_t len)
{
	conf = apache_conf_text(arena, "text", text, len);
	assert_non_null(conf);
}

static void load(const char *source)
{
	const char *why;

	conf = apache_conf_load(arena, source, NULL, &why);
	if (!conf)
		fail_msg("%s", why);
}

static const char *skipped(const char *name)
{
	for (size_t i = 0; i < conf->skip_count; i++)
		if (strcmp(conf->skips[i].name, name) == 0)
			return conf->skips[i].reason;
	fail_msg("%s is not skipped", name);
	return NULL;
}

static void has_ports(const char *name, int count, int first, int second)
{
	assert_int_equal(site(name)->port_count, count);
	assert_int_equal(site(name)->ports[0], first);
	if (count > 1)
		assert_int_equal(site(name)->ports[1], second);
}

/* --- layouts --- */

static void debian_layout_is_followed_through_globs_links_and_conditions(void **state)
{
	(void)state;
	load(FIXTURES "debian");
	assert_int_equal(conf->warning_count, 0);
	assert_int_equal(conf->blocks, 3);
	assert_int_equal(conf->site_count, 2);
	assert_string_equal(site("example.org")->content.root, "/home/anna/public_html");
	assert_string_equal(site("example.org")->certificate, "ssl/example.org.pem");
	assert_string_equal(conf->prefix, FIXTURES "debian/");
	assert_int_equal(site("example.org")->content.kind, SITE_FASTCGI);
	assert_string_equal(site("example.org")->content.file, FIXTURES "debian/sites-enabled/anna-le-ssl.conf");
	assert_int_equal(site("example.org")->content.line, 2);
	has_ports("example.org", 2, 80, 443);
	is_alias_of("www.example.org", "example.org");
	assert_string_equal(skipped("*.example.org"), "a wildcard name");
	assert_string_equal(skipped(""), "no ServerName: the default server of its address");
	assert_null(find("disabled.example.org"));
}

static void the_main_file_and_a_folder_of_sites_can_be_given_too(void **state)
{
	(void)state;
	load(FIXTURES "debian/apache2.conf");
	assert_int_equal(conf->site_count, 2);
	load(FIXTURES "debian/sites-available");
	assert_non_null(site("disabled.example.org"));
	assert_string_equal(site("example.org")->content.root, "/home/anna/public_html");
}

static void macros_variables_and_conditions_are_carried_out(void **state)
{
	(void)state;
	load(FIXTURES "macros");
	assert_int_equal(conf->warning_count, 1);
	assert_true(warned("httpd.conf:27: this is not taken over: / of three.example is a proxy"));
	assert_string_equal(site("one.example")->content.root, "/srv/www/bert/one.example");
	assert_string_equal(site("one.example")->certificate, "/etc/tls/one.example.pem");
	has_ports("one.example", 1, 443, 0);
	is_alias_of("www.one.example", "one.example");
	assert_null(find("plain.one.example"));
	assert_string_equal(site("two.example")->content.root, "/srv/www/bert/two.example");
	assert_null(site("two.example")->certificate);
	is_alias_of("plain.two.example", "two.example");
	assert_non_null(strstr(site("two.example")->content.file, "macro Site"));
}

static void names_addresses_and_backends_of_odd_hosts(void **state)
{
	(void)state;
	load(FIXTURES "macros");
	assert_int_equal(site("three.example")->content.kind, SITE_PROXY);
	has_ports("three.example", 2, 80, 8080);
	assert_string_equal(site("three.example")->content.root, "/etc/httpd/html"); /* the main server's */
	assert_int_equal(site("four.example")->content.kind, SITE_FASTCGI);
	assert_null(site("four.example")->content.root);
	assert_string_equal(site("four.example")->content.root_note, "its root has a variable");
	assert_int_equal(site("old.example")->content.kind, SITE_REDIRECT);
	is_alias_of("old.example", "one.example");
	assert_string_equal(site("shop.one.example")->content.root, "/etc/httpd/htdocs/shop");
	assert_string_equal(site("many.example")->content.root_note, "its root depends on the name that is asked for");
	assert_null(find("main.example"));
}

static void without_virtual_hosts_the_main_server_is_the_site(void **state)
{
	(void)state;
	TEXT("ServerName only.example:80\nDocumentRoot /srv/only\n");
	assert_int_equal(conf->blocks, 1);
	assert_string_equal(site("only.example")->content.root, "/srv/only");
	TEXT("Listen 80\nServerAlias misplaced.example\n");
	assert_int_equal(conf->blocks, 0);
	assert_int_equal(conf->site_count, 0);
}

static void circles_and_missing_files_become_warnings(void **state)
{
	const char *why = NULL;

	(void)state;
	load(FIXTURES "loop");
	assert_int_equal(conf->site_count, 1);
	assert_true(warned("the file includes itself"));
	assert_true(warned("apache2.conf:3: no file has such a name"));
	assert_true(warned("apache2.conf:6: No such file or directory"));
	assert_false(warned("apache2.conf:4"));
	assert_false(warned("apache2.conf:5"));
	assert_null(apache_conf_load(arena, FIXTURES "none.conf", NULL, &why));
	assert_string_equal(why, FIXTURES "none.conf: No such file or directory");
}

/* --- words and lines --- */

static void quotes_escapes_continuations_and_comments(void **state)
{
	(void)state;
	TEXT("  # <VirtualHost *:80>\n<virtualhost *:80>\r\nSERVERNAME 'a.example' # b.example\n"
	     "DocumentRoot \"/srv/a \\\"b\\\" c\"\n"
	     "ServerAlias \\\n\tc.example \\\n d.example\nServerAlias e.exa\\\nmple\n</VIRTUALHOST>");
	assert_int_equal(conf->warning_count, 0);
	assert_string_equal(site("a.example")->content.root, "/srv/a \"b\" c");
	is_alias_of("c.example", "a.example");
	is_alias_of("d.example", "a.example");
	is_alias_of("e.example", "a.example");
	assert_int_equal(site("a.example")->content.line, 2);
}

static void names_that_are_no_domains_are_skipped_with_the_reason(void **state)
{
	(void)state;
	TEXT("<VirtualHost *>\nServerName 192.0.2.1\n"
	     "ServerAlias localhost *.a.example w?.a.example [2001:db8::1] a..b B\303\234cher.example\n"
	     "</VirtualHost>\n");
	assert_string_equal(skipped("192.0.2.1"), "an address");
	assert_string_equal(skipped("[2001:db8::1]"), "an address");
	assert_string_equal(skipped("localhost"), "this machine's own name");
	assert_string_equal(skipped("*.a.example"), "a wildcard name");
	assert_string_equal(skipped("w?.a.example"), "a wildcard name");
	assert_non_null(skipped("a..b"));
	assert_non_null(site("xn--bcher-kva.example"));
}

static void a_certificate_counts_only_where_tls_is_on(void **state)
{
	(void)state;
	TEXT("<VirtualHost *:443>\nServerName a.example\nSSLCertificateFile /c/ecdsa.pem\n"
	     "SSLCertificateFile /c/rsa.pem\nSSLEngine On\n"
	     "</VirtualHost>\n<VirtualHost *:443>\nServerName b.example\nSSLCertificateFile /c/b.pem\nSSLEngine off\n"
	     "</VirtualHost>\n"
	     "<VirtualHost *:443>\nServerName c.example\nSSLEngine on\n</VirtualHost>\nSSLCertificateFile /c/all.pem\n");
	assert_string_equal(site("a.example")->certificate, "/c/ecdsa.pem");
	assert_null(site("b.example")->certificate);
	assert_string_equal(site("c.example")->certificate, "/c/all.pem");
}

static void a_redirect_with_a_condition_leaves_the_content(void **state)
{
	(void)state;
	TEXT("<VirtualHost *:80>\nServerName a.example\nDocumentRoot /srv/a\nRewriteCond %{HTTPS} off\n"
	     "RewriteRule ^(.*)$ https://%{HTTP_HOST}$1 [R,L]\n</VirtualHost>\n"
	     "<VirtualHost *:80>\nServerName b.example\nDocumentRoot /srv/b\n"
	     "RewriteRule ^/?(.*) https://a.example/$1 [R=301]\n</VirtualHost>\n"
	     "<VirtualHost *:80>\nServerName c.example\nDocumentRoot /srv/c\nRedirect /old https://a.example/\n"
	     "RewriteRule ^/x /y [L]\n</VirtualHost>\n");
	assert_int_equal(site("a.example")->content.kind, SITE_STATIC);
	assert_int_equal(site("b.example")->content.kind, SITE_REDIRECT);
	is_alias_of("b.example", "a.example");
	assert_int_equal(site("c.example")->content.kind, SITE_STATIC);
	assert_null(site("c.example")->content.redirect);
}

static void broken_texts_are_read_as_far_as_they_go(void **state)
{
	(void)state;
	TEXT("</Directory>\n<VirtualHost *:80\nServerName a.example\nDocumentRoot \"/srv/a\n</Location>\nUse Nothing\n"
	     "<VirtualHost *:80>\n"
	     "ServerName b.example\n<Macro Open\n");
	assert_non_null(site("a.example"));
	assert_non_null(site("b.example"));
	assert_true(warned("the end of a section that is not open: Directory"));
	assert_true(warned("a \">\" is missing"));
	assert_true(warned("a quoted word is not closed"));
	assert_true(warned("this is not the end of the section that is open: Location"));
	assert_true(warned("there is no such macro: Nothing"));
	assert_true(warned("the text ends within a macro"));
	assert_true(warned("the text ends within a section: VirtualHost"));
}

/* --- bounds --- */

static void a_macro_that_uses_itself_ends(void **state)
{
	(void)state;
	TEXT("<Macro A $x>\nUse A $x$x$x$x\nUse A $x\n</Macro>\nUse A y\n<VirtualHost *:80>\nServerName after.example\n"
	     "</VirtualHost>\n");
	assert_true(warned("the file includes itself"));
	assert_non_null(site("after.example"));
}

static void work_is_bounded_when_macros_multiply(void **state)
{
	struct buf text;

	(void)state;
	buf_init(&text, 1 << 20);
	buf_str(&text, "<Macro M0 $x>\n<VirtualHost *:80>\nServerName $x.example\n</VirtualHost>\n</Macro>\n");
	for (int i = 1; i < 40; i++)
		buf_printf(&text, "<Macro M%d $x>\nUse M%d a$x\nUse M%d b$x\n</Macro>\n", i, i - 1, i - 1);
	buf_str(&text, "Use M39 z\n");
	assert_false(buf_failed(&text));
	read_text(text.data, text.len);
	assert_true(warned("macros are used too often") || warned("there are too many includes"));
	buf_free(&text);
}

static void sections_are_read_to_a_depth_and_no_further(void **state)
{
	struct buf text;

	(void)state;
	buf_init(&text, 1 << 20);
	buf_str(&text, "<VirtualHost *:80>\nServerName before.example\n</VirtualHost>\n");
	for (int i = 0; i < 10000; i++)
		buf_str(&text, "<IfModule a>\n");
	read_text(text.data, text.len);
	assert_true(warned("sections are nested too deeply"));
	assert_non_null(site("before.example"));
	buf_free(&text);
}

static void values_that_grow_are_cut_off(void **state)
{
	struct buf text;

	(void)state;
	buf_init(&text, 1 << 20);
	buf_str(&text, "Define v0 0123456789012345678901234567890123456789\n");
	for (int i = 1; i < 60; i++)
		buf_printf(&text, "Define v%d \"${v%d}${v%d}\"\n", i, i - 1, i - 1);
	read_text(text.data, text.len);
	assert_true(conf->warning_count > 0 || conf->site_count == 0);
	buf_free(&text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_arena, close_arena)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(debian_layout_is_followed_through_globs_links_and_conditions),
		TEST(the_main_file_and_a_folder_of_sites_can_be_given_too),
		TEST(macros_variables_and_conditions_are_carried_out),
		TEST(names_addresses_and_backends_of_odd_hosts),
		TEST(without_virtual_hosts_the_main_server_is_the_site),
		TEST(circles_and_missing_files_become_warnings),
		TEST(quotes_escapes_continuations_and_comments),
		TEST(names_that_are_no_domains_are_skipped_with_the_reason),
		TEST(a_certificate_counts_only_where_tls_is_on),
		TEST(a_redirect_with_a_condition_leaves_the_content),
		TEST(broken_texts_are_read_as_far_as_they_go),
		TEST(a_macro_that_uses_itself_ends),
		TEST(work_is_bounded_when_macros_multiply),
		TEST(sections_are_read_to_a_depth_and_no_further),
		TEST(values_that_grow_are_cut_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
