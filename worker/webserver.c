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
	FILE_MAX = 1 << 20, NOTES_MAX = 64 << 10, SECRET_BYTES = 16, SECRET_TEXT = 64,
	ANSWER_S = 15,     /* after a reload the new configuration is waited for so long; */
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

static void sync_folder_of(const char *path)
{
	const char *name;
	int folder = file_folder_of(path, &name);

	if (folder >= 0) {
		fsync(folder);
		close(folder);
	}
}

/* NULL: there is none. Ends the action where it cannot be read. */
static const char *present(struct action *a, const char *path, size_t *len)
{
	const char *name, *text;
	int folder = file_folder_of(path, &name);

	if (folder < 0)
		action_fail("the folder of %s cannot be opened: %s", path, strerror(errno));
	errno = 0;
	text = file_read(a, folder, name, FILE_MAX, len);
	if (!text && errno != ENOENT)
		action_fail("%s cannot be read: %s", path, errno ? strerror(errno) : "it is no ordinary file, or too large");
	close(folder);
	return text;
}

static bool put(const struct webserver_file *f)
{
	const char *name;
	int folder = file_folder_of(f->path, &name);
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
 * where there was none. While the note exists the change is not known to be good, and is taken back by whoever comes next. What takes
 * something away is no part of it.
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
			sync_folder_of(path);
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

		if (files[i].stays)
			continue;
		if (unlink(kept) != 0 && errno != ENOENT)
			action_retry("%s cannot be removed: %s", kept, strerror(errno));
		there = link(files[i].path, kept) == 0;
		if (!there && errno != ENOENT)
			action_retry("%s cannot be kept: %s", files[i].path, strerror(errno));
		sync_folder_of(files[i].path);
		buf_printf(&notes, "%c%s\n", there ? '+' : '-', files[i].path);
	}
	text = buf_failed(&notes) ? NULL : arena_strdup(a->arena, notes.data);
	buf_free(&notes);
	folder = file_folder_of(note, &name);
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

/* What a server says, without its warnings: they are about everybody's files. */
static char *without_warnings(struct action *a, const char *said)
{
	static const char *const words[] = { "[warn]", "[notice]", "Warning: " };
	char *kept = arena_alloc(a->arena, strlen(said) + 1), *to = kept;
	size_t len;

	for (const char *line = said; kept && *line; line += len) {
		const char *end = strchr(line, '\n');
		bool warns = false;

		len = end ? (size_t)(end - line) + 1 : strlen(line);
		for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
			const char *found = strstr(line, words[i]);

			warns |= found && found < line + len;
		}
		if (warns)
			continue;
		memcpy(to, line, len);
		to += len;
	}
	if (kept)
		*to = '\0';
	return kept;
}

static bool run(struct action *a, const char *line, const char **complaint, const struct webserver_file *files, size_t count)
{
	struct command c = { 0 };

	command_split(a, line, &c);
	if (command_run(a, &c))
		return !(*complaint = conflict(a, c.errors, files, count));
	c.errors = without_warnings(a, c.errors);
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
 * Among the sites stands a virtual host of a name that nobody can guess, with an answer that nobody can, both of which change with every
 * change: who is answered by it is answered by what is in place. It says which change it came with.
 */
struct generation {
	long long number;      /* of the change (below); 0: there is none */
	struct serving serving;
};

static const char *generation_path(struct action *a, const struct webserver *w)
{
	return arena_printf(a->arena, "%s/postern-generation.conf", w->sites_dir);
}

static const char *secret_new(struct action *a)
{
	unsigned char secret[SECRET_BYTES];
	char hex[2 * SECRET_BYTES + 1];

	if (getrandom(secret, sizeof secret, 0) != sizeof secret)
		action_retry("no random bytes: %s", strerror(errno));
	trail_hex(secret, sizeof secret, hex);
	return arena_strdup(a->arena, hex);
}

static struct webserver_file generation_new(struct action *a, const struct webserver *w, long long number)
{
	const char *listen[WEBSERVER_LISTEN_MAX], *name = arena_printf(a->arena, "%s.postern.invalid", secret_new(a)), *answer = secret_new(a);
	struct webserver_file file = { generation_path(a, w), NULL, 0, 0600, WEBSERVER_MARK, false };
	const struct template_value values[] = { { "NAME", &name, 1 }, { "ANSWER", &answer, 1 }, { "LISTEN", listen, webserver_places(a, w->listen, listen) } };

	webserver_fill(a, w, &file, arena_printf(a->arena, "# %lld\n# %s\n# %s\n", number, name, answer), "generation.conf.in", values,
	               sizeof values / sizeof *values);
	return file;
}

static struct generation generation_read(struct action *a, const struct webserver *w)
{
	size_t len;
	const char *text = present(a, generation_path(a, w), &len);
	char *name = arena_alloc(a->arena, SECRET_TEXT), *answer = arena_alloc(a->arena, SECRET_TEXT);
	struct generation g = { 0, { name, answer } };

	if (!text || len <= strlen(WEBSERVER_MARK) ||
	    sscanf(text + strlen(WEBSERVER_MARK), "# %lld\n# %63[0-9a-z.]\n# %63[0-9a-f]\n", &g.number, name, answer) != 3)
		g.number = 0;
	return g;
}

static void pause_ms(long ms)
{
	for (struct timespec left = { ms / 1000, ms % 1000 * 1000000 }; nanosleep(&left, &left) != 0 && errno == EINTR;)
		;
}

/* What came of telling the server. */
enum heard {
	TOLD,    /* every request is answered by what it was told of */
	UNHEARD, /* it was told, and does not answer by that yet; it may at any moment */
	REFUSED, /* its command says that it was not told */
	UNREAD   /* the folder of sites is no part of its configuration */
};

/* Until each address answers by what the server was told of. */
static enum heard await_answers(struct action *a, const struct webserver *w, const struct serving *s, const char **why)
{
	long long begun = timestamp_now();
	const char *missing;
	bool asked = false;

	while ((*why = serving_objection(a, w->listen, s)) && timestamp_now() < begun + ANSWER_S * 1000000LL) {
		if (!asked && timestamp_now() > begun + ASK_S * 1000000LL) {
			asked = true;
			if ((missing = served_includes(a, w->name, generation_path(a, w)))) {
				*why = missing;
				return UNREAD;
			}
		}
		pause_ms(LOOK_MS);
	}
	return *why ? UNHEARD : TOLD;
}

/* Until nobody is answered by the configuration of before: its workers still accept connections for a moment. One that is busy may hold
 * its socket for long without accepting (Apache's prefork). */
static enum heard await_workers(struct action *a, const struct webserver *w, const pid_t *before, const struct serving *s, const char **why)
{
	long long linger = timestamp_now() + LINGER_S * 1000000LL, end = linger + ANSWER_S * 1000000LL;

	for (int good = 0; serving_still(before, w->listen) && good < PROOFS; pause_ms(LOOK_MS)) {
		if (timestamp_now() < linger)
			continue;
		*why = serving_objection(a, w->listen, s);
		good = *why ? 0 : good + 1;
		if (timestamp_now() >= end) {
			*why = *why ? *why : "its workers of before still accept connections";
			return UNHEARD;
		}
	}
	return TOLD;
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
	int folder = file_folder_of(path, &name);

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

/* Until the server was told of that change, and all requests are answered by it. Else *why not. */
static enum heard tell(struct action *a, const struct webserver *w, long long mine, const char **why)
{
	int turn = lock_of(a, w, "reload"), held = lock_of(a, w, "lock");
	struct count n = count_read(a, w);
	struct generation g;
	enum heard heard = TOLD;
	const pid_t *before;

	if (n.told < mine) {
		close(held); /* others may join in meanwhile */
		pause_after(a, &n);
		held = lock_of(a, w, "lock");
		take_back_unfinished(a, w);
		g = generation_read(a, w);
		if (!g.number)
			action_retry("%s is gone or cannot be read; it is written anew", generation_path(a, w));
		before = serving_workers(a, w->listen);
		action_progress(80, "reloading %s", w->name);
		/* the lock is held until the server has read what is there: its command may return before that */
		heard = run(a, w->reload, why, NULL, 0) ? await_answers(a, w, &g.serving, why) : REFUSED;
		if (heard == TOLD) {
			close(held);
			heard = await_workers(a, w, before, &g.serving, why);
			held = lock_of(a, w, "lock");
		}
		if (heard != REFUSED) {
			n = count_read(a, w);
			n.told = heard == TOLD ? g.number : n.told;
			n.told_at_us = timestamp_now();
			count_write(a, w, &n);
		}
	}
	close(held);
	close(turn);
	return heard;
}

/* What could not be told is as it was before, unless it has changed again since, or stays. */
static void undo(struct action *a, const struct webserver *w, const struct webserver_file *files, const struct webserver_file *before, size_t count)
{
	int held = lock_of(a, w, "lock");

	for (size_t i = 0; i < count; i++)
		if (!files[i].stays && !differs(a, &files[i]) && !put(&before[i]))
			action_retry("%s cannot be put back as it was: %s", files[i].path, strerror(errno));
	close(held);
}

/* The job waits until something else than its change is mended. That is noted, so that others which come in the same moment need not
 * ask again. */
static _Noreturn void refuse(struct action *a, const struct webserver *w, const char *complaint)
{
	const char *note = note_path(a, w, "refused"), *name;
	int folder = file_folder_of(note, &name);

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

static void put_staying(const struct webserver_file *files, const struct webserver_file *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (files[i].stays && !put(&bytes[i]))
			action_retry("%s cannot be written: %s", files[i].path, strerror(errno));
}

/* The server refuses a change, whose other files were taken back. Is it what stays that it refuses? Then that is as it was before,
 * too. False also where it refuses everything. */
static bool stays_well(struct action *a, const struct webserver *w, const struct webserver_file *files, const struct webserver_file *before, size_t count)
{
	const char *complaint;

	if (run(a, w->test, &complaint, NULL, 0))
		return true;
	put_staying(files, before, count);
	if (!run(a, w->test, &complaint, NULL, 0))
		put_staying(files, files, count);
	return false;
}

/* Put in place and tested: true; else the others' files are as before, and *complaint says why. */
static bool tested(struct action *a, const struct webserver *w, const struct webserver_file *all, size_t count, const char **complaint)
{
	const char *notes = keep(a, w, all, count);

	for (size_t i = 0; i < count; i++)
		if (!all[i].stays && !put(&all[i])) {
			int why = errno;

			take_back(a, w, notes);
			action_retry("%s cannot be written: %s", all[i].path, strerror(why));
		}
	action_progress(50, "testing the configuration of %s", w->name);
	if (!run(a, w->test, complaint, all, count)) {
		take_back(a, w, notes);
		return false;
	}
	return true;
}

void webserver_change(struct action *a, const struct webserver *w, const struct webserver_file *files, size_t count)
{
	struct webserver_file *all = arena_alloc(a->arena, (count + 1) * sizeof *all), *before = arena_alloc(a->arena, (count + 1) * sizeof *before);
	bool change, leaves = false;
	const char *why = NULL;
	struct generation g;
	struct count n;
	enum heard heard;
	size_t left = 0;
	int held = lock_of(a, w, "lock");

	take_back_unfinished(a, w);
	n = count_read(a, w);
	g = generation_read(a, w);
	change = n.told < n.changed && g.number != n.changed; /* something was put in place that nobody could see yet */
	for (size_t i = 0; i < count; i++) {
		bool other = differs(a, &files[i]);

		before[i] = all[i] = files[i];
		before[i].bytes = present(a, files[i].path, &before[i].len);
		before[i].stays = all[i].stays = files[i].stays && before[i].bytes; /* else there is nothing to take away */
		change |= other || (files[i].bytes && !g.number);
		leaves |= other && all[i].stays;
	}
	if (leaves) { /* it can only hold sooner; it is numbered first, so that it is told whatever becomes of this job */
		n.changed++;
		count_write(a, w, &n);
		put_staying(all, all, count);
	}
	if (change || n.told < n.changed)
		check_refused(a, w);
	if (change) {
		all[count] = generation_new(a, w, n.changed + 1);
		if (!tested(a, w, all, count + 1, &why)) {
			if (leaves && stays_well(a, w, all, before, count)) {
				for (size_t i = 0; i < count; i++)
					if (all[i].stays)
						all[left++] = all[i];
				close(held);
				webserver_change(a, w, all, left);
			} else {
				check_without(a, w);
			}
			action_fail("%s refuses this configuration, which was taken back: %s", w->name, why);
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
	heard = tell(a, w, n.changed, &why);
	if (heard == TOLD)
		return;
	if (heard != UNHEARD && change)
		undo(a, w, all, before, count);
	if (heard == UNREAD)
		refuse(a, w, why);
	lock_of(a, w, "lock"); /* until the end: nobody changes what is looked at */
	check_without(a, w);
	if (heard == UNHEARD)
		action_retry("%s was told to read its configuration again, and does not answer by it yet: %s; the files stay in place, and it is told "
		             "again. Its error log may say why", w->name, why);
	action_retry("%s could not be reloaded%s: %s", w->name, change && !leaves ? ", and its files are as before" : "", why);
}
