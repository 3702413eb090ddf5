/* acme.c: see acme.h. */
#include "acme.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "json.h"
#include "timestamp.h"

enum { TRIES = 5, FILE_MAX = 64 << 10, TOKEN_MAX = 200, ACCEPTED = 0, DECLINED = 1, KEPT_S = 8 * 24 * 3600 };
#define WEBROOT "POSTERN_ACME_WEBROOT"
#define FOLDER "POSTERN_ACME_FOLDER" /* of the domain: the name that failed is noted there */
#define FAILED "failed"
#define KEPT "kept.pem"
#define BEGIN_CERTIFICATE "-----BEGIN CERTIFICATE-----"
#define CHALLENGES ".well-known/acme-challenge"
#define BASE64URL "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
#define PROBLEM "urn:ietf:params:acme:error:"

/* ---- the hook ---- */

static void note_failed(const char *name)
{
	const char *path = getenv(FOLDER);
	int folder = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (folder < 0 || !file_write(folder, FAILED, name, strlen(name), 0600, (uid_t)-1, (gid_t)-1))
		fprintf(stderr, "%s: %s\n", path ? path : FOLDER, strerror(errno));
	close(folder);
}

/* What comes from the authority names a file: only letters of its alphabet are taken. */
int acme_hook(int argc, char **argv)
{
	const char *webroot = getenv(WEBROOT), *method, *token;
	char path[sizeof CHALLENGES + TOKEN_MAX + 1];
	int root, folder;
	bool done;

	if (argc != 6 || !webroot || strcmp(argv[2], "http-01") != 0)
		return DECLINED;
	method = argv[1];
	token = argv[4];
	if (!*token || strlen(token) > TOKEN_MAX || token[strspn(token, BASE64URL)] || argv[5][strspn(argv[5], BASE64URL ".")])
		return DECLINED;
	root = open(webroot, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	folder = root < 0 ? -1 : file_make_folder(root, CHALLENGES, 0755, (uid_t)-1, (gid_t)-1);
	snprintf(path, sizeof path, CHALLENGES "/%s", token);
	if (folder < 0)
		done = false;
	else if (strcmp(method, "begin") == 0)
		done = file_write(root, path, argv[5], strlen(argv[5]), 0644, (uid_t)-1, (gid_t)-1);
	else
		done = file_remove(root, path);
	if (strcmp(method, "failed") == 0)
		note_failed(argv[3]);
	if (!done)
		fprintf(stderr, "acme_webroot %s: %s\n", webroot, strerror(errno));
	return done ? ACCEPTED : DECLINED;
}

/* ---- folders ---- */

/* What belongs to one authority: its account, and a folder for each certificate that is being issued. */
static const char *state_path(struct action *a)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];

	SHA256((const unsigned char *)a->config.acme_directory, strlen(a->config.acme_directory), digest);
	return arena_printf(a->arena, "%s/acme/%02x%02x%02x%02x%02x%02x", a->config.worker_dir, digest[0], digest[1], digest[2], digest[3],
	                    digest[4], digest[5]);
}

static int make_folder(struct action *a, const char *path, mode_t mode)
{
	int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), folder;

	folder = root < 0 ? -1 : file_make_folder(root, path, mode, (uid_t)-1, (gid_t)-1);
	if (folder < 0)
		action_retry("the folder %s cannot be made: %s", path, strerror(errno));
	close(root);
	(void)a;
	return folder;
}

static void put(int folder, const char *name, const char *text)
{
	if (!file_write(folder, name, text, strlen(text), 0600, (uid_t)-1, (gid_t)-1))
		action_retry("%s cannot be written: %s", name, strerror(errno));
}

static const char *get(struct action *a, int folder, const char *name)
{
	size_t len;

	return file_read(a, folder, name, FILE_MAX, &len);
}

/* uacme takes the hook by one path without arguments: ourselves, under a name that says so. */
static const char *hook_path(struct action *a, const char *state)
{
	const char *path = arena_printf(a->arena, "%s/" ACME_HOOK, state), *made = arena_printf(a->arena, "%s.%d", path, (int)getpid());
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

	if (len <= 0)
		action_retry("/proc/self/exe: %s", strerror(errno));
	self[len] = '\0';
	if (symlink(self, made) != 0 || rename(made, path) != 0)
		action_retry("%s cannot be made: %s", path, strerror(errno));
	return path;
}

/* ---- uacme ---- */

/* The last problem document of the authority (RFC 8555 section 6.7) in what uacme says: "unauthorized: …"; NULL: there is none. */
static struct json_object *problem_document(const struct command *c)
{
	const char *begin = NULL, *end, *why;
	size_t at;

	for (const char *next = c->errors; (next = strstr(next, "\n{")); next++)
		begin = next;
	end = begin ? strstr(begin, "\n}") : NULL;
	return end ? json_parse(begin + 1, (size_t)(end + 2 - begin - 1), &why, &at) : NULL;
}

static const char *problem(struct action *a, const struct command *c, const char **type)
{
	struct json_object *document = problem_document(c), *value;

	if (!document)
		return NULL;
	*type = json_object_object_get_ex(document, "type", &value) && json_object_is_type(value, json_type_string)
	            ? json_object_get_string(value) : "";
	if (strncmp(*type, PROBLEM, strlen(PROBLEM)) == 0)
		*type += strlen(PROBLEM);
	return arena_printf(a->arena, "%s: %s", *type, json_object_object_get_ex(document, "detail", &value) &&
	                    json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "no details");
}

/* Words after those of the setting. An authority may refuse any request for its nonce, to be sent again with another one
 * (RFC 8555 section 6.5); uacme does so once, we with all of it. */
static bool uacme(struct action *a, struct command *c, const char *state, const char *folder, const char *const *words)
{
	const char *const env[] = {
		arena_printf(a->arena, WEBROOT "=%s", a->config.acme_webroot), arena_printf(a->arena, FOLDER "=%s", folder), NULL
	};
	const char *type = "";

	*c = (struct command){ .env = env };
	command_split(a, a->config.acme_command, c);
	for (const char *const given[] = { "-c", state, "-a", a->config.acme_directory, NULL }, *const *word = given; *word; word++)
		command_add(c, *word);
	for (; *words; words++)
		command_add(c, *words);
	for (int tries = 0; tries < TRIES; tries++) {
		if (command_run(a, c))
			return true;
		if (!problem(a, c, &type) || strcmp(type, "badNonce") != 0)
			break;
	}
	return false;
}

/* It is about a name: the authority did not find there what the hook had put, or may not speak for it. */
static bool is_about_names(const char *type)
{
	static const char *const types[] = { "unauthorized", "connection", "dns", "incorrectResponse", "caa", "rejectedIdentifier", "tls" };

	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (strcmp(type, types[i]) == 0)
			return true;
	return false;
}

/* Why uacme gave up: what the authority refuses, it refuses again; else it may have been out of reach. */
static _Noreturn void give_up(struct action *a, const struct command *c)
{
	const char *type = "", *said = problem(a, c, &type);

	if (said && strcmp(type, "serverInternal") != 0 && strcmp(type, "badNonce") != 0)
		action_fail("the certificate authority refuses: %s%s", said, is_about_names(type) ?
		            " (each name must lead to this machine, and be the domain itself or an alias of its website)" : "");
	if (c->status == 127)
		action_fail("%s; install uacme, or set acme_command", command_complaint(a, c));
	action_retry("the certificate authority could not be asked: %s", said ? said : command_complaint(a, c));
}

/* One account with each authority, made by whichever job is first. */
static void have_account(struct action *a, const char *state, int folder)
{
	const char *email = a->config.acme_email, *lock = arena_printf(a->arena, "%s/lock", state);
	struct command c;
	int held = file_lock(lock);

	if (held < 0)
		action_retry("%s cannot be locked: %s", lock, strerror(errno));
	if (faccessat(folder, "account", F_OK, 0) != 0) {
		action_progress(5, "making an account with the certificate authority");
		if (!uacme(a, &c, state, state, (const char *const[]){ "-y", "new", *email ? email : NULL, NULL }) &&
		    !strstr(c.errors, "Account already exists"))
			give_up(a, &c);
		put(folder, "account", a->config.acme_directory);
	}
	close(held);
}

/* ---- the pair that was issued ---- */

/*
 * Key and certificate are kept in one file from the moment they are issued, whatever fails after: an authority issues the same names
 * five times a week at most, so the next job takes what is there.
 */
static void keep(struct action *a, int folder)
{
	const char *key = get(a, folder, "key.pem"), *issued = get(a, folder, "csr-cert.pem");

	if (!key || !issued || !x509info_matches(issued, key))
		return;
	put(folder, KEPT, arena_printf(a->arena, "%s%s", key, issued));
	if (!file_remove(folder, "csr-cert.pem") || !file_remove(folder, "key.pem") || !file_remove(folder, "csr.pem"))
		action_retry("the files of a request cannot be removed: %s", strerror(errno));
}

static bool has_name(const struct x509info *info, const char *name)
{
	for (size_t i = 0; i < info->name_count; i++)
		if (strcmp(info->names[i], name) == 0)
			return true;
	return false;
}

/* The pair that is kept, where it is for just these names and not yet to be renewed. One that is in force already is no successor of
 * itself, unless this very job has put it there. */
static bool kept_fits(struct action *a, int folder, const struct acme_order *o, const char *const *names, size_t count, struct x509info *info)
{
	const char *pair = get(a, folder, KEPT), *job = get(a, folder, "job");
	const char *issued = pair ? strstr(pair, BEGIN_CERTIFICATE) : NULL;
	struct x509fault fault;

	if (!issued || !x509info_read(a->arena, issued, NULL, arena_strndup(a->arena, pair, (size_t)(issued - pair)), timestamp_now(), info, &fault) ||
	    info->name_count != count || (strncmp(info->key_type, "RSA ", 4) == 0) != o->rsa ||
	    info->not_after_us - (info->not_after_us - info->not_before_us) / 3 <= timestamp_now())
		return false;
	for (size_t i = 0; i < count; i++)
		if (!has_name(info, names[i]))
			return false;
	return !o->renew || !o->in_force || strcmp(o->in_force, info->fullchain) != 0 || (job && strcmp(job, a->job) == 0);
}

/* Pairs of certificates that are gone are kept for as long as the authority counts. */
void acme_sweep(struct action *a)
{
	const char *issue = arena_printf(a->arena, "%s/issue", state_path(a));
	DIR *all = opendir(issue);
	struct dirent *entry;
	struct stat st;

	while (all && (entry = readdir(all))) {
		const char *in_use = arena_printf(a->arena, "%s/%s", a->config.ssl_dir, entry->d_name);

		if (entry->d_name[0] == '.' || fstatat(dirfd(all), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
		    time(NULL) - st.st_mtime < KEPT_S || access(in_use, F_OK) == 0)
			continue;
		if (!file_remove(dirfd(all), entry->d_name))
			action_log("%s/%s cannot be removed: %s", issue, entry->d_name, strerror(errno));
	}
	if (all)
		closedir(all);
}

/* ---- orders ---- */

/* The name that the authority refused: as the hook was told, or as the problem says; NULL: it is about none of them alone. */
static const char *failed_name(struct action *a, int folder, const struct command *c, const char *const *names, size_t count)
{
	struct json_object *document = problem_document(c), *list, *one, *value;
	const char *told = get(a, folder, FAILED), *type = "", *said = problem(a, c, &type), *found = NULL;

	if (!told && json_object_object_get_ex(document, "subproblems", &list) && json_object_is_type(list, json_type_array) &&
	    json_object_object_get_ex(json_object_array_get_idx(list, 0), "identifier", &one) && json_object_object_get_ex(one, "value", &value))
		told = json_object_get_string(value);
	for (size_t i = 0; told && i < count; i++)
		if (strcmp(told, names[i]) == 0)
			return names[i];
	for (size_t i = 0; said && is_about_names(type) && i < count; i++) /* the longest, as one may be part of another */
		if (strstr(said, names[i]) && (!found || strlen(names[i]) > strlen(found)))
			found = names[i];
	return found;
}

/* Ask for one with a new key. False: the authority refuses *bad, for that reason. */
static bool order(struct action *a, const char *state, const char *path, int account, int folder, const struct acme_order *o,
                  const char *const *names, size_t count, const char **bad, const char **why)
{
	const char *key, *request, *csr = arena_printf(a->arena, "%s/csr.pem", path), *type = "";
	struct command c;

	if (!x509info_request(a->arena, names, count, o->rsa, &key, &request))
		action_retry("a key and a request for it could not be made");
	if (!file_remove(folder, "csr-cert.pem") || !file_remove(folder, FAILED))
		action_retry("%s cannot be emptied: %s", path, strerror(errno));
	put(folder, "job", a->job);
	put(folder, "key.pem", key);
	put(folder, "csr.pem", request);
	action_progress(20, "asking the certificate authority for a certificate for %zu name%s", count, count == 1 ? "" : "s");
	if (uacme(a, &c, state, path, (const char *const[]){ "-f", "-h", hook_path(a, state), "issue", csr, NULL })) {
		keep(a, folder);
		return true;
	}
	if (strstr(c.errors, "no account associated") || strstr(c.errors, PROBLEM "accountDoesNotExist")) {
		file_remove(account, "account");
		action_retry("the certificate authority does not know our account any more; it is made again");
	}
	*bad = failed_name(a, folder, &c, names, count);
	*why = problem(a, &c, &type);
	if (!*bad || !*why || strcmp(*bad, o->names[0]) == 0 || count == 1)
		give_up(a, &c);
	return false;
}

void acme_issue(struct action *a, const struct acme_order *o, struct x509info *info, struct json_object *left_out)
{
	const char *state = state_path(a), *path = arena_printf(a->arena, "%s/issue/%s", state, o->names[0]), *bad, *why;
	const char **names = arena_array(a->arena, o->count + 1, sizeof *names);
	int account = make_folder(a, state, 0700), folder = make_folder(a, path, 0700);
	size_t count = o->count;
	struct json_object *one;

	memcpy(names, o->names, count * sizeof *names);
	keep(a, folder); /* of an attempt that was killed */
	while (!kept_fits(a, folder, o, names, count, info)) {
		close(make_folder(a, a->config.acme_webroot, 0755));
		have_account(a, state, account);
		if (order(a, state, path, account, folder, o, names, count, &bad, &why)) {
			if (!kept_fits(a, folder, o, names, count, info))
				action_fail("the certificate authority sent what cannot be used: it does not fit the request; see %s", path);
			break;
		}
		action_log("%s is left out: %s", bad, why);
		one = json_object_new_object();
		json_object_object_add(one, "name", json_object_new_string(bad));
		json_object_object_add(one, "reason", json_object_new_string(why));
		json_object_array_add(left_out, one);
		for (size_t i = 0, kept = 0; i < count; i++)
			if (names[i] != bad)
				names[kept++] = names[i];
		count--;
	}
	close(folder);
	close(account);
	acme_sweep(a);
}
