/* acme.c: see acme.h. */
#include "acme.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"
#include "timestamp.h"

enum { TRIES = 5, FILE_MAX = 64 << 10, TOKEN_MAX = 200, ACCEPTED = 0, DECLINED = 1 };
#define WEBROOT "POSTERN_ACME_WEBROOT"
#define CHALLENGES ".well-known/acme-challenge"
#define BASE64URL "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
#define PROBLEM "urn:ietf:params:acme:error:"

/* ---- the hook ---- */

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
static const char *problem(struct action *a, const struct command *c, const char **type)
{
	const char *begin = NULL, *end, *why;
	struct json_object *document, *value;
	size_t at;

	for (const char *next = c->errors; (next = strstr(next, "\n{")); next++)
		begin = next;
	end = begin ? strstr(begin, "\n}") : NULL;
	if (!end || !(document = json_parse(begin + 1, (size_t)(end + 2 - begin - 1), &why, &at)))
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
static bool uacme(struct action *a, struct command *c, const char *state, const char *const *words)
{
	const char *webroot = arena_printf(a->arena, WEBROOT "=%s", a->config.acme_webroot);
	const char *const env[] = { webroot, NULL };
	const char *type = "";
	size_t n = 0;

	*c = (struct command){ .env = env };
	if (!command_split(a, a->config.acme_command, c))
		action_fail("the setting acme_command has too many words");
	while (c->argv[n])
		n++;
	for (const char *const given[] = { "-c", state, "-a", a->config.acme_directory, NULL }, *const *word = given; *word; word++)
		if (n < COMMAND_ARGS_MAX - 1)
			c->argv[n++] = *word;
	for (; *words && n < COMMAND_ARGS_MAX - 1; words++)
		c->argv[n++] = *words;
	for (int tries = 0; tries < TRIES; tries++) {
		if (command_run(a, c))
			return true;
		if (!problem(a, c, &type) || strcmp(type, "badNonce") != 0)
			break;
	}
	return false;
}

/* It looked for a name and did not find there what the hook had put. */
static bool is_about_names(const char *type)
{
	return strcmp(type, "unauthorized") == 0 || strcmp(type, "connection") == 0 || strcmp(type, "dns") == 0 ||
	       strcmp(type, "incorrectResponse") == 0;
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
		if (!uacme(a, &c, state, (const char *const[]){ "-y", "new", *email ? email : NULL, NULL }) &&
		    !strstr(c.errors, "Account already exists"))
			give_up(a, &c);
		put(folder, "account", a->config.acme_directory);
	}
	close(held);
}

/* The folder of this job: what another one has left there goes. One that is run again finds what it had. */
static int job_folder(struct action *a, const char *path)
{
	int folder = make_folder(a, path, 0700), state;
	const char *job = get(a, folder, "job"), *slash = strrchr(path, '/');

	if (job && strcmp(job, a->job) == 0)
		return folder;
	close(folder);
	state = make_folder(a, arena_strndup(a->arena, path, (size_t)(slash - path)), 0700);
	if (!file_remove(state, slash + 1))
		action_retry("%s cannot be emptied: %s", path, strerror(errno));
	close(state);
	folder = make_folder(a, path, 0700);
	put(folder, "job", a->job);
	return folder;
}

void acme_issue(struct action *a, const char *const *names, size_t count, struct x509info *info)
{
	const char *state = state_path(a), *path = arena_printf(a->arena, "%s/issue/%s", state, names[0]);
	const char *key, *request, *issued, *csr = arena_printf(a->arena, "%s/csr.pem", path);
	struct x509fault fault;
	struct command c;
	int account = make_folder(a, state, 0700), folder = job_folder(a, path);

	close(make_folder(a, a->config.acme_webroot, 0755));
	have_account(a, state, account);
	key = get(a, folder, "key.pem");
	issued = get(a, folder, "csr-cert.pem");
	if (!key || !issued || !x509info_matches(issued, key)) {
		if (!x509info_request(a->arena, names, count, &key, &request))
			action_retry("a key and a request for it could not be made");
		if (!file_remove(folder, "csr-cert.pem"))
			action_retry("%s/csr-cert.pem cannot be removed: %s", path, strerror(errno));
		put(folder, "key.pem", key);
		put(folder, "csr.pem", request);
		action_progress(20, "asking the certificate authority for a certificate for %zu name%s", count, count == 1 ? "" : "s");
		if (!uacme(a, &c, state, (const char *const[]){ "-f", "-h", hook_path(a, state), "issue", csr, NULL })) {
			if (strstr(c.errors, "no account associated") || strstr(c.errors, PROBLEM "accountDoesNotExist")) {
				file_remove(account, "account");
				action_retry("the certificate authority does not know our account any more; it is made again");
			}
			give_up(a, &c);
		}
		issued = get(a, folder, "csr-cert.pem");
	}
	if (!issued)
		action_retry("uacme ended well, but %s/csr-cert.pem is not there", path);
	if (!x509info_read(a->arena, issued, NULL, key, timestamp_now(), info, &fault))
		action_fail("the certificate authority sent what cannot be used: the %s %s", fault.field, fault.message);
	close(folder);
	close(account);
}

void acme_done(struct action *a, const char *domain)
{
	int folder = open(state_path(a), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (folder >= 0) {
		file_remove(folder, arena_printf(a->arena, "issue/%s", domain));
		close(folder);
	}
}
