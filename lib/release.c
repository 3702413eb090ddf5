/* release.c: see release.h. */
#include "release.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <gnu/libc-version.h>
#include <idn2.h>
#include <libgen.h>
#include <libpq-fe.h>
#include <link.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/opensslv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"
#include "request.h"

#if __has_include("built.h")
#include "built.h" /* written by the Makefile */
#else
#define POSTERN_COMMIT ""
#define POSTERN_FLAGS ""
#define POSTERN_BUILT_WITH ""
#endif
#ifndef POSTERN_BINDIR
#define POSTERN_BINDIR "/usr/bin"
#define POSTERN_DATADIR "/usr/share/postern"
#define POSTERN_LIBEXECDIR "/usr/libexec/postern"
#endif
#ifdef __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "gcc " __VERSION__
#endif
#define MANIFEST POSTERN_DATADIR "/manifest"

enum { HEX = 64, LINE_MAX_BYTES = 4200, FILES_MAX = 20000, FILE_MAX_BYTES = 256 << 20, DEPTH_MAX = 8 };

struct report {
	struct arena *arena;
	const struct config *config;
	struct json_object *document, *findings, *unseen;
};

static void put(struct json_object *object, const char *name, const char *text)
{
	json_object_object_add(object, name, text ? json_object_new_string(text) : NULL);
}

static void put_number(struct json_object *object, const char *name, int64_t number)
{
	json_object_object_add(object, name, json_object_new_int64(number));
}

/* `found` is what follows the object in a sentence: "is missing". */
static void finding(struct report *r, const char *check, const char *object, const char *found, const char *remedy)
{
	struct json_object *row = json_object_new_object();

	put(row, "check", check);
	put(row, "object", object);
	put(row, "finding", found);
	put(row, "remedy", remedy);
	json_object_array_add(r->findings, row);
}

/* What is not seen is not called good. */
static void unseen(struct report *r, const char *check, const char *object, const char *why)
{
	struct json_object *row = json_object_new_object();

	put(row, "check", check);
	put(row, "object", object);
	put(row, "why", why);
	json_object_array_add(r->unseen, row);
}

/* ---- what it was built with, and runs with ---- */

struct library { const char *name, *so, *file; };
enum { LIBRARIES = 8 };

static int note_library(struct dl_phdr_info *info, size_t size, void *libraries)
{
	(void)size;
	for (struct library *l = libraries; l->name; l++) {
		const char *slash = strrchr(info->dlpi_name, '/');

		if (slash && strncmp(slash + 1, l->so, strlen(l->so)) == 0)
			l->file = info->dlpi_name;
	}
	return 0;
}

/* "name version" of a list "name version, name version". */
static const char *built_with(struct arena *arena, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = POSTERN_BUILT_WITH; *at; at += strcspn(at, ","), at += strspn(at, ", "))
		if (strncmp(at, name, len) == 0 && at[len] == ' ')
			return arena_strndup(arena, at + len + 1, strcspn(at + len + 1, ","));
	return NULL;
}

static void tell_build(struct report *r)
{
	struct library libraries[LIBRARIES] = {
		{ "libpq", "libpq.so", NULL }, { "json-c", "libjson-c.so", NULL }, { "libcrypto", "libcrypto.so", NULL }, { "libidn2", "libidn2.so", NULL },
		{ "fcgi", "libfcgi.so", NULL }, { "uuid", "libuuid.so", NULL }, { "libc", "libc.so", NULL }, { NULL, NULL, NULL }
	};
	int pq = PQlibVersion();
	const char *versions[LIBRARIES] = { /* as they tell it themselves; fcgi and uuid do not */
		arena_printf(r->arena, "%d.%d", pq / 10000, pq % 10000), json_c_version(), OpenSSL_version(OPENSSL_VERSION_STRING),
		idn2_check_version(NULL), NULL, NULL, gnu_get_libc_version()
	};
	struct json_object *list = json_object_new_array(), *built = json_object_new_object();

	dl_iterate_phdr(note_library, libraries);
	for (size_t i = 0; libraries[i].name; i++) {
		struct json_object *one = json_object_new_object();
		char *file = libraries[i].file ? realpath(libraries[i].file, NULL) : NULL;

		put(one, "name", libraries[i].name);
		put(one, "built_with", built_with(r->arena, libraries[i].name));
		put(one, "version", versions[i]);
		put(one, "file", file);
		free(file);
		json_object_array_add(list, one);
	}
	put(r->document, "version", POSTERN_VERSION);
	put(r->document, "commit", *POSTERN_COMMIT ? POSTERN_COMMIT : NULL);
	put(built, "compiler", COMPILER);
	put(built, "flags", POSTERN_FLAGS);
	json_object_object_add(r->document, "built", built);
	json_object_object_add(r->document, "libraries", list);
}

/* ---- files ---- */

/* SHA-256 as hex; false: see errno. */
static bool hash_file(const char *path, char hex[HEX + 1])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char block[65536], digest[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), error = 0;
	bool made = fd >= 0 && context && EVP_DigestInit_ex(context, EVP_sha256(), NULL);
	struct stat info;
	ssize_t n = 0;

	if (made && (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > FILE_MAX_BYTES)) {
		errno = EINVAL;
		made = false;
	}
	while (made && (n = read(fd, block, sizeof block)) > 0)
		made = EVP_DigestUpdate(context, block, (size_t)n);
	made = made && n == 0 && EVP_DigestFinal_ex(context, digest, NULL);
	error = errno;
	EVP_MD_CTX_free(context);
	if (fd >= 0)
		close(fd);
	for (int i = 0; made && i < HEX / 2; i++) {
		hex[2 * i] = digits[digest[i] >> 4];
		hex[2 * i + 1] = digits[digest[i] & 15];
	}
	hex[HEX] = '\0';
	errno = error;
	return made;
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), more = strlen(end);

	return len >= more && strcmp(text + len - more, end) == 0;
}

/* What stands before the paths that were compiled in: "" on a machine, DESTDIR in a tree that is tried out in place. NULL: this
 * program does not lie where `make install` puts it. */
static const char *installed_below(struct arena *arena)
{
	static const char *const places[] = { POSTERN_LIBEXECDIR "/cgi/release-audit", POSTERN_BINDIR "/postern" };
	static const char gone[] = " (deleted)"; /* it was replaced while it runs */
	char *path = arena_alloc(arena, 4096);
	ssize_t n = path ? readlink("/proc/self/exe", path, 4095) : -1;

	if (n < 0)
		return NULL;
	if (ends_with(path, gone))
		path[n -= (ssize_t)strlen(gone)] = '\0';
	for (size_t i = 0; i < sizeof places / sizeof *places; i++)
		if (ends_with(path, places[i])) {
			path[(size_t)n - strlen(places[i])] = '\0';
			return path;
		}
	return NULL;
}

struct listed { const char *path, *sha256; };
struct manifest { struct listed *item; size_t count; };

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct listed *)a)->path, ((const struct listed *)b)->path);
}

static bool read_manifest(struct arena *arena, const char *path, struct manifest *m)
{
	char line[LINE_MAX_BYTES];
	FILE *file = fopen(path, "re");
	bool fine = file && (m->item = arena_array(arena, FILES_MAX, sizeof *m->item));

	while (fine && fgets(line, sizeof line, file)) {
		size_t len = strcspn(line, "\n");

		fine = line[len] && len > HEX + 3 && strspn(line, "0123456789abcdef") == HEX && memcmp(line + HEX, "  /", 3) == 0 && m->count < FILES_MAX;
		if (fine)
			m->item[m->count++] = (struct listed){ arena_strndup(arena, line + HEX + 2, len - HEX - 2), arena_strndup(arena, line, HEX) };
		fine = fine && m->item[m->count - 1].path && m->item[m->count - 1].sha256;
	}
	fine = fine && !ferror(file) && m->count;
	if (file)
		fclose(file);
	if (fine)
		qsort(m->item, m->count, sizeof *m->item, by_path);
	return fine;
}

static void check_listed(struct report *r, const char *root, const struct listed *l, struct json_object *changed, struct json_object *missing)
{
	static const char again[] = "Install this version again; if you did not change it, find out who did.";
	const char *path = arena_printf(r->arena, "%s%s", root, l->path);
	char hex[HEX + 1];
	struct stat info;

	if (!path || (stat(path, &info) != 0 && errno != ENOENT)) {
		unseen(r, "files", l->path, strerror(errno));
	} else if (stat(path, &info) != 0) {
		json_object_array_add(missing, json_object_new_string(l->path));
		finding(r, "files", l->path, "is missing", again);
	} else if (!hash_file(path, hex) && (errno == EACCES || errno == EPERM)) {
		unseen(r, "files", l->path, strerror(errno));
	} else if (strcmp(hex, l->sha256) != 0) {
		json_object_array_add(changed, json_object_new_string(l->path));
		finding(r, "files", l->path, "is not as it was installed", again);
	} else if (info.st_mode & 022) {
		finding(r, "files", l->path, arena_printf(r->arena, "may be changed by others than its owner (mode %04o)", (unsigned)info.st_mode & 07777),
		        "chmod go-w that file.");
	}
}

/* Files in the folders that are all ours and stand in no manifest. */
static void find_strays(struct report *r, const char *root, const struct manifest *m, struct json_object *unexpected)
{
	char *folders[] = { arena_printf(r->arena, "%s" POSTERN_LIBEXECDIR, root), arena_printf(r->arena, "%s" POSTERN_DATADIR, root), NULL };
	FTS *walk = folders[0] && folders[1] ? fts_open(folders, FTS_PHYSICAL | FTS_NOCHDIR, NULL) : NULL;

	for (FTSENT *e; walk && (e = fts_read(walk));) {
		const char *path = e->fts_path + strlen(root);

		if (e->fts_info == FTS_D && e->fts_level > DEPTH_MAX)
			fts_set(walk, e, FTS_SKIP);
		if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS) {
			unseen(r, "files", path, strerror(e->fts_errno));
		} else if (e->fts_info == FTS_D) {
			if (e->fts_statp->st_mode & 022)
				finding(r, "files", path, arena_printf(r->arena, "may be changed by others than its owner (mode %04o)",
				        (unsigned)e->fts_statp->st_mode & 07777), "chmod go-w that folder.");
		} else if (e->fts_info != FTS_DP && strcmp(path, MANIFEST) != 0 &&
		           !bsearch(&(struct listed){ path, NULL }, m->item, m->count, sizeof *m->item, by_path)) {
			json_object_array_add(unexpected, json_object_new_string(path));
			finding(r, "files", path, "was not installed by this version", "Move it away, unless you put it there; the folder is Postern's alone.");
		}
	}
	if (!walk)
		unseen(r, "files", POSTERN_DATADIR, strerror(errno));
	else
		fts_close(walk);
}

static void tell_files(struct report *r)
{
	const char *root = installed_below(r->arena), *path = arena_printf(r->arena, "%s" MANIFEST, root ? root : "");
	struct json_object *files = json_object_new_object(), *changed = json_object_new_array(), *missing = json_object_new_array(),
	                   *unexpected = json_object_new_array();
	struct manifest m = { NULL, 0 };
	char hex[HEX + 1] = "";

	if (!root) {
		unseen(r, "files", "programs", "this one does not run from where make install puts it, so there is no manifest");
	} else if (!read_manifest(r->arena, path, &m) || !hash_file(path, hex)) {
		finding(r, "files", MANIFEST, errno == ENOENT ? "is missing" : "cannot be read as a manifest", "Install this version again.");
		m.count = 0;
	} else {
		for (size_t i = 0; i < m.count; i++)
			check_listed(r, root, &m.item[i], changed, missing);
		find_strays(r, root, &m, unexpected);
	}
	put(files, "manifest", root ? path : NULL);
	put(files, "manifest_sha256", *hex ? hex : NULL);
	put_number(files, "listed", (int64_t)m.count);
	json_object_object_add(files, "changed", changed);
	json_object_object_add(files, "missing", missing);
	json_object_object_add(files, "unexpected", unexpected);
	json_object_object_add(r->document, "files", files);
}

/* ---- migrations ---- */

static struct json_object *applied_as(struct json_object *applied, int number)
{
	for (size_t i = 0; i < json_object_array_length(applied); i++) {
		struct json_object *row = json_object_array_get_idx(applied, i);

		if (json_object_get_int(json_object_object_get(row, "number")) == number)
			return row;
	}
	return NULL;
}

static int is_migration(const struct dirent *entry)
{
	return strspn(entry->d_name, "0123456789") == 4 && entry->d_name[4] == '_' && ends_with(entry->d_name, ".sql");
}

static void tell_migrations(struct report *r)
{
	struct json_object *applied = json_object_object_get(r->document, "migrations"), *told = json_object_new_object(), *row;
	const char *folder = arena_printf(r->arena, "%s/migrations", r->config->sql_dir);
	struct dirent **entries = NULL;
	int n = scandir(folder, &entries, is_migration, alphasort);
	char hex[HEX + 1];

	if (n < 0)
		unseen(r, "migrations", folder, strerror(errno));
	for (int i = 0; i < n; i++) {
		const char *name = entries[i]->d_name, *path = arena_printf(r->arena, "%s/%s", folder, name);

		row = applied_as(applied, atoi(name));
		if (!row)
			finding(r, "migrations", name, "is not applied to this database", "postern migrate");
		else if (!path || !hash_file(path, hex))
			unseen(r, "migrations", name, strerror(errno));
		else if (strcmp(hex, json_object_get_string(json_object_object_get(row, "sha256"))) != 0)
			finding(r, "migrations", name, "is not what was applied to this database", "Install this version again.");
		if (row)
			json_object_object_del(row, "sha256"); /* looked at */
		free(entries[i]);
	}
	free(entries);
	for (size_t i = 0; n >= 0 && i < json_object_array_length(applied); i++) {
		row = json_object_array_get_idx(applied, i);
		if (json_object_object_get_ex(row, "sha256", NULL))
			finding(r, "migrations", json_object_get_string(json_object_object_get(row, "name")), "was applied to this database and is not shipped",
			        "Install the version that made it, or a later one.");
	}
	put_number(told, "applied", (int64_t)json_object_array_length(applied));
	json_object_object_add(told, "shipped", n < 0 ? NULL : json_object_new_int(n));
	json_object_object_add(r->document, "migrations", told);
}

/* ---- modes ---- */

/* Whose mode may have none of the bits `forbidden`, and who belongs to root, or to whom this program runs as. Absent is no fault. */
static void check_mode(struct report *r, struct json_object *modes, const char *path, mode_t forbidden)
{
	struct json_object *row;
	struct stat info;
	char mode[8];

	if (!path || !*path)
		return;
	if (stat(path, &info) != 0) {
		if (errno != ENOENT && errno != ENOTDIR)
			unseen(r, "modes", path, strerror(errno));
		return;
	}
	row = json_object_new_object();
	snprintf(mode, sizeof mode, "%04o", (unsigned)info.st_mode & 07777);
	put(row, "path", path);
	put(row, "mode", mode);
	put_number(row, "uid", info.st_uid);
	put_number(row, "gid", info.st_gid);
	json_object_array_add(modes, row);
	if (info.st_mode & forbidden)
		finding(r, "modes", path, arena_printf(r->arena, "%s (mode %s)", info.st_mode & forbidden & 022 ? "may be changed by others than its owner"
		        : "may be read by others than it is for", mode),
		        arena_printf(r->arena, "chmod %04o it, or less.", (unsigned)info.st_mode & 07777 & ~(unsigned)forbidden));
	if (info.st_uid != 0 && info.st_uid != geteuid())
		finding(r, "modes", path, arena_printf(r->arena, "belongs to user %u", (unsigned)info.st_uid), "chown root it.");
}

/* What lies below a folder, at most two levels down: files of that name, or all. Those that are as they should be are not listed. */
static void check_below(struct report *r, struct json_object *modes, char *folder, const char *name, mode_t forbidden)
{
	char *folders[] = { folder, NULL };
	FTS *walk = access(folder, F_OK) == 0 ? fts_open(folders, FTS_PHYSICAL | FTS_NOCHDIR, NULL) : NULL;
	size_t looked = 0;

	for (FTSENT *e; walk && looked < FILES_MAX && (e = fts_read(walk)); looked++) {
		if (e->fts_info == FTS_D && e->fts_level > 2)
			fts_set(walk, e, FTS_SKIP);
		else if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR || e->fts_info == FTS_NS)
			unseen(r, "modes", e->fts_path, strerror(e->fts_errno));
		else if (e->fts_level && (name ? e->fts_info == FTS_F && strcmp(e->fts_name, name) == 0 : e->fts_info == FTS_F || e->fts_info == FTS_D) &&
		         (e->fts_statp->st_mode & forbidden || (e->fts_statp->st_uid != 0 && e->fts_statp->st_uid != geteuid())))
			check_mode(r, modes, e->fts_path, forbidden);
	}
	if (looked == FILES_MAX)
		unseen(r, "modes", folder, "it has more files than are looked at");
	if (walk)
		fts_close(walk);
}

static void tell_modes(struct report *r)
{
	enum { CHANGED = 022, SHOWN = 027, SECRET = 077 };
	const struct config *c = r->config;
	struct json_object *modes = json_object_new_array();
	char *pepper = arena_strdup(r->arena, c->pepper_file);
	const struct { const char *path; mode_t forbidden; } files[] = {
		{ c->path, config_holds_password(c->dsn) || config_holds_password(c->dsn_direct) ? SHOWN : CHANGED },
		{ c->pepper_file, SHOWN }, { pepper ? dirname(pepper) : NULL, CHANGED }, { c->worker_public, CHANGED }, { c->audit_public_key, CHANGED },
		{ c->worker_dir, CHANGED }, { arena_printf(r->arena, "%s/key", c->worker_dir), SECRET },
		{ arena_printf(r->arena, "%s/audit.key", c->worker_dir), SECRET }, { c->audit_checkpoints, CHANGED }, { c->backup_password_file, SECRET },
		{ c->ssl_dir, CHANGED }, { c->sql_dir, CHANGED }, { c->actions_dir, CHANGED }, { c->local_actions_dir, CHANGED }, { c->plugins_dir, CHANGED },
		{ c->templates_dir, CHANGED }, { c->local_templates_dir, CHANGED },
	};

	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		check_mode(r, modes, files[i].path, files[i].forbidden);
	check_below(r, modes, c->ssl_dir, "privkey.pem", SECRET);
	check_below(r, modes, c->local_actions_dir, NULL, CHANGED);
	check_below(r, modes, c->plugins_dir, NULL, CHANGED);
	json_object_object_add(r->document, "modes", modes);
}

/* ---- the report ---- */

static void tell_grants(struct report *r)
{
	struct json_object *grants = json_object_object_get(r->document, "grants");

	for (size_t i = 0; i < json_object_array_length(grants); i++) {
		struct json_object *row = json_object_array_get_idx(grants, i);
		const char *what = json_object_get_string(json_object_object_get(row, "what"));
		bool lacks = strcmp(json_object_get_string(json_object_object_get(row, "kind")), "missing") == 0;

		finding(r, "grants", json_object_get_string(json_object_object_get(row, "role")),
		        arena_printf(r->arena, "%s: %s", lacks ? "lacks" : "has more than it should", what),
		        lacks ? "Give it back with GRANT, or ALTER." : "Take it away: REVOKE, or ALTER ROLE.");
	}
}

int release_tell(struct request *request, struct json_object *document)
{
	struct report r = {
		.arena = request->arena, .config = request->config, .document = document,
		.findings = json_object_new_array(), .unseen = json_object_new_array()
	};

	json_object_object_add(document, "findings", r.findings);
	json_object_object_add(document, "unseen", r.unseen);
	tell_build(&r);
	tell_files(&r);
	tell_migrations(&r);
	tell_modes(&r);
	tell_grants(&r);
	put(document, "status", json_object_array_length(r.findings) ? "findings" : json_object_array_length(r.unseen) ? "incomplete" : "ok");
	return 0;
}
