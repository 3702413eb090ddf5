/*
 * nginx_conf.c: the directives of an nginx configuration (words as in nginx's own reader: quotes, escapes, "${", comments
 * at the start of a word only), from disk or from what nginx -T prints.
 */
#include "nginx_conf.h"

#include "arena.h"
#include "sites_reader.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define MARKER "# configuration file "

/* What a directive stands in. IN_OTHER is everything that names no site: events, stream, mail, upstream, map, types. */
enum place { IN_OTHER = 0, IN_MAIN, IN_HTTP, IN_SERVER, IN_IF, IN_ROOT_LOCATION, IN_LOCATION };

enum stop { AT_END = 0, AT_SEMICOLON, AT_OPEN, AT_CLOSE };

/* --- words --- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void read_word(struct parser *p, struct lexer *lx)
{
	size_t start = p->text.len;
	char quote = lx->text[lx->pos] == '"' || lx->text[lx->pos] == '\'' ? lx->text[lx->pos++] : '\0';
	bool variable = false, closed = !quote;

	for (; lx->pos < lx->len; lx->pos++) {
		char c = lx->text[lx->pos];
		if (quote && c == quote) {
			lx->pos++;
			closed = true;
			break;
		}
		if (!quote && (is_space(c) || c == ';' || (c == '{' && !variable)))
			break;
		if (c == '\n')
			lx->line++;
		variable = c == '$';
		if (c == '\\' && lx->pos + 1 < lx->len) {
			char next = lx->text[++lx->pos];
			if (next == '\n')
				lx->line++;
			switch (next) {
			case '"': case '\'': case '\\': c = next; break;
			case 't': c = '\t'; break;
			case 'r': c = '\r'; break;
			case 'n': c = '\n'; break;
			default: buf_char(&p->text, c); c = next; break;
			}
		}
		buf_char(&p->text, c);
	}
	if (!closed)
		sites_warn(p, lx->file, lx->start, "a quoted word is not closed", NULL);
	buf_char(&p->text, '\0');
	if (p->word_count < SITES_WORDS_MAX)
		p->word[p->word_count++] = start;
	else
		p->words_dropped = true;
}

/* The next directive's words, and what ended it. AT_CLOSE and AT_END come without words. */
static enum stop next_directive(struct parser *p, struct lexer *lx)
{
	enum stop stop = AT_END;

	p->word_count = 0;
	p->words_dropped = false;
	buf_clear(&p->text);
	while (stop == AT_END && lx->pos < lx->len && !p->stopped) {
		char c = lx->text[lx->pos];
		if (is_space(c)) {
			lx->line += c == '\n';
			lx->pos++;
		} else if (c == '#') {
			const char *end = memchr(lx->text + lx->pos, '\n', lx->len - lx->pos);
			lx->pos = end ? (size_t)(end - lx->text) : lx->len;
		} else if (c == '}' && p->word_count) {
			sites_warn(p, lx->file, lx->line, "a \";\" is missing before \"}\"", NULL);
			stop = AT_SEMICOLON;
		} else if (c == ';' || c == '{' || c == '}') {
			lx->pos++;
			stop = c == ';' ? AT_SEMICOLON : c == '{' ? AT_OPEN : AT_CLOSE;
		} else {
			if (!p->word_count)
				lx->start = lx->line;
			read_word(p, lx);
		}
	}
	if (p->words_dropped)
		sites_warn(p, lx->file, lx->start, "the directive has too many words, the last ones are left out", NULL);
	if (buf_failed(&p->text)) {
		sites_warn(p, lx->file, lx->start, "the directive is too long and is left out", NULL);
		p->word_count = 0;
	}
	if (stop == AT_END && p->word_count) {
		sites_warn(p, lx->file, lx->start, "the text ends within a directive", NULL);
		p->word_count = 0;
	}
	return stop;
}

/* Behind Lua's "[[" or "[==[" at pos: the position after its end; pos itself when none begins there. */
static size_t skip_long_bracket(struct lexer *lx, size_t pos)
{
	size_t level = pos + 1;

	while (level < lx->len && lx->text[level] == '=')
		level++;
	if (level >= lx->len || lx->text[level] != '[')
		return pos;
	size_t equals = level - pos - 1;
	for (size_t at = level + 1; at < lx->len; at++) {
		lx->line += lx->text[at] == '\n';
		if (lx->text[at] != ']')
			continue;
		size_t end = at + 1;
		while (end < lx->len && end - at - 1 < equals && lx->text[end] == '=')
			end++;
		if (end < lx->len && end - at - 1 == equals && lx->text[end] == ']')
			return end + 1;
		at = end - 1;
	}
	return lx->len;
}

/* A block of Lua code up to its closing brace; braces in its strings and comments do not count. */
static void skip_lua(struct parser *p, struct lexer *lx)
{
	size_t depth = 1;

	while (lx->pos < lx->len) {
		char c = lx->text[lx->pos++];
		if (c == '\n') {
			lx->line++;
		} else if (c == '{') {
			depth++;
		} else if (c == '}') {
			if (--depth == 0)
				return;
		} else if (c == '[') {
			size_t after = skip_long_bracket(lx, lx->pos - 1);
			lx->pos = after > lx->pos ? after : lx->pos;
		} else if (c == '-' && lx->pos < lx->len && lx->text[lx->pos] == '-') {
			size_t after = ++lx->pos;
			if (after < lx->len && lx->text[after] == '[')
				after = skip_long_bracket(lx, after);
			if (after > lx->pos)
				lx->pos = after;
			else
				while (lx->pos < lx->len && lx->text[lx->pos] != '\n')
					lx->pos++;
		} else if (c == '"' || c == '\'') {
			for (; lx->pos < lx->len && lx->text[lx->pos] != c && lx->text[lx->pos] != '\n'; lx->pos++) {
				if (lx->text[lx->pos] == '\\' && lx->pos + 1 < lx->len)
					lx->line += lx->text[++lx->pos] == '\n';
			}
			if (lx->pos < lx->len && lx->text[lx->pos] == c)
				lx->pos++;
		}
	}
	sites_warn(p, lx->file, lx->start, "the text ends within a block of Lua", NULL);
}

static bool begins_lua(const struct parser *p)
{
	static const char tail[] = "_by_lua_block";
	size_t len = strlen(sites_word(p, 0));

	return len >= sizeof tail && strcmp(sites_word(p, 0) + len - (sizeof tail - 1), tail) == 0;
}

/* The rest of a block that does not concern us, without recursion. */
static void skip_block(struct parser *p, struct lexer *lx)
{
	unsigned start = lx->start;

	for (size_t depth = 1; depth;) {
		switch (next_directive(p, lx)) {
		case AT_OPEN:
			if (begins_lua(p))
				skip_lua(p, lx);
			else
				depth++;
			break;
		case AT_CLOSE:
			depth--;
			break;
		case AT_END:
			if (!p->stopped)
				sites_warn(p, lx->file, start, "the text ends within a block", NULL);
			return;
		case AT_SEMICOLON:
			break;
		}
	}
}

/* --- values --- */

static void add_listen(struct parser *p, struct block *b)
{
	const char *where = sites_word(p, 1), *digits = where;
	long port = 80;

	b->listens = true;
	for (size_t i = 2; i < p->word_count; i++)
		if (strcmp(sites_word(p, i), "ssl") == 0 || strcmp(sites_word(p, i), "quic") == 0)
			b->tls = true;
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
		return sends && *first && strspn(first, "^/(.*)+?$") == strlen(first) ? second : NULL;
	}
	return NULL;
}

static void note_backend(struct parser *p, struct block *b, bool in_root)
{
	static const char *const passes[] = { "proxy_pass", "grpc_pass", "uwsgi_pass", "scgi_pass" };
	enum site_kind kind = strcmp(sites_word(p, 0), "fastcgi_pass") == 0 ? SITE_FASTCGI : SITE_NOTHING;

	for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
		if (strcmp(sites_word(p, 0), passes[i]) == 0)
			kind = SITE_PROXY;
	if (kind == SITE_NOTHING)
		return;
	/* "location /" says what the site is; elsewhere a script is more telling than a proxied path. */
	if (in_root || (!b->backend_is_root && b->backend != SITE_FASTCGI))
		b->backend = kind;
	b->backend_is_root |= in_root;
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
		else if (strcmp(name, "ssl_certificate") == 0)
			p->default_certificate = sites_keep(p, sites_word(p, 1));
		break;
	case IN_SERVER:
		if (strcmp(name, "server_name") == 0)
			add_server_names(p, lx, b);
		else if (strcmp(name, "listen") == 0)
			add_listen(p, b);
		else if (strcmp(name, "root") == 0)
			b->root = sites_clean_root(p, sites_word(p, 1), &b->root_note);
		else if (strcmp(name, "ssl_certificate") == 0)
			b->certificate = sites_keep(p, sites_word(p, 1));
		else if (strcmp(name, "ssl") == 0)
			b->tls |= strcmp(sites_word(p, 1), "on") == 0;
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
		if (strcmp(name, "root") == 0) {
			if (!b->location_root)
				b->location_root = sites_clean_root(p, sites_word(p, 1), &b->location_note);
		} else if ((target = redirect_target(p)) && sites_is_url(target)) {
			if (!b->redirect)
				b->redirect = sites_keep(p, target);
			b->redirects_root = true;
		} else {
			note_backend(p, b, true);
		}
		break;
	case IN_LOCATION:
		note_backend(p, b, false);
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

static void on_block(struct parser *p, struct lexer *lx, enum place place, struct block *b)
{
	enum place inner = place_of_block(p, place);

	if (begins_lua(p)) {
		skip_lua(p, lx);
		return;
	}
	if (inner != IN_OTHER && p->depth == SITES_DEPTH_MAX) {
		sites_warn(p, lx->file, lx->start, "blocks are nested too deeply, this one is left out", sites_word(p, 0));
		inner = IN_OTHER;
	}
	if (inner == IN_OTHER) {
		skip_block(p, lx);
		return;
	}
	if (inner == IN_SERVER) {
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
	}
}

static void read_block(struct parser *p, struct lexer *lx, enum place place, struct block *b, bool whole_file)
{
	unsigned start = lx->start;

	for (;;) {
		switch (next_directive(p, lx)) {
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

/* "[a-z]", "[!0-9]" at *pattern against c; *pattern moves behind it. An unclosed one is an ordinary "[". */
static bool match_set(const char **pattern, char c)
{
	const char *at = *pattern + 1;
	bool negated = *at == '!' || *at == '^', hit = false;

	at += negated;
	for (bool first = true; *at && (first || *at != ']'); first = false) {
		char low = *at++, high = low;
		if (at[0] == '-' && at[1] && at[1] != ']') {
			high = at[1];
			at += 2;
		}
		hit |= (unsigned char)low <= (unsigned char)c && (unsigned char)c <= (unsigned char)high;
	}
	if (*at != ']') {
		++*pattern;
		return c == '[';
	}
	*pattern = at + 1;
	return hit != negated;
}

/*
 * glob(7) on a path: no "*", "?" or set matches a "/", nor a "." at the start of a part. At most pattern times name
 * steps (one point to return to, which "/" forgets), unlike fnmatch(3): a text from elsewhere cannot keep us busy.
 */
static bool match_path(struct parser *p, const char *pattern, const char *path)
{
	const char *star = NULL, *star_path = NULL, *begin = path;

	for (;;) {
		bool part_start = path == begin || path[-1] == '/', hit;
		const char *after = pattern + 1;

		sites_spend(p, 1);
		if (*pattern == '*' && !(part_start && *path == '.')) {
			star = after;
			star_path = path;
			pattern = after;
			continue;
		}
		if (!*path && !*pattern)
			return true;
		if (!*path)
			hit = false;
		else if (*pattern == '?')
			hit = *path != '/' && !(part_start && *path == '.');
		else if (*pattern == '[' && *path != '/' && !(part_start && *path == '.')) {
			after = pattern;
			hit = match_set(&after, *path);
		} else if (*pattern == '\\' && pattern[1]) {
			hit = pattern[1] == *path;
			after = pattern + 2;
		} else
			hit = *pattern == *path;
		if (hit) {
			if (*path == '/')
				star = NULL;
			pattern = after;
			path++;
		} else if (star && *star_path && *star_path != '/') {
			path = ++star_path;
			pattern = star;
		} else {
			return false;
		}
	}
}

/* Sections of the text whose names match; sorted, so those with the pattern's fixed beginning stand together. */
static void include_sections(struct parser *p, struct lexer *lx, char *pattern, enum place place, struct block *b)
{
	size_t fixed = strcspn(pattern, "*?[\\");
	char first = pattern[fixed];
	bool found;

	if (!first) {
		size_t at = sites_file_index(p, pattern, &found);
		if (found)
			sites_read_file(p, lx, p->files[at], place, b);
		else
			sites_warn(p, lx->file, lx->start, "an include is not part of this text; give the output of nginx -T", pattern);
		return;
	}
	pattern[fixed] = '\0';
	size_t at = sites_file_index(p, pattern, &found);
	pattern[fixed] = first;
	for (; at < p->file_count && strncmp(p->files[at].path, pattern, fixed) == 0 && !p->stopped; at++) {
		if (!sites_spend(p, 16))
			sites_stop(p, lx, "there are too many includes");
		else if (match_path(p, pattern, p->files[at].path))
			sites_read_file(p, lx, p->files[at], place, b);
	}
}

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
		include_sections(p, lx, path, place, b);
		return;
	}
	sites_include(p, lx, path, place, b);
}

/* What relative includes begin with: the main file's path up to its last slash, as in nginx. */
static const char *prefix_of(struct parser *p, const char *path)
{
	const char *slash = strrchr(path, '/');

	return sites_need(p, arena_strndup(p->arena, path, slash ? (size_t)(slash - path) + 1 : 0));
}

/* Split the output of nginx -T into its files. Path of the first, the main one; NULL when the text has no sections. */
static const char *split_sections(struct parser *p, const char *text, size_t len)
{
	const char *end = text + len, *main_path = NULL, *path = NULL, *body = NULL;

	for (const char *line = text; line < end && !p->stopped;) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		const char *next = newline ? newline + 1 : end, *last = newline ? newline : end;
		if (last > line && last[-1] == '\r')
			last--;
		size_t marked = (size_t)(last - line);
		if (marked > sizeof MARKER && marked < SITES_PATH_MAX && last[-1] == ':' &&
		    memcmp(line, MARKER, sizeof MARKER - 1) == 0) {
			if (path)
				sites_add_file(p, path, body, (size_t)(line - body));
			path = sites_need(p, arena_strndup(p->arena, line + sizeof MARKER - 1, marked - sizeof MARKER));
			body = next;
			main_path = main_path ? main_path : path;
			if (p->file_count == SITES_FILES_MAX) {
				sites_warn(p, main_path, 1, "there are too many files", "the rest is left out");
				return main_path;
			}
		}
		line = next;
	}
	if (path && !p->stopped)
		sites_add_file(p, path, body, (size_t)(end - body));
	return main_path;
}

/* --- doors --- */

static void read_whole(struct parser *p, struct lexer *lx, int place, struct block *b)
{
	read_block(p, lx, (enum place)place, b, true);
}

static struct sites *parse(struct arena *arena, const char *name, const char *text, size_t len, bool on_disk)
{
	struct parser *p = sites_parser(arena, len);
	bool found;

	if (!p)
		return NULL;
	p->read = read_whole;
	const char *main_path = split_sections(p, text, len);
	p->on_disk = on_disk && !main_path;
	if (!main_path) {
		main_path = name;
		sites_add_file(p, name, text, len);
	}
	p->prefix = prefix_of(p, main_path);
	size_t at = sites_file_index(p, main_path, &found);
	if (found && !p->stopped) {
		struct lexer nowhere = { .file = main_path, .line = 1, .start = 1 };
		sites_read_file(p, &nowhere, p->files[at], IN_MAIN, NULL);
	}
	return sites_finish(p);
}

struct sites *nginx_conf_text(struct arena *arena, const char *name, const char *text, size_t len)
{
	return parse(arena, name, text, len, false);
}

struct sites *nginx_conf_load(struct arena *arena, const char *source, const char **why)
{
	bool is_stdin = strcmp(source, "-") == 0;
	const char *path = source, *text = NULL;
	struct stat st;
	size_t len = 0;

	*why = "out of memory";
	if (!is_stdin && stat(source, &st) == 0 && S_ISDIR(st.st_mode) &&
	    !(path = arena_printf(arena, "%s/nginx.conf", source)))
		return NULL;
	if (!sites_load(arena, is_stdin ? NULL : path, &text, &len, why))
		return NULL;
	return parse(arena, is_stdin ? "standard input" : path, text, len, !is_stdin);
}
