/* webserver.c: see webserver.h. */
#include "webserver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"

enum { FILE_MAX = 1 << 20, NOTES_MAX = 64 << 10, NAME_MAX_BYTES = 32 };

struct webserver webserver_find(struct action *a, const char *name)
{
	const struct config *c = &a->config;

	if (strcmp(name, "nginx") == 0)
		return (struct webserver){ "nginx", c->nginx_sites_dir, c->nginx_test, c->nginx_reload, c->nginx_listen, c->nginx_listen_tls };
	if (strcmp(name, "apache") == 0)
		return (struct webserver){ "apache", c->apache_sites_dir, c->apache_test, c->apache_reload, c->apache_listen, c->apache_listen_tls };
	action_fail("there is no web server \"%s\"; nginx and apache are known", name);
}

/* ---- files ---- */

/* The folder of a file, open, and its name there. -1: errno. */
static int folder_of(struct action *a, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char *folder = arena_strndup(a->arena, path, (size_t)(slash - path));

	*name = slash + 1;
	return folder ? open(*folder ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

static void sync_folder_of(struct action *a, const char *path)
{
	const char *name;
	int folder = folder_of(a, path, &name);

	if (folder >= 0) {
		fsync(folder);
		close(folder);
	}
}

/* NULL: there is none. Ends the action where it cannot be read. */
static const char *present(struct action *a, const char *path, size_t *len)
{
	const char *name, *text;
	int folder = folder_of(a, path, &name);

	if (folder < 0)
		action_fail("the folder of %s cannot be opened: %s", path, strerror(errno));
	errno = 0;
	text = file_read(a, folder, name, FILE_MAX, len);
	if (!text && errno != ENOENT)
		action_fail("%s cannot be read: %s", path, errno ? strerror(errno) : "it is no ordinary file, or too large");
	close(folder);
	return text;
}

static bool put(struct action *a, const struct webserver_file *f)
{
	const char *name;
	int folder = folder_of(a, f->path, &name);
	bool done = folder >= 0 && (f->bytes ? file_write(folder, name, f->bytes, f->len, f->mode, (uid_t)-1, (gid_t)-1)
	                                     : (unlinkat(folder, name, 0) == 0 || errno == ENOENT) && fsync(folder) == 0);
	int why = errno;

	if (folder >= 0)
		close(folder);
	errno = why;
	return done;
}

/* ---- a change under way ---- */

/*
 * It is noted in a file: a line for each of its files, "+" where there was one before, which is then kept beside it, and "-"
 * where there was none. While the note exists the change is not known to be good, and is taken back by whoever comes next.
 */
static const char *note_path(struct action *a, const struct webserver *w, const char *what)
{
	return arena_printf(a->arena, "%s/%s.%s", a->config.worker_dir, w->name, what);
}

static char *kept_path(struct action *a, const char *path)
{
	return arena_printf(a->arena, "%s.before", path);
}

static void take_back(struct action *a, const struct webserver *w, const char *notes)
{
	const char *note = note_path(a, w, "change");
	char *lines = arena_strdup(a->arena, notes), *line;

	while ((line = strsep(&lines, "\n"))) {
		const char *path = line + 1;

		if (*line == '+' ? rename(kept_path(a, path), path) != 0 : *line == '-' ? unlink(path) != 0 : false)
			if (errno != ENOENT) /* done by one that was killed on its way here */
				action_retry("%s cannot be put back as it was: %s", path, strerror(errno));
		if (*line)
			sync_folder_of(a, path);
	}
	if (unlink(note) != 0)
		action_retry("%s cannot be removed: %s", note, strerror(errno));
}

/* Was there one? The server may have it loaded. */
static bool take_back_unfinished(struct action *a, const struct webserver *w)
{
	size_t len;
	const char *notes = present(a, note_path(a, w, "change"), &len);

	if (notes) {
		action_log("a change of %s that was cut short is taken back", w->name);
		take_back(a, w, notes);
	}
	return notes;
}

/* Keep what is there, then say so. */
static const char *keep(struct action *a, const struct webserver *w, const struct webserver_file *files, size_t count)
{
	const char *note = note_path(a, w, "change"), *name;
	struct buf notes;
	char *text;
	int folder;

	buf_init(&notes, NOTES_MAX);
	for (size_t i = 0; i < count; i++) {
		const char *kept = kept_path(a, files[i].path);
		bool there;

		if (unlink(kept) != 0 && errno != ENOENT)
			action_retry("%s cannot be removed: %s", kept, strerror(errno));
		there = link(files[i].path, kept) == 0;
		if (!there && errno != ENOENT)
			action_retry("%s cannot be kept: %s", files[i].path, strerror(errno));
		sync_folder_of(a, files[i].path);
		buf_printf(&notes, "%c%s\n", there ? '+' : '-', files[i].path);
	}
	text = buf_failed(&notes) ? NULL : arena_strdup(a->arena, notes.data);
	buf_free(&notes);
	folder = folder_of(a, note, &name);
	if (!text || folder < 0 || !file_write(folder, name, text, strlen(text), 0600, (uid_t)-1, (gid_t)-1))
		action_retry("%s cannot be written: %s", note, strerror(errno));
	close(folder);
	return text;
}

static bool run(struct action *a, const char *line, const char **complaint)
{
	struct command c = { 0 };

	if (!command_split(a, line, &c))
		action_fail("the setting \"%s\" has too many words", line);
	if (command_run(a, &c))
		return true;
	*complaint = command_complaint(a, &c);
	return false;
}

static bool differs(struct action *a, const struct webserver_file *f)
{
	size_t len;
	const char *text = present(a, f->path, &len);

	if (!text)
		return f->bytes;
	if (f->mark && strncmp(text, f->mark, strlen(f->mark)) != 0)
		action_fail("%s was not written by Postern and stays as it is; move it away", f->path);
	return !f->bytes || len != f->len || memcmp(text, f->bytes, len) != 0;
}

void webserver_change(struct action *a, const struct webserver *w, const struct webserver_file *files, size_t count)
{
	const char *lock = note_path(a, w, "lock"), *notes, *complaint = NULL;
	bool change;
	int held = file_lock(lock);

	if (held < 0)
		action_retry("%s cannot be locked: %s", lock, strerror(errno));
	change = take_back_unfinished(a, w);
	for (size_t i = 0; i < count; i++)
		change |= differs(a, &files[i]);
	if (!change) {
		close(held);
		return;
	}
	notes = keep(a, w, files, count);
	for (size_t i = 0; i < count; i++)
		if (!put(a, &files[i])) {
			int why = errno;

			take_back(a, w, notes);
			action_retry("%s cannot be written: %s", files[i].path, strerror(why));
		}
	action_progress(50, "testing the configuration of %s", w->name);
	if (!run(a, w->test, &complaint)) {
		take_back(a, w, notes);
		action_fail("%s refuses this configuration, which was taken back: %s", w->name, complaint);
	}
	action_progress(80, "reloading %s", w->name);
	if (!run(a, w->reload, &complaint)) {
		take_back(a, w, notes);
		action_retry("%s could not be reloaded, and its files are as before: %s", w->name, complaint);
	}
	if (unlink(note_path(a, w, "change")) != 0)
		action_retry("%s cannot be removed: %s", note_path(a, w, "change"), strerror(errno));
	for (size_t i = 0; i < count; i++)
		unlink(kept_path(a, files[i].path));
	close(held);
}

/* ---- templates ---- */

/* The values are made of characters that mean nothing to either server, between quotes. */
static bool is_plain(const char *text)
{
	return text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@~ :[]*|")] == '\0';
}

/* The placeholder at `at`, or NULL where there is none; *end is what follows, *all whether it is @NAME*@. */
static const struct template_value *placeholder(const char *path, const char *at, const struct template_value *values, size_t count,
                                                const char **end, bool *all)
{
	size_t len = *at == '@' ? strspn(at + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") : 0;
	const char *after = at + 1 + len;

	*all = len && *after == '*';
	after += *all;
	if (!len || *after != '@')
		return NULL;
	*end = after + 1;
	for (size_t i = 0; i < count; i++)
		if (strlen(values[i].name) == len && strncmp(values[i].name, at + 1, len) == 0)
			return &values[i];
	action_fail("%s: there is no @%.*s@; docs/operations.md lists the names", path, (int)(len < NAME_MAX_BYTES ? len : NAME_MAX_BYTES), at + 1);
}

/* One line: with the n-th value of what has several. */
static void fill_line(const char *path, const char *line, const struct template_value *values, size_t count, size_t n,
                      struct buf *out)
{
	const struct template_value *v;
	const char *end;
	bool all;

	while (*line) {
		if (!(v = placeholder(path, line, values, count, &end, &all))) {
			buf_char(out, *line++);
			continue;
		}
		for (size_t i = all || v->count == 1 ? 0 : n, stop = all ? v->count : i + 1; i < stop; i++) {
			if (!is_plain(v->values[i]))
				action_fail("%s: the value of @%s@ holds characters that have no place there", path, v->name);
			if (all && i)
				buf_char(out, ' ');
			buf_str(out, v->values[i]);
		}
		line = end;
	}
	buf_char(out, '\n');
}

/* How often a line stands there. */
static size_t repeats(const char *path, const char *line, const struct template_value *values, size_t count)
{
	size_t times = 1;
	const struct template_value *v;
	const char *end;
	bool all;

	for (; *line; line++) {
		if (!(v = placeholder(path, line, values, count, &end, &all)))
			continue;
		if (v->count == 0)
			return 0;
		if (!all && v->count > 1 && times > 1 && times != v->count)
			action_fail("%s: a line has two lists; write @NAME*@ for one of them", path);
		if (!all && v->count > 1)
			times = v->count;
		line = end - 1;
	}
	return times;
}

void template_fill(struct action *a, const char *name, const struct template_value *values, size_t count, struct buf *out)
{
	const char *path = arena_printf(a->arena, "%s/%s", a->config.local_templates_dir, name), *base;
	char *text = NULL, *line;
	size_t len;
	int folder;

	for (int i = 0; i < 2 && !text; i++) {
		if (i)
			path = arena_printf(a->arena, "%s/%s", a->config.templates_dir, name);
		folder = folder_of(a, path, &base);
		errno = folder >= 0 ? 0 : errno;
		text = folder >= 0 ? file_read(a, folder, base, FILE_MAX, &len) : NULL;
		if (!text && (i || errno != ENOENT))
			action_fail("the template %s cannot be read: %s", path, errno ? strerror(errno) : "it is too large");
		if (folder >= 0)
			close(folder);
	}
	if (len && text[len - 1] == '\n')
		text[len - 1] = '\0';
	while ((line = strsep(&text, "\n")))
		for (size_t n = 0, times = repeats(path, line, values, count); n < times; n++)
			fill_line(path, line, values, count, n, out);
	if (buf_failed(out))
		action_fail("the template %s becomes too long", path);
}
