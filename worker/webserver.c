/* webserver.c: see webserver.h. */
#include "webserver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "served.h"
#include "serving.h"
#include "timestamp.h"
#include "trail.h"

enum {
	FILE_MAX = 1 << 20, NOTES_MAX = 64 << 10, NAME_MAX_BYTES = 32, SECRET_BYTES = 16,
	ANSWER_S = 15,     /* after a reload the new configuration answers within these; */
	ASK_S = 2,         /* where it does not within these, the server is asked whether it reads it at all; */
	LINGER_S = 5,      /* workers of before that still hold their sockets after these */
	PROOFS = 50,       /* are believed to accept no more when so many requests in a row were answered by the new ones */
	LOOK_MS = 20, REFUSED_S = 5
};

struct webserver webserver_find(struct action *a, const char *name)
{
	const struct config *c = &a->config;

	if (strcmp(name, "nginx") == 0)
		return (struct webserver){ "nginx", c->nginx_sites_dir, c->nginx_test, c->nginx_reload, c->nginx_listen, c->nginx_listen_tls };
	if (strcmp(name, "apache") == 0)
		return (struct webserver){ "apache", c->apache_sites_dir, c->apache_test, c->apache_reload, c->apache_listen, c->apache_listen_tls };
	action_fail("there is no web server \"%s\"; nginx and apache are known", name);
}

size_t webserver_places(struct action *a, const char *listen, const char *places[WEBSERVER_LISTEN_MAX])
{
	char *rest = arena_strdup(a->arena, listen), *word;
	size_t n = 0;

	while ((word = strsep(&rest, " ")))
		if (*word && n < WEBSERVER_LISTEN_MAX)
			places[n++] = word;
	return n;
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

/* nginx lets a name be served by the first server block that has it, and warns: one of ours would serve nothing, or take the place
 * of another. The warning, where it is about a name in these files; else NULL. */
static const char *conflict(struct action *a, const char *said, const struct webserver_file *files, size_t count)
{
	static const char warning[] = "conflicting server name \"";

	for (const char *at = said; (at = strstr(at, warning));) {
		const char *name = at + sizeof warning - 1;
		size_t len = strcspn(name, "\"\n");

		for (size_t i = 0; len && i < count; i++) /* two servers without any name are of no concern */
			for (const char *found = files[i].bytes; found && (found = strstr(found, arena_strndup(a->arena, name, len))); found += len)
				if (found > files[i].bytes && strchr(" \"\t", found[-1]) && strchr(" \";\n", found[len]))
					return arena_printf(a->arena, "it serves %.*s already; import that (postern import nginx), or take it out there", (int)len, name);
		at = name;
	}
	return NULL;
}

static bool run(struct action *a, const char *line, const char **complaint, const struct webserver_file *files, size_t count)
{
	struct command c = { 0 };

	command_split(a, line, &c);
	*complaint = command_run(a, &c) ? conflict(a, c.errors, files, count) : command_complaint(a, &c);
	return !*complaint;
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

void webserver_fill(struct action *a, const struct webserver *w, struct webserver_file *file, const char *comment, const char *name,
                    const struct template_value *values, size_t count)
{
	struct buf text;

	buf_init(&text, FILE_MAX);
	buf_printf(&text, "%s%s", WEBSERVER_MARK, comment);
	template_fill(a, arena_printf(a->arena, "%s/%s", w->name, name), values, count, &text);
	file->bytes = arena_strdup(a->arena, text.data);
	file->len = text.len;
	buf_free(&text);
}

/* ---- what is served ---- */

/*
 * Among the sites stands a virtual host of a name that nobody can guess and that changes with every change: who is answered by it is
 * answered by what is in place.
 */
static const char *generation_path(struct action *a, const struct webserver *w)
{
	return arena_printf(a->arena, "%s/postern-generation.conf", w->sites_dir);
}

static struct webserver_file generation_new(struct action *a, const struct webserver *w)
{
	const char *listen[WEBSERVER_LISTEN_MAX], *name;
	size_t places = webserver_places(a, w->listen, listen);
	unsigned char secret[SECRET_BYTES];
	char hex[2 * SECRET_BYTES + 1];
	struct webserver_file file = { generation_path(a, w), NULL, 0, 0600, WEBSERVER_MARK };

	if (getrandom(secret, sizeof secret, 0) != sizeof secret)
		action_retry("no random bytes: %s", strerror(errno));
	trail_hex(secret, sizeof secret, hex);
	name = arena_printf(a->arena, "%s.postern.invalid", hex);

	const struct template_value values[] = { { "NAME", &name, 1 }, { "LISTEN", listen, places } };

	webserver_fill(a, w, &file, arena_printf(a->arena, "# %s\n", name), "generation.conf.in", values, sizeof values / sizeof *values);
	return file;
}

/* The name that answers where what is in place is served. */
static const char *generation_name(struct action *a, const struct webserver *w)
{
	size_t len;
	const char *text = present(a, generation_path(a, w), &len), *at = text ? text + strlen(WEBSERVER_MARK) + 2 : NULL;

	if (!at || len < strlen(WEBSERVER_MARK) + 2)
		action_retry("%s is gone or cannot be read; change the website once more", generation_path(a, w));
	return arena_strndup(a->arena, at, strcspn(at, "\n"));
}

static void pause_ms(long ms)
{
	for (struct timespec left = { ms / 1000, ms % 1000 * 1000000 }; nanosleep(&left, &left) != 0 && errno == EINTR;)
		;
}

/* Until each address answers by what the server was told of. NULL, or what answers instead; *missing: as the folder of sites is no part
 * of its configuration. */
static const char *await_answers(struct action *a, const struct webserver *w, const char *name, const char **missing)
{
	long long begun = timestamp_now();
	const char *why;
	bool asked = false;

	while ((why = serving_objection(a, w->listen, name)) && timestamp_now() < begun + ANSWER_S * 1000000LL) {
		if (!asked && timestamp_now() > begun + ASK_S * 1000000LL) {
			asked = true;
			if ((*missing = served_includes(a, w->name, generation_path(a, w))))
				return *missing;
		}
		pause_ms(LOOK_MS);
	}
	return why ? arena_printf(a->arena, "%s was told to read its configuration again, and %d s later %s; its error log says why", w->name,
	                          ANSWER_S, why) : NULL;
}

/* Until nobody is answered by the configuration of before: its workers still accept connections for a moment. One that is busy may hold
 * its socket for long without accepting (Apache's prefork). */
static void await_workers(struct action *a, const struct webserver *w, const pid_t *before, const char *name)
{
	long long linger = timestamp_now() + LINGER_S * 1000000LL;

	for (int good = 0; serving_still(before, w->listen) && good < PROOFS; pause_ms(LOOK_MS))
		if (timestamp_now() >= linger)
			good = serving_objection(a, w->listen, name) ? 0 : good + 1;
}

/* ---- reloads ---- */

/*
 * Changes are numbered, and it is noted which of them the server has been told of, so that one reload does for all that were
 * tested before it; between two reloads there is a pause. Nobody reloads while a change is under way: it would be untested.
 */
struct count {
	long long changed;     /* number of the newest tested change */
	long long told;        /* number of the newest that the server was told of */
	long long told_at_us;
};

static struct count count_read(struct action *a, const struct webserver *w)
{
	struct count n = { 0 };
	size_t len;
	const char *text = present(a, note_path(a, w, "count"), &len);

	if (text && sscanf(text, "%lld %lld %lld", &n.changed, &n.told, &n.told_at_us) != 3)
		n = (struct count){ 1, 0, 0 }; /* then it is told once more */
	return n;
}

static void count_write(struct action *a, const struct webserver *w, const struct count *n)
{
	const char *path = note_path(a, w, "count"), *name;
	const char *text = arena_printf(a->arena, "%lld %lld %lld\n", n->changed, n->told, n->told_at_us);
	int folder = folder_of(a, path, &name);

	if (!text || folder < 0 || !file_write(folder, name, text, strlen(text), 0600, (uid_t)-1, (gid_t)-1))
		action_retry("%s cannot be written: %s", path, strerror(errno));
	close(folder);
}

static int lock_of(struct action *a, const struct webserver *w, const char *what)
{
	const char *path = note_path(a, w, what);
	int held = file_lock(path);

	if (held < 0)
		action_retry("%s cannot be locked: %s", path, strerror(errno));
	return held;
}

static void pause_after(struct action *a, const struct count *n)
{
	long long wait_us = n->told_at_us + a->config.web_reload_pause_ms * 1000LL - timestamp_now();

	if (wait_us > 0 && wait_us <= a->config.web_reload_pause_ms * 1000LL) /* else the clock was set back */
		pause_ms((long)(wait_us / 1000) + 1);
}

/* Until the server was told of that change, and all requests are answered by it. NULL, or why they are not. */
static const char *tell(struct action *a, const struct webserver *w, long long mine, const char **missing)
{
	int turn = lock_of(a, w, "reload"), held = lock_of(a, w, "lock");
	struct count n = count_read(a, w);
	const char *complaint = NULL, *name;
	const pid_t *before;
	long long all;

	if (n.told < mine) {
		close(held); /* others may join in meanwhile */
		pause_after(a, &n);
		held = lock_of(a, w, "lock");
		take_back_unfinished(a, w);
		all = count_read(a, w).changed;
		name = generation_name(a, w);
		before = serving_workers(a, w->listen);
		action_progress(80, "reloading %s", w->name);
		/* the lock is held until the server has read what is there: its command may return before that */
		if (run(a, w->reload, &complaint, NULL, 0) && !(complaint = await_answers(a, w, name, missing))) {
			close(held);
			await_workers(a, w, before, name);
			held = lock_of(a, w, "lock");
			n = count_read(a, w);
			n.told = all;
			n.told_at_us = timestamp_now();
			count_write(a, w, &n);
		}
	}
	close(held);
	close(turn);
	return complaint;
}

/* What could not be told is as it was before, unless it has changed again since. */
static void undo(struct action *a, const struct webserver *w, const struct webserver_file *files, const struct webserver_file *before, size_t count)
{
	int held = lock_of(a, w, "lock");

	for (size_t i = 0; i < count; i++)
		if (!differs(a, &files[i]) && !put(a, &before[i]))
			action_retry("%s cannot be put back as it was: %s", files[i].path, strerror(errno));
	close(held);
}

/* The job waits until something else than its change is mended. That is noted, so that others which come in the same moment need not
 * ask again. */
static _Noreturn void refuse(struct action *a, const struct webserver *w, const char *complaint)
{
	const char *note = note_path(a, w, "refused"), *name;
	int folder = folder_of(a, note, &name);

	if (folder < 0 || !file_write(folder, name, complaint, strlen(complaint), 0600, (uid_t)-1, (gid_t)-1))
		action_log("%s cannot be written: %s", note, strerror(errno));
	action_blocked("%s", complaint);
}

/* A server that refuses the configuration of before as well has another fault than this change. */
static void check_without(struct action *a, const struct webserver *w)
{
	const char *complaint;

	if (!run(a, w->test, &complaint, NULL, 0))
		refuse(a, w, arena_printf(a->arena, "not this site: %s", served_placed(a, complaint)));
	unlink(note_path(a, w, "refused"));
}

/* What was in the way of an earlier change: is it still? */
static void check_refused(struct action *a, const struct webserver *w)
{
	const char *note = note_path(a, w, "refused"), *complaint, *missing;
	struct stat st;
	size_t len;

	if (stat(note, &st) != 0)
		return;
	complaint = present(a, note, &len);
	if (complaint && st.st_mtime <= time(NULL) && time(NULL) - st.st_mtime < REFUSED_S)
		action_blocked("%s", complaint);
	check_without(a, w);
	if (stat(generation_path(a, w), &st) == 0 && (missing = served_includes(a, w->name, generation_path(a, w))))
		refuse(a, w, missing);
}

void webserver_check(struct action *a, const struct webserver *w)
{
	int held = lock_of(a, w, "lock");

	take_back_unfinished(a, w);
	check_refused(a, w);
	check_without(a, w);
	close(held);
}

void webserver_change(struct action *a, const struct webserver *w, const struct webserver_file *files, size_t count)
{
	struct webserver_file *all = arena_alloc(a->arena, (count + 1) * sizeof *all), *before = arena_alloc(a->arena, (count + 1) * sizeof *before);
	const char *notes, *complaint = NULL, *missing = NULL;
	struct count n;
	struct stat st;
	bool change, marked;
	int held = lock_of(a, w, "lock");

	take_back_unfinished(a, w);
	marked = stat(generation_path(a, w), &st) == 0;
	check_refused(a, w);
	n = count_read(a, w);
	change = n.told < n.changed && !marked;
	for (size_t i = 0; i < count; i++) {
		all[i] = files[i];
		change |= differs(a, &files[i]) || (files[i].bytes && !marked);
	}
	all[count] = generation_new(a, w);
	for (size_t i = 0; i <= count; i++) {
		before[i] = all[i];
		before[i].bytes = present(a, all[i].path, &before[i].len);
	}
	if (change) {
		notes = keep(a, w, all, count + 1);
		for (size_t i = 0; i <= count; i++)
			if (!put(a, &all[i])) {
				int why = errno;

				take_back(a, w, notes);
				action_retry("%s cannot be written: %s", all[i].path, strerror(why));
			}
		action_progress(50, "testing the configuration of %s", w->name);
		if (!run(a, w->test, &complaint, files, count)) {
			take_back(a, w, notes);
			check_without(a, w);
			action_fail("%s refuses this configuration, which was taken back: %s", w->name, complaint);
		}
		n.changed++;
		count_write(a, w, &n);
		if (unlink(note_path(a, w, "change")) != 0)
			action_retry("%s cannot be removed: %s", note_path(a, w, "change"), strerror(errno));
		for (size_t i = 0; i <= count; i++)
			unlink(kept_path(a, all[i].path));
	}
	close(held);
	/* of one that was killed before, too: what is there may not have been told yet */
	if ((complaint = tell(a, w, n.changed, &missing))) {
		if (change)
			undo(a, w, files, before, count);
		if (missing)
			refuse(a, w, missing);
		check_without(a, w);
		action_retry("%s could not be reloaded, and its files are as before: %s", w->name, complaint);
	}
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
