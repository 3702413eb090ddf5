/* test_nginx_conf.c: which domains an nginx configuration serves, on texts as Debian and certbot leave them. */
#include "../../lib/sites_reader.c"
#include "../../lib/sites.c"
#include "../../lib/nginx_conf.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "sites_tests.h"

#define FIXTURES "tests/fixtures/nginx/"
#define TEXT(literal) read_text(literal, sizeof literal - 1)

static void read_text(const char *text, size_t len)
{
	conf = nginx_conf_text(arena, "text", text, len);
	assert_non_null(conf);
}

static void load(const char *source)
{
	const char *why;

	conf = nginx_conf_load(arena, source, NULL, &why);
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

static void debian_layout_is_followed_through_globs_and_links(void **state)
{
	(void)state;
	load(FIXTURES "debian/nginx.conf");
	assert_int_equal(conf->warning_count, 0);
	assert_int_equal(conf->blocks, 2);
	assert_int_equal(conf->site_count, 2);
	assert_string_equal(site("example.org")->content.root, "/home/anna/public_html");
	assert_string_equal(site("example.org")->certificate, "/etc/ssl/certs/ssl-cert-snakeoil.pem");
	assert_int_equal(site("example.org")->content.kind, SITE_FASTCGI);
	assert_string_equal(site("example.org")->content.file, FIXTURES "debian/sites-enabled/anna");
	assert_int_equal(site("example.org")->content.line, 1);
	has_ports("example.org", 2, 80, 443);
	is_alias_of("www.example.org", "example.org");
	assert_string_equal(skipped("_"), "the catch-all name");
	assert_false(find("disabled.example.org"));
}

static void a_folder_means_its_nginx_conf(void **state)
{
	(void)state;
	load(FIXTURES "debian");
	assert_int_equal(conf->site_count, 2);
}

static void a_missing_source_is_named(void **state)
{
	const char *why = NULL;

	(void)state;
	assert_null(nginx_conf_load(arena, FIXTURES "none.conf", NULL, &why));
	assert_string_equal(why, FIXTURES "none.conf: No such file or directory");
}

/* Not run where nginx is not installed, or its default site is no longer the package's. */
static void the_installed_debian_default_has_nothing_to_import(void **state)
{
	static char text[65536];
	FILE *file = fopen("/etc/nginx/sites-enabled/default", "r");
	size_t len = file ? fread(text, 1, sizeof text - 1, file) : 0;

	(void)state;
	if (file)
		fclose(file);
	text[len] = '\0';
	if (!strstr(text, "server_name _;") || access("/etc/nginx/nginx.conf", R_OK) != 0)
		skip();
	load("/etc/nginx/nginx.conf");
	assert_true(conf->blocks > 0);
	assert_string_equal(skipped("_"), "the catch-all name");
}

static void certbot_pairs_become_one_site(void **state)
{
	(void)state;
	load(FIXTURES "certbot.txt");
	assert_int_equal(conf->warning_count, 0);
	assert_int_equal(conf->blocks, 6);
	assert_null(site("blog.example.org")->alias_of);
	assert_string_equal(site("blog.example.org")->content.root, "/home/anna/blog");
	assert_int_equal(site("blog.example.org")->content.kind, SITE_STATIC);
	assert_null(site("blog.example.org")->content.redirect);
	assert_string_equal(site("blog.example.org")->certificate,
	                    "/etc/letsencrypt/live/blog.example.org/fullchain.pem");
	assert_string_equal(site("blog.example.org")->content.file, "/etc/nginx/sites-enabled/blog.example.org");
	has_ports("blog.example.org", 2, 80, 443);
	assert_int_equal(site("example.org")->content.kind, SITE_FASTCGI);
	is_alias_of("www.example.org", "example.org");
}

static void a_redirect_to_a_site_is_an_alias_of_it(void **state)
{
	(void)state;
	load(FIXTURES "certbot.txt");
	is_alias_of("old.example.net", "example.org");
	is_alias_of("www.old.example.net", "example.org");
	assert_int_equal(site("old.example.net")->content.kind, SITE_REDIRECT);
	assert_null(site("old.example.net")->certificate);
	assert_string_equal(site("old.example.net")->content.root, "/home/anna/public_html");
}

static void a_redirect_elsewhere_stays_a_site_without_root(void **state)
{
	(void)state;
	load(FIXTURES "certbot.txt");
	assert_null(site("gone.example.net")->alias_of);
	assert_null(site("gone.example.net")->content.root);
	assert_int_equal(site("gone.example.net")->content.kind, SITE_REDIRECT);
	assert_string_equal(site("gone.example.net")->content.redirect, "https://elsewhere.example.com/");
}

static void wordpress_behind_a_redirect_is_read(void **state)
{
	(void)state;
	load(FIXTURES "apps");
	assert_string_equal(site("shop.example.com")->content.root, "/srv/www/shop/web");
	assert_int_equal(site("shop.example.com")->content.kind, SITE_FASTCGI);
	assert_int_equal(site("shop.example.com")->content.line, 13);
	has_ports("shop.example.com", 2, 80, 443);
	is_alias_of("www.shop.example.com", "shop.example.com");
}

static void nextcloud_is_read(void **state)
{
	(void)state;
	load(FIXTURES "apps");
	assert_string_equal(site("cloud.example.com")->content.root, "/var/www/nextcloud");
	assert_int_equal(site("cloud.example.com")->content.kind, SITE_FASTCGI);
	assert_string_equal(site("cloud.example.com")->certificate, "/etc/ssl/nginx/cloud.example.com.crt");
}

static void gitlab_is_a_proxy_without_root(void **state)
{
	(void)state;
	load(FIXTURES "apps");
	assert_null(site("git.example.com")->content.root);
	assert_int_equal(site("git.example.com")->content.kind, SITE_PROXY);
	has_ports("git.example.com", 2, 80, 443);
}

static void a_root_in_the_root_location_counts(void **state)
{
	(void)state;
	load(FIXTURES "apps");
	assert_string_equal(site("pma.example.com")->content.root, "/usr/share/phpmyadmin");
	assert_int_equal(site("pma.example.com")->content.kind, SITE_FASTCGI);
	has_ports("pma.example.com", 2, 8080, 8443);
	assert_string_equal(skipped("192.0.2.10"), "an address");
}

static void names_that_are_no_domains_are_skipped_with_the_reason(void **state)
{
	(void)state;
	load(FIXTURES "apps");
	assert_string_equal(skipped("*.wild.example.com"), "a wildcard name");
	assert_string_equal(skipped("*.tree.example.com"), "a wildcard name");
	assert_string_equal(skipped("~^(?<sub>.+)\\.re\\.example\\.com$"), "a regular expression");
	assert_string_equal(skipped("localhost"), "this machine's own name");
	assert_string_equal(skipped("[2001:db8::1]"), "an address");
	assert_string_equal(skipped("$hostname"), "a variable");
	assert_non_null(strstr(skipped("intranet"), "label"));
	assert_string_equal(skipped(""), "an empty name: requests without a host");
	/* ".tree.example.com" serves the name itself as well. */
	assert_null(site("tree.example.com")->alias_of);
	is_alias_of("quoted.example.com", "tree.example.com");
}

static void code_in_lua_is_no_configuration(void **state)
{
	(void)state;
	load(FIXTURES "apps");
	assert_int_equal(conf->warning_count, 4); /* two proxies, a folder of a path, a stream */
	assert_false(find("lua.example.com"));
	assert_false(find("inner.example.com"));
	assert_int_equal(site("after.example.com")->content.line, 20);
}

static void a_root_that_cannot_be_stored_has_a_note(void **state)
{
	(void)state;
	load(FIXTURES "apps");
	assert_string_equal(site("after.example.com")->content.root, "/srv/after.example.com/web"); /* $host: there is one name */
	assert_string_equal(site("tree.example.com")->content.root, "/srv/odd site/web/pub");
	TEXT("server { server_name a.example; root html; } server { server_name b.example; root /srv/../etc; }"
	     "server { server_name c.example; root /srv/\xff; } server { server_name d.example; root /; }");
	assert_null(site("a.example")->content.root);
	assert_non_null(site("a.example")->content.root_note);
	assert_null(site("b.example")->content.root);
	assert_non_null(site("b.example")->content.root_note);
	assert_null(site("c.example")->content.root);
	assert_string_equal(site("c.example")->content.root_note, "its root is not UTF-8");
	assert_string_equal(site("d.example")->content.root, "/");
}

/* --- includes --- */

static void circles_and_missing_includes_are_warnings(void **state)
{
	(void)state;
	load(FIXTURES "loop");
	assert_int_equal(conf->site_count, 1);
	assert_string_equal(site("loop.example.org")->content.root, "/srv/loop");
	assert_true(warned("loop/b.conf:5: the file includes itself"));
	assert_true(warned("nginx.conf:3: No such file or directory"));
}

static void sections_are_included_by_glob_as_nginx_does(void **state)
{
	(void)state;
	TEXT("# configuration file /e/nginx.conf:\nhttp {\ninclude s/*.conf;\ninclude [ab]?/x;\ninclude /e/t/\\*;\n}\n"
	     "# configuration file /e/s/b.conf:\nserver { server_name b.example; }\n"
	     "# configuration file /e/s/a.conf:\nserver { server_name a.example; }\n"
	     "# configuration file /e/s/.hidden.conf:\nserver { server_name hidden.example; }\n"
	     "# configuration file /e/s/deep/c.conf:\nserver { server_name deep.example; }\n"
	     "# configuration file /e/s/a.conf~:\nserver { server_name backup.example; }\n"
	     "# configuration file /e/b1/x:\nserver { server_name set.example; }\n"
	     "# configuration file /e/t/*:\nserver { server_name star.example; }\n");
	assert_int_equal(conf->warning_count, 0);
	assert_int_equal(conf->site_count, 4);
	assert_string_equal(conf->sites[0].name, "a.example");
	assert_string_equal(conf->sites[1].name, "b.example");
	assert_string_equal(conf->sites[2].name, "set.example");
	assert_string_equal(conf->sites[3].name, "star.example");
	assert_string_equal(site("b.example")->content.file, "/e/s/b.conf");
	assert_int_equal(site("b.example")->content.line, 1);
}

static void a_text_never_reaches_for_files(void **state)
{
	(void)state;
	TEXT("http { include " FIXTURES "apps/sites-enabled/gitlab.conf; include /etc/nginx/nginx.conf; }");
	assert_int_equal(conf->blocks, 0);
	assert_int_equal(conf->warning_count, 2);
	assert_true(warned("not part of this text"));
}

static void a_directory_is_not_included(void **state)
{
	char path[] = "/tmp/test_nginx_conf.XXXXXX", name[64], folder[64];

	(void)state;
	assert_non_null(mkdtemp(path));
	snprintf(name, sizeof name, "%s/nginx.conf", path);
	snprintf(folder, sizeof folder, "%s/sites", path);
	assert_int_equal(mkdir(folder, 0700), 0);
	FILE *file = fopen(name, "w");
	assert_non_null(file);
	fputs("include sit*;\nserver { server_name a.example; }\n", file);
	assert_int_equal(fclose(file), 0);
	load(path);
	unlink(name);
	rmdir(folder);
	rmdir(path);
	assert_true(find("a.example"));
	assert_true(warned("not a regular file"));
}

static void includes_that_multiply_are_stopped(void **state)
{
	struct buf text;

	(void)state;
	buf_init(&text, 1 << 20);
	buf_str(&text, "# configuration file /0:\n");
	for (int i = 1; i < 40; i++)
		buf_printf(&text, "include /%d; include /%d; include /%d;\n# configuration file /%d:\n", i, i, i, i);
	buf_str(&text, "server { server_name last.example; }\n");
	assert_false(buf_failed(&text));
	read_text(text.data, text.len);
	buf_free(&text);
	assert_true(warned("too many includes"));
	assert_true(find("last.example"));
}

static void deep_nesting_is_left_out(void **state)
{
	struct buf text;

	(void)state;
	buf_init(&text, 1 << 20);
	buf_str(&text, "server { server_name a.example; ");
	for (int i = 0; i < 10000; i++)
		buf_str(&text, "location /x { ");
	for (int i = 0; i < 10000; i++)
		buf_str(&text, "} ");
	buf_str(&text, "root /srv/a; }");
	read_text(text.data, text.len);
	buf_free(&text);
	assert_true(warned("nested too deeply"));
	assert_string_equal(site("a.example")->content.root, "/srv/a");
}

/* --- words --- */

static void quotes_escapes_and_comments_are_read_as_nginx_does(void **state)
{
	(void)state;
	TEXT("server {# to the end; } \n\tserver_name 'a.example' \"b.example\" # c.example;\n d.example;\n"
	     "root \"/srv/a;{}b\\\" c\"; set $x ${host}_; set $y a#b; set $z 'it''s'; add_header X \"} server {\"; }\r\n"
	     "server\r\n{\r\nserver_name e.example;root /srv/e#x;\r\n}");
	assert_true(find("a.example"));
	assert_true(find("b.example"));
	assert_false(find("c.example"));
	assert_true(find("d.example"));
	assert_string_equal(site("a.example")->content.root, "/srv/a;{}b\" c");
	assert_string_equal(site("e.example")->content.root, "/srv/e#x");
	assert_int_equal(site("e.example")->content.line, 5);
}

static void broken_texts_give_what_they_have_and_a_warning(void **state)
{
	(void)state;
	TEXT("} server { server_name a.example; root /srv/a }\nserver { server_name b.example; root \"/srv");
	assert_true(warned("text:1: a \"}\" closes nothing"));
	assert_true(warned("text:1: a \";\" is missing"));
	assert_true(warned("text:2: a quoted word is not closed"));
	assert_string_equal(site("a.example")->content.root, "/srv/a");
	assert_null(site("b.example")->content.root);
}

static void warnings_do_not_quote_what_may_be_a_secret(void **state)
{
	(void)state;
	TEXT("root:x:0:0:secret:/root:/bin/bash\nhunter2 {{ hunter2");
	assert_true(conf->warning_count > 0);
	assert_false(warned("secret"));
	assert_false(warned("hunter2"));
}

static void nothing_at_all_has_no_blocks(void **state)
{
	(void)state;
	read_text("", 0);
	assert_int_equal(conf->blocks, 0);
	TEXT("\x7f" "ELF\x02\x01\x01{{;;}\x00;;");
	assert_int_equal(conf->blocks, 0);
	assert_int_equal(conf->site_count, 0);
}

/* --- meaning --- */

static void only_http_servers_are_sites(void **state)
{
	(void)state;
	TEXT("stream { server { listen 1; server_name s.example; } } mail { server { server_name m.example; } }"
	     "http { upstream u { server u.example; } map $host $x { server_name x.example; }"
	     "server { server_name h.example; } }");
	assert_int_equal(conf->blocks, 1);
	assert_int_equal(conf->site_count, 1);
	assert_true(find("h.example"));
	has_ports("h.example", 1, 80, 0);
}

static void roots_are_inherited_in_the_order_of_their_nearness(void **state)
{
	(void)state;
	TEXT("http { server { server_name a.example; }"
	     "server { server_name b.example; location / { root /srv/b; } }"
	     "server { server_name c.example; location / { root /srv/x; } root /srv/c; }"
	     "server { server_name d.example; return 301 https://$host$request_uri; }"
	     "root /srv/shared; }");
	assert_string_equal(site("a.example")->content.root, "/srv/shared");
	assert_string_equal(site("b.example")->content.root, "/srv/b");
	assert_string_equal(site("c.example")->content.root, "/srv/c");
	assert_null(site("d.example")->content.root);
}

static void an_inherited_certificate_counts_where_tls_is_spoken(void **state)
{
	(void)state;
	TEXT("http { ssl_certificate /c.pem; server { listen 80; server_name a.example; }"
	     "server { listen [::]:443 ssl; server_name b.example; } }");
	assert_null(site("a.example")->certificate);
	assert_string_equal(site("b.example")->certificate, "/c.pem");
	has_ports("b.example", 1, 443, 0);
}

static void content_is_preferred_to_redirects_whatever_the_order(void **state)
{
	(void)state;
	TEXT("server { listen 443 ssl; ssl_certificate /c; server_name a.example; root /srv/a; }"
	     "server { listen 80; server_name a.example; root /srv/html; rewrite ^(.*)$ https://$host$1 permanent; }"
	     "server { listen 80; server_name b.example; root /srv/html; location / { return 301 https://$host$uri; } }"
	     "server { listen 443 ssl; ssl_certificate /c; server_name b.example; location / { proxy_pass http://x; } }");
	assert_string_equal(site("a.example")->content.root, "/srv/a");
	assert_int_equal(site("a.example")->content.kind, SITE_STATIC);
	assert_int_equal(site("b.example")->content.kind, SITE_PROXY);
	assert_null(site("b.example")->content.root);
}

static void a_condition_or_one_path_makes_no_redirect(void **state)
{
	(void)state;
	TEXT("server { server_name a.example; root /srv/a; if ($host = x) { return 301 https://b.example$uri; } }"
	     "server { server_name b.example; root /srv/b; rewrite ^/old$ https://a.example/ permanent;"
	     " location = / { return 302 https://a.example/; } location / { return 302 /app/; } }");
	assert_int_equal(site("a.example")->content.kind, SITE_STATIC);
	assert_int_equal(site("b.example")->content.kind, SITE_STATIC);
	assert_null(site("a.example")->alias_of);
	assert_null(site("b.example")->alias_of);
}

static void the_bare_name_is_the_site_though_www_serves(void **state)
{
	(void)state;
	TEXT("server { server_name example.org; return 301 https://www.example.org$request_uri; }"
	     "server { listen 443 ssl; ssl_certificate /c; server_name www.example.org; root /srv/a; }");
	is_alias_of("www.example.org", "example.org");
	assert_null(site("example.org")->alias_of);
	assert_string_equal(site("example.org")->content.root, "/srv/a");
	assert_int_equal(site("example.org")->content.kind, SITE_STATIC);
}

static void further_names_of_a_block_are_aliases_of_its_first(void **state)
{
	(void)state;
	TEXT("server { server_name www.one.example one.example two.example www.two.example; root /srv/one; }"
	     "server { server_name www.three.example; root /srv/three; }"
	     "server { server_name two.example; return 301 https://$host$uri; }");
	assert_null(site("one.example")->alias_of);
	is_alias_of("www.one.example", "one.example");
	is_alias_of("two.example", "one.example");
	is_alias_of("www.two.example", "one.example");
	assert_null(site("www.three.example")->alias_of);
}

static void names_that_point_at_each_other_make_no_circle(void **state)
{
	(void)state;
	TEXT("server { server_name a.example; return 301 https://b.example/; }"
	     "server { server_name b.example; return 301 https://c.example/; }"
	     "server { server_name c.example; return 301 https://a.example/; }"
	     "server { server_name self.example; return 301 https://self.example/; }");
	is_alias_of("a.example", "c.example");
	is_alias_of("b.example", "c.example");
	assert_null(site("c.example")->alias_of);
	assert_null(site("self.example")->alias_of);
}

static void names_are_stored_as_a_labels_and_once(void **state)
{
	(void)state;
	TEXT("server { server_name B\xc3\xbc" "cher.example XN--BCHER-KVA.example; root /srv/b; }");
	assert_int_equal(conf->site_count, 1);
	assert_string_equal(conf->sites[0].name, "xn--bcher-kva.example");
}

static void types_follow_the_accounts(void **state)
{
	static const struct { const char *name, *account; enum site_type type; } expected[] = {
		{ "blog.example.org", "anna", SITE_SUBDOMAIN }, { "example.org", "anna", SITE_PRIMARY },
		{ "www.example.org", "anna", SITE_ALIAS }, { "other.example", "anna", SITE_ADDON },
		{ "bert.example.org", "bert", SITE_PRIMARY }, { "deep.x.bert.example.org", "bert", SITE_SUBDOMAIN },
		{ "nobodys.example", NULL, SITE_UNTYPED }, { "notexample.org", "anna", SITE_ADDON }
	};
	const size_t count = sizeof expected / sizeof *expected;

	(void)state;
	TEXT("server { server_name blog.example.org; } server { server_name example.org www.example.org; }"
	     "server { server_name other.example; } server { server_name bert.example.org; }"
	     "server { server_name deep.x.bert.example.org; } server { server_name nobodys.example; }"
	     "server { server_name notexample.org; }");
	assert_int_equal(conf->site_count, count);
	for (size_t i = 0; i < count; i++)
		conf->sites[i].account = expected[i].account;
	assert_true(sites_set_types(arena, conf));
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(conf->sites[i].name, expected[i].name);
		assert_string_equal(site_type_name(conf->sites[i].type), site_type_name(expected[i].type));
	}
}

/* --- ceilings --- */

static void names_beyond_the_ceiling_are_left_out_with_a_warning(void **state)
{
	struct buf text;

	(void)state;
	buf_init(&text, SITES_TEXT_MAX);
	for (unsigned i = 0; i <= SITES_NAMES_MAX; i++)
		buf_printf(&text, "server { server_name n%u.example www.n%u.example; }\n", i, i);
	assert_false(buf_failed(&text));
	read_text(text.data, text.len);
	buf_free(&text);
	assert_int_equal(conf->site_count, SITES_NAMES_MAX);
	assert_true(warned("too many server names"));
	is_alias_of("www.n7.example", "n7.example");
}

static void a_directive_without_end_is_left_out(void **state)
{
	struct buf text;

	(void)state;
	buf_init(&text, SITES_TEXT_MAX);
	buf_str(&text, "server { server_name a.example; set $x ");
	for (unsigned i = 0; i < SITES_LINE_MAX; i++)
		buf_char(&text, 'x');
	buf_str(&text, "; root /srv/a; server_name");
	for (unsigned i = 0; i < SITES_WORDS_MAX; i++)
		buf_str(&text, " a.example");
	buf_str(&text, "; }");
	read_text(text.data, text.len);
	buf_free(&text);
	assert_string_equal(site("a.example")->content.root, "/srv/a");
	assert_true(warned("the directive is too long"));
	assert_true(warned("too many words"));
}

#define PROMISE(fn) cmocka_unit_test_setup_teardown(fn, open_arena, close_arena)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROMISE(debian_layout_is_followed_through_globs_and_links),
		PROMISE(a_folder_means_its_nginx_conf),
		PROMISE(a_missing_source_is_named),
		PROMISE(the_installed_debian_default_has_nothing_to_import),
		PROMISE(certbot_pairs_become_one_site),
		PROMISE(a_redirect_to_a_site_is_an_alias_of_it),
		PROMISE(a_redirect_elsewhere_stays_a_site_without_root),
		PROMISE(wordpress_behind_a_redirect_is_read),
		PROMISE(nextcloud_is_read),
		PROMISE(gitlab_is_a_proxy_without_root),
		PROMISE(a_root_in_the_root_location_counts),
		PROMISE(names_that_are_no_domains_are_skipped_with_the_reason),
		PROMISE(code_in_lua_is_no_configuration),
		PROMISE(a_root_that_cannot_be_stored_has_a_note),
		PROMISE(circles_and_missing_includes_are_warnings),
		PROMISE(sections_are_included_by_glob_as_nginx_does),
		PROMISE(a_text_never_reaches_for_files),
		PROMISE(a_directory_is_not_included),
		PROMISE(includes_that_multiply_are_stopped),
		PROMISE(deep_nesting_is_left_out),
		PROMISE(quotes_escapes_and_comments_are_read_as_nginx_does),
		PROMISE(broken_texts_give_what_they_have_and_a_warning),
		PROMISE(warnings_do_not_quote_what_may_be_a_secret),
		PROMISE(nothing_at_all_has_no_blocks),
		PROMISE(only_http_servers_are_sites),
		PROMISE(roots_are_inherited_in_the_order_of_their_nearness),
		PROMISE(an_inherited_certificate_counts_where_tls_is_spoken),
		PROMISE(content_is_preferred_to_redirects_whatever_the_order),
		PROMISE(a_condition_or_one_path_makes_no_redirect),
		PROMISE(the_bare_name_is_the_site_though_www_serves),
		PROMISE(further_names_of_a_block_are_aliases_of_its_first),
		PROMISE(names_that_point_at_each_other_make_no_circle),
		PROMISE(names_are_stored_as_a_labels_and_once),
		PROMISE(types_follow_the_accounts),
		PROMISE(names_beyond_the_ceiling_are_left_out_with_a_warning),
		PROMISE(a_directive_without_end_is_left_out)
	};
	return cmocka_run_group_tests_name("nginx configuration", tests, NULL, NULL);
}
