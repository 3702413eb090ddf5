/*
 * nginx_conf.c: an nginx configuration in two steps. The first walks its directives and notes the server blocks and
 * their names (words as in nginx's own reader: quotes, escapes, "${", comments at the start of a word only); the second
 * merges the blocks of one name and finds which names belong together.
 */
#include "nginx_conf.h"

#include "address.h"
#include "arena.h"
#include "buf.h"
#include "hostname.h"
#include "json.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIRECTIVE_WORDS 16384u     /* of one directive: a long server_name list */
#define DIRECTIVE_MAX   (1u << 20) /* bytes of one directive */
#define PATH_TEXT_MAX   4096u
#define MARKER          "# configuration file "

/* What a directive stands in. IN_OTHER is everything that names no site: events, stream, mail, upstream, map, types. */
enum place { IN_OTHER = 0, IN_MAIN, IN_HTTP, IN_SERVER, IN_IF, IN_ROOT_LOCATION, IN_LOCATION };

struct block {
	const char *file;
	unsigned line;
	size_t first_name, name_count;
	const char *root, *root_note;           /* of the server itself */
	const char *location_root, *location_note; /* of its "location /" */
	enum nginx_kind backend;
	bool backend_is_root;                   /* named by "location /": has the last word */
	const char *redirect;
	bool redirects_all, redirects_root;     /* for all requests; for "location /" */
	const char *certificate;
	bool tls, listens;
	int ports[NGINX_PORTS_MAX];
	size_t port_count;
	size_t main_site;                       /* index of the site that the block is about */
};

struct name {
	const char *text;                       /* A-label, or as written when it is skipped */
	const char *reason;                     /* why it is skipped; NULL: it is a domain */
	struct block *block;
	size_t at;                              /* its place in the configuration */
	size_t group;                           /* for the first of equal names: how many there are */
	size_t site;                            /* index of its site */
};

struct file {
	const char *path, *text;
	size_t len;
};

struct lexer {
	const char *file, *text;
	size_t len, pos;
	unsigned line, start;                   /* start: line of the directive's first word */
};

enum stop { AT_END = 0, AT_SEMICOLON, AT_OPEN, AT_CLOSE };

struct parser {
	struct arena *arena;
	struct nginx_conf *conf;
	struct buf text;                        /* the words of the present directive, each with its NUL */
	size_t *word, word_count;
	bool words_dropped;
	struct file *files;                     /* sorted by path: sections of the text, or what was read so far */
	size_t file_count, file_room;
	const char *prefix;                     /* what relative includes begin with */
	bool on_disk;
	size_t loaded, work, includes;
	const char *within[NGINX_DEPTH_MAX];    /* files being read, to see cycles */
	int within_count, depth;
	struct name *names;
	size_t name_count, name_room;
	const char *http_root, *http_note, *http_certificate;
	bool stopped, no_memory;
};

/* --- helpers --- */

static void warn_at(struct parser *p, const char *file, unsigned line, const char *what, const char *about)
{
	struct nginx_conf *conf = p->conf;

	if (conf->warning_count == NGINX_WARNINGS_MAX)
		return;
	const char *text = conf->warning_count + 1 == NGINX_WARNINGS_MAX ?
		arena_strdup(p->arena, "there are more warnings") :
		arena_printf(p->arena, "%s:%u: %s%s%.200s", file, line, what, about ? ": " : "", about ? about : "");
	if (text)
		conf->warnings[conf->warning_count++] = text;
}

static void stop_reading(struct parser *p, const struct lexer *lx, const char *why)
{
	if (!p->stopped)
		warn_at(p, lx->file, lx->line, why, "the rest is left out");
	p->stopped = true;
}

static void *need(struct parser *p, void *memory)
{
	if (!memory)
		p->stopped = p->no_memory = true;
	return memory;
}

static const char *keep(struct parser *p, const char *text)
{
	return need(p, arena_strdup(p->arena, text));
}

/* Make room for one more in an array of the arena, doubling. False when there is no memory. */
static bool make_room(struct parser *p, void **array, size_t count, size_t *room, size_t size)
{
	if (count < *room)
		return true;
	size_t more = *room ? *room * 2 : 64;
	void *grown = need(p, arena_array(p->arena, more, size));
	if (!grown)
		return false;
	if (count)
		memcpy(grown, *array, count * size);
	*array = grown;
	*room = more;
	return true;
}

static bool spend(struct parser *p, size_t work)
{
	p->work += work;
	return p->work <= (1u << 20) + (uint64_t)p->loaded * NGINX_WORK_FACTOR;
}

/* --- words --- */

static const char *word(const struct parser *p, size_t i)
{
	return i < p->word_count ? p->text.data + p->word[i] : "";
}

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
		warn_at(p, lx->file, lx->start, "a quoted word is not closed", NULL);
	buf_char(&p->text, '\0');
	if (p->word_count < DIRECTIVE_WORDS)
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
			warn_at(p, lx->file, lx->line, "a \";\" is missing before \"}\"", NULL);
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
		warn_at(p, lx->file, lx->start, "the directive has too many words, the last ones are left out", NULL);
	if (buf_failed(&p->text)) {
		warn_at(p, lx->file, lx->start, "the directive is too long and is left out", NULL);
		p->word_count = 0;
	}
	if (stop == AT_END && p->word_count) {
		warn_at(p, lx->file, lx->start, "the text ends within a directive", NULL);
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
	warn_at(p, lx->file, lx->start, "the text ends within a block of Lua", NULL);
}

static bool begins_lua(const struct parser *p)
{
	static const char tail[] = "_by_lua_block";
	size_t len = strlen(word(p, 0));

	return len >= sizeof tail && strcmp(word(p, 0) + len - (sizeof tail - 1), tail) == 0;
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
				warn_at(p, lx->file, start, "the text ends within a block", NULL);
			return;
		case AT_SEMICOLON:
			break;
		}
	}
}

/* --- values --- */

/* A document root as the API takes it: absolute, no empty, "." or ".." part, no variable. Else NULL and *note. */
static const char *clean_root(struct parser *p, const char *text, const char **note)
{
	char out[PATH_TEXT_MAX];
	size_t len = 0;

	*note = NULL;
	if (strchr(text, '$'))
		*note = "its root has a variable";
	else if (text[0] != '/')
		*note = "its root is relative to the folder nginx was built for";
	else if (!utf8_valid(text, strlen(text)))
		*note = "its root is not UTF-8";
	else if (strlen(text) > NGINX_ROOT_MAX)
		*note = "its root is too long";
	for (const char *c = text; *c && !*note; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*note = "its root has control characters";
	if (*note)
		return NULL;
	for (const char *part = text; *part;) {
		size_t part_len = strcspn(part, "/");
		if (part_len == 2 && strncmp(part, "..", 2) == 0) {
			*note = "its root has a \"..\" part";
			return NULL;
		}
		if (part_len && !(part_len == 1 && *part == '.')) {
			out[len++] = '/';
			memcpy(out + len, part, part_len);
			len += part_len;
		}
		part += part_len + (part[part_len] == '/');
	}
	if (!len)
		out[len++] = '/';
	return need(p, arena_strndup(p->arena, out, len));
}

static void add_port(int *ports, size_t *count, int port)
{
	size_t at = 0;

	while (at < *count && ports[at] < port)
		at++;
	if ((at < *count && ports[at] == port) || *count == NGINX_PORTS_MAX)
		return;
	memmove(ports + at + 1, ports + at, (*count - at) * sizeof *ports);
	ports[at] = port;
	++*count;
}

static void add_listen(struct parser *p, struct block *b)
{
	const char *where = word(p, 1), *digits = where;
	long port = 80;

	b->listens = true;
	for (size_t i = 2; i < p->word_count; i++)
		if (strcmp(word(p, i), "ssl") == 0 || strcmp(word(p, i), "quic") == 0)
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
		add_port(b->ports, &b->port_count, (int)port);
}

/* Why a server name is no domain that could be imported; NULL when it is one, then `out` has its A-label. */
static const char *judge_name(const char *text, char out[HOSTNAME_MAX])
{
	char address[ADDRESS_TEXT_MAX], bare[ADDRESS_TEXT_MAX];
	const char *why = NULL;
	size_t len = strlen(text);

	if (!len)
		return "an empty name: requests without a host";
	if (strcmp(text, "_") == 0)
		return "the catch-all name";
	if (text[0] == '~')
		return "a regular expression";
	if (strchr(text, '$'))
		return "a variable";
	if (strchr(text, '*'))
		return "a wildcard name";
	if (strcasecmp(text, "localhost") == 0 || strcasecmp(text, "localhost.localdomain") == 0)
		return "this machine's own name";
	if (address_parse(text, address))
		return "an address";
	if (text[0] == '[' && text[len - 1] == ']' && len - 2 < sizeof bare) {
		memcpy(bare, text + 1, len - 2);
		bare[len - 2] = '\0';
		if (address_parse(bare, address))
			return "an address";
	}
	if (!hostname_to_ascii(text, out, &why))
		return why ? why : "not a domain name";
	return NULL;
}

/* `reason` is a literal: it is not copied. */
static void add_name(struct parser *p, const struct lexer *lx, struct block *b, const char *text, const char *reason)
{
	if (p->name_count == NGINX_NAMES_MAX) {
		stop_reading(p, lx, "there are too many server names");
		return;
	}
	void *names = p->names;
	if (!make_room(p, &names, p->name_count, &p->name_room, sizeof *p->names))
		return;
	p->names = names;
	const char *kept = keep(p, text);
	if (!kept)
		return;
	p->names[p->name_count] = (struct name){ .text = kept, .reason = reason, .block = b, .at = p->name_count };
	p->name_count++;
	b->name_count++;
}

static void add_server_names(struct parser *p, const struct lexer *lx, struct block *b)
{
	char ascii[HOSTNAME_MAX];

	for (size_t i = 1; i < p->word_count && !p->stopped; i++) {
		const char *text = word(p, i), *reason = judge_name(text, ascii);
		if (text[0] == '.' && !judge_name(text + 1, ascii)) {
			/* ".example.org" stands for example.org and all below it. */
			char wildcard[HOSTNAME_MAX + 2] = "*.";
			memcpy(wildcard + 2, ascii, strlen(ascii) + 1);
			add_name(p, lx, b, ascii, NULL);
			add_name(p, lx, b, wildcard, "a wildcard name");
		} else {
			add_name(p, lx, b, reason ? text : ascii, reason);
		}
	}
}

/* --- directives --- */

static bool is_url(const char *text)
{
	return strncasecmp(text, "http://", 7) == 0 || strncasecmp(text, "https://", 8) == 0 ||
	       strncmp(text, "$scheme://", 10) == 0;
}

/* Where a return or rewrite directive sends every request that meets it; NULL when it does no such thing. */
static const char *redirect_target(const struct parser *p)
{
	const char *first = word(p, 1), *second = word(p, 2);

	if (strcmp(word(p, 0), "return") == 0) {
		if (is_url(first))
			return first;
		return strlen(first) == 3 && first[0] == '3' && *second ? second : NULL;
	}
	if (strcmp(word(p, 0), "rewrite") == 0) {
		const char *how = word(p, 3);
		bool sends = is_url(second) || strcmp(how, "permanent") == 0 || strcmp(how, "redirect") == 0;
		return sends && *first && strspn(first, "^/(.*)+?$") == strlen(first) ? second : NULL;
	}
	return NULL;
}

static void note_backend(struct parser *p, struct block *b, bool in_root)
{
	static const char *const passes[] = { "proxy_pass", "grpc_pass", "uwsgi_pass", "scgi_pass" };
	enum nginx_kind kind = strcmp(word(p, 0), "fastcgi_pass") == 0 ? NGINX_FASTCGI : NGINX_NOTHING;

	for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
		if (strcmp(word(p, 0), passes[i]) == 0)
			kind = NGINX_PROXY;
	if (kind == NGINX_NOTHING)
		return;
	/* "location /" says what the site is; elsewhere a script is more telling than a proxied path. */
	if (in_root || (!b->backend_is_root && b->backend != NGINX_FASTCGI))
		b->backend = kind;
	b->backend_is_root |= in_root;
}

static void include(struct parser *p, struct lexer *lx, enum place place, struct block *b);

static void on_directive(struct parser *p, struct lexer *lx, enum place place, struct block *b)
{
	const char *name = word(p, 0), *target;

	if (place == IN_OTHER || p->word_count < 2)
		return;
	if (strcmp(name, "include") == 0) {
		include(p, lx, place, b);
		return;
	}
	switch (place) {
	case IN_HTTP:
		if (strcmp(name, "root") == 0)
			p->http_root = clean_root(p, word(p, 1), &p->http_note);
		else if (strcmp(name, "ssl_certificate") == 0)
			p->http_certificate = keep(p, word(p, 1));
		break;
	case IN_SERVER:
		if (strcmp(name, "server_name") == 0)
			add_server_names(p, lx, b);
		else if (strcmp(name, "listen") == 0)
			add_listen(p, b);
		else if (strcmp(name, "root") == 0)
			b->root = clean_root(p, word(p, 1), &b->root_note);
		else if (strcmp(name, "ssl_certificate") == 0)
			b->certificate = keep(p, word(p, 1));
		else if (strcmp(name, "ssl") == 0)
			b->tls |= strcmp(word(p, 1), "on") == 0;
		else if ((target = redirect_target(p)) && !b->redirects_all) {
			b->redirect = keep(p, target);
			b->redirects_all = true;
		}
		break;
	case IN_IF:
		if (!b->redirect && (target = redirect_target(p)))
			b->redirect = keep(p, target);
		break;
	case IN_ROOT_LOCATION:
		if (strcmp(name, "root") == 0) {
			if (!b->location_root)
				b->location_root = clean_root(p, word(p, 1), &b->location_note);
		} else if ((target = redirect_target(p)) && is_url(target)) {
			if (!b->redirect)
				b->redirect = keep(p, target);
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
	const char *name = word(p, 0), *last = word(p, p->word_count ? p->word_count - 1 : 0);

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
		return strcmp(last, "/") == 0 && (p->word_count == 2 || strcmp(word(p, 1), "^~") == 0) ?
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
	if (inner != IN_OTHER && p->depth == NGINX_DEPTH_MAX) {
		warn_at(p, lx->file, lx->start, "blocks are nested too deeply, this one is left out", word(p, 0));
		inner = IN_OTHER;
	}
	if (inner == IN_OTHER) {
		skip_block(p, lx);
		return;
	}
	if (inner == IN_SERVER) {
		if (!(b = need(p, arena_alloc(p->arena, sizeof *b))))
			return;
		*b = (struct block){ .file = lx->file, .line = lx->start, .first_name = p->name_count };
		p->conf->blocks++;
	}
	p->depth++;
	read_block(p, lx, inner, b, false);
	p->depth--;
	if (inner == IN_SERVER) {
		if (!b->name_count && !p->stopped)
			add_name(p, lx, b, "", "no server_name: the default server of its port");
		if (!b->listens)
			add_port(b->ports, &b->port_count, 80);
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
			warn_at(p, lx->file, lx->line, "a \"}\" closes nothing", NULL);
			break;
		case AT_END:
			if (!whole_file && !p->stopped)
				warn_at(p, lx->file, start, "the text ends within a block", NULL);
			return;
		}
	}
}

/* --- files --- */

/* The index of path in the sorted files, or where it belongs. */
static size_t file_index(const struct parser *p, const char *path, bool *found)
{
	size_t low = 0, high = p->file_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(p->files[middle].path, path) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*found = low < p->file_count && strcmp(p->files[low].path, path) == 0;
	return low;
}

/* Know a file's text. One that is known already is kept: nginx -T shows each once. */
static void add_file(struct parser *p, const char *path, const char *text, size_t len)
{
	bool found;
	size_t at = file_index(p, path, &found);
	void *files = p->files;

	if (found || p->file_count == NGINX_FILES_MAX ||
	    !make_room(p, &files, p->file_count, &p->file_room, sizeof *p->files))
		return;
	p->files = files;
	memmove(p->files + at + 1, p->files + at, (p->file_count - at) * sizeof *p->files);
	p->files[at] = (struct file){ path, text, len };
	p->file_count++;
}

/* All of fd into the arena, `room` bytes at most. False with errno; EFBIG when there is more. */
static bool read_all(struct arena *arena, int fd, size_t room, const char **text, size_t *len)
{
	struct buf all;
	char part[16384];
	ssize_t got;

	buf_init(&all, room + 1);
	while ((got = read(fd, part, sizeof part)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			int error = errno;
			buf_free(&all);
			errno = error;
			return false;
		}
		buf_add(&all, part, (size_t)got);
		if (buf_failed(&all) || all.len > room) {
			buf_free(&all);
			errno = EFBIG;
			return false;
		}
	}
	char *copy = arena_alloc(arena, all.len + 1);
	if (copy && all.len)
		memcpy(copy, all.data, all.len);
	*text = copy;
	*len = all.len;
	buf_free(&all);
	errno = ENOMEM;
	return copy != NULL;
}

/* Read an included file from disk, once. NULL after a warning. */
static const struct file *load_file(struct parser *p, const struct lexer *lx, const char *path)
{
	struct stat st;
	const char *text = NULL;
	size_t len = 0;
	bool found;

	if (p->file_count == NGINX_FILES_MAX) {
		stop_reading(p, lx, "there are too many files");
		return NULL;
	}
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		warn_at(p, lx->file, lx->start, strerror(errno), path);
		return NULL;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		warn_at(p, lx->file, lx->start, "not a regular file", path);
	else if (!read_all(p->arena, fd, NGINX_TEXT_MAX - p->loaded, &text, &len))
		warn_at(p, lx->file, lx->start, errno == EFBIG ? "the configuration is too large" : strerror(errno), path);
	close(fd);
	const char *name = text ? keep(p, path) : NULL;
	if (!name)
		return NULL;
	p->loaded += len;
	add_file(p, name, text, len);
	size_t at = file_index(p, path, &found);
	return found ? &p->files[at] : NULL;
}

static void read_file(struct parser *p, const struct lexer *from, struct file file, enum place place, struct block *b)
{
	struct lexer lx = { .file = file.path, .text = file.text, .len = file.len, .line = 1, .start = 1 };

	for (int i = 0; i < p->within_count; i++) {
		if (strcmp(p->within[i], file.path) == 0) {
			warn_at(p, from->file, from->start, "the file includes itself", file.path);
			return;
		}
	}
	if (p->depth == NGINX_DEPTH_MAX) {
		warn_at(p, from->file, from->start, "includes are nested too deeply, this one is left out", file.path);
		return;
	}
	if (++p->includes > NGINX_INCLUDES_MAX || !spend(p, file.len + 64)) {
		stop_reading(p, from, "there are too many includes");
		return;
	}
	if (lx.len >= 3 && memcmp(lx.text, "\xef\xbb\xbf", 3) == 0)
		lx.pos = 3;
	p->within[p->within_count++] = file.path;
	p->depth++;
	read_block(p, &lx, place, b, true);
	p->depth--;
	p->within_count--;
}

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

		spend(p, 1);
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
		size_t at = file_index(p, pattern, &found);
		if (found)
			read_file(p, lx, p->files[at], place, b);
		else
			warn_at(p, lx->file, lx->start, "an include is not part of this text; give the output of nginx -T", pattern);
		return;
	}
	pattern[fixed] = '\0';
	size_t at = file_index(p, pattern, &found);
	pattern[fixed] = first;
	for (; at < p->file_count && strncmp(p->files[at].path, pattern, fixed) == 0 && !p->stopped; at++) {
		if (!spend(p, 16))
			stop_reading(p, lx, "there are too many includes");
		else if (match_path(p, pattern, p->files[at].path))
			read_file(p, lx, p->files[at], place, b);
	}
}

static void include_path(struct parser *p, struct lexer *lx, const char *path, enum place place, struct block *b)
{
	bool found;
	size_t at = file_index(p, path, &found);
	const struct file *file = found ? &p->files[at] : load_file(p, lx, path);

	if (file)
		read_file(p, lx, *file, place, b);
}

static void include(struct parser *p, struct lexer *lx, enum place place, struct block *b)
{
	const char *wanted = word(p, 1);

	if (strlen(wanted) + strlen(p->prefix) >= PATH_TEXT_MAX) {
		warn_at(p, lx->file, lx->start, "the path is too long", wanted);
		return;
	}
	char *path = need(p, arena_printf(p->arena, "%s%s", wanted[0] == '/' ? "" : p->prefix, wanted));
	if (!path)
		return;
	if (!p->on_disk) {
		include_sections(p, lx, path, place, b);
		return;
	}
	if (!path[strcspn(path, "*?[")]) {
		include_path(p, lx, path, place, b);
		return;
	}
	glob_t found;
	int status = glob(path, 0, NULL, &found);
	for (size_t i = 0; status == 0 && i < found.gl_pathc && !p->stopped; i++)
		include_path(p, lx, found.gl_pathv[i], place, b);
	if (status != 0 && status != GLOB_NOMATCH)
		warn_at(p, lx->file, lx->start, "the include cannot be resolved", path);
	globfree(&found);
}

/* What relative includes begin with: the main file's path up to its last slash, as in nginx. */
static const char *prefix_of(struct parser *p, const char *path)
{
	const char *slash = strrchr(path, '/');

	return need(p, arena_strndup(p->arena, path, slash ? (size_t)(slash - path) + 1 : 0));
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
		if (marked > sizeof MARKER && marked < PATH_TEXT_MAX && last[-1] == ':' &&
		    memcmp(line, MARKER, sizeof MARKER - 1) == 0) {
			if (path)
				add_file(p, path, body, (size_t)(line - body));
			path = need(p, arena_strndup(p->arena, line + sizeof MARKER - 1, marked - sizeof MARKER));
			body = next;
			main_path = main_path ? main_path : path;
			if (p->file_count == NGINX_FILES_MAX) {
				warn_at(p, main_path, 1, "there are too many files", "the rest is left out");
				return main_path;
			}
		}
		line = next;
	}
	if (path && !p->stopped)
		add_file(p, path, body, (size_t)(end - body));
	return main_path;
}

/* --- merging --- */

static bool only_redirects(const struct block *b)
{
	bool backend = b->backend != NGINX_NOTHING;

	return b->redirect && (b->redirects_all || (b->redirects_root && !backend) ||
	                       (!b->root && !b->location_root && !backend));
}

static const char *root_of(const struct parser *p, const struct block *b, const char **note)
{
	*note = NULL;
	if (b->root || b->root_note || only_redirects(b))
		return *note = b->root_note, b->root;
	if (b->location_root || b->location_note)
		return *note = b->location_note, b->location_root;
	return *note = p->http_note, p->http_root;
}

static enum nginx_kind kind_of(const struct parser *p, const struct block *b)
{
	const char *note, *root = root_of(p, b, &note);

	if (only_redirects(b))
		return NGINX_REDIRECT;
	if (b->backend != NGINX_NOTHING)
		return b->backend;
	return root || note ? NGINX_STATIC : NGINX_NOTHING;
}

static const char *certificate_of(const struct parser *p, const struct block *b)
{
	return b->certificate ? b->certificate : b->tls ? p->http_certificate : NULL;
}

/* How much a block tells about its names: content before redirects, a root before none, then TLS. */
static int weight_of(const struct parser *p, const struct block *b)
{
	const char *note;
	enum nginx_kind kind = kind_of(p, b);

	return 8 * (kind > NGINX_REDIRECT) + 4 * (root_of(p, b, &note) != NULL) + 2 * (kind != NGINX_REDIRECT) +
	       (certificate_of(p, b) != NULL);
}

static int by_text(const void *a, const void *b)
{
	const struct name *x = *(const struct name *const *)a, *y = *(const struct name *const *)b;
	int order = strcmp(x->text, y->text);

	return order ? order : (x->at > y->at) - (x->at < y->at);
}

static int by_place(const void *a, const void *b)
{
	const struct name *x = *(const struct name *const *)a, *y = *(const struct name *const *)b;

	return (x->at > y->at) - (x->at < y->at);
}

struct merge {
	struct name **domains;    /* the first of each domain, by text */
	size_t count;
	const struct block **best;/* of each site */
	size_t *up;               /* site -> the site that it is another name of; itself when none */
	size_t *seen;             /* site -> number of the block that was last seen to have it */
};

/* The site of a domain name, or merge->count. */
static size_t find_site(const struct merge *m, const char *text)
{
	size_t low = 0, high = m->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(m->domains[middle]->text, text);
		if (order == 0)
			return m->domains[middle]->site;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return m->count;
}

static size_t head_of(struct merge *m, size_t site)
{
	while (m->up[site] != site) {
		m->up[site] = m->up[m->up[site]];
		site = m->up[site];
	}
	return site;
}

/* Make a site another name of `of`, unless it is one already or that would be a circle. */
static void join(struct merge *m, size_t site, size_t of)
{
	if (of < m->count && m->up[site] == site && head_of(m, of) != site)
		m->up[site] = head_of(m, of);
}

static const char *without_www(const char *text)
{
	return strncmp(text, "www.", 4) == 0 ? text + 4 : NULL;
}

/* The site that a block is about: its first name that is not the www. form of another of its names. */
static void find_main_site(const struct parser *p, struct merge *m, struct block *b, size_t number)
{
	const struct name *names = p->names + b->first_name;
	bool any = false;

	for (size_t i = 0; i < b->name_count; i++)
		if (!names[i].reason)
			m->seen[names[i].site] = number;
	for (size_t i = 0; i < b->name_count; i++) {
		if (names[i].reason)
			continue;
		const char *bare = without_www(names[i].text);
		size_t site = bare ? find_site(m, bare) : m->count;
		bool is_www = site < m->count && m->seen[site] == number;
		if (!any || !is_www)
			b->main_site = names[i].site;
		any = true;
		if (!is_www)
			return;
	}
}

/* The host of a redirect's target when it is written out, as an A-label. */
static bool target_host(const char *target, char out[HOSTNAME_MAX])
{
	char host[HOSTNAME_MAX];
	const char *why, *start = strstr(target, "://");

	if (!start)
		return false;
	start += 3;
	size_t len = strcspn(start, "/:?#$");
	if (len >= sizeof host)
		return false;
	memcpy(host, start, len);
	host[len] = '\0';
	return hostname_to_ascii(host, out, &why);
}

static void take_content(const struct parser *p, struct nginx_site *site, const struct block *b)
{
	site->root = root_of(p, b, &site->root_note);
	site->kind = kind_of(p, b);
	site->redirect = site->kind == NGINX_REDIRECT ? b->redirect : NULL;
	site->file = b->file;
	site->line = b->line;
}

/* One site of `group` equal names, which lie together. */
static void fill_site(const struct parser *p, struct merge *m, struct name *const *equal, size_t group, size_t index)
{
	struct nginx_site *site = &p->conf->sites[index];
	const struct block *best = equal[0]->block;

	site->name = equal[0]->text;
	for (size_t i = 0; i < group; i++) {
		const struct block *b = equal[i]->block;
		if (weight_of(p, b) > weight_of(p, best))
			best = b;
		if (!site->certificate)
			site->certificate = certificate_of(p, b);
		for (size_t k = 0; k < b->port_count; k++)
			add_port(site->ports, &site->port_count, b->ports[k]);
		equal[i]->site = index;
	}
	take_content(p, site, best);
	m->best[index] = best;
	m->up[index] = index;
	m->seen[index] = SIZE_MAX;
}

/* Which names belong together; then each side of a pair tells the other what it lacks. */
static void join_sites(struct parser *p, struct merge *m)
{
	struct nginx_site *sites = p->conf->sites;
	size_t number = 0;
	char host[HOSTNAME_MAX];

	for (size_t i = 0; i < p->name_count; i++)
		if (p->names[i].at == p->names[i].block->first_name)
			find_main_site(p, m, p->names[i].block, number++);
	for (size_t i = 0; i < m->count; i++)
		if (without_www(sites[i].name))
			join(m, i, find_site(m, without_www(sites[i].name)));
	for (size_t i = 0; i < m->count; i++)
		join(m, i, m->best[i]->main_site);
	for (size_t i = 0; i < m->count; i++)
		if (sites[i].kind == NGINX_REDIRECT && target_host(sites[i].redirect, host))
			join(m, i, find_site(m, host));
	for (size_t i = 0; i < m->count; i++) {
		size_t head = head_of(m, i);
		if (head == i)
			continue;
		sites[i].alias_of = &sites[head];
		/* "example.org" may do no more than send to "www.example.org". */
		if (weight_of(p, m->best[i]) / 2 > weight_of(p, m->best[head]) / 2) {
			m->best[head] = m->best[i];
			take_content(p, &sites[head], m->best[i]);
		}
	}
	for (size_t i = 0; i < m->count; i++) {
		if (sites[i].alias_of && !sites[i].root) {
			sites[i].root = sites[i].alias_of->root;
			sites[i].root_note = sites[i].alias_of->root_note;
		}
	}
}

static void merge_names(struct parser *p)
{
	struct nginx_conf *conf = p->conf;
	size_t count = p->name_count, heads = 0;
	struct merge m = { 0 };
	struct name **sorted = need(p, arena_array(p->arena, count, sizeof *sorted));
	struct name **first = need(p, arena_array(p->arena, count, sizeof *first));

	conf->sites = need(p, arena_array(p->arena, count, sizeof *conf->sites));
	conf->skips = need(p, arena_array(p->arena, count, sizeof *conf->skips));
	m.domains = need(p, arena_array(p->arena, count, sizeof(struct name *)));
	m.best = need(p, arena_array(p->arena, count, sizeof(struct block *)));
	m.up = need(p, arena_array(p->arena, count, sizeof *m.up));
	m.seen = need(p, arena_array(p->arena, count, sizeof *m.seen));
	if (p->no_memory)
		return;
	for (size_t i = 0; i < count; i++)
		sorted[i] = &p->names[i];
	qsort(sorted, count, sizeof *sorted, by_text);
	for (size_t i = 0, group; i < count; i += group) {
		for (group = 1; i + group < count && strcmp(sorted[i]->text, sorted[i + group]->text) == 0;)
			group++;
		sorted[i]->group = group;
		sorted[i]->site = i; /* for now: where its group lies */
		first[heads++] = sorted[i];
		if (!sorted[i]->reason)
			m.domains[m.count++] = sorted[i];
	}
	qsort(first, heads, sizeof *first, by_place);
	for (size_t i = 0; i < heads; i++) {
		const struct name *n = first[i];
		if (n->reason)
			conf->skips[conf->skip_count++] =
				(struct nginx_skip){ n->text, n->reason, n->block->file, n->block->line };
		else
			fill_site(p, &m, sorted + n->site, n->group, conf->site_count++);
	}
	join_sites(p, &m);
}

/* --- doors --- */

static struct nginx_conf *parse(struct arena *arena, const char *name, const char *text, size_t len, bool on_disk)
{
	struct parser *p = arena_alloc(arena, sizeof *p);
	struct nginx_conf *conf = arena_alloc(arena, sizeof *conf);
	size_t *words = arena_array(arena, DIRECTIVE_WORDS, sizeof *words);
	bool found;

	if (!p || !conf || !words)
		return NULL;
	*p = (struct parser){ .arena = arena, .conf = conf, .word = words, .loaded = len };
	buf_init(&p->text, DIRECTIVE_MAX);
	const char *main_path = split_sections(p, text, len);
	p->on_disk = on_disk && !main_path;
	if (!main_path) {
		main_path = name;
		add_file(p, name, text, len);
	}
	p->prefix = prefix_of(p, main_path);
	size_t at = file_index(p, main_path, &found);
	if (found && !p->stopped) {
		struct lexer nowhere = { .file = main_path, .line = 1, .start = 1 };
		read_file(p, &nowhere, p->files[at], IN_MAIN, NULL);
	}
	buf_free(&p->text);
	if (p->name_count && !p->no_memory)
		merge_names(p);
	return p->no_memory ? NULL : conf;
}

struct nginx_conf *nginx_conf_text(struct arena *arena, const char *name, const char *text, size_t len)
{
	return parse(arena, name, text, len, false);
}

struct nginx_conf *nginx_conf_load(struct arena *arena, const char *source, const char **why)
{
	static const char no_memory[] = "out of memory";
	bool is_stdin = strcmp(source, "-") == 0;
	const char *path = is_stdin ? "standard input" : source, *text = NULL;
	struct stat st;
	size_t len = 0;
	int fd = STDIN_FILENO;

	*why = no_memory;
	if (!is_stdin && stat(source, &st) == 0 && S_ISDIR(st.st_mode) &&
	    !(path = arena_printf(arena, "%s/nginx.conf", source)))
		return NULL;
	if (!is_stdin && (fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)) < 0) {
		*why = arena_printf(arena, "%s: %s", path, strerror(errno));
		*why = *why ? *why : no_memory;
		return NULL;
	}
	bool complete = read_all(arena, fd, NGINX_TEXT_MAX, &text, &len);
	int error = errno;
	if (!is_stdin)
		close(fd);
	if (!complete) {
		*why = error == EFBIG ? arena_printf(arena, "%s: larger than %u MiB", path, NGINX_TEXT_MAX >> 20) :
			arena_printf(arena, "%s: %s", path, strerror(error));
		*why = *why ? *why : no_memory;
		return NULL;
	}
	return parse(arena, path, text, len, !is_stdin);
}

/* --- types --- */

static int by_site_name(const void *a, const void *b)
{
	return strcmp((*(const struct nginx_site *const *)a)->name, (*(const struct nginx_site *const *)b)->name);
}

static int by_account(const void *a, const void *b)
{
	const struct nginx_site *x = *(const struct nginx_site *const *)a, *y = *(const struct nginx_site *const *)b;
	int order = strcmp(x->account, y->account);

	return order ? order : (x > y) - (x < y);
}

static bool below_another(struct nginx_site **sorted, size_t count, const struct nginx_site *site)
{
	for (const char *dot = strchr(site->name, '.'); dot; dot = strchr(dot + 1, '.')) {
		const struct nginx_site wanted = { .name = dot + 1 }, *key = &wanted;
		struct nginx_site **hit = bsearch(&key, sorted, count, sizeof *sorted, by_site_name);
		if (hit && (*hit)->account && strcmp((*hit)->account, site->account) == 0)
			return true;
	}
	return false;
}

bool nginx_conf_set_types(struct arena *arena, struct nginx_conf *conf)
{
	struct nginx_site **sorted = arena_array(arena, conf->site_count, sizeof *sorted);
	struct nginx_site **own = arena_array(arena, conf->site_count, sizeof *own);
	size_t count = 0;

	if (!sorted || !own)
		return false;
	for (size_t i = 0; i < conf->site_count; i++)
		sorted[i] = &conf->sites[i];
	qsort(sorted, conf->site_count, sizeof *sorted, by_site_name);
	for (size_t i = 0; i < conf->site_count; i++) {
		struct nginx_site *site = &conf->sites[i];
		site->type = NGINX_UNTYPED;
		if (site->alias_of)
			site->type = NGINX_ALIAS;
		else if (site->account && below_another(sorted, conf->site_count, site))
			site->type = NGINX_SUBDOMAIN;
		else if (site->account)
			own[count++] = site;
	}
	qsort(own, count, sizeof *own, by_account);
	for (size_t i = 0; i < count; i++)
		own[i]->type = i && strcmp(own[i - 1]->account, own[i]->account) == 0 ? NGINX_ADDON : NGINX_PRIMARY;
	return true;
}

const char *nginx_kind_name(enum nginx_kind kind)
{
	static const char *const names[] = { "nothing", "redirect", "static", "fastcgi", "proxy" };

	return kind <= NGINX_PROXY ? names[kind] : names[NGINX_NOTHING];
}

const char *nginx_type_name(enum nginx_type type)
{
	static const char *const names[] = { "", "primary", "addon", "subdomain", "alias" };

	return type <= NGINX_ALIAS ? names[type] : names[NGINX_UNTYPED];
}
