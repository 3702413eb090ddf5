/* apache_conf.c: see apache_conf.h. What the directives of an Apache configuration mean; sections may stand in each other. */
#include "apache_conf.h"

#include "arena.h"
#include "apache_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- values --- */

const char *apache_full_path(struct parser *p, const char *path)
{
	return path[0] == '/' ? path : sites_need(p, arena_printf(p->arena, "%s%s", p->prefix, path));
}

static void set_root(struct parser *p, struct block *b)
{
	const char *path = apache_full_path(p, sites_word(p, 1));

	if (path)
		b->root = sites_clean_root(p, path, &b->root_note);
}

/* Of "*:443", "192.0.2.1:80", "[2001:db8::1]:80", "example.org". */
static void add_address(struct block *b, const char *address)
{
	const char *bracket = strrchr(address, ']'), *colon = strrchr(bracket ? bracket : address, ':');
	long port = 80;

	b->addressed |= address[0] != '*' && strncmp(address, "_default_", 9) != 0 && strncmp(address, "0.0.0.0", 7) != 0 &&
		strncmp(address, "[::]", 4) != 0;
	if (colon && colon[1] && strspn(colon + 1, "0123456789") == strlen(colon + 1))
		port = strtol(colon + 1, NULL, 10);
	if (port > 0 && port < 65536)
		sites_add_port(b->ports, &b->port_count, (int)port);
}

/* ServerName may have a scheme and a port. */
static void add_host_name(struct parser *p, const struct lexer *lx, struct block *b, const char *text)
{
	char host[HOSTNAME_MAX], ascii[HOSTNAME_MAX];
	const char *begin = strstr(text, "://") ? strstr(text, "://") + 3 : text;
	size_t len = *begin == '[' ? strlen(begin) : strcspn(begin, ":/");

	if (len >= sizeof host) {
		sites_add_name(p, lx, b, text, "not a domain name");
		return;
	}
	memcpy(host, begin, len);
	host[len] = '\0';
	const char *reason = strchr(host, '?') ? "a wildcard name" : sites_judge_name(host, ascii);
	sites_add_name(p, lx, b, reason ? host : ascii, reason);
}

/* Does a RewriteRule have this flag, such as "P", or "proxy" in full? */
static bool has_flag(const char *flags, const char *letter, const char *word)
{
	if (*flags != '[')
		return false;
	for (const char *flag = flags + 1; *flag;) {
		size_t len = strcspn(flag, ",]");
		while (len && apache_is_space(*flag)) {
			flag++;
			len--;
		}
		if ((len == strlen(letter) && strncasecmp(flag, letter, len) == 0) ||
		    (len == strlen(word) && strncasecmp(flag, word, len) == 0))
			return true;
		flag += len + (flag[len] != '\0');
	}
	return false;
}

/* "https\:\/\/example\.org" of a RewriteRule, whose second word needs no backslashes and often has them. */
static const char *unescape(struct parser *p, const char *text)
{
	char *out = strchr(text, '\\') ? sites_need(p, arena_strdup(p->arena, text)) : NULL;
	size_t len = 0;

	if (!out)
		return text;
	for (const char *c = text; *c; c++) {
		c += *c == '\\' && c[1];
		out[len++] = *c;
	}
	out[len] = '\0';
	return out;
}

/* Redirect, RedirectMatch and RewriteRule where they send away what is asked for at the root, and below it. */
static const char *redirect_target(struct parser *p)
{
	if (apache_is(p, "RewriteRule")) {
		const char *target = unescape(p, sites_word(p, 2));
		bool proxied = has_flag(sites_word(p, 3), "P", "proxy");
		return sites_is_everything(sites_word(p, 1)) && sites_is_url(target) && !proxied ? target : NULL;
	}
	bool temporary = apache_is(p, "RedirectTemp"), permanent = apache_is(p, "RedirectPermanent");
	if (!apache_is(p, "Redirect") && !apache_is(p, "RedirectMatch") && !temporary && !permanent)
		return NULL;
	size_t last = p->word_count - 1;
	const char *from = p->word_count > 2 ? sites_word(p, last - 1) : "", *to = sites_word(p, last);
	return sites_is_everything(from) && sites_is_url(to) ? to : NULL;
}

static void note_redirect(struct parser *p, struct block *b, bool conditional)
{
	const char *target = redirect_target(p);

	if (!target || b->redirects_all)
		return;
	if (!conditional || !b->redirect)
		b->redirect = sites_keep(p, target);
	b->redirects_all = !conditional;
}

/* What else than files answers. "/" says what the site is; elsewhere a script is more telling than a proxied path. */
static void note_backend(struct parser *p, const struct lexer *lx, struct block *b, enum place place)
{
	struct apache *a = p->own;
	bool in_root_section = place == IN_HOST_ROOT;
	const char *first = sites_word(p, 1);
	bool has_path = *first == '/' || *first == '^'; /* else it has its section's */
	const char *target = has_path ? sites_word(p, 2) : first;
	enum site_kind kind = SITE_NOTHING;
	bool root = false;
	const char *path = "a part";

	if (apache_is(p, "ProxyPass") || apache_is(p, "ProxyPassMatch")) {
		if (strcmp(target, "!") == 0)
			return;
		kind = sites_mentions(target, "fcgi://") ? SITE_FASTCGI : SITE_PROXY;
		root = has_path ? sites_is_everything(first) : in_root_section;
		if (has_path || in_root_section)
			path = has_path ? first : "/";
	} else if (apache_is(p, "RewriteRule")) {
		if (!has_flag(sites_word(p, 3), "P", "proxy"))
			return;
		kind = sites_mentions(sites_word(p, 2), "fcgi://") ? SITE_FASTCGI : SITE_PROXY;
		root = place != IN_HOST_SECTION && !a->condition && sites_is_everything(first);
		path = first;
	} else if (apache_is(p, "SetHandler") || apache_is(p, "AddHandler") || apache_is(p, "AddType") || apache_is(p, "Action")) {
		if (sites_mentions(first, "fcgi") || sites_mentions(first, "php") || sites_mentions(first, "wsgi"))
			kind = SITE_FASTCGI;
		else if (sites_mentions(first, "proxy:"))
			kind = SITE_PROXY;
	} else if (apache_is(p, "FcgidWrapper") || apache_is(p, "WSGIScriptAlias") || strncasecmp(sites_word(p, 0), "php_", 4) == 0) {
		kind = SITE_FASTCGI;
	}
	if (kind == SITE_PROXY)
		sites_add_part(p, lx, b, path, NULL);
	if (kind != SITE_NOTHING && (root || (!b->backend_is_root && b->backend != SITE_FASTCGI)))
		b->backend = kind;
	b->backend_is_root |= root;
}

/* --- directives --- */

static void include(struct parser *p, struct lexer *lx, enum place place, struct block *b)
{
	bool optional = apache_is(p, "IncludeOptional");
	const char *path = apache_full_path(p, sites_word(p, 1));
	struct stat st;

	if (!path)
		return;
	if (strstr(path, "${") && p->on_disk) {
		sites_warn(p, lx->file, lx->start, "a variable of the path is not defined: give it a value (--define NAME=VALUE)", path);
		return;
	}
	if (!p->on_disk) {
		sites_warn(p, lx->file, lx->start, "what is included is not part of this text and is left out: give the file or folder itself",
		           path);
		return;
	}
	if (strlen(path) >= SITES_PATH_MAX) {
		sites_warn(p, lx->file, lx->start, "the path is too long", path);
		return;
	}
	bool there = stat(path, &st) == 0;
	if (!there && optional && !path[strcspn(path, "*?[")])
		return;
	if (!sites_include(p, lx, path, true, (int)place, b) && !optional)
		sites_warn(p, lx->file, lx->start, "no file has such a name", path);
}

/* What is behind Alias for all paths stands in front of DocumentRoot. */
static void note_alias(struct parser *p, const struct lexer *lx, struct block *b)
{
	const char *path = apache_full_path(p, sites_word(p, 2));

	if (path && apache_is(p, "Alias") && strcmp(sites_word(p, 1), "/") == 0)
		b->location_root = sites_clean_root(p, path, &b->location_note);
	else if (path && b != &((struct apache *)p->own)->main)
		sites_add_part(p, lx, b, sites_word(p, 1), path);
}

static void on_host(struct parser *p, struct lexer *lx, enum place place, struct block *b)
{
	struct apache *a = p->own;
	bool section = place != IN_HOST;

	if (!section && apache_is(p, "ServerName")) {
		add_host_name(p, lx, b, sites_word(p, 1));
	} else if (!section && apache_is(p, "ServerAlias")) {
		for (size_t i = 1; i < p->word_count && !p->stopped; i++)
			add_host_name(p, lx, b, sites_word(p, i));
	} else if (!section && apache_is(p, "DocumentRoot")) {
		set_root(p, b);
	} else if (!section && (apache_is(p, "VirtualDocumentRoot") || apache_is(p, "VirtualDocumentRootIP"))) {
		b->root = NULL;
		b->root_note = "its root depends on the name that is asked for";
	} else if (!section && apache_is(p, "SSLEngine")) {
		b->tls = strcasecmp(sites_word(p, 1), "off") != 0;
	} else if (!section && apache_is(p, "SSLCertificateFile")) {
		if (!b->certificate) { /* a second one is for another kind of key */
			b->certificate = sites_keep(p, sites_word(p, 1));
			b->certificate_file = lx->file;
			b->certificate_line = lx->start;
		}
	} else if (!section && (apache_is(p, "Alias") || apache_is(p, "AliasMatch")) && p->word_count > 2) {
		note_alias(p, lx, b);
	} else if (!section && apache_is(p, "RewriteCond")) {
		a->condition = true;
	} else {
		if (place != IN_HOST_SECTION)
			note_redirect(p, b, a->condition);
		note_backend(p, lx, b, place);
		if (apache_is(p, "RewriteRule"))
			a->condition = false;
	}
}

/* Does a site depend on this directive or section? */
static bool is_relevant(const struct parser *p)
{
	static const char *const names[] = {
		"VirtualHost", "Include", "IncludeOptional", "Use", "ServerName", "ServerAlias", "DocumentRoot", "VirtualDocumentRoot",
		"SSLCertificateFile", "ProxyPass", "Redirect", "RedirectMatch", "RedirectPermanent", "RedirectTemp", "RewriteRule"
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (apache_is(p, names[i]))
			return true;
	return false;
}

static void on_directive(struct parser *p, struct lexer *lx, enum place place, struct block *b)
{
	struct apache *a = p->own;

	a->relevant += is_relevant(p);
	if (place == IN_SKIPPED || p->word_count < 2)
		return;
	if (apache_is(p, "Include") || apache_is(p, "IncludeOptional"))
		include(p, lx, place, b);
	else if (apache_is(p, "Use"))
		apache_use_macro(p, lx, place, b);
	else if (apache_is(p, "Define"))
		apache_define(p, lx, sites_word(p, 1), sites_word(p, 2));
	else if (apache_is(p, "UnDefine"))
		apache_define(p, lx, sites_word(p, 1), NULL);
	else if (apache_is(p, "LoadModule"))
		apache_load_module(p, sites_word(p, 1), sites_word(p, 2));
	else if (place == IN_MAIN && apache_is(p, "ServerRoot")) {
		const char *root = sites_word(p, 1);
		size_t len = strlen(root);
		const char *prefix = sites_need(p, arena_printf(p->arena, "%s%s", root, len && root[len - 1] == '/' ? "" : "/"));
		p->prefix = prefix ? prefix : p->prefix;
	} else if (place == IN_MAIN && apache_is(p, "ServerName")) {
		a->main_name = sites_keep(p, sites_word(p, 1));
		a->main_name_file = lx->file;
		a->main_name_line = lx->start;
	} else if (place == IN_MAIN) {
		if (!apache_is(p, "ServerAlias")) /* of virtual hosts only */
			on_host(p, lx, IN_HOST, &a->main);
	} else if (place != IN_OTHER) {
		on_host(p, lx, place, b);
	}
}

/* --- sections --- */

static void read_lines(struct parser *p, struct lexer *lx, enum place place, struct block *b, const char *section);

static enum place place_of_section(const struct parser *p, enum place place)
{
	if (place == IN_SKIPPED)
		return IN_SKIPPED;
	if (place == IN_MAIN || place == IN_OTHER)
		return place == IN_MAIN && apache_is(p, "VirtualHost") ? IN_HOST : IN_OTHER;
	bool root = (apache_is(p, "Location") && strcmp(sites_word(p, 1), "/") == 0) ||
		(apache_is(p, "LocationMatch") && sites_is_everything(sites_word(p, 1)));
	return place == IN_HOST && root ? IN_HOST_ROOT : IN_HOST_SECTION;
}

static void read_host(struct parser *p, struct lexer *lx)
{
	struct apache *a = p->own;
	struct block *b = sites_need(p, arena_alloc(p->arena, sizeof *b));

	if (!b)
		return;
	*b = (struct block){ .file = lx->file, .line = lx->start, .first_name = p->name_count };
	p->conf->blocks++;
	for (size_t i = 1; i < p->word_count; i++)
		add_address(b, sites_word(p, i));
	a->condition = false;
	read_lines(p, lx, IN_HOST, b, "VirtualHost");
	if (!b->tls)
		b->certificate = NULL;
	if (b->location_root || b->location_note) { /* Alias for all paths */
		b->root = b->location_root;
		b->root_note = b->location_note;
	}
	if (!b->name_count && !p->stopped)
		sites_add_name(p, lx, b, "", "no ServerName: the default server of its address");
	sites_report_parts(p, b);
}

/* Read a section whose condition was judged, and say so where a site depends on it. */
static void read_conditional(struct parser *p, struct lexer *lx, enum place place, struct block *b, const char *name,
                             struct condition c)
{
	const struct lexer begin = *lx;
	const struct apache *a = p->own;
	size_t relevant = a->relevant;
	const char *about = c.note ? sites_need(p, arena_printf(p->arena, "%s %s", name, c.about)) : NULL;

	read_lines(p, lx, c.held ? place : IN_SKIPPED, b, name);
	if (about && place != IN_SKIPPED && a->relevant > relevant && !(c.once && apache_told_before(p, about)))
		sites_warn(p, begin.file, begin.start, c.note, about);
}

static void on_section(struct parser *p, struct lexer *lx, enum place place, struct block *b)
{
	struct condition c = apache_judge(p);
	const char *name = sites_keep(p, sites_word(p, 0));

	if (!name)
		return;
	((struct apache *)p->own)->relevant += is_relevant(p);
	if (place != IN_SKIPPED && apache_is(p, "Macro")) {
		apache_read_macro(p, lx);
		return;
	}
	if (p->depth == SITES_DEPTH_MAX) {
		sites_stop(p, lx, "sections are nested too deeply");
		return;
	}
	enum place inner = c.conditional ? place : place_of_section(p, place);
	p->depth++;
	if (c.conditional)
		read_conditional(p, lx, place, b, name, c);
	else if (inner == IN_HOST && place == IN_MAIN)
		read_host(p, lx);
	else
		read_lines(p, lx, inner, b, name);
	p->depth--;
}

/* To the end of the section, or (NULL) of the file. */
static void read_lines(struct parser *p, struct lexer *lx, enum place place, struct block *b, const char *section)
{
	unsigned start = lx->start;

	for (;;) {
		switch (apache_next_words(p, lx)) {
		case DIRECTIVE:
			on_directive(p, lx, place, b);
			break;
		case SECTION:
			on_section(p, lx, place, b);
			break;
		case SECTION_END:
			if (section && !apache_is(p, section))
				sites_warn(p, lx->file, lx->start, "this is not the end of the section that is open", sites_word(p, 0));
			if (section)
				return;
			sites_warn(p, lx->file, lx->start, "the end of a section that is not open", sites_word(p, 0));
			break;
		case AT_END:
			if (section && !p->stopped)
				sites_warn(p, lx->file, start, "the text ends within a section", section);
			return;
		}
	}
}

/* --- doors --- */

static void read_whole(struct parser *p, struct lexer *lx, int place, struct block *b)
{
	read_lines(p, lx, (enum place)place, b, NULL);
}

/* Where there are no virtual hosts, the main server is the one there is. */
static void add_main_server(struct parser *p, const struct lexer *lx)
{
	struct apache *a = p->own;
	struct block *b = sites_need(p, arena_alloc(p->arena, sizeof *b));

	if (!b)
		return;
	*b = a->main;
	b->first_name = p->name_count;
	b->file = lx->file;
	b->line = 1;
	p->conf->blocks++;
	sites_add_port(b->ports, &b->port_count, b->tls ? 443 : 80);
	add_host_name(p, lx, b, a->main_name);
}

/* Where there are, the main server has what they do not listen for: it is not taken over. */
static void skip_main_server(struct parser *p, const struct lexer *lx)
{
	struct apache *a = p->own;
	struct block *b = sites_need(p, arena_alloc(p->arena, sizeof *b));

	if (!b)
		return;
	for (size_t i = 0; i < p->name_count; i++)
		if (strcasecmp(p->names[i].text, a->main_name) == 0)
			return;
	*b = (struct block){ .file = a->main_name_file, .line = a->main_name_line, .first_name = p->name_count };
	sites_add_name(p, lx, b, a->main_name, "the main server's name: virtual hosts answer in its place");
}

/* "A,B=value": as if they stood in front of the text. */
static void define_given(struct parser *p, const struct lexer *lx, const char *defines)
{
	for (const char *at = defines ? defines : ""; *at && !p->stopped;) {
		size_t len = strcspn(at, ","), name_len = strcspn(at, ",=");
		const char *name = sites_need(p, arena_strndup(p->arena, at, name_len));
		const char *value = sites_need(p, arena_strndup(p->arena, at + name_len + (name_len < len), len - name_len - (name_len < len)));
		if (name && value && *name)
			apache_define(p, lx, name, value);
		at += len + (at[len] == ',');
	}
}

static const char *const main_files[] = { "apache2.conf", "httpd.conf", "conf/httpd.conf", NULL };
static const struct sites_given nothing_given;

/* What relative paths begin with until ServerRoot says so: where httpd.conf lies in a folder "conf", that one's. */
static const char *server_root(struct parser *p, const char *path)
{
	char *home = sites_need(p, sites_home(p->arena, path, main_files));
	size_t len = home ? strlen(home) : 0;
	const char *main = home ? arena_printf(p->arena, "%shttpd.conf", home) : NULL;

	if (main && (len == 5 || (len > 5 && home[len - 6] == '/')) && strcmp(home + len - 5, "conf/") == 0 && access(main, F_OK) == 0)
		home[len - 5] = '\0';
	return home;
}

/* `folder`: the text is this folder's files. */
static struct sites *parse(struct arena *arena, const char *name, const char *text, size_t len, const char *folder,
                           bool on_disk, const struct sites_given *given)
{
	struct apache own = { .version = { 2, 4, 999 }, .version_given = given->version != NULL };
	struct parser *p = sites_parser(arena, len);
	struct lexer nowhere = { .file = name, .line = 1, .start = 1 };

	if (!p)
		return NULL;
	p->own = &own;
	p->read = read_whole;
	p->on_disk = on_disk;
	p->prefix = on_disk ? server_root(p, folder ? folder : name) : "";
	if (given->version)
		sscanf(given->version, "%4u.%4u.%4u", &own.version[0], &own.version[1], &own.version[2]);
	buf_init(&own.line, SITES_LINE_MAX);
	define_given(p, &nowhere, given->defines);
	if (folder && !p->stopped)
		sites_include_folder(p, &nowhere, name, IN_MAIN, NULL);
	else if (!p->stopped)
		sites_read_file(p, &nowhere, (struct file){ name, text, len }, IN_MAIN, NULL);
	buf_free(&own.line);
	p->default_root = own.main.root;
	p->default_note = own.main.root_note;
	p->default_certificate = own.main.certificate;
	p->default_certificate_file = own.main.certificate_file;
	p->default_certificate_line = own.main.certificate_line;
	if (!p->conf->blocks && own.main_name && !p->stopped)
		add_main_server(p, &nowhere);
	else if (own.main_name && !p->stopped)
		skip_main_server(p, &nowhere);
	p->own = NULL;
	return sites_finish(p);
}

struct sites *apache_conf_text(struct arena *arena, const char *name, const char *text, size_t len)
{
	return parse(arena, name, text, len, NULL, false, &nothing_given);
}

struct sites *apache_conf_load(struct arena *arena, const char *source, const struct sites_given *given, const char **why)
{
	bool is_stdin = strcmp(source, "-") == 0;
	const char *path = source, *text = NULL;
	struct stat st;
	size_t len = 0;

	*why = "out of memory";
	given = given ? given : &nothing_given;
	if (!is_stdin && stat(source, &st) == 0 && S_ISDIR(st.st_mode)) {
		const char *within = arena_printf(arena, "%s/", source);
		path = NULL;
		for (size_t i = 0; within && !path && main_files[i]; i++) {
			path = arena_printf(arena, "%s%s", within, main_files[i]);
			path = path && access(path, F_OK) == 0 ? path : NULL;
		}
		if (!path) /* a folder of virtual hosts */
			return within ? parse(arena, source, "", 0, within, true, given) : NULL;
	}
	if (!sites_load(arena, is_stdin ? NULL : path, &text, &len, why))
		return NULL;
	*why = "out of memory";
	return parse(arena, is_stdin ? "standard input" : path, text, len, NULL, !is_stdin, given);
}
