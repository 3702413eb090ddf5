/*
 * backup.c: what an account has is kept as streams (engine.h): its home and its mail each as a tar archive, each database as its
 * server's own dump. The engine runs as posternd's user and meets no file of a tenant: tar reads and writes those, as the
 * tenant's Unix user, so that neither a link planted in a home nor one that appears while it is read leads to what the
 * user may not touch. All that one attempt stores bears the tag backup:<id>; the next one, and the removal, find it by that.
 */
#include "action.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "database.h"
#include "engine.h"
#include "tenant.h"

enum { NAMES_MAX = 4 << 20, SIGNALLED = 128, TAR_CHANGED = 1, TAR_LACKS = 2, ATTEMPTS = 3, LACKS_MAX = 200, DUMPS_MAX = 30 };

struct backup {
	struct action *action;
	const char *tags[4];
	struct json_object *parts;
	size_t done, count;    /* of the parts */
	int64_t bytes;         /* of those done */
	int64_t expected;      /* of the one under way; 0: not known */
	const char *what;      /* is under way */
	const struct engine *server; /* whose dump that is, of this database; NULL: none's */
	struct database database;
	struct json_object *missing; /* [{"part", "name", "object", "reason"}] */
	const char *broken;    /* why nothing can be stored at all; NULL: it can */
	int percent;           /* told last */
};

static const char *tag_of(struct action *a)
{
	return arena_printf(a->arena, "backup:%lld", (long long)action_int(a, "backup", 0));
}

/* --- whose files --------------------------------------------------------------------------------------------------------- */

struct place {
	const char *user;      /* to run tar as; NULL: as ourselves */
	uid_t uid;
	gid_t gid;
	const char *folder;
};

static struct place home_of(struct action *a)
{
	struct place p = { NULL, (uid_t)-1, (gid_t)-1, action_text(a, "home") };
	struct passwd *user;

	if (tenant_none(a))
		return p;
	p.user = action_text(a, "username");
	if (!(user = tenant_user(a, p.user)))
		action_fail("there is no Unix user %s of the account's own; files are read and written as that user", p.user);
	p.uid = user->pw_uid;
	p.gid = user->pw_gid;
	return p;
}

/* Mail belongs to whom its folder belongs. */
static struct place mail_store(struct action *a)
{
	struct place p = { NULL, (uid_t)-1, (gid_t)-1, a->config.mail_dir };
	struct passwd *owner;
	struct stat st;

	if (stat(p.folder, &st) != 0)
		action_fail("the folder of mail %s (setting mail_dir): %s", p.folder, strerror(errno));
	if (st.st_uid == geteuid())
		return p;
	owner = getpwuid(st.st_uid);
	if (!owner)
		action_fail("the folder of mail %s belongs to uid %u, who is nobody here", p.folder, (unsigned)st.st_uid);
	p.user = arena_strdup(a->arena, owner->pw_name);
	p.uid = st.st_uid;
	p.gid = st.st_gid;
	return p;
}

/* "example.org/info-7": a folder of a mailbox below the folder of mail, and nothing else. */
static bool is_mailbox(const char *name)
{
	const char *slash = name ? strchr(name, '/') : NULL;

	return slash && slash > name && slash[1] && name[0] != '.' && name[0] != '-' && slash[1] != '.' && !strchr(slash + 1, '/') &&
	       !name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-/")];
}

static const char *member_of(struct json_object *row, const char *name)
{
	struct json_object *value;

	return json_object_object_get_ex(row, name, &value) ? json_object_get_string(value) : NULL;
}

/* One mailbox of the data: {"address", "folder", "to"}. */
static const char *folder_of(struct json_object *row, const char *name)
{
	const char *folder = member_of(row, name);

	if (!is_mailbox(folder))
		action_fail("\"mailboxes\": \"%s\" is no folder of a mailbox", folder ? folder : "");
	return folder;
}

/* --- streams ------------------------------------------------------------------------------------------------------------- */

static void tell(struct stream *s)
{
	struct backup *b = s->arg;
	int64_t part = b->expected > 0 ? s->bytes * 100 / b->expected : 0;
	int percent = (int)((100 * (int64_t)b->done + (part < 99 ? part : 99)) / (int64_t)b->count);

	if (percent <= b->percent)
		return;
	b->percent = percent;
	action_progress(percent, "%s: %lld MB", b->what, (long long)(s->bytes >> 20));
}

/* What this or an earlier attempt stored is no backup. */
static void take_back(struct action *a)
{
	const char *why = NULL;

	if (!engine_forget(a, tag_of(a), &why))
		action_log("what was stored is left there until the backup is deleted: %s", why);
}

/* Killed is not refused: it may go well the next time. */
static _Noreturn void give_up(struct action *a, bool again, const char *text)
{
	if (again && a->attempt < ATTEMPTS)
		action_retry("%s", text);
	action_fail("%s", text);
}

/* Something is not in the backup, or does not come back by itself. */
static void lacks(struct backup *b, const char *part, const char *name, const char *object, const char *reason)
{
	struct json_object *row = json_object_new_object();
	size_t count = json_object_array_length(b->missing);

	action_log("not in the backup: %s: %s%s%s: %s", part, name, object ? ": " : "", object ? object : "", reason);
	if (count >= LACKS_MAX) {
		json_object_put(row);
		row = json_object_array_get_idx(b->missing, LACKS_MAX - 1);
		json_object_object_add(row, "object", NULL);
		json_object_object_add(row, "name", json_object_new_string("more"));
		json_object_object_add(row, "reason", json_object_new_string("there is more than can be named; the job's log names it"));
		return;
	}
	json_object_object_add(row, "part", json_object_new_string(part));
	json_object_object_add(row, "name", json_object_new_string(name));
	if (object)
		json_object_object_add(row, "object", json_object_new_string(object));
	json_object_object_add(row, "reason", json_object_new_string(reason));
	json_object_array_add(b->missing, row);
}

void leave_out(struct left_out *out, const char *object, const char *reason)
{
	struct json_object *row = json_object_new_object();

	json_object_object_add(row, "object", json_object_new_string(object));
	json_object_object_add(row, "reason", json_object_new_string(reason));
	json_object_array_add(out->list, row);
}

/* tar names each file that it cannot read in a line of its own and goes on: "tar: ./x: Cannot open: Permission denied". */
static void lacks_files(struct backup *b, const char *part, const char *said)
{
	char *rest = arena_strdup(b->action->arena, said), *line;
	size_t before = json_object_array_length(b->missing);

	while (rest && (line = strsep(&rest, "\n"))) {
		char *name = strncmp(line, "tar: ", 5) == 0 ? line + 5 : line, *colon = strstr(name, ": Cannot ");

		if (!colon)
			continue;
		*colon = '\0';
		lacks(b, part, name, NULL, colon + 2);
	}
	if (json_object_array_length(b->missing) == before)
		lacks(b, part, part, NULL, said);
}

/* A stream of which no part was made. */
static void drop(struct action *a, const struct stream *s)
{
	const char *why;

	if (*s->snapshot && !engine_forget_one(a, s->snapshot, &why))
		action_log("the snapshot %s, which is of no use, stays until the backup is deleted: %s", s->snapshot, why);
}

/* Store what a program writes, and note it as a part. Every program's end counts: one that stops half-way leaves a stream that
 * the engine takes for whole. tar says 1 where a file changed under it, which files in use do, and 2 where it could not read one.
 * NULL: another dump is to be tried, which leaves out more. */
static struct json_object *store(struct backup *b, struct command *producer, const char *part, const char *file, const char *what, struct left_out *out)
{
	struct action *a = b->action;
	struct command pipe[2] = { *producer };
	struct stream s = { .progress = tell, .arg = b };
	const struct engine *server = b->server;
	bool is_tar = strcmp(producer->argv[0], "tar") == 0;
	struct json_object *row = json_object_new_object();

	b->what = what;
	action_progress(b->percent = (int)(100 * b->done / b->count), "%s", what);
	engine_save(a, &s, file, b->tags, &pipe[1]);
	command_pipe(a, pipe, 2);
	b->server = NULL;
	if (server)
		server->dumped(a, &b->database);
	if (pipe[1].status != 0) {
		b->broken = arena_printf(a->arena, "%s could not be stored: %s", what, command_complaint(a, &pipe[1]));
		give_up(a, pipe[1].status > SIGNALLED, b->broken);
	}
	if (!*s.snapshot)
		action_fail("%s: the engine did not say what it stored", what);
	if (is_tar && pipe[0].status == TAR_LACKS && !strstr(pipe[0].errors, "not recoverable")) {
		lacks_files(b, part, pipe[0].errors);
	} else if (pipe[0].status != 0 && !(is_tar && pipe[0].status == TAR_CHANGED)) {
		enum dump_end end = server && pipe[0].status < SIGNALLED ? server->failed(a, &b->database, out, &pipe[0]) : DUMP_LOST;

		if (end != DUMP_GOOD)
			drop(a, &s);
		if (end == DUMP_AGAIN)
			return NULL;
		if (end == DUMP_LOST)
			action_fail("%s could not be read to the end: %s", what, command_complaint(a, &pipe[0]));
	}
	if (pipe[0].status != 0)
		action_log("%s: %s", what, command_complaint(a, &pipe[0]));
	b->bytes += s.bytes;
	b->done++;
	json_object_object_add(row, "part", json_object_new_string(part));
	json_object_object_add(row, "snapshot_id", json_object_new_string(s.snapshot));
	json_object_object_add(row, "size_bytes", json_object_new_int64(s.bytes));
	json_object_object_add(row, "file", json_object_new_string(file));
	json_object_array_add(b->parts, row);
	return row;
}

/* The command that writes what was stored as this part. */
static void load_part(struct action *a, struct json_object *part, struct command *load)
{
	const char *id = member_of(part, "snapshot_id"), *name = member_of(part, "file");

	if (!id || !name || strlen(id) < 8 || id[strspn(id, "0123456789abcdef")] || !*name || *name == '.' || *name == '-' ||
	    name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-")])
		action_fail("the backup's parts are not what a backup leaves");
	engine_load(a, id, name, load);
}

/* Hand a part to tar. A reader that stops early ends the engine, too; then what the reader says is the reason. */
static bool untar(struct action *a, struct json_object *part, struct command *tar, const char **why)
{
	struct command pipe[2];

	load_part(a, part, &pipe[0]);
	pipe[1] = *tar;
	if (command_pipe(a, pipe, 2))
		return true;
	if (pipe[0].status == SIGNALLED + SIGKILL)
		action_retry("%s", command_complaint(a, &pipe[0]));
	*why = command_complaint(a, &pipe[pipe[0].status == 0 || pipe[0].status == SIGNALLED + SIGPIPE]);
	return false;
}

static struct json_object *part_of(struct action *a, const char *name)
{
	struct json_object *all = action_value(a, "parts"), *value;

	for (size_t i = 0; json_object_is_type(all, json_type_array) && i < json_object_array_length(all); i++) {
		struct json_object *part = json_object_array_get_idx(all, i);

		if (json_object_object_get_ex(part, "part", &value) && strcmp(json_object_get_string(value), name) == 0 &&
		    (strcmp(name, "database") != 0 || (json_object_object_get_ex(part, "snapshot_id", &value) &&
		                                       strcmp(json_object_get_string(value), action_text(a, "snapshot_id")) == 0)))
			return part;
	}
	action_fail("the backup has no %s", name);
}

/* --- backup.create ------------------------------------------------------------------------------------------------------- */

/* Roughly, for the progress only. */
static int64_t size_below(struct action *a, const struct place *p)
{
	struct command du = { .argv = { "du", "--summarize", "--bytes", "--one-file-system", "." }, .user = p->user, .folder = p->folder };

	command_run(a, &du);
	return strtoll(du.output, NULL, 10);
}

#define TAR_ALL "--acls", "--xattrs", "--xattrs-include=user.*"
#define PACK "tar", "--create", "--file=-", "--format=posix", "--sparse", "--sort=name", TAR_ALL

static void store_files(struct backup *b)
{
	struct action *a = b->action;
	struct place home = home_of(a);
	struct command tar = { .argv = { PACK, "--one-file-system", "." }, .user = home.user, .folder = home.folder };

	b->expected = size_below(a, &home);
	store(b, &tar, "files", "files.tar", "files", NULL);
}

static void store_mail(struct backup *b)
{
	struct action *a = b->action;
	struct place mail = mail_store(a);
	struct command tar = { .argv = { PACK, "--null", "--verbatim-files-from", "--files-from=-" }, .user = mail.user, .folder = mail.folder };
	struct json_object *all = action_value(a, "mailboxes"), *found = json_object_new_array();
	int root = open(mail.folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct buf names;

	if (root < 0)
		action_fail("%s: %s", mail.folder, strerror(errno));
	buf_init(&names, NAMES_MAX);
	for (size_t i = 0; i < json_object_array_length(all); i++) {
		struct json_object *row = json_object_array_get_idx(all, i);
		const char *name = folder_of(row, "folder");
		int folder = file_open_beneath(root, name, O_PATH | O_DIRECTORY, 0);

		if (folder < 0 && errno == ENOENT)
			continue; /* nothing was delivered there yet */
		if (folder < 0)
			action_fail("%s/%s: %s", mail.folder, name, strerror(errno));
		close(folder);
		buf_add(&names, name, strlen(name) + 1);
		json_object_array_add(found, json_object_get(row));
	}
	close(root);
	if (buf_failed(&names))
		action_fail("the account has too many mailboxes for one backup");
	tar.input = names.data;
	tar.input_len = names.len;
	b->expected = 0;
	if (names.len > 0) {
		json_object_object_add(store(b, &tar, "mail", "mail.tar", "mail", NULL), "mailboxes", found);
	} else {
		json_object_put(found);
		b->done++;
	}
	buf_free(&names);
}

/* One database of the data: {"id", "engine", "name", "user", "marker", "charset", "suspended", "connections"}. */
static const struct engine *server_of(struct json_object *row, struct database *d)
{
	const char *server = member_of(row, "engine");
	struct json_object *suspended = NULL, *connections = NULL;

	*d = (struct database){ .name = member_of(row, "name"), .user = member_of(row, "user"), .marker = member_of(row, "marker"),
		                .charset = member_of(row, "charset") };
	d->suspended = !json_object_object_get_ex(row, "suspended", &suspended) || json_object_get_boolean(suspended);
	d->connections = json_object_object_get_ex(row, "connections", &connections) ? json_object_get_int(connections) : 1;
	if (!server || !d->name || !d->user || !d->marker || !d->charset || strlen(d->marker) != 36 ||
	    d->marker[strspn(d->marker, "0123456789abcdef-")] || d->charset[strspn(d->charset, "abcdefghijklmnopqrstuvwxyzUTF0123456789")])
		action_fail("a database of the job's data is not described as a whole");
	return strcmp(server, engine_mariadb.name) == 0 ? &engine_mariadb : &engine_postgresql;
}

static const struct engine *server_named(const char *name)
{
	return name && strcmp(name, engine_mariadb.name) == 0 ? &engine_mariadb : &engine_postgresql;
}

/* A dump that was cut off is found by reading it back, and nothing else: only then it counts. */
static void store_database(struct backup *b, struct json_object *row)
{
	struct action *a = b->action;
	struct database d;
	const struct engine *server = server_of(row, &d);
	struct command dump, load;
	const char *why = NULL, *what = arena_printf(a->arena, "database %s", d.name);
	struct left_out out = { json_object_new_array(), false, json_object_new_object() };
	struct json_object *part = NULL, *id = NULL;

	json_object_object_get_ex(row, "id", &id);
	for (int i = 0; !part; i++) {
		if (i == DUMPS_MAX)
			action_fail("the database %s has too many tables that cannot be read", d.name);
		b->server = server;
		b->database = d;
		b->expected = 0;
		server->dump(a, &d, &out, &dump);
		part = store(b, &dump, "database", arena_printf(a->arena, "database-%lld.dump", (long long)json_object_get_int64(id)), what, &out);
	}
	json_object_object_add(part, "database", json_object_new_string(d.name));
	json_object_object_add(part, "user", json_object_new_string(d.user));
	json_object_object_add(part, "engine", json_object_new_string(server->name));
	json_object_object_add(part, "around", out.around);
	engine_load(a, member_of(part, "snapshot_id"), member_of(part, "file"), &load);
	if (!server->is_whole(a, &load, &why)) {
		struct stream bad = { 0 };
		int64_t bytes = json_object_get_int64(json_object_object_get(part, "size_bytes"));

		snprintf(bad.snapshot, sizeof bad.snapshot, "%s", member_of(part, "snapshot_id"));
		drop(a, &bad);
		json_object_array_del_idx(b->parts, json_object_array_length(b->parts) - 1, 1);
		b->done--;
		b->bytes -= bytes;
		action_fail("the dump of %s is not whole: %s", what, why);
	}
	for (size_t i = 0; i < json_object_array_length(out.list); i++) {
		struct json_object *one = json_object_array_get_idx(out.list, i);

		lacks(b, "database", d.name, member_of(one, "object"), member_of(one, "reason"));
	}
	json_object_put(out.list);
}

/* A part by itself: one that cannot be kept is named, and the others are kept. What keeps everything from being stored ends all. */
struct part_step { struct backup *b; void (*store)(struct backup *); struct json_object *row; };
static void do_part(void *arg)
{
	struct part_step *s = arg;

	if (s->row)
		store_database(s->b, s->row);
	else
		s->store(s->b);
}
static void end_dump(void *arg)
{
	struct backup *b = arg;

	b->server->dumped(b->action, &b->database);
}

static void store_part(struct backup *b, const char *part, void (*how)(struct backup *), struct json_object *row)
{
	struct action *a = b->action;
	struct part_step step = { b, how, row };
	const char *why, *also;

	if (action_step(a, do_part, &step, a->attempt >= ATTEMPTS, &why))
		return;
	if (b->server && !action_step(a, end_dump, b, true, &also))
		action_log("%s", also);
	b->server = NULL;
	if (b->broken) {
		take_back(a);
		action_fail("%s", b->broken);
	}
	lacks(b, part, row ? member_of(row, "name") : part, NULL, why);
	b->done++;
}

/* The engine may have told the beginnings of names, of which others may come to begin so: look up the whole ones, and that they
 * are there. */
static void name_snapshots(struct backup *b)
{
	const char *why = NULL;
	struct json_object *all = engine_list(b->action, b->tags[0], &why);

	for (size_t i = 0; i < json_object_array_length(b->parts); i++) {
		struct json_object *part = json_object_array_get_idx(b->parts, i), *found = NULL;
		const char *begins = member_of(part, "snapshot_id");

		for (size_t k = 0; all && k < json_object_array_length(all); k++) {
			struct json_object *name = json_object_array_get_idx(all, k);

			if (strncmp(json_object_get_string(name), begins, strlen(begins)) == 0)
				found = name;
		}
		if (!found)
			action_fail("snapshot %s is not in the repository though it was stored%s%s", begins, why ? ": " : "", why ? why : "");
		json_object_object_add(part, "snapshot_id", json_object_get(found));
	}
	json_object_put(all);
}

static size_t length_of(struct action *a, const char *name)
{
	struct json_object *list = action_value(a, name);

	return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

static void create(struct action *a)
{
	const char *kind = action_text(a, "kind");
	bool full = strcmp(kind, "full") == 0, files = full || strcmp(kind, "files") == 0, mail = full || strcmp(kind, "mail") == 0;
	struct backup b = { .action = a, .tags = { tag_of(a), arena_printf(a->arena, "acct:%lld", (long long)action_int(a, "account", 0)),
	                                           arena_printf(a->arena, "kind:%s", kind) }, .parts = json_object_new_array(), .missing = json_object_new_array() };
	struct json_object *result = json_object_new_object();
	size_t databases;

	mail = mail && length_of(a, "mailboxes") > 0;
	databases = full || strcmp(kind, "databases") == 0 ? length_of(a, "databases") : 0;
	b.count = (size_t)files + (size_t)mail + databases;
	engine_open(a, ENGINE_SHARED);
	if (a->attempt > 1)
		take_back(a);
	if (files)
		store_part(&b, "files", store_files, NULL);
	if (mail)
		store_part(&b, "mail", store_mail, NULL);
	for (size_t i = 0; i < databases; i++)
		store_part(&b, "database", NULL, json_object_array_get_idx(action_value(a, "databases"), i));
	if (json_object_array_length(b.parts) == 0 && json_object_array_length(b.missing) > 0) {
		take_back(a);
		action_fail("%s", member_of(json_object_array_get_idx(b.missing, 0), "reason"));
	}
	name_snapshots(&b);
	json_object_object_add(result, "parts", b.parts);
	json_object_object_add(result, "missing", b.missing);
	json_object_object_add(result, "size_bytes", json_object_new_int64(b.bytes));
	json_object_object_add(result, "keep_last", json_object_new_int(a->config.backup_keep_last));
	action_result(result);
}

/* --- backup.restore ------------------------------------------------------------------------------------------------------ */

static void unpack(struct action *a, const char *name, struct command *tar)
{
	const char *why;

	action_progress(10, "%s: being put back", name);
	if (!untar(a, part_of(a, name), tar, &why))
		action_fail("%s could not be put back as a whole: %s", name, why);
}
#define UNPACK "tar", "--extract", "--file=-", "--no-same-owner", "--preserve-permissions", "--delay-directory-restore", TAR_ALL

/* What the backup has goes over what is there; what came later stays. */
static void restore_files(struct action *a)
{
	struct place home = home_of(a);
	struct command tar = { .argv = { UNPACK } };
	const char *to = action_text_or(a, "to", NULL);
	size_t len = strlen(home.folder);
	int root, folder;

	if (to) {
		if (strncmp(to, home.folder, len) != 0 || to[len] != '/')
			action_fail("%s does not lie below %s", to, home.folder);
		root = open(home.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		folder = root < 0 ? -1 : file_make_folder(root, to + len, 0755, home.uid, home.gid);
		if (folder < 0)
			action_fail("the folder %s cannot be made: %s", to, strerror(errno));
		close(folder);
		close(root);
		home.folder = to;
	}
	tar.user = home.user;
	tar.folder = home.folder;
	unpack(a, "files", &tar);
}

/* Those mailboxes alone that the account has now; a mailbox made anew has another folder. */
static void restore_mail(struct action *a)
{
	struct place mail = mail_store(a);
	struct command tar = { .argv = { UNPACK, "--null", "--verbatim-files-from" }, .user = mail.user, .folder = mail.folder };
	struct json_object *all = action_value(a, "mailboxes");
	size_t n = 0;
	struct buf names, moves;
	int fd;

	buf_init(&names, NAMES_MAX);
	buf_init(&moves, NAMES_MAX);
	buf_str(&moves, "--transform=s|^|&|");
	for (size_t i = 0; all && i < json_object_array_length(all); i++) {
		struct json_object *row = json_object_array_get_idx(all, i);
		const char *from = folder_of(row, "folder"), *to = folder_of(row, "to");

		buf_add(&names, from, strlen(from) + 1);
		if (strcmp(from, to) == 0)
			continue;
		buf_str(&moves, ";s|^"); /* as sed would; of the signs that a folder has, the dot alone means something there */
		for (const char *sign = from; *sign; sign++)
			buf_printf(&moves, *sign == '.' ? "[%c]" : "%c", *sign);
		buf_printf(&moves, "\\(/.*\\)\\{0,1\\}$|%s\\1|", to); /* it and what is in it; not one whose name goes on */
	}
	if (names.len == 0)
		action_fail("the account has none of the backup's mailboxes");
	fd = (int)memfd_create("names", 0); /* stdin is the archive's */
	if (buf_failed(&names) || buf_failed(&moves) || fd < 0 || write(fd, names.data, names.len) != (ssize_t)names.len)
		action_fail("the names of the mailboxes cannot be handed over: %s", strerror(errno));
	while (tar.argv[n])
		n++;
	tar.argv[n++] = moves.data;
	tar.argv[n++] = arena_printf(a->arena, "--files-from=/dev/fd/%d", fd);
	unpack(a, "mail", &tar);
	close(fd);
	buf_free(&names);
	buf_free(&moves);
}

/* Into a database that the account has; who may log in there is as it was. */
static void restore_database(struct action *a)
{
	struct json_object *part = part_of(a, "database");
	struct database d;
	const struct engine *server = server_of(action_value(a, "database"), &d);
	struct command load;

	if (server != server_named(member_of(part, "engine")))
		action_fail("a dump of %s cannot be read by %s", member_of(part, "engine"), server->name);
	if (!member_of(part, "database") || !member_of(part, "user"))
		action_fail("the backup's parts are not what a backup leaves");
	action_progress(10, "database %s: being put back", d.name);
	load_part(a, part, &load);
	server->refill(a, &d, &load, json_object_object_get(part, "around"), strcmp(d.name, member_of(part, "database")) == 0 &&
	               strcmp(d.user, member_of(part, "user")) == 0);
}

static void restore(struct action *a)
{
	const char *what = action_text(a, "what");

	engine_open(a, ENGINE_SHARED);
	if (strcmp(what, "files") == 0)
		restore_files(a);
	else if (strcmp(what, "mail") == 0)
		restore_mail(a);
	else
		restore_database(a);
}

/* --- backup.verify, backup.remove, backup.retain ------------------------------------------------------------------------- */

/* All of it is read, which proves each block by its digest, and taken apart by the program that would put it back. */
static void verify(struct action *a)
{
	struct json_object *parts = action_value(a, "parts");
	size_t count = length_of(a, "parts");

	engine_open(a, ENGINE_SHARED);
	for (size_t i = 0; i < count; i++) {
		struct json_object *part = json_object_array_get_idx(parts, i);
		struct command tar = { .argv = { "tar", "--list", "--file=-" } }, load;
		const char *why = NULL, *what = member_of(part, "part");
		bool good;

		action_progress((int)(100 * i / count), "reading %s", what ? what : "");
		if (what && strcmp(what, "database") == 0) {
			load_part(a, part, &load);
			good = server_named(member_of(part, "engine"))->is_whole(a, &load, &why);
		} else {
			good = untar(a, part, &tar, &why);
		}
		if (!good)
			action_fail("the backup is damaged: its %s cannot be read: %s", what ? what : "", why);
	}
}

static void delete(struct action *a)
{
	const char *why = NULL;

	engine_open(a, ENGINE_ALONE);
	if (!engine_forget(a, tag_of(a), &why) || !engine_prune(a, &why))
		action_retry("the backup cannot be deleted: %s", why);
}

/* What is due is known in the database (sql/functions/20_backups.sql), but for what the settings say. */
static void retain(struct action *a)
{
	struct json_object *result = json_object_new_object();

	json_object_object_add(result, "keep_last", json_object_new_int(a->config.backup_keep_last));
	json_object_object_add(result, "keep_deleted_days", json_object_new_int(a->config.backup_keep_deleted_days));
	json_object_object_add(result, "every_h", json_object_new_int(a->config.backup_every_h));
	action_result(result);
}

static const struct field created[] = {
	{ "backup",    F_INT,      F_REQUIRED, "Number of the backup" },
	{ "account",   F_INT,      F_REQUIRED, "Number of the account" },
	{ "username",  F_USERNAME, F_REQUIRED, "Its Unix user" },
	{ "home",      F_PATH,     F_REQUIRED, "Its home folder", .max = 500 },
	{ "kind",      F_ENUM,     F_REQUIRED, "What is kept", .choices = "full files databases mail" },
	{ "databases", F_JSON,     0,          "Its databases: id, engine, name, user, marker, charset, suspended, connections" },
	{ "mailboxes", F_JSON,     0,          "Its mailboxes: address, folder" },
	{ 0 }
};
static const struct field restored[] = {
	{ "backup",      F_INT,      F_REQUIRED, "Number of the backup" },
	{ "account",     F_INT,      F_REQUIRED, "Number of the account" },
	{ "username",    F_USERNAME, F_REQUIRED, "Its Unix user" },
	{ "home",        F_PATH,     F_REQUIRED, "Its home folder", .max = 500 },
	{ "what",        F_ENUM,     F_REQUIRED, "What comes back", .choices = "files database mail" },
	{ "to",          F_PATH,     0,          "Files: the folder; missing: where they were", .max = 500 },
	{ "snapshot_id", F_TEXT,     0,          "Database: its snapshot" },
	{ "database_id", F_INT,      0,          "Database: number of the one that is replaced" },
	{ "database",    F_JSON,     F_NULLABLE, "Database: the one that is replaced: id, engine, name, user, marker, charset, suspended, connections" },
	{ "mailboxes",   F_JSON,     0,          "Mail: mailboxes that come back: address, folder, to" },
	{ "parts",       F_JSON,     F_REQUIRED, "What the backup is made of" },
	{ 0 }
};
static const struct field verified[] = {
	{ "backup", F_INT,  F_REQUIRED, "Number of the backup" },
	{ "parts",  F_JSON, F_REQUIRED, "What the backup is made of" },
	{ 0 }
};
static const struct field removed[] = {
	{ "backup", F_INT, F_REQUIRED, "Number of the backup" },
	{ 0 }
};
static const struct field nothing[] = { { 0 } };

static const struct kind backup_create = { "backup.create", "Keep what an account has", 86400, ATTEMPTS, created, create, .heavy = true };
static const struct kind backup_restore = { "backup.restore", "Put back what was kept", 86400, 3, restored, restore, .heavy = true };
static const struct kind backup_verify = { "backup.verify", "Read all of a backup", 86400, 3, verified, verify, .heavy = true };
static const struct kind backup_remove = { "backup.remove", "Forget a backup and free its space", 86400, 50, removed, delete, .heavy = true };
static const struct kind backup_retain = { "backup.retain", "Tell the database what the settings say of backups", 60, 3, nothing, retain };
POSTERN_KIND(backup_create);
POSTERN_KIND(backup_restore);
POSTERN_KIND(backup_verify);
POSTERN_KIND(backup_remove);
POSTERN_KIND(backup_retain);
