/* nginx_conf.c: see nginx_conf.h. What the directives of an nginx configuration mean. */
#include "nginx_conf.h"

#include "arena.h"
#include "nginx_reader.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define VARIABLE_DEPTH 8

/* What "set" gives a variable of the present server. NULL: different values in different places. */
struct variable {
	const char *name, *value;
	struct variable *next;
};

/* The present server, besides its block. Variables are replaced at its end, for "set" may stand behind what uses them. */
struct nginx {
	struct variable *variables;
	const char *root, *location_root, *nested_root; /* as written */
	const char *location;     /* the outermost one that is open */
	bool exact;               /* it is for one path only */
};

/* --- values --- */

/* Of "80", "*:80", "0.0.0.0:80", "[::]:80". */
static bool on_all_addresses(const char *where)
{
	return where[strspn(where, "0123456789")] == '\0' || where[0] == '*' || strncmp(where, "0.0.0.0", 7) == 0 ||
	       strncmp(where, "[::]", 4) == 0;
}

static void add_listen(struct parser *p, struct block *b)
{
	const char *where = sites_word(p, 1), *digits = where;
	long port = 80;

	b->listens = true;
	for (size_t i = 2; i < p->word_count; i++)
		if (strcmp(sites_word(p, i), "ssl") == 0 || strcmp(sites_word(p, i), "quic") == 0)
			b->tls = true;
	b->addressed |= !on_all_addresses(where);
	if (strncmp(where, "unix:", 5) == 0)
		return;
	if (where[0] == '[' && strchr(where, ']'))
		digits = strchr(where, ']') + 1;
	if (strrchr(digits, ':'))
		digits = strrchr(digits, ':') + 1;
	if (*digits && strspn(digits, "0123456789") == strlen(digits))
		port = strtol(digits, NULL, 10);
	if (port > 0 && port < 65536)
		sites_add_port(b->ports, &b->port_count, (int)port);
}

static void add_server_names(struct parser *p, const struct lexer *lx, struct block *b)
{
	char ascii[HOSTNAME_MAX];

	for (size_t i = 1; i < p->word_count && !p->stopped; i++) {
		const char *text = sites_word(p, i), *reason = sites_judge_name(text, ascii);
		if (text[0] == '.' && !sites_judge_name(text + 1, ascii)) {
			/* ".example.org" stands for example.org and all below it. */
			char wildcard[HOSTNAME_MAX + 2] = "*.";
			memcpy(wildcard + 2, ascii, strlen(ascii) + 1);
			sites_add_name(p, lx, b, ascii, NULL);
			sites_add_name(p, lx, b, wildcard, "a wildcard name");
		} else {
			sites_add_name(p, lx, b, reason ? text : ascii, reason);
		}
	}
}

/* --- variables --- */

static void set_variable(struct parser *p)
{
	struct nginx *n = p->own;
	const char *name = sites_word(p, 1) + 1, *value = sites_word(p, 2);

	if (sites_word(p, 1)[0] != '$' || !*name)
		return;
	for (struct variable *v = n->variables; v; v = v->next) {
		if (strcmp(v->name, name) == 0) {
			if (v->value && strcmp(v->value, value) != 0)
				v->value = NULL;
			return;
		}
		if (!sites_spend(p, 1))
			return;
	}
	struct variable *v = sites_need(p, arena_alloc(p->arena, sizeof *v));
	if (!v)
		return;
	*v = (struct variable){ sites_keep(p, name), sites_keep(p, value), n->variables };
	if (v->name && v->value)
		n->variables = v;
}

/* The value of a variable that is the same for every request to this server, or NULL. */
static const char *value_of(struct parser *p, const struct block *b, const char *name, size_t len)
{
	const struct nginx *n = p->own;
	const struct name *first = b->name_count ? &p->names[b->first_name] : NULL;
	bool alone = first && b->name_count == 1 && !first->reason;

	for (const struct variable *v = n->variables; v && sites_spend(p, 1); v = v->next)
		if (strlen(v->name) == len && strncmp(v->name, name, len) == 0)
			return v->value;
	if (first && !first->reason && len == 11 && strncmp(name, "server_name", len) == 0)
		return first->text;
	return alone && ((len == 4 && strncmp(name, "host", len) == 0) || (len == 9 && strncmp(name, "http_host", len) == 0)) ?
		first->text : NULL;
}

static void expand_into(struct parser *p, const struct block *b, const char *text, int depth, struct buf *out)
{
	while (*text && !buf_failed(out)) {
		bool braced = text[0] == '$' && text[1] == '{';
		const char *name = text + 1 + braced;
		size_t len = text[0] == '$' ? strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") : 0;
		const char *value = len && depth && (!braced || name[len] == '}') ? value_of(p, b, name, len) : NULL;
		if (value) {
			expand_into(p, b, value, depth - 1, out);
			text = name + len + braced;
		} else {
			buf_char(out, *text++);
		}
	}
}

/* The text with its variables replaced; those that have no one value stay. */
static const char *expand(struct parser *p, const struct block *b, const char *text)
{
	struct buf out;

	if (!text || !strchr(text, '$'))
		return text;
	buf_init(&out, SITES_PATH_MAX);
	expand_into(p, b, text, VARIABLE_DEPTH, &out);
	buf_char(&out, '\0');
	const char *expanded = buf_failed(&out) ? text : sites_keep(p, out.data);
	buf_free(&out);
	return expanded ? expanded : text;
}

static const char *clean(struct parser *p, const struct block *b, const char *text, const char **note)
{
	return *note = NULL, text ? sites_clean_root(p, expand(p, b, text), note) : NULL;
}

/* The server's end is reached. */
static void finish_server(struct parser *p, struct block *b)
{
	const struct nginx *n = p->own;

	b->root = clean(p, b, n->root, &b->root_note);
	b->location_root = clean(p, b, n->location_root, &b->location_note);
	b->nested_root = clean(p, b, n->nested_root, &b->nested_note);
	b->certificate = expand(p, b, b->certificate);
	for (struct part *part = b->parts; part; part = part->next)
		part->folder = expand(p, b, part->folder);
	sites_report_parts(p, b);
}

/* --- directives --- */

/* Where a return or rewrite directive sends every request that meets it; NULL when it does no such thing. */
static const char *redirect_target(const struct parser *p)
{
	const char *first = sites_word(p, 1), *second = sites_word(p, 2);

	if (strcmp(sites_word(p, 0), "return") == 0) {
		if (sites_is_url(first))
			return first;
		return strlen(first) == 3 && first[0] == '3' && *second ? second : NULL;
	}
	if (strcmp(sites_word(p, 0), "rewrite") == 0) {
		const char *how = sites_word(p, 3);
		bool sends = sites_is_url(second) || strcmp(how, "permanent") == 0 || strcmp(how, "redirect") == 0;
		return sends && sites_is_everything(first) ? second : NULL;
	}
	return NULL;
}

/* "return 404" for all: what the server has besides is never seen. */
static bool refuses(const struct parser *p)
{
	const char *code = sites_word(p, 1);

	return strcmp(sites_word(p, 0), "return") == 0 && strlen(code) == 3 && (code[0] == '4' || code[0] == '5') &&
	       !*sites_word(p, 2);
}

static void note_backend(struct parser *p, const struct lexer *lx, struct block *b, bool in_root)
{
	const struct nginx *n = p->own;
	static const char *const passes[] = { "proxy_pass", "grpc_pass", "uwsgi_pass", "scgi_pass" };
	enum site_kind kind = strcmp(sites_word(p, 0), "fastcgi_pass") == 0 ? SITE_FASTCGI : SITE_NOTHING;

	for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
		if (strcmp(sites_word(p, 0), passes[i]) == 0)
			kind = SITE_PROXY;
	if (kind == SITE_NOTHING)
		return;
	if (kind == SITE_PROXY)
		sites_add_part(p, lx, b, in_root || !n->location ? "/" : n->location, NULL);
	/* "location /" says what the site is; elsewhere a script is more telling than a proxied path. */
	if (in_root || (!b->backend_is_root && b->backend != SITE_FASTCGI))
		b->backend = kind;
	b->backend_is_root |= in_root;
}

static void note_root(struct parser *p, const struct lexer *lx, struct block *b, enum place place)
{
	struct nginx *n = p->own;
	const char *folder = sites_word(p, 1);
	bool alias = strcmp(sites_word(p, 0), "alias") == 0;

	if (place == IN_ROOT_LOCATION) { /* there the two mean the same */
		n->location_root = n->location_root ? n->location_root : sites_keep(p, folder);
		return;
	}
	/* A folder for proofs to a certificate authority is not the site's; one for a single path is not, either. */
	if (!alias && !n->nested_root && !n->exact && n->location && !sites_mentions(n->location, "well-known"))
		n->nested_root = sites_keep(p, folder);
	sites_add_part(p, lx, b, n->location ? n->location : "/", folder);
}

static void include(struct parser *p, struct lexer *lx, enum place place, struct block *b);

static void on_directive(struct parser *p, struct lexer *lx, enum place place, struct block *b)
{
	const char *name = sites_word(p, 0), *target;

	if (place == IN_OTHER || p->word_count < 2)
		return;
	if (strcmp(name, "include") == 0) {
		include(p, lx, place, b);
		return;
	}
	switch (place) {
	case IN_HTTP:
		if (strcmp(name, "root") == 0)
			p->default_root = sites_clean_root(p, sites_word(p, 1), &p->default_note);
		else if (strcmp(name, "ssl_certificate") == 0) {
			p->default_certificate = sites_keep(p, sites_word(p, 1));
			p->default_certificate_file = lx->file;
			p->default_certificate_line = lx->start;
		}
		break;
	case IN_SERVER:
		if (strcmp(name, "server_name") == 0)
			add_server_names(p, lx, b);
		else if (strcmp(name, "listen") == 0)
			add_listen(p, b);
		else if (strcmp(name, "root") == 0)
			((struct nginx *)p->own)->root = sites_keep(p, sites_word(p, 1));
		else if (strcmp(name, "ssl_certificate") == 0) {
			b->certificate = sites_keep(p, sites_word(p, 1));
			b->certificate_file = lx->file;
			b->certificate_line = lx->start;
		} else if (strcmp(name, "ssl") == 0)
			b->tls |= strcmp(sites_word(p, 1), "on") == 0;
		else if (strcmp(name, "set") == 0)
			set_variable(p);
		else if (refuses(p))
			b->refuses = true;
		else if ((target = redirect_target(p)) && !b->redirects_all) {
			b->redirect = sites_keep(p, target);
			b->redirects_all = true;
		}
		break;
	case IN_IF:
		if (!b->redirect && (target = redirect_target(p)))
			b->redirect = sites_keep(p, target);
		break;
	case IN_ROOT_LOCATION:
		if (strcmp(name, "root") == 0 || strcmp(name, "alias") == 0) {
			note_root(p, lx, b, place);
		} else if (strcmp(name, "set") == 0) {
			set_variable(p);
		} else if ((target = redirect_target(p)) && sites_is_url(target)) {
			if (!b->redirect)
				b->redirect = sites_keep(p, target);
			b->redirects_root = true;
		} else {
			note_backend(p, lx, b, true);
		}
		break;
	case IN_LOCATION:
		if (strcmp(name, "root") == 0 || strcmp(name, "alias") == 0)
			note_root(p, lx, b, place);
		else if (strcmp(name, "set") == 0)
			set_variable(p);
		else
			note_backend(p, lx, b, false);
		break;
	case IN_MAIN:
	case IN_OTHER:
		break;
	}
}

static void read_block(struct parser *p, struct lexer *lx, enum place place, struct block *b, bool whole_file);

static enum place place_of_block(const struct parser *p, enum place place)
{
	const char *name = sites_word(p, 0), *last = sites_word(p, p->word_count ? p->word_count - 1 : 0);

	switch (place) {
	case IN_MAIN:
	case IN_HTTP:
		if (place == IN_MAIN && strcmp(name, "http") == 0)
			return IN_HTTP;
		/* At the top as well: there a site's file that is read by itself has its server blocks. */
		return strcmp(name, "server") == 0 ? IN_SERVER : IN_OTHER;
	case IN_SERVER:
		if (strcmp(name, "if") == 0)
			return IN_IF;
		if (strcmp(name, "location") != 0)
			return IN_OTHER;
		return strcmp(last, "/") == 0 && (p->word_count == 2 || strcmp(sites_word(p, 1), "^~") == 0) ?
			IN_ROOT_LOCATION : IN_LOCATION;
	case IN_ROOT_LOCATION:
	case IN_LOCATION:
		return strcmp(name, "location") == 0 || strcmp(name, "if") == 0 || strcmp(name, "limit_except") == 0 ?
			IN_LOCATION : IN_OTHER;
	case IN_IF:
	case IN_OTHER:
		break;
	}
	return IN_OTHER;
}

/* What a location is for: its pattern, behind "=", "^~", "~" and "~*". */
static void enter_location(struct parser *p)
{
	struct nginx *n = p->own;

	n->location = sites_keep(p, sites_word(p, p->word_count - 1));
	n->exact = strcmp(sites_word(p, 1), "=") == 0;
}

static void on_block(struct parser *p, struct lexer *lx, enum place place, struct block *b)
{
	struct nginx *n = p->own;
	enum place inner = place_of_block(p, place);

	if (nginx_begins_lua(p)) {
		nginx_skip_lua(p, lx);
		return;
	}
	if (inner != IN_OTHER && p->depth == SITES_DEPTH_MAX) {
		sites_warn(p, lx->file, lx->start, "blocks are nested too deeply, this one is left out", sites_word(p, 0));
		inner = IN_OTHER;
	}
	if (place == IN_MAIN && (strcmp(sites_word(p, 0), "stream") == 0 || strcmp(sites_word(p, 0), "mail") == 0))
		sites_warn(p, lx->file, lx->start, "this serves no websites and is not taken over", sites_word(p, 0));
	if (inner == IN_OTHER) {
		nginx_skip_block(p, lx);
		return;
	}
	if (place == IN_SERVER && inner != IN_IF)
		enter_location(p);
	if (inner == IN_SERVER) {
		*n = (struct nginx){ 0 };
		if (!(b = sites_need(p, arena_alloc(p->arena, sizeof *b))))
			return;
		*b = (struct block){ .file = lx->file, .line = lx->start, .first_name = p->name_count };
		p->conf->blocks++;
	}
	p->depth++;
	read_block(p, lx, inner, b, false);
	p->depth--;
	if (inner == IN_SERVER) {
		if (!b->name_count && !p->stopped)
			sites_add_name(p, lx, b, "", "no server_name: the default server of its port");
		if (!b->listens)
			sites_add_port(b->ports, &b->port_count, 80);
		finish_server(p, b);
	}
}

static void read_block(struct parser *p, struct lexer *lx, enum place place, struct block *b, bool whole_file)
{
	unsigned start = lx->start;

	for (;;) {
		switch (nginx_next_directive(p, lx)) {
		case AT_SEMICOLON:
			on_directive(p, lx, place, b);
			break;
		case AT_OPEN:
			on_block(p, lx, place, b);
			break;
		case AT_CLOSE:
			if (!whole_file)
				return;
			sites_warn(p, lx->file, lx->line, "a \"}\" closes nothing", NULL);
			break;
		case AT_END:
			if (!whole_file && !p->stopped)
				sites_warn(p, lx->file, start, "the text ends within a block", NULL);
			return;
		}
	}
}

/* --- files --- */

static void include(struct parser *p, struct lexer *lx, enum place place, struct block *b)
{
	const char *wanted = sites_word(p, 1);

	if (strlen(wanted) + strlen(p->prefix) >= SITES_PATH_MAX) {
		sites_warn(p, lx->file, lx->start, "the path is too long", wanted);
		return;
	}
	char *path = sites_need(p, arena_printf(p->arena, "%s%s", wanted[0] == '/' ? "" : p->prefix, wanted));
	if (!path)
		return;
	if (!p->on_disk) {
		nginx_include_sections(p, lx, path, place, b);
		return;
	}
	sites_include(p, lx, path, false, place, b);
}

/* What relative includes begin with in a text of sections: the main file's path up to its last slash, as in nginx. */
static const char *prefix_of(struct parser *p, const char *path)
{
	const char *slash = strrchr(path, '/');

	return sites_need(p, arena_strndup(p->arena, path, slash ? (size_t)(slash - path) + 1 : 0));
}

/* --- doors --- */

static void read_whole(struct parser *p, struct lexer *lx, int place, struct block *b)
{
	read_block(p, lx, (enum place)place, b, true);
}

static struct sites *parse(struct arena *arena, const char *name, const char *text, size_t len, const char *folder,
                           bool on_disk)
{
	static const char *const main_file[] = { "nginx.conf", NULL };
	struct nginx own = { 0 };
	struct parser *p = sites_parser(arena, len);
	bool found;

	if (!p)
		return NULL;
	p->own = &own;
	p->read = read_whole;
	const char *main_path = folder ? NULL : nginx_split_sections(p, text, len);
	p->sections = main_path != NULL;
	p->on_disk = on_disk && !main_path;
	if (!main_path) {
		main_path = name;
		sites_add_file(p, name, text, len);
	}
	p->prefix = p->on_disk ? sites_need(p, sites_home(arena, folder ? folder : name, main_file)) : prefix_of(p, main_path);
	size_t at = sites_file_index(p, main_path, &found);
	struct lexer nowhere = { .file = main_path, .line = 1, .start = 1 };
	if (folder && !p->stopped)
		sites_include_folder(p, &nowhere, name, IN_MAIN, NULL);
	else if (found && !p->stopped)
		sites_read_file(p, &nowhere, p->files[at], IN_MAIN, NULL);
	p->own = NULL;
	return sites_finish(p);
}

struct sites *nginx_conf_text(struct arena *arena, const char *name, const char *text, size_t len)
{
	return parse(arena, name, text, len, NULL, false);
}

struct sites *nginx_conf_load(struct arena *arena, const char *source, const struct sites_given *given, const char **why)
{
	static const char *const usual[] = { "nginx.conf", "conf/nginx.conf" };
	bool is_stdin = strcmp(source, "-") == 0;
	const char *path = source, *text = "";
	struct stat st;
	size_t len = 0;

	(void)given;
	*why = "out of memory";
	if (!is_stdin && stat(source, &st) == 0 && S_ISDIR(st.st_mode)) {
		path = NULL;
		for (size_t i = 0; !path && i < sizeof usual / sizeof *usual; i++) {
			if (!(path = arena_printf(arena, "%s/%s", source, usual[i])))
				return NULL;
			path = access(path, F_OK) == 0 ? path : NULL;
		}
		if (!path) { /* a folder of sites */
			const char *within = arena_printf(arena, "%s/", source);
			return within ? parse(arena, source, text, len, within, true) : NULL;
		}
	}
	if (!sites_load(arena, is_stdin ? NULL : path, &text, &len, why))
		return NULL;
	return parse(arena, is_stdin ? "standard input" : path, text, len, NULL, !is_stdin);
}
