/* sites.c: see sites.h and sites_reader.h. */
#include "sites_reader.h"

#include "address.h"
#include "arena.h"
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

/* --- helpers --- */

void sites_warn(struct parser *p, const char *file, unsigned line, const char *what, const char *about)
{
	struct sites *conf = p->conf;

	if (conf->warning_count == SITES_WARNINGS_MAX)
		return;
	const char *text = conf->warning_count + 1 == SITES_WARNINGS_MAX ?
		arena_strdup(p->arena, "there are more warnings") :
		arena_printf(p->arena, "%s:%u: %s%s%.200s", file, line, what, about ? ": " : "", about ? about : "");
	if (text)
		conf->warnings[conf->warning_count++] = text;
}

void sites_stop(struct parser *p, const struct lexer *lx, const char *why)
{
	if (!p->stopped)
		sites_warn(p, lx->file, lx->line, why, "the rest is left out");
	p->stopped = true;
}

void *sites_need(struct parser *p, void *memory)
{
	if (!memory)
		p->stopped = p->no_memory = true;
	return memory;
}

const char *sites_keep(struct parser *p, const char *text)
{
	return sites_need(p, arena_strdup(p->arena, text));
}

/* Make room for one more in an array of the arena, doubling. False when there is no memory. */
static bool make_room(struct parser *p, void **array, size_t count, size_t *room, size_t size)
{
	if (count < *room)
		return true;
	size_t more = *room ? *room * 2 : 64;
	void *grown = sites_need(p, arena_array(p->arena, more, size));
	if (!grown)
		return false;
	if (count)
		memcpy(grown, *array, count * size);
	*array = grown;
	*room = more;
	return true;
}

bool sites_spend(struct parser *p, size_t work)
{
	p->work += work;
	return p->work <= (1u << 20) + (uint64_t)p->loaded * SITES_WORK_FACTOR;
}

const char *sites_word(const struct parser *p, size_t i)
{
	return i < p->word_count ? p->text.data + p->word[i] : "";
}

/* --- values --- */

const char *sites_clean_root(struct parser *p, const char *text, const char **note)
{
	char out[SITES_PATH_MAX];
	size_t len = 0;

	*note = NULL;
	if (strchr(text, '$'))
		*note = "its root has a variable";
	else if (text[0] != '/')
		*note = "its root is relative to a folder that the configuration does not name";
	else if (!utf8_valid(text, strlen(text)))
		*note = "its root is not UTF-8";
	else if (strlen(text) > SITES_ROOT_MAX)
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
	return sites_need(p, arena_strndup(p->arena, out, len));
}

void sites_add_port(int *ports, size_t *count, int port)
{
	size_t at = 0;

	while (at < *count && ports[at] < port)
		at++;
	if ((at < *count && ports[at] == port) || *count == SITES_PORTS_MAX)
		return;
	memmove(ports + at + 1, ports + at, (*count - at) * sizeof *ports);
	ports[at] = port;
	++*count;
}

const char *sites_judge_name(const char *text, char out[HOSTNAME_MAX])
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

void sites_add_name(struct parser *p, const struct lexer *lx, struct block *b, const char *text, const char *reason)
{
	if (p->name_count == SITES_NAMES_MAX) {
		sites_stop(p, lx, "there are too many server names");
		return;
	}
	void *names = p->names;
	if (!make_room(p, &names, p->name_count, &p->name_room, sizeof *p->names))
		return;
	p->names = names;
	const char *kept = sites_keep(p, text);
	if (!kept)
		return;
	p->names[p->name_count] = (struct name){ .text = kept, .reason = reason, .block = b, .at = p->name_count };
	p->name_count++;
	b->name_count++;
}

bool sites_is_url(const char *text)
{
	return strncasecmp(text, "http://", 7) == 0 || strncasecmp(text, "https://", 8) == 0 ||
	       strncmp(text, "$scheme://", 10) == 0;
}

/* --- files --- */

size_t sites_file_index(const struct parser *p, const char *path, bool *found)
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

void sites_add_file(struct parser *p, const char *path, const char *text, size_t len)
{
	bool found;
	size_t at = sites_file_index(p, path, &found);
	void *files = p->files;

	if (found || p->file_count == SITES_FILES_MAX ||
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

	if (p->file_count == SITES_FILES_MAX) {
		sites_stop(p, lx, "there are too many files");
		return NULL;
	}
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) {
		sites_warn(p, lx->file, lx->start, strerror(errno), path);
		return NULL;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		sites_warn(p, lx->file, lx->start, "not a regular file", path);
	else if (!read_all(p->arena, fd, SITES_TEXT_MAX - p->loaded, &text, &len))
		sites_warn(p, lx->file, lx->start, errno == EFBIG ? "the configuration is too large" : strerror(errno), path);
	close(fd);
	const char *name = text ? sites_keep(p, path) : NULL;
	if (!name)
		return NULL;
	p->loaded += len;
	sites_add_file(p, name, text, len);
	size_t at = sites_file_index(p, path, &found);
	return found ? &p->files[at] : NULL;
}

void sites_read_file(struct parser *p, const struct lexer *from, struct file file, int place, struct block *b)
{
	struct lexer lx = { .file = file.path, .text = file.text, .len = file.len, .line = 1, .start = 1 };

	for (int i = 0; i < p->within_count; i++) {
		if (strcmp(p->within[i], file.path) == 0) {
			sites_warn(p, from->file, from->start, "the file includes itself", file.path);
			return;
		}
	}
	if (p->depth == SITES_DEPTH_MAX) {
		sites_warn(p, from->file, from->start, "includes are nested too deeply, this one is left out", file.path);
		return;
	}
	if (++p->includes > SITES_INCLUDES_MAX || !sites_spend(p, file.len + 64)) {
		sites_stop(p, from, "there are too many includes");
		return;
	}
	if (lx.len >= 3 && memcmp(lx.text, "\xef\xbb\xbf", 3) == 0)
		lx.pos = 3;
	p->within[p->within_count++] = file.path;
	p->depth++;
	p->read(p, &lx, place, b);
	p->depth--;
	p->within_count--;
}

static void include_path(struct parser *p, struct lexer *lx, const char *path, int place, struct block *b)
{
	bool found;
	size_t at = sites_file_index(p, path, &found);
	const struct file *file = found ? &p->files[at] : load_file(p, lx, path);

	if (file)
		sites_read_file(p, lx, *file, place, b);
}

bool sites_include(struct parser *p, struct lexer *lx, const char *path, int place, struct block *b)
{
	if (!path[strcspn(path, "*?[")]) {
		include_path(p, lx, path, place, b);
		return true;
	}
	glob_t found;
	int status = glob(path, 0, NULL, &found);
	for (size_t i = 0; status == 0 && i < found.gl_pathc && !p->stopped; i++)
		include_path(p, lx, found.gl_pathv[i], place, b);
	if (status != 0 && status != GLOB_NOMATCH)
		sites_warn(p, lx->file, lx->start, "the include cannot be resolved", path);
	globfree(&found);
	return status != GLOB_NOMATCH;
}

bool sites_load(struct arena *arena, const char *path, const char **text, size_t *len, const char **why)
{
	static const char no_memory[] = "out of memory";
	const char *name = path ? path : "standard input";
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) : STDIN_FILENO;
	bool complete = fd >= 0 && read_all(arena, fd, SITES_TEXT_MAX, text, len);
	int error = errno;

	if (path && fd >= 0)
		close(fd);
	if (complete)
		return true;
	*why = error == EFBIG ? arena_printf(arena, "%s: larger than %u MiB", name, SITES_TEXT_MAX >> 20) :
		arena_printf(arena, "%s: %s", name, strerror(error));
	*why = *why ? *why : no_memory;
	return false;
}

/* --- merging --- */

static bool only_redirects(const struct block *b)
{
	bool backend = b->backend != SITE_NOTHING;

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
	return *note = p->default_note, p->default_root;
}

static enum site_kind kind_of(const struct parser *p, const struct block *b)
{
	const char *note, *root = root_of(p, b, &note);

	if (only_redirects(b))
		return SITE_REDIRECT;
	if (b->backend != SITE_NOTHING)
		return b->backend;
	return root || note ? SITE_STATIC : SITE_NOTHING;
}

static const char *certificate_of(const struct parser *p, const struct block *b)
{
	return b->certificate ? b->certificate : b->tls ? p->default_certificate : NULL;
}

/* How much a block tells about its names: content before redirects, a root before none, then TLS. */
static int weight_of(const struct parser *p, const struct block *b)
{
	const char *note;
	enum site_kind kind = kind_of(p, b);

	return 8 * (kind > SITE_REDIRECT) + 4 * (root_of(p, b, &note) != NULL) + 2 * (kind != SITE_REDIRECT) +
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

static void take_content(const struct parser *p, struct site *site, const struct block *b)
{
	site->root = root_of(p, b, &site->root_note);
	site->kind = kind_of(p, b);
	site->redirect = site->kind == SITE_REDIRECT ? b->redirect : NULL;
	site->file = b->file;
	site->line = b->line;
}

/* One site of `group` equal names, which lie together. */
static void fill_site(const struct parser *p, struct merge *m, struct name *const *equal, size_t group, size_t index)
{
	struct site *site = &p->conf->sites[index];
	const struct block *best = equal[0]->block;

	site->name = equal[0]->text;
	for (size_t i = 0; i < group; i++) {
		const struct block *b = equal[i]->block;
		if (weight_of(p, b) > weight_of(p, best))
			best = b;
		if (!site->certificate)
			site->certificate = certificate_of(p, b);
		for (size_t k = 0; k < b->port_count; k++)
			sites_add_port(site->ports, &site->port_count, b->ports[k]);
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
	struct site *sites = p->conf->sites;
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
		if (sites[i].kind == SITE_REDIRECT && target_host(sites[i].redirect, host))
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
	struct sites *conf = p->conf;
	size_t count = p->name_count, heads = 0;
	struct merge m = { 0 };
	struct name **sorted = sites_need(p, arena_array(p->arena, count, sizeof *sorted));
	struct name **first = sites_need(p, arena_array(p->arena, count, sizeof *first));

	conf->sites = sites_need(p, arena_array(p->arena, count, sizeof *conf->sites));
	conf->skips = sites_need(p, arena_array(p->arena, count, sizeof *conf->skips));
	m.domains = sites_need(p, arena_array(p->arena, count, sizeof(struct name *)));
	m.best = sites_need(p, arena_array(p->arena, count, sizeof(struct block *)));
	m.up = sites_need(p, arena_array(p->arena, count, sizeof *m.up));
	m.seen = sites_need(p, arena_array(p->arena, count, sizeof *m.seen));
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
				(struct site_skip){ n->text, n->reason, n->block->file, n->block->line };
		else
			fill_site(p, &m, sorted + n->site, n->group, conf->site_count++);
	}
	join_sites(p, &m);
}

/* --- doors --- */

struct parser *sites_parser(struct arena *arena, size_t loaded)
{
	struct parser *p = arena_alloc(arena, sizeof *p);
	struct sites *conf = arena_alloc(arena, sizeof *conf);
	size_t *words = arena_array(arena, SITES_WORDS_MAX, sizeof *words);

	if (!p || !conf || !words)
		return NULL;
	*conf = (struct sites){ 0 };
	*p = (struct parser){ .arena = arena, .conf = conf, .word = words, .loaded = loaded };
	buf_init(&p->text, SITES_LINE_MAX);
	return p;
}

struct sites *sites_finish(struct parser *p)
{
	buf_free(&p->text);
	p->conf->prefix = p->prefix;
	if (p->name_count && !p->no_memory)
		merge_names(p);
	return p->no_memory ? NULL : p->conf;
}

/* --- types --- */

static int by_site_name(const void *a, const void *b)
{
	return strcmp((*(const struct site *const *)a)->name, (*(const struct site *const *)b)->name);
}

static int by_account(const void *a, const void *b)
{
	const struct site *x = *(const struct site *const *)a, *y = *(const struct site *const *)b;
	int order = strcmp(x->account, y->account);

	return order ? order : (x > y) - (x < y);
}

static bool below_another(struct site **sorted, size_t count, const struct site *site)
{
	for (const char *dot = strchr(site->name, '.'); dot; dot = strchr(dot + 1, '.')) {
		const struct site wanted = { .name = dot + 1 }, *key = &wanted;
		struct site **hit = bsearch(&key, sorted, count, sizeof *sorted, by_site_name);
		if (hit && (*hit)->account && strcmp((*hit)->account, site->account) == 0)
			return true;
	}
	return false;
}

bool sites_set_types(struct arena *arena, struct sites *conf)
{
	struct site **sorted = arena_array(arena, conf->site_count, sizeof *sorted);
	struct site **own = arena_array(arena, conf->site_count, sizeof *own);
	size_t count = 0;

	if (!sorted || !own)
		return false;
	for (size_t i = 0; i < conf->site_count; i++)
		sorted[i] = &conf->sites[i];
	qsort(sorted, conf->site_count, sizeof *sorted, by_site_name);
	for (size_t i = 0; i < conf->site_count; i++) {
		struct site *site = &conf->sites[i];
		site->type = SITE_UNTYPED;
		if (site->alias_of)
			site->type = SITE_ALIAS;
		else if (site->account && below_another(sorted, conf->site_count, site))
			site->type = SITE_SUBDOMAIN;
		else if (site->account)
			own[count++] = site;
	}
	qsort(own, count, sizeof *own, by_account);
	for (size_t i = 0; i < count; i++)
		own[i]->type = i && strcmp(own[i - 1]->account, own[i]->account) == 0 ? SITE_ADDON : SITE_PRIMARY;
	return true;
}

const char *site_kind_name(enum site_kind kind)
{
	static const char *const names[] = { "nothing", "redirect", "static", "fastcgi", "proxy" };

	return kind <= SITE_PROXY ? names[kind] : names[SITE_NOTHING];
}

const char *site_type_name(enum site_type type)
{
	static const char *const names[] = { "", "primary", "addon", "subdomain", "alias" };

	return type <= SITE_ALIAS ? names[type] : names[SITE_UNTYPED];
}
