/*
 * test_site_reports.c: kinds of configurations that other readers of web servers' configurations were reported to fail on,
 * each in words of our own, and what is to be read from them.
 */
#include "apache_conf.h"
#include "arena.h"
#include "nginx_conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "sites_tests.h"

#define MAIN "# configuration file /etc/nginx/nginx.conf:\n"

static void nginx(const char *text)
{
	conf = nginx_conf_text(arena, "text", text, strlen(text));
	assert_non_null(conf);
}

static void apache(const char *text)
{
	conf = apache_conf_text(arena, "text", text, strlen(text));
	assert_non_null(conf);
}

static void has_root(const char *name, const char *root)
{
	assert_non_null(site(name)->content.root);
	assert_string_equal(site(name)->content.root, root);
}

/* --- nginx --- */

static void sites_in_folders_of_folders(void **state)
{
	(void)state;
	nginx(MAIN "http { include /etc/nginx/sites-enabled/*.conf; include /etc/nginx/sites-enabled/*/*.conf; }\n"
	      "# configuration file /etc/nginx/sites-enabled/one.example/api.conf:\n"
	      "server { listen 80; server_name api.one.example; root /srv/api; }\n");
	has_root("api.one.example", "/srv/api");
	assert_int_equal(conf->warning_count, 0);
}

static void an_include_in_quotes(void **state)
{
	(void)state;
	nginx(MAIN "http { include \"/etc/nginx/conf d/*.conf\"; }\n# configuration file /etc/nginx/conf d/a.conf:\n"
	      "server { server_name quoted.example; root /srv/q; }\n");
	has_root("quoted.example", "/srv/q");
}

static void an_http_block_in_another_file(void **state)
{
	(void)state;
	nginx(MAIN "events { }\ninclude http.conf;\n# configuration file /etc/nginx/http.conf:\n"
	      "http { include sites/*; }\n# configuration file /etc/nginx/sites/a:\nserver { server_name outer.example; root /srv/o; }\n");
	has_root("outer.example", "/srv/o");
}

static void lua_with_a_brace_at_its_variable_and_odd_strings(void **state)
{
	(void)state;
	nginx("server { server_name lua.example; set_by_lua_block $pass{\n\treturn 'it\\'s }'\n}\n"
	      "access_by_lua_block {\n\t-- what's loaded here }\n\tlocal s = [[ some\\.domain} ]]\n}\nroot /srv/lua; }\n"
	      "server { server_name after.example; root /srv/after; }");
	has_root("lua.example", "/srv/lua");
	has_root("after.example", "/srv/after");
}

static void an_include_within_limits_of_methods(void **state)
{
	(void)state;
	nginx(MAIN "http { server { server_name limits.example; root /srv/l; location / { limit_except GET { include acl.conf; } } } }\n"
	      "# configuration file /etc/nginx/acl.conf:\ndeny all;\n");
	has_root("limits.example", "/srv/l");
	assert_int_equal(conf->warning_count, 0);
}

static void a_root_in_a_variable(void **state)
{
	(void)state;
	nginx("server { server_name var.example; root $base/public; set $base '/srv/$name'; set $name var; }"
	      "server { server_name two.example www.two.example; set $d two.example; root /srv/${d}/web; }"
	      "server { server_name either.example; set $r /srv/a; if ($http_x) { set $q /srv/b; } root $r$q; }"
	      "server { server_name loop.example; set $a $b; set $b $a; root /srv/$a; }");
	has_root("var.example", "/srv/var/public");
	has_root("two.example", "/srv/two.example/web");
	assert_null(site("either.example")->content.root);
	assert_string_equal(site("either.example")->content.root_note, "its root has a variable");
	assert_null(site("loop.example")->content.root);
}

static void two_servers_for_one_name_and_port(void **state)
{
	(void)state;
	nginx("server { listen 80; server_name twice.example; root /srv/first; }\n"
	      "server { listen 80; server_name twice.example other.example; location / { proxy_pass http://127.0.0.1:1; } }\n"
	      "server { listen 192.0.2.1:80; server_name by-address.example; root /srv/x; }\n"
	      "server { listen 192.0.2.2:80; server_name by-address.example; root /srv/y; }");
	has_root("twice.example", "/srv/first");
	assert_int_equal(site("twice.example")->content.kind, SITE_STATIC);
	assert_true(warned("text:2: a server before it answers for the name at the same port, so it is not taken over: twice.example"));
	assert_false(warned("by-address.example"));
}

static void plain_and_tls_in_blocks_of_their_own(void **state)
{
	(void)state;
	nginx("server { listen 80; server_name pair.example; root /var/www/letsencrypt; location /.well-known/acme-challenge/ { } }\n"
	      "server { listen 443 ssl; server_name pair.example; ssl_certificate /c.pem;\n"
	      "  location / { proxy_pass http://127.0.0.1:3000; } }\n"
	      "server { listen 80; server_name gone.example; return 301 https://$host$request_uri; }\n"
	      "server { listen 443 ssl; server_name gone.example; ssl_certificate /c.pem; root /srv/g; return 404; }");
	assert_int_equal(site("pair.example")->content.kind, SITE_PROXY);
	assert_null(site("pair.example")->content.root);
	assert_string_equal(site("pair.example")->certificate_file, "text");
	assert_int_equal(site("pair.example")->certificate_line, 2);
	assert_true(warned("text:3: this is not taken over: / of pair.example is a proxy"));
	assert_int_equal(site("gone.example")->content.kind, SITE_REDIRECT);
	nginx("server { listen *:80; server_name moved.example; location ^~ /.well-known/acme-challenge { alias /srv/proofs; }\n"
	      "  return 301 $scheme://www.moved.example$request_uri; }\n"
	      "server { listen *:80; server_name www.moved.example; root /srv/moved; }");
	has_root("moved.example", "/srv/moved");
	is_alias_of("www.moved.example", "moved.example");
	assert_int_equal(conf->warning_count, 0);
}

static void folders_of_locations(void **state)
{
	(void)state;
	nginx("server { server_name alias.example; location / { alias /srv/alias/; } }\n"
	      "server { server_name nested.example; location ~ \\.php$ { root /srv/nested; fastcgi_pass unix:/x; }\n"
	      "  location /.well-known/acme-challenge { root /srv/acme; }\n  location /files/ { alias /srv/files/; } }\n"
	      "server { server_name app.example; location /.well-known { root /srv/acme; } location / { proxy_pass http://a; }\n"
	      "  location /static { root /srv/static; } }");
	has_root("alias.example", "/srv/alias");
	has_root("nested.example", "/srv/nested");
	assert_true(warned("text:4: this is not taken over: /files/ of nested.example is served from /srv/files/"));
	assert_null(site("app.example")->content.root);
	assert_true(warned("text:6: this is not taken over: /static of app.example is served from /srv/static"));
	assert_false(warned("acme"));
	nginx("server { server_name in.example; root /srv/in; location /m { alias /srv/in/media/; } location /o { alias /srv/inner/; } }\n"
	      "server { location / { proxy_pass http://a; } }");
	assert_false(warned("/m of"));
	assert_true(warned("/o of in.example is served from /srv/inner/"));
	assert_true(warned("text:2: this is not taken over: / of a server without a name is a proxy"));
}

static void includes_of_a_text_that_is_not_whole(void **state)
{
	(void)state;
	nginx("server { server_name piped.example; include snippets/*.conf; include fastcgi_params; }\nstream { server { listen 1; } }");
	assert_true(warned("text:1: an include is not part of this text; give the output of nginx -T: snippets/*.conf"));
	assert_true(warned("text:1: an include is not part of this text; give the output of nginx -T: fastcgi_params"));
	assert_true(warned("text:2: this serves no websites and is not taken over: stream"));
}

static void every_catch_all_is_listed(void **state)
{
	(void)state;
	nginx("server { listen 80; server_name _; root /srv/a; }\nserver { listen 81; server_name _; root /srv/b; }");
	assert_int_equal(conf->skip_count, 2);
	assert_int_equal(conf->skips[1].line, 2);
}

/* --- Apache --- */

static void versions_are_compared(void **state)
{
	(void)state;
	apache("<IfVersion < 2.3>\n<VirtualHost *:80>\nServerName ancient.example\n</VirtualHost>\n</IfVersion>\n"
	       "<IfVersion >= 2.4>\n<VirtualHost *:80>\nServerName present.example\n</VirtualHost>\n</IfVersion>\n"
	       "<IfVersion !< 2.4>\n<VirtualHost *:80>\nServerName negated.example\n</VirtualHost>\n</IfVersion>\n"
	       "<IfVersion >= 2.4.60>\n<VirtualHost *:80>\nServerName newest.example\n</VirtualHost>\n</IfVersion>\n"
	       "<Directory /srv>\n<IfVersion < 2.4>\nOrder allow,deny\n</IfVersion>\n</Directory>\n");
	assert_false(find("ancient.example"));
	assert_true(warned("text:1: the section is for another version of the server and is left out (--server-version): IfVersion <"));
	assert_true(find("present.example"));
	assert_true(find("negated.example"));
	assert_true(find("newest.example"));
	assert_true(warned("text:16: the server counts as the newest 2.4, so the section is read: give its version"));
	assert_false(warned("text:22"));
}

static void names_that_are_not_defined_are_told(void **state)
{
	(void)state;
	apache("<IfDefine SSL>\n<IfDefine !NOSSL>\n<VirtualHost *:443>\nServerName hidden.example\n</VirtualHost>\n</IfDefine>\n</IfDefine>\n"
	       "<IfDefine !DEBUG>\n<VirtualHost *:80>\nServerName shown.example\n</VirtualHost>\n</IfDefine>\n");
	assert_false(find("hidden.example"));
	assert_true(warned("text:1: the name is not defined, so the section is left out"));
	assert_false(warned("text:2"));
	assert_true(find("shown.example"));
	assert_int_equal(conf->warning_count, 1);
}

static void modules_count_where_they_are_loaded(void **state)
{
	(void)state;
	apache("LoadModule ssl_module modules/mod_ssl.so\nLoadModule php7_module modules/libphp7.so\n"
	       "<IfModule mod_ssl.c>\n<VirtualHost *:443>\nServerName tls.example\n</VirtualHost>\n</IfModule>\n"
	       "<IfModule php7_module>\n<VirtualHost *:80>\nServerName php.example\n</VirtualHost>\n</IfModule>\n"
	       "<IfModule mod_php7.c>\n<VirtualHost *:81>\nServerName php7.example\n</VirtualHost>\n</IfModule>\n"
	       "<IfModule !mod_ssl.c>\n<VirtualHost *:80>\nServerName without.example\n</VirtualHost>\n</IfModule>\n"
	       "<IfModule mod_proxy.c>\n<VirtualHost *:80>\nServerName absent.example\n</VirtualHost>\n</IfModule>\n"
	       "<ifmodule mod_deflate.c=\"\">\nAddOutputFilterByType DEFLATE text/html\n</ifmodule>\n");
	assert_true(find("tls.example"));
	assert_true(find("php.example"));
	assert_true(find("php7.example"));
	assert_false(find("without.example"));
	assert_false(find("absent.example"));
	assert_true(warned("text:23: the module is not loaded, so the section is left out, as the server does: IfModule mod_proxy.c"));
	assert_int_equal(conf->warning_count, 1);
}

static void without_load_module_it_is_told_once_what_counts(void **state)
{
	(void)state;
	apache("<IfModule mod_ssl.c>\n<VirtualHost *:443>\nServerName a.example\n</VirtualHost>\n</IfModule>\n"
	       "<IfModule mod_ssl.c>\n<VirtualHost *:443>\nServerName b.example\n</VirtualHost>\n</IfModule>\n");
	assert_true(find("a.example") && find("b.example"));
	assert_int_equal(conf->warning_count, 1);
	assert_true(warned("text:1: no LoadModule tells whether the module is loaded; it counts as loaded"));
}

static void variables_set_within_a_host(void **state)
{
	(void)state;
	apache("<VirtualHost *:80>\nDefine NAME def.example\nServerName ${NAME}\nDocumentRoot /srv/${NAME}/\nUnDefine NAME\n</VirtualHost>\n"
	       "<VirtualHost *:80>\nServerName map.example\nDocumentRoot /srv/map\nRewriteCond ${links:%{HTTP_HOST}} !=\"\"\n"
	       "RewriteRule ^/(.*) http://${links:%{HTTP_HOST}}/$1 [R=301,L]\n</VirtualHost>\n");
	has_root("def.example", "/srv/def.example");
	has_root("map.example", "/srv/map");
	assert_null(site("map.example")->alias_of);
}

static void sections_as_the_server_forgives_them(void **state)
{
	(void)state;
	apache("<VirtualHost *:80>\nServerName quote.example\nDocumentRoot /srv/q\n<Location ~ \"/(.*)/adm>\nRequire all denied\n</Location>\n"
	       "<FilesMatch \"\\.(engine|inc)(~|\\.sw[op])?$|^#.*#$|>$\">\nRequire all denied\n</FilesMatch>\n"
	       "BrowserMatch \"MSIE [2-6]\" \\\n\tnokeepalive\n</VirtualHost> </Location>\n"
	       "<IfModule mod_ssl.c>\n<VirtualHost *:443>\nServerName open.example\nDocumentRoot /srv/open\n</VirtualHost>\n");
	has_root("quote.example", "/srv/q");
	has_root("open.example", "/srv/open");
	assert_true(warned("text:13: the text ends within a section: IfModule"));
	assert_false(warned("not the end of the section"));
}

static void proxies_are_no_redirects(void **state)
{
	(void)state;
	apache("<VirtualHost *:80>\nServerName front.example\nRewriteEngine on\nRewriteRule ^/(.*)$ http://target.example/$1 [P,L]\n</VirtualHost>\n"
	       "<VirtualHost *:80>\nServerName word.example\nRewriteRule ^ http://target.example%{REQUEST_URI} [L,proxy]\n</VirtualHost>\n"
	       "<VirtualHost *:80>\nServerName socket.example\nRewriteCond %{HTTP:Upgrade} websocket [NC]\n"
	       "RewriteRule /(.*) ws://target.example/$1 [P]\n</VirtualHost>\n"
	       "<VirtualHost *:80>\nServerName fcgi.example\nRewriteRule ^/(.*)$ fcgi://127.0.0.1:9000/srv/$1 [P]\n</VirtualHost>\n"
	       "<VirtualHost *:80>\nServerName bare.example\nRewriteRule ^/?(.*)$ https://target.example/$1\n</VirtualHost>\n"
	       "<VirtualHost *:80>\nServerName escaped.example\nRewriteRule ^/(.*) http\\:\\/\\/target\\.example\\/$1 [L,R,NE]\n</VirtualHost>\n"
	       "<VirtualHost *:80>\nServerName acme.example\nRewriteRule !^/\\.well-known/ https://target.example/ [L]\n</VirtualHost>\n"
	       "<VirtualHost *:80>\nServerName target.example\nDocumentRoot /srv/t\n</VirtualHost>\n");
	assert_int_equal(site("front.example")->content.kind, SITE_PROXY);
	assert_null(site("front.example")->alias_of);
	assert_int_equal(site("word.example")->content.kind, SITE_PROXY);
	assert_int_equal(site("socket.example")->content.kind, SITE_PROXY);
	assert_int_equal(site("fcgi.example")->content.kind, SITE_FASTCGI);
	is_alias_of("bare.example", "target.example");
	is_alias_of("acme.example", "target.example");
	is_alias_of("escaped.example", "target.example");
}

static void macros_with_includes_and_aliases(void **state)
{
	(void)state;
	apache("<Macro Host $name>\n<VirtualHost *:80>\nServerName $name\nAlias / /srv/$name/\nAlias /old /srv/old\n"
	       "IncludeOptional conf/$(name)/*.inc\n</VirtualHost>\n</Macro>\nUse Host macro.example\n");
	has_root("macro.example", "/srv/macro.example");
	assert_true(warned("this is not taken over: /old of macro.example is served from /srv/old"));
	assert_true(warned("what is included is not part of this text and is left out"));
}

static void the_main_server_beside_hosts_is_listed(void **state)
{
	(void)state;
	apache("ServerName main.example:80\nDocumentRoot /srv/main\n<VirtualHost *:80>\nServerName host.example\nDocumentRoot /srv/h\n</VirtualHost>\n");
	assert_false(find("main.example"));
	assert_int_equal(conf->skip_count, 1);
	assert_string_equal(conf->skips[0].reason, "the main server's name: virtual hosts answer in its place");
	assert_int_equal(conf->skips[0].line, 1);
}

/* --- whose files decide --- */

static void own(const char *name, const char *owner)
{
	site(name)->owner = owner;
}

static void a_root_of_another_owner_parts_an_alias(void **state)
{
	(void)state;
	nginx("server { listen 80; server_name anna.example; root /home/anna/web; }"
	      "server { listen 80; server_name bert.example www.bert.example; root /home/bert/web; return 301 https://anna.example/; }"
	      "server { listen 80; server_name same.example; root /home/anna/old; return 301 https://anna.example/; }"
	      "server { listen 80; server_name none.example; return 301 https://anna.example/; }"
	      "server { listen 80; server_name nobody.example; root /var/www/html; return 301 https://anna.example/; }"
	      "server { listen 80; server_name www.anna.example; root /home/bert/www; }");
	is_alias_of("bert.example", "anna.example"); /* as far as the text alone tells */
	own("anna.example", "anna");
	own("bert.example", "bert");
	own("www.bert.example", "bert");
	own("same.example", "anna");
	own("www.anna.example", "bert");
	sites_join(conf);
	assert_null(site("bert.example")->alias_of);
	has_root("bert.example", "/home/bert/web");
	is_alias_of("www.bert.example", "bert.example");
	is_alias_of("same.example", "anna.example");
	is_alias_of("none.example", "anna.example");
	is_alias_of("nobody.example", "anna.example");
	assert_null(site("www.anna.example")->alias_of);
	has_root("www.anna.example", "/home/bert/www");
	has_root("anna.example", "/home/anna/web");
}

static void a_site_takes_no_content_of_another_owner(void **state)
{
	(void)state;
	nginx("server { listen 80; server_name a.example; root /home/anna/web; return 301 https://www.a.example/; }"
	      "server { listen 80; server_name www.a.example; root /home/bert/web; }"
	      "server { listen 80; server_name b.example; return 301 https://www.b.example/; }"
	      "server { listen 80; server_name www.b.example; root /home/bert/b; }");
	has_root("a.example", "/home/bert/web");
	own("a.example", "anna");
	own("www.a.example", "bert");
	own("www.b.example", "bert");
	sites_join(conf);
	has_root("a.example", "/home/anna/web");
	assert_null(site("www.a.example")->alias_of);
	has_root("b.example", "/home/bert/b");
	assert_string_equal(site("b.example")->lender->owner, "bert");
	is_alias_of("www.b.example", "b.example");
}

#define PROMISE(fn) cmocka_unit_test_setup_teardown(fn, open_arena, close_arena)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PROMISE(sites_in_folders_of_folders),
		PROMISE(an_include_in_quotes),
		PROMISE(an_http_block_in_another_file),
		PROMISE(lua_with_a_brace_at_its_variable_and_odd_strings),
		PROMISE(an_include_within_limits_of_methods),
		PROMISE(a_root_in_a_variable),
		PROMISE(two_servers_for_one_name_and_port),
		PROMISE(plain_and_tls_in_blocks_of_their_own),
		PROMISE(folders_of_locations),
		PROMISE(includes_of_a_text_that_is_not_whole),
		PROMISE(every_catch_all_is_listed),
		PROMISE(versions_are_compared),
		PROMISE(names_that_are_not_defined_are_told),
		PROMISE(modules_count_where_they_are_loaded),
		PROMISE(without_load_module_it_is_told_once_what_counts),
		PROMISE(variables_set_within_a_host),
		PROMISE(sections_as_the_server_forgives_them),
		PROMISE(proxies_are_no_redirects),
		PROMISE(macros_with_includes_and_aliases),
		PROMISE(the_main_server_beside_hosts_is_listed),
		PROMISE(a_root_of_another_owner_parts_an_alias),
		PROMISE(a_site_takes_no_content_of_another_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
