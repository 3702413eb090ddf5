/* sites_reader.c: see sites_reader.h. Words, values and files; what is made of them is in sites.c. */
#include "sites_reader.h"

#include "address.h"
#include "arena.h"
#include "json.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- helpers --- */

void *sites_need(struct parser *p, void *memory)
{
	if (!memory)
		p->stopped = p->no_memory = true;
	return memory;
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

void sites_warn(struct parser *p, const char *file, unsigned line, const char *what, const char *about)
{
	struct sites *conf = p->conf;
	void *warnings = conf->warnings;

	if (conf->warning_count == SITES_WARNINGS_MAX ||
	    !make_room(p, &warnings, conf->warning_count, &p->warning_room, sizeof *conf->warnings))
		return;
	conf->warnings = warnings;
	const char *text = conf->warning_count + 1 == SITES_WARNINGS_MAX ?
		arena_strdup(p->arena, "there are more warnings") :
		arena_printf(p->arena, "%s:%u: %s%s%.400s", file, line, what, about ? ": " : "", about ? about : "");
	if (text)
		conf->warnings[conf->warning_count++] = text;
}

void sites_stop(struct parser *p, const struct lexer *lx, const char *why)
{
	if (!p->stopped)
		sites_warn(p, lx->file, lx->line, why, "the rest is left out");
	p->stopped = true;
}

const char *sites_keep(struct parser *p, const char *text)
{
	return sites_need(p, arena_strdup(p->arena, text));
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

bool sites_mentions(const char *text, const char *part)
{
	for (size_t len = strlen(part); *text; text++)
		if (strncasecmp(text, part, len) == 0)
			return true;
	return false;
}

bool sites_is_everything(const char *pattern)
{
	if (sites_mentions(pattern, "well-known") && (pattern[0] == '!' || strstr(pattern, "(?!")))
		return true;
	return *pattern && strspn(pattern, "^/(.*)+?$") == strlen(pattern);
}

void sites_add_part(struct parser *p, const struct lexer *lx, struct block *b, const char *path, const char *folder)
{
	if (!b || sites_mentions(path, "well-known"))
		return;
	struct part *part = sites_need(p, arena_alloc(p->arena, sizeof *part));
	if (!part)
		return;
	*part = (struct part){ sites_keep(p, path), lx->file, lx->start, folder ? sites_keep(p, folder) : NULL, b->parts };
	if (part->path && (part->folder || !folder))
		b->parts = part;
}

/* What lies in the root goes with it. The parts were put in front one by one: last first. */
void sites_report_parts(struct parser *p, const struct block *b)
{
	const char *nested = b->backend_is_root ? NULL : b->nested_root;
	const char *root = b->root ? b->root : b->location_root ? b->location_root : nested;
	const char *first = b->name_count ? p->names[b->first_name].text : "", *name = *first ? first : "a server without a name";
	struct part *in_order = NULL, *next;

	for (struct part *part = b->parts; part; part = next) {
		next = part->next;
		part->next = in_order;
		in_order = part;
	}
	for (const struct part *part = in_order; part && !p->no_memory; part = part->next) {
		const char *note, *clean = part->folder ? sites_clean_root(p, part->folder, &note) : NULL;
		size_t len = clean && root ? strlen(root) : 0;
		if (len && strncmp(clean, root, len) == 0 && (!clean[len] || clean[len] == '/' || len == 1))
			continue;
		const char *about = sites_need(p, part->folder ?
			arena_printf(p->arena, "%.100s of %.100s is served from %.100s", part->path, name, part->folder) :
			arena_printf(p->arena, "%.100s of %.100s is a proxy", part->path, name));
		if (about)
			sites_warn(p, part->file, part->line, "this is not taken over", about);
	}
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

static void include_path(struct parser *p, struct lexer *lx, const char *path, bool folders, int place, struct block *b)
{
	struct stat st;
	bool found;

	if (folders && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		sites_include_folder(p, lx, path, place, b);
		return;
	}
	size_t at = sites_file_index(p, path, &found);
	const struct file *file = found ? &p->files[at] : load_file(p, lx, path);

	if (file)
		sites_read_file(p, lx, *file, place, b);
}

void sites_include_folder(struct parser *p, struct lexer *lx, const char *path, int place, struct block *b)
{
	struct dirent **entries;
	char real[PATH_MAX];
	size_t len = strlen(path);

	if (p->depth == SITES_DEPTH_MAX) {
		sites_warn(p, lx->file, lx->start, "folders are nested too deeply, this one is left out", path);
		return;
	}
	const char *folder = realpath(path, real) ? sites_keep(p, real) : path;
	for (int i = 0; folder && i < p->within_count; i++) {
		if (strcmp(p->within[i], folder) == 0) {
			sites_warn(p, lx->file, lx->start, "the folder leads to itself", path);
			return;
		}
	}
	int count = folder ? scandir(path, &entries, NULL, alphasort) : -1;
	if (count < 0) {
		sites_warn(p, lx->file, lx->start, strerror(errno), path);
		return;
	}
	p->within[p->within_count++] = folder;
	p->depth++;
	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;
		const char *slash = len && path[len - 1] == '/' ? "" : "/";
		const char *file = sites_need(p, arena_printf(p->arena, "%s%s%s", path, slash, name));
		if (!file || p->stopped || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			;
		else if (name[0] == '.')
			sites_warn(p, lx->file, lx->start, "a hidden file is left out", file);
		else if (++p->includes > SITES_INCLUDES_MAX || strlen(file) >= SITES_PATH_MAX)
			sites_stop(p, lx, "there are too many files in the folder");
		else
			include_path(p, lx, file, true, place, b);
		free(entries[i]);
	}
	free(entries);
	p->depth--;
	p->within_count--;
}

char *sites_home(struct arena *arena, const char *path, const char *const *main)
{
	const char *slash = strrchr(path, '/');
	char *own = arena_strndup(arena, path, slash ? (size_t)(slash - path) + 1 : 0);
	char real[PATH_MAX];

	if (!own || !realpath(*own ? own : ".", real))
		return own;
	for (size_t len = strlen(real), first = len;; real[len] = '\0') {
		for (size_t i = 0; main[i]; i++) {
			const char *found = arena_printf(arena, "%s/%s", len > 1 ? real : "", main[i]);
			if (!found)
				return NULL;
			if (access(found, F_OK) == 0)
				return len == first ? own : arena_printf(arena, "%s/", len > 1 ? real : "");
		}
		while (len && real[len - 1] != '/')
			len--;
		if (len <= 1) /* what lies in the root folder is no server's */
			return own;
		len--;
	}
}

/* A glob that finds nothing may be meant so, but not where its folder is closed, or missing: that the caller may expect. */
static void explain_nothing(struct parser *p, const struct lexer *lx, const char *pattern, bool may_miss)
{
	size_t len = strcspn(pattern, "*?[");

	while (len && pattern[len - 1] != '/')
		len--;
	const char *folder = len ? sites_need(p, arena_strndup(p->arena, pattern, len)) : ".";
	DIR *there = folder ? opendir(folder) : NULL;
	if (folder && !there && !(may_miss && errno == ENOENT))
		sites_warn(p, lx->file, lx->start, strerror(errno), pattern);
	if (there)
		closedir(there);
}

bool sites_include(struct parser *p, struct lexer *lx, const char *path, bool folders, int place, struct block *b)
{
	if (!path[strcspn(path, "*?[")]) {
		include_path(p, lx, path, folders, place, b);
		return true;
	}
	glob_t found;
	int status = glob(path, 0, NULL, &found);
	for (size_t i = 0; status == 0 && i < found.gl_pathc && !p->stopped; i++)
		include_path(p, lx, found.gl_pathv[i], folders, place, b);
	if (status == GLOB_NOMATCH)
		explain_nothing(p, lx, path, folders);
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
