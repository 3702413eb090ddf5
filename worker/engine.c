/* engine.c: see engine.h. restic, as of 0.14. */
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "json.h"

enum { LIST_MAX = 4 << 20, FORGET_MAX = 32, PASSWORD_BYTES = 32 };

/* What differs between engines: commands to be run, and how to read what they say. */
struct engine {
	void (*create)(struct action *, const char *folder, struct command *);
	void (*unlock)(struct action *, struct command *);
	void (*save)(struct action *, const char *file, const char *const *tags, struct command *);
	void (*said)(struct action *, struct stream *, const char *line);
	void (*load)(struct action *, const char *snapshot, const char *file, struct command *);
	void (*list)(struct action *, const char *tag, struct command *);
	struct json_object *(*listed)(const char *output, size_t len); /* array of snapshots' names; NULL: not understood */
	void (*forget)(struct action *, struct json_object *snapshots, size_t first, size_t count, struct command *);
	void (*prune)(struct action *, bool tight, struct command *); /* tight: writing no more than it must */
};

/* --- restic ------------------------------------------------------------------------------------------------------------ */

/* The setting's words, then ours, ended by NULL. Repository and password file go by the environment, which names the password's
 * file only. Without a cache: the repository is a local folder. */
static void restic(struct action *a, struct command *c, const char *folder, ...)
{
	const char **env = arena_alloc(a->arena, 4 * sizeof *env), *word;
	va_list words;

	*c = (struct command){ 0 };
	if (!env)
		action_retry("out of memory");
	command_split(a, a->config.backup_engine, c);
	va_start(words, folder);
	while ((word = va_arg(words, const char *)))
		command_add(c, word);
	va_end(words);
	command_add(c, "--no-cache");
	env[0] = arena_printf(a->arena, "RESTIC_REPOSITORY=%s", folder ? folder : a->config.backup_repository);
	env[1] = arena_printf(a->arena, "RESTIC_PASSWORD_FILE=%s", a->config.backup_password_file);
	env[2] = "RESTIC_PROGRESS_FPS=1";
	c->env = env;
}

static void restic_create(struct action *a, const char *folder, struct command *c)
{
	restic(a, c, folder, "init", "--quiet", NULL);
}

/* All of them, as nobody but us is there: a look at which are stale would send a signal to whatever process has the number of
 * the one that left it by now. */
static void restic_unlock(struct action *a, struct command *c)
{
	restic(a, c, NULL, "unlock", "--remove-all", "--quiet", NULL);
}

static void restic_save(struct action *a, const char *file, const char *const *tags, struct command *c)
{
	restic(a, c, NULL, "backup", "--json", "--stdin", "--stdin-filename", file, NULL);
	for (; *tags; tags++)
		command_add(c, arena_printf(a->arena, "--tag=%s", *tags));
}

static int64_t number_of(struct json_object *line, const char *name)
{
	struct json_object *value;

	return json_object_object_get_ex(line, name, &value) ? json_object_get_int64(value) : 0;
}

/* {"message_type":"status","bytes_done":…} now and then, {"message_type":"summary","snapshot_id":…} at the end. */
static void restic_said(struct action *a, struct stream *s, const char *text)
{
	struct json_object *line, *type, *snapshot;
	const char *why = NULL;
	size_t at;

	(void)a;
	line = json_parse(text, strlen(text), &why, &at);
	if (!line || !json_object_object_get_ex(line, "message_type", &type)) {
		json_object_put(line);
		return;
	}
	if (strcmp(json_object_get_string(type), "status") == 0) {
		s->bytes = number_of(line, "bytes_done");
	} else if (strcmp(json_object_get_string(type), "summary") == 0 && json_object_object_get_ex(line, "snapshot_id", &snapshot)) {
		s->bytes = number_of(line, "total_bytes_processed");
		snprintf(s->snapshot, sizeof s->snapshot, "%s", json_object_get_string(snapshot));
	}
	json_object_put(line);
	if (s->progress)
		s->progress(s);
}

static void restic_load(struct action *a, const char *snapshot, const char *file, struct command *c)
{
	restic(a, c, NULL, "dump", snapshot, arena_printf(a->arena, "/%s", file), NULL);
}

static void restic_list(struct action *a, const char *tag, struct command *c)
{
	restic(a, c, NULL, "snapshots", "--json", "--no-lock", "--tag", tag, NULL);
}

static struct json_object *restic_listed(const char *output, size_t len)
{
	const char *why = NULL;
	size_t at;
	struct json_object *all = json_parse(output, len, &why, &at), *names = json_object_new_array(), *name;

	for (size_t i = 0; json_object_is_type(all, json_type_array) && i < json_object_array_length(all); i++)
		if (json_object_object_get_ex(json_object_array_get_idx(all, i), "id", &name))
			json_object_array_add(names, json_object_get(name));
	if (why) {
		json_object_put(names);
		names = NULL;
	}
	json_object_put(all);
	return names;
}

static void restic_forget(struct action *a, struct json_object *snapshots, size_t first, size_t count, struct command *c)
{
	restic(a, c, NULL, "forget", "--quiet", NULL);
	for (size_t i = first; i < first + count; i++)
		command_add(c, json_object_get_string(json_object_array_get_idx(snapshots, i)));
}

static void restic_prune(struct action *a, bool tight, struct command *c)
{
	restic(a, c, NULL, "prune", "--quiet", tight ? "--max-repack-size=0" : NULL, NULL);
}

static const struct engine engine = { restic_create, restic_unlock, restic_save, restic_said, restic_load,
	                              restic_list, restic_listed, restic_forget, restic_prune };

/* --- the repository ------------------------------------------------------------------------------------------------------ */

static int lock = -1;

static int root_folder(void)
{
	int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		action_retry("/: %s", strerror(errno));
	return root;
}

static void make_parent(struct action *a, int root, const char *path)
{
	char *folder = arena_strdup(a->arena, path);
	int made;

	if (!folder || !strrchr(folder, '/'))
		action_fail("%s: must be an absolute path", path);
	*strrchr(folder, '/') = '\0';
	made = file_make_folder(root, folder, 0700, (uid_t)-1, (gid_t)-1);
	if (made < 0)
		action_fail("%s/ cannot be made: %s", folder, strerror(errno));
	close(made);
}

/* A password is made for a new repository only: one that is there cannot be read with another. */
static void have_password(struct action *a, int root, bool is_new)
{
	const char *path = a->config.backup_password_file;
	unsigned char random[PASSWORD_BYTES];
	char text[2 * PASSWORD_BYTES + 2];
	bool written;

	if (access(path, F_OK) == 0)
		return;
	if (!is_new)
		action_fail("the password file %s is missing: put back your copy of it, without which no backup can be read", path);
	if (RAND_bytes(random, sizeof random) != 1)
		action_retry("no random bytes can be had");
	for (size_t i = 0; i < sizeof random; i++)
		snprintf(text + 2 * i, 3, "%02x", random[i]);
	text[2 * PASSWORD_BYTES] = '\n';
	make_parent(a, root, path);
	written = file_write(root, path, text, 2 * PASSWORD_BYTES + 1, 0600, (uid_t)-1, (gid_t)-1);
	explicit_bzero(random, sizeof random);
	explicit_bzero(text, sizeof text);
	if (!written)
		action_fail("the password file %s cannot be written: %s", path, strerror(errno));
	action_log("made the password file %s; keep a copy of it elsewhere, without it no backup can be read", path);
}

/* Made aside and moved to its place when it is whole: of one that was killed half-way only the folder aside is left. */
static void make_repository(struct action *a, int root)
{
	const char *path = a->config.backup_repository, *aside = arena_printf(a->arena, "%s.new", path);
	struct command create;

	make_parent(a, root, path);
	if (!file_remove(root, aside))
		action_fail("%s cannot be removed: %s", aside, strerror(errno));
	engine.create(a, aside, &create);
	if (!command_run(a, &create))
		action_fail("the repository %s cannot be made: %s", path, command_complaint(a, &create));
	if (rename(aside, path) != 0)
		action_fail("the repository %s cannot be put in place: %s", path, strerror(errno));
}

/*
 * Whatever deletes a backup writes first: a lock, an index. So a file of some size lies in the repository, where the engine does
 * not look at it, and goes where the disk is full; it is made anew when there is room.
 */
static bool tight; /* it went */

static const char *ballast_of(struct action *a)
{
	return arena_printf(a->arena, "%s/postern.ballast", a->config.backup_repository);
}

static void keep_ballast(struct action *a)
{
	const char *path = ballast_of(a);
	off_t size = (off_t)a->config.backup_ballast_mb << 20;
	struct stat st;
	int fd, error;

	if (lstat(path, &st) == 0 && st.st_size == size)
		return;
	unlink(path);
	if (size == 0)
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	error = fd < 0 ? errno : posix_fallocate(fd, 0, size);
	if (fd >= 0)
		close(fd);
	if (error == 0)
		return;
	unlink(path);
	action_log("the file %s of %d MB, which is there to go when the disk is full, cannot be made: %s", path,
	           a->config.backup_ballast_mb, strerror(error));
}

static void make_room(struct action *a)
{
	struct statvfs fs;
	unsigned long long need = (unsigned long long)a->config.backup_ballast_mb << 20;

	tight = statvfs(a->config.backup_repository, &fs) == 0 && (unsigned long long)fs.f_bavail * fs.f_frsize < need;
	if (tight && unlink(ballast_of(a)) == 0)
		action_log("the disk of the repository is full: %s went to make room for the deletion", ballast_of(a));
}

static bool take(int how)
{
	int done;

	action_waits(true); /* for whoever has it alone: their job is limited, and lets go at its end */
	while ((done = flock(lock, how)) != 0 && errno == EINTR)
		;
	action_waits(false);
	return done == 0;
}

void engine_open(struct action *a, enum engine_use use)
{
	const char *path = arena_printf(a->arena, "%s/backups.lock", a->config.worker_dir);
	struct command unlock;
	bool there, alone;
	int root = root_folder();

	make_parent(a, root, path);
	lock = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (lock < 0)
		action_fail("%s: %s", path, strerror(errno));
	alone = take(LOCK_EX | LOCK_NB);
	if (!alone && use == ENGINE_ALONE)
		action_retry("other backup jobs use the repository");
	if (!alone && !take(LOCK_SH))
		action_retry("%s: %s", path, strerror(errno));
	there = access(arena_printf(a->arena, "%s/config", a->config.backup_repository), F_OK) == 0;
	if (!there && !alone)
		action_retry("the repository is being made");
	if (alone) {
		have_password(a, root, !there);
		if (!there)
			make_repository(a, root);
		engine.unlock(a, &unlock);
		if (!command_run(a, &unlock))
			action_fail("the repository cannot be opened: %s", command_complaint(a, &unlock));
		if (use == ENGINE_ALONE)
			make_room(a);
		else
			keep_ballast(a);
		if (use == ENGINE_SHARED)
			take(LOCK_SH);
	}
	close(root);
}

static void line_said(void *arg, const char *line);
struct said { struct action *action; struct stream *stream; };
static void line_said(void *arg, const char *line)
{
	struct said *s = arg;

	engine.said(s->action, s->stream, line);
}

void engine_save(struct action *a, struct stream *s, const char *file, const char *const *tags, struct command *c)
{
	struct said *said = arena_alloc(a->arena, sizeof *said);

	if (!said)
		action_retry("out of memory");
	*said = (struct said){ a, s };
	s->snapshot[0] = '\0';
	s->bytes = 0;
	engine.save(a, file, tags, c);
	c->line = line_said;
	c->arg = said;
}

void engine_load(struct action *a, const char *snapshot, const char *file, struct command *c)
{
	engine.load(a, snapshot, file, c);
}

static bool alone_now(const char **why)
{
	if (take(LOCK_EX | LOCK_NB))
		return true;
	take(LOCK_SH); /* the attempt gave up what was held */
	*why = "other backup jobs use the repository";
	return false;
}

static bool forget_all(struct action *a, struct json_object *snapshots, const char **why)
{
	size_t total = json_object_array_length(snapshots);

	for (size_t i = 0; i < total; i += FORGET_MAX) {
		struct command forget;

		engine.forget(a, snapshots, i, total - i < FORGET_MAX ? total - i : FORGET_MAX, &forget);
		if (!command_run(a, &forget)) {
			*why = command_complaint(a, &forget);
			return false;
		}
	}
	return true;
}

struct json_object *engine_list(struct action *a, const char *tag, const char **why)
{
	struct command list;
	struct json_object *snapshots;

	engine.list(a, tag, &list);
	list.output_max = LIST_MAX;
	if (!command_run(a, &list)) {
		*why = command_complaint(a, &list);
		return NULL;
	}
	snapshots = engine.listed(list.output, list.output_len);
	if (!snapshots)
		*why = "the engine's list of snapshots cannot be read";
	return snapshots;
}

bool engine_forget(struct action *a, const char *tag, const char **why)
{
	struct json_object *snapshots = engine_list(a, tag, why);
	bool done = snapshots && (json_object_array_length(snapshots) == 0 || (alone_now(why) && forget_all(a, snapshots, why)));

	json_object_put(snapshots);
	return done;
}

bool engine_forget_one(struct action *a, const char *snapshot, const char **why)
{
	struct json_object *one = json_object_new_array();
	bool done;

	json_object_array_add(one, json_object_new_string(snapshot));
	done = alone_now(why) && forget_all(a, one, why);
	json_object_put(one);
	return done;
}

bool engine_prune(struct action *a, const char **why)
{
	struct command prune;

	if (!alone_now(why))
		return false;
	for (bool first = tight;; first = false) { /* where there is no room, whole files first; the rest needs more of it */
		engine.prune(a, first, &prune);
		if (!command_run(a, &prune)) {
			*why = command_complaint(a, &prune);
			return false;
		}
		if (!first)
			break;
	}
	keep_ballast(a);
	return true;
}
