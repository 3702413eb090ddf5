/*
 * apache_conf.c: the directives of an Apache configuration, line by line as in Apache's own reader: a backslash at its end
 * continues a line, variables are replaced before it is cut into words, and sections may stand in each other.
 */
#include "apache_conf.h"

#include "arena.h"
#include "sites_reader.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFINES_MAX   10000u
#define MACROS_MAX    1000u
#define MACRO_PARAMS  64u

/* What a directive stands in. IN_SKIPPED: a section whose condition does not hold. */
enum place { IN_SKIPPED = 0, IN_MAIN, IN_OTHER, IN_HOST, IN_HOST_ROOT, IN_HOST_SECTION };

enum line { AT_END = 0, DIRECTIVE, SECTION, SECTION_END };

struct define {
	const char *name, *value; /* value NULL: undefined again */
	struct define *next;
};

struct macro {
	const char *name, *text;
	size_t len, param_count;
	const char *param[MACRO_PARAMS];
	struct macro *next;
};

struct apache {
	struct define *defines;   /* the newest first */
	struct macro *macros;
	size_t define_count, macro_count;
	struct buf line;          /* the present line, its variables replaced */
	struct block main;        /* what virtual hosts inherit */
	const char *main_name;
	bool condition;           /* a RewriteCond waits for its RewriteRule */
};

/* --- lines --- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

static const char *value_of(const struct apache *a, const char *name, size_t len)
{
	for (const struct define *d = a->defines; d; d = d->next)
		if (strlen(d->name) == len && strncmp(d->name, name, len) == 0)
			return d->value;
	return NULL;
}

/* Add a line's text; ${NAME} becomes its value where it has one. */
static void add_text(struct parser *p, const char *text, size_t len)
{
	struct apache *a = p->own;

	for (size_t i = 0; i < len;) {
		const char *end = text[i] == '$' && i + 1 < len && text[i + 1] == '{' ? memchr(text + i, '}', len - i) : NULL;
		const char *value = end ? value_of(a, text + i + 2, (size_t)(end - text) - i - 2) : NULL;
		if (value) {
			if (!sites_spend(p, a->define_count + strlen(value)))
				p->stopped = true;
			buf_str(&a->line, value);
			i = (size_t)(end - text) + 1;
		} else {
			buf_char(&a->line, text[i++]);
		}
	}
}

/* The next line that says something, without its continuations' backslashes. False at the end. */
static bool next_line(struct parser *p, struct lexer *lx)
{
	struct apache *a = p->own;

	while (lx->pos < lx->len && !p->stopped) {
		bool more = true;
		lx->start = lx->line;
		buf_clear(&a->line);
		while (more && lx->pos < lx->len) {
			const char *begin = lx->text + lx->pos, *newline = memchr(begin, '\n', lx->len - lx->pos);
			size_t len = newline ? (size_t)(newline - begin) : lx->len - lx->pos;
			lx->pos += len + (newline != NULL);
			lx->line += newline != NULL;
			if (len && begin[len - 1] == '\r')
				len--;
			more = len && begin[len - 1] == '\\';
			add_text(p, begin, len - more);
		}
		if (buf_failed(&a->line)) {
			sites_warn(p, lx->file, lx->start, "the line is too long and is left out", NULL);
			continue;
		}
		const char *text = a->line.data ? a->line.data : "";
		while (is_space(*text))
			text++;
		if (*text && *text != '#')
			return true;
	}
	return false;
}

static void add_word(struct parser *p, const struct lexer *lx, const char *begin, size_t len, char quote)
{
	if (p->word_count == SITES_WORDS_MAX) {
		if (!p->words_dropped)
			sites_warn(p, lx->file, lx->start, "the directive has too many words, the last ones are left out", NULL);
		p->words_dropped = true;
		return;
	}
	p->word[p->word_count++] = p->text.len;
	for (size_t i = 0; i < len; i++) {
		if (begin[i] == '\\' && i + 1 < len && (begin[i + 1] == '\\' || (quote && begin[i + 1] == quote)))
			i++;
		buf_char(&p->text, begin[i]);
	}
	buf_char(&p->text, '\0');
}

/* Cut the present line into words; for a section, without its brackets. */
static enum line next_words(struct parser *p, struct lexer *lx)
{
	struct apache *a = p->own;
	enum line kind = DIRECTIVE;

	p->word_count = 0;
	p->words_dropped = false;
	buf_clear(&p->text);
	if (!next_line(p, lx))
		return AT_END;
	char *at = a->line.data, *end = at + strlen(at);
	while (is_space(*at))
		at++;
	while (end > at && is_space(end[-1]))
		end--;
	if (*at == '<') {
		kind = at[1] == '/' ? SECTION_END : SECTION;
		at += kind == SECTION_END ? 2 : 1;
		if (end > at && end[-1] == '>')
			end--;
		else
			sites_warn(p, lx->file, lx->start, "a \">\" is missing", NULL);
	}
	for (;;) {
		while (at < end && is_space(*at))
			at++;
		if (at >= end)
			break;
		char quote = *at == '"' || *at == '\'' ? *at++ : '\0';
		const char *begin = at;
		while (at < end && (quote ? *at != quote : !is_space(*at)))
			at += *at == '\\' && at + 1 < end && (at[1] == '\\' || (quote && at[1] == quote)) ? 2 : 1;
		if (quote && at >= end)
			sites_warn(p, lx->file, lx->start, "a quoted word is not closed", NULL);
		add_word(p, lx, begin, (size_t)(at - begin), quote);
		at += quote && at < end;
	}
	if (buf_failed(&p->text))
		p->word_count = 0;
	return kind;
}

static bool is(const struct parser *p, const char *name)
{
	return strcasecmp(sites_word(p, 0), name) == 0;
}

/* --- variables and macros --- */

static void define(struct parser *p, const struct lexer *lx, const char *name, const char *value)
{
	struct apache *a = p->own;

	if (a->define_count == DEFINES_MAX) {
		sites_stop(p, lx, "there are too many variables");
		return;
	}
	struct define *d = sites_need(p, arena_alloc(p->arena, sizeof *d));
	if (!d)
		return;
	*d = (struct define){ sites_keep(p, name), value ? sites_keep(p, value) : NULL, a->defines };
	if (d->name) {
		a->defines = d;
		a->define_count++;
	}
}

/* Does this line of the text begin with </Macro? */
static bool ends_macro(const char *line, const char *end)
{
	static const char mark[] = "</macro";

	while (line < end && is_space(*line))
		line++;
	return (size_t)(end - line) >= sizeof mark - 1 && strncasecmp(line, mark, sizeof mark - 1) == 0;
}

/* Keep the text of a <Macro> as it is, to its end. */
static void read_macro(struct parser *p, struct lexer *lx)
{
	struct apache *a = p->own;
	size_t begin = lx->pos, end = lx->len;
	unsigned start = lx->start;

	while (lx->pos < lx->len && end == lx->len) {
		const char *line = lx->text + lx->pos, *newline = memchr(line, '\n', lx->len - lx->pos);
		const char *after = newline ? newline + 1 : lx->text + lx->len;
		if (ends_macro(line, after))
			end = lx->pos;
		lx->pos = (size_t)(after - lx->text);
		lx->line += newline != NULL;
	}
	if (end == lx->len)
		sites_warn(p, lx->file, start, "the text ends within a macro", NULL);
	if (p->word_count < 2)
		return;
	if (a->macro_count == MACROS_MAX || p->word_count - 2 > MACRO_PARAMS) {
		sites_warn(p, lx->file, start, "there are too many macros or parameters, this one is left out", sites_word(p, 1));
		return;
	}
	struct macro *m = sites_need(p, arena_alloc(p->arena, sizeof *m));
	if (!m)
		return;
	*m = (struct macro){ .name = sites_keep(p, sites_word(p, 1)), .len = end - begin, .next = a->macros };
	m->text = sites_need(p, arena_strndup(p->arena, lx->text + begin, m->len));
	for (size_t i = 2; i < p->word_count; i++)
		if (*sites_word(p, i))
			m->param[m->param_count++] = sites_keep(p, sites_word(p, i));
	if (p->no_memory)
		return;
	m->len = strlen(m->text); /* a NUL ends it */
	a->macros = m;
	a->macro_count++;
}

/* The parameter that the text begins with, the longest where there are several; param_count when none. */
static size_t param_at(const struct macro *m, const char *text)
{
	size_t best = m->param_count, best_len = 0;

	for (size_t i = 0; i < m->param_count; i++) {
		size_t len = strlen(m->param[i]);
		if (len > best_len && strncmp(text, m->param[i], len) == 0) {
			best = i;
			best_len = len;
		}
	}
	return best;
}

/* Read a macro's text with the values of this Use in place of its parameters. */
static void use_macro(struct parser *p, struct lexer *lx, enum place place, struct block *b)
{
	struct apache *a = p->own;
	const struct macro *m = a->macros;
	struct buf text;

	while (m && strcasecmp(m->name, sites_word(p, 1)) != 0)
		m = m->next;
	if (!m) {
		sites_warn(p, lx->file, lx->start, "there is no such macro", sites_word(p, 1));
		return;
	}
	if (!sites_spend(p, m->len * (m->param_count + 1))) {
		sites_stop(p, lx, "macros are used too often");
		return;
	}
	buf_init(&text, SITES_LINE_MAX);
	for (const char *c = m->text; *c;) {
		size_t i = param_at(m, c);
		if (i < m->param_count) {
			buf_str(&text, sites_word(p, i + 2));
			c += strlen(m->param[i]);
		} else {
			buf_char(&text, *c++);
		}
	}
	const char *within = strstr(lx->file, " (macro ");
	size_t file_len = within ? (size_t)(within - lx->file) : strlen(lx->file);
	const char *name = sites_need(p, arena_printf(p->arena, "%.*s (macro %s)", (int)file_len, lx->file, m->name));
	if (buf_failed(&text))
		sites_warn(p, lx->file, lx->start, "the macro's text is too long and is left out", m->name);
	else if (name && text.len)
		sites_read_file(p, lx, (struct file){ name, text.data, text.len }, (int)place, b);
	buf_free(&text);
}

/* --- values --- */

/* A path as Apache takes it: relative ones begin at ServerRoot. */
static const char *full_path(struct parser *p, const char *path)
{
	return path[0] == '/' ? path : sites_need(p, arena_printf(p->arena, "%s%s", p->prefix, path));
}

static void set_root(struct parser *p, struct block *b)
{
	const char *path = full_path(p, sites_word(p, 1));

	if (path)
		b->root = sites_clean_root(p, path, &b->root_note);
}

/* Of "*:443", "192.0.2.1:80", "[2001:db8::1]:80", "example.org". */
static void add_address(struct block *b, const char *address)
{
	const char *bracket = strrchr(address, ']'), *colon = strrchr(bracket ? bracket : address, ':');
	long port = 80;

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

static bool is_everything(const char *pattern)
{
	return *pattern && strspn(pattern, "^/(.*)+?$") == strlen(pattern);
}

/* Redirect, RedirectMatch and RewriteRule where they send away what is asked for at the root, and below it. */
static const char *redirect_target(const struct parser *p)
{
	if (is(p, "RewriteRule")) {
		const char *flags = sites_word(p, 3);
		return is_everything(sites_word(p, 1)) && sites_is_url(sites_word(p, 2)) && *flags == '[' ? sites_word(p, 2) : NULL;
	}
	bool temporary = is(p, "RedirectTemp"), permanent = is(p, "RedirectPermanent");
	if (!is(p, "Redirect") && !is(p, "RedirectMatch") && !temporary && !permanent)
		return NULL;
	size_t last = p->word_count - 1;
	const char *from = p->word_count > 2 ? sites_word(p, last - 1) : "", *to = sites_word(p, last);
	return is_everything(from) && sites_is_url(to) ? to : NULL;
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

static bool mentions(const char *text, const char *part)
{
	for (size_t len = strlen(part); *text; text++)
		if (strncasecmp(text, part, len) == 0)
			return true;
	return false;
}

/* What else than files answers. "/" says what the site is; elsewhere a script is more telling than a proxied path. */
static void note_backend(struct parser *p, struct block *b, bool in_root_section)
{
	const char *first = sites_word(p, 1);
	bool has_path = *first == '/' || *first == '^'; /* else it has its section's */
	const char *target = has_path ? sites_word(p, 2) : first;
	enum site_kind kind = SITE_NOTHING;
	bool root = false;

	if (is(p, "ProxyPass") || is(p, "ProxyPassMatch")) {
		if (strcmp(target, "!") == 0)
			return;
		kind = mentions(target, "fcgi://") ? SITE_FASTCGI : SITE_PROXY;
		root = has_path ? is_everything(first) : in_root_section;
	} else if (is(p, "SetHandler") || is(p, "AddHandler") || is(p, "AddType") || is(p, "Action")) {
		if (mentions(first, "fcgi") || mentions(first, "php") || mentions(first, "wsgi"))
			kind = SITE_FASTCGI;
		else if (mentions(first, "proxy:"))
			kind = SITE_PROXY;
	} else if (is(p, "FcgidWrapper") || is(p, "WSGIScriptAlias") || strncasecmp(sites_word(p, 0), "php_", 4) == 0) {
		kind = SITE_FASTCGI;
	}
	if (kind != SITE_NOTHING && (root || (!b->backend_is_root && b->backend != SITE_FASTCGI)))
		b->backend = kind;
	b->backend_is_root |= root;
}

/* --- directives --- */

static void include(struct parser *p, struct lexer *lx, enum place place, struct block *b)
{
	bool optional = is(p, "IncludeOptional");
	const char *path = full_path(p, sites_word(p, 1));
	struct stat st;

	if (!path || !p->on_disk)
		return;
	if (strlen(path) >= SITES_PATH_MAX) {
		sites_warn(p, lx->file, lx->start, "the path is too long", path);
		return;
	}
	bool there = stat(path, &st) == 0;
	if (there && S_ISDIR(st.st_mode) && !(path = sites_need(p, arena_printf(p->arena, "%s/*", path))))
		return;
	if (!there && optional && !path[strcspn(path, "*?[")])
		return;
	if (!sites_include(p, lx, path, (int)place, b) && !optional)
		sites_warn(p, lx->file, lx->start, "no file has such a name", path);
}

static void on_host(struct parser *p, struct lexer *lx, enum place place, struct block *b)
{
	struct apache *a = p->own;
	bool section = place != IN_HOST;

	if (!section && is(p, "ServerName")) {
		add_host_name(p, lx, b, sites_word(p, 1));
	} else if (!section && is(p, "ServerAlias")) {
		for (size_t i = 1; i < p->word_count && !p->stopped; i++)
			add_host_name(p, lx, b, sites_word(p, i));
	} else if (!section && is(p, "DocumentRoot")) {
		set_root(p, b);
	} else if (!section && (is(p, "VirtualDocumentRoot") || is(p, "VirtualDocumentRootIP"))) {
		b->root = NULL;
		b->root_note = "its root depends on the name that is asked for";
	} else if (!section && is(p, "SSLEngine")) {
		b->tls = strcasecmp(sites_word(p, 1), "off") != 0;
	} else if (!section && is(p, "SSLCertificateFile")) {
		if (!b->certificate) /* a second one is for another kind of key */
			b->certificate = sites_keep(p, sites_word(p, 1));
	} else if (!section && is(p, "RewriteCond")) {
		a->condition = true;
	} else {
		if (place != IN_HOST_SECTION)
			note_redirect(p, b, a->condition);
		note_backend(p, b, place == IN_HOST_ROOT);
		if (is(p, "RewriteRule"))
			a->condition = false;
	}
}

static void on_directive(struct parser *p, struct lexer *lx, enum place place, struct block *b)
{
	struct apache *a = p->own;

	if (place == IN_SKIPPED || p->word_count < 2)
		return;
	if (is(p, "Include") || is(p, "IncludeOptional"))
		include(p, lx, place, b);
	else if (is(p, "Use"))
		use_macro(p, lx, place, b);
	else if (is(p, "Define"))
		define(p, lx, sites_word(p, 1), sites_word(p, 2));
	else if (is(p, "UnDefine"))
		define(p, lx, sites_word(p, 1), NULL);
	else if (place == IN_MAIN && is(p, "ServerRoot")) {
		const char *root = sites_word(p, 1);
		size_t len = strlen(root);
		const char *prefix = sites_need(p, arena_printf(p->arena, "%s%s", root, len && root[len - 1] == '/' ? "" : "/"));
		p->prefix = prefix ? prefix : p->prefix;
	} else if (place == IN_MAIN && is(p, "ServerName")) {
		a->main_name = sites_keep(p, sites_word(p, 1));
	} else if (place == IN_MAIN) {
		if (!is(p, "ServerAlias")) /* of virtual hosts only */
			on_host(p, lx, IN_HOST, &a->main);
	} else if (place != IN_OTHER) {
		on_host(p, lx, place, b);
	}
}

/* --- sections --- */

static void read_lines(struct parser *p, struct lexer *lx, enum place place, struct block *b, const char *section);

/* Whether a conditional section is read; *conditional is false when it is none. */
static bool holds(const struct parser *p, bool *conditional)
{
	const char *what = sites_word(p, 1);
	bool negated = *what == '!', held = true;

	what += negated;
	*conditional = true;
	if (is(p, "IfDefine")) {
		held = value_of(p->own, what, strlen(what)) != NULL;
	} else if (is(p, "IfFile")) {
		held = access(what, F_OK) == 0;
	} else if (!is(p, "IfModule") && !is(p, "IfVersion") && !is(p, "IfDirective") && !is(p, "IfSection")) {
		*conditional = false;
		return true;
	} else if (is(p, "IfVersion")) {
		return true; /* of this century's Apache */
	}
	return held != negated;
}

static enum place place_of_section(const struct parser *p, enum place place)
{
	if (place == IN_SKIPPED)
		return IN_SKIPPED;
	if (place == IN_MAIN || place == IN_OTHER)
		return place == IN_MAIN && is(p, "VirtualHost") ? IN_HOST : IN_OTHER;
	bool root = (is(p, "Location") && strcmp(sites_word(p, 1), "/") == 0) ||
		(is(p, "LocationMatch") && is_everything(sites_word(p, 1)));
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
	if (!b->name_count && !p->stopped)
		sites_add_name(p, lx, b, "", "no ServerName: the default server of its address");
}

static void on_section(struct parser *p, struct lexer *lx, enum place place, struct block *b)
{
	bool conditional, held = holds(p, &conditional);
	const char *name = sites_keep(p, sites_word(p, 0));

	if (!name)
		return;
	if (place != IN_SKIPPED && is(p, "Macro")) {
		read_macro(p, lx);
		return;
	}
	if (p->depth == SITES_DEPTH_MAX) {
		sites_stop(p, lx, "sections are nested too deeply");
		return;
	}
	enum place inner = conditional ? (held ? place : IN_SKIPPED) : place_of_section(p, place);
	p->depth++;
	if (inner == IN_HOST && place == IN_MAIN)
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
		switch (next_words(p, lx)) {
		case DIRECTIVE:
			on_directive(p, lx, place, b);
			break;
		case SECTION:
			on_section(p, lx, place, b);
			break;
		case SECTION_END:
			if (section && !is(p, section))
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

static struct sites *parse(struct arena *arena, const char *name, const char *text, size_t len, const char *prefix,
                           bool on_disk)
{
	struct apache own = { 0 };
	struct parser *p = sites_parser(arena, len);
	struct lexer nowhere = { .file = name, .line = 1, .start = 1 };

	if (!p)
		return NULL;
	p->own = &own;
	p->read = read_whole;
	p->prefix = prefix;
	p->on_disk = on_disk;
	buf_init(&own.line, SITES_LINE_MAX);
	sites_read_file(p, &nowhere, (struct file){ name, text, len }, IN_MAIN, NULL);
	buf_free(&own.line);
	p->default_root = own.main.root;
	p->default_note = own.main.root_note;
	p->default_certificate = own.main.certificate;
	if (!p->conf->blocks && own.main_name && !p->stopped)
		add_main_server(p, &nowhere);
	p->own = NULL;
	return sites_finish(p);
}

struct sites *apache_conf_text(struct arena *arena, const char *name, const char *text, size_t len)
{
	return parse(arena, name, text, len, "", false);
}

/* The folder a path lies in, with its last slash. */
static const char *folder_of(struct arena *arena, const char *path)
{
	const char *slash = strrchr(path, '/');

	return arena_strndup(arena, path, slash ? (size_t)(slash - path) + 1 : 0);
}

struct sites *apache_conf_load(struct arena *arena, const char *source, const char **why)
{
	static const char *const usual[] = { "apache2.conf", "httpd.conf", "conf/httpd.conf" };
	bool is_stdin = strcmp(source, "-") == 0;
	const char *path = source, *prefix = folder_of(arena, source), *text = NULL;
	struct stat st;
	size_t len = 0;

	*why = "out of memory";
	if (!is_stdin && stat(source, &st) == 0 && S_ISDIR(st.st_mode)) {
		path = NULL;
		prefix = arena_printf(arena, "%s/", source);
		for (size_t i = 0; prefix && !path && i < sizeof usual / sizeof *usual; i++) {
			path = arena_printf(arena, "%s%s", prefix, usual[i]);
			path = path && access(path, F_OK) == 0 ? path : NULL;
		}
		if (prefix && !path) {
			text = "IncludeOptional *\n"; /* a folder of virtual hosts */
			return parse(arena, source, text, strlen(text), prefix, true);
		}
	}
	if (!prefix || !sites_load(arena, is_stdin ? NULL : path, &text, &len, why))
		return NULL;
	*why = "out of memory";
	return parse(arena, is_stdin ? "standard input" : path, text, len, prefix, !is_stdin);
}
