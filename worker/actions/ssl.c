/* ssl.c: certificates: issued or uploaded ones put where the web server reads them, tested and loaded, or taken away. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acme.h"
#include "timestamp.h"
#include "webserver.h"

static const struct field issued[] = {
	{ "domain",     F_HOSTNAME,      F_REQUIRED, "Domain whose website has it" },
	{ "web_server", F_ENUM,          F_NULLABLE, "Server of that website; null: it has none", .choices = "nginx apache" },
	{ "names",      F_HOSTNAME_LIST, F_REQUIRED, "Names it is for, the domain first" },
	{ "key_algorithm", F_ENUM,       0,          "Kind of its key; default ecdsa", .choices = "ecdsa rsa" },
	{ 0 }
};
static const struct field placed[] = {
	{ "domain",     F_HOSTNAME,      F_REQUIRED, "Domain whose website has it" },
	{ "web_server", F_ENUM,          F_NULLABLE, "Server of that website; null: it has none", .choices = "nginx apache" },
	{ 0 }
};

static const char *const files[] = { "fullchain.pem", "privkey.pem" };
enum { FILES = 2, FILE_MAX = 64 << 10 };

/* The domain's folder below ssl_dir, open. */
static int open_folder(struct action *a)
{
	const char *path = arena_printf(a->arena, "%s/%s", a->config.ssl_dir, action_text(a, "domain"));
	int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), folder;

	folder = root < 0 ? -1 : file_make_folder(root, path, 0700, (uid_t)-1, (gid_t)-1);
	if (folder < 0)
		action_fail("the folder %s cannot be made: %s", path, strerror(errno));
	close(root);
	return folder;
}

/* Certificate and key change together, or stay as they were; texts NULL: they go. Without a website nobody has loaded them. */
static void change(struct action *a, const char *const texts[FILES])
{
	const char *server = action_text_or(a, "web_server", NULL);
	struct webserver_file changed[FILES];
	struct webserver w;
	int folder = open_folder(a);

	for (int i = 0; i < FILES; i++) {
		const char *path = arena_printf(a->arena, "%s/%s/%s", a->config.ssl_dir, action_text(a, "domain"), files[i]);

		changed[i] = (struct webserver_file){ path, texts[i], texts[i] ? strlen(texts[i]) : 0, 0600, NULL, false };
		if (!server && !(texts[i] ? file_write(folder, files[i], texts[i], strlen(texts[i]), 0600, (uid_t)-1, (gid_t)-1)
		                          : file_remove(folder, files[i])))
			action_fail("%s cannot be changed: %s", path, strerror(errno));
	}
	close(folder);
	if (server) {
		w = webserver_find(a, server);
		webserver_change(a, &w, changed, FILES);
	}
}

static void install(struct action *a, const struct x509info *info, struct json_object *left_out)
{
	struct json_object *result = x509info_json(info);

	change(a, (const char *const[]){ info->fullchain, info->key });
	if (left_out)
		json_object_object_add(result, "left_out", left_out);
	action_result(result);
}

/* What is in force; NULL: nothing. */
static const char *in_force(struct action *a)
{
	int folder = open_folder(a);
	size_t len;
	const char *text = file_read(a, folder, files[0], FILE_MAX, &len);

	close(folder);
	return text;
}

static void get_issued(struct action *a, bool renew)
{
	struct json_object *list = action_value(a, "names"), *left_out = json_object_new_array();
	size_t count = json_object_array_length(list);
	const char **names = arena_array(a->arena, count + 1, sizeof *names);
	struct webserver w;
	struct x509info info;

	for (size_t i = 0; i < count; i++)
		names[i] = json_object_get_string(json_object_array_get_idx(list, i));
	if (!count || strcmp(names[0], action_text(a, "domain")) != 0)
		action_fail("names must begin with the domain");
	if (action_text_or(a, "web_server", NULL)) { /* before anything is ordered that could not be put in place */
		w = webserver_find(a, action_text(a, "web_server"));
		webserver_check(a, &w);
	}
	acme_issue(a, &(struct acme_order){
		names, count, strcmp(action_text_or(a, "key_algorithm", "ecdsa"), "rsa") == 0, renew, in_force(a)
	}, &info, left_out);
	action_progress(60, "putting the certificate in place");
	install(a, &info, left_out);
}
static void issue(struct action *a)
{
	get_issued(a, false);
}
static void renew(struct action *a)
{
	get_issued(a, true);
}

static void upload(struct action *a)
{
	const char *certificate = action_secret(a, "certificate"), *key = action_secret(a, "private_key");
	struct x509info info;
	struct x509fault fault;

	if (!x509info_read(a->arena, certificate, NULL, key, timestamp_now(), &info, &fault))
		action_fail("the %s %s", fault.field, fault.message);
	install(a, &info, NULL);
}

static void take_away(struct action *a)
{
	const char *domain = action_text(a, "domain");
	int root = open(a->config.ssl_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), folder;

	if (root < 0 && errno == ENOENT)
		return;
	folder = root < 0 ? -1 : file_open_beneath(root, domain, O_RDONLY | O_DIRECTORY, 0);
	if (folder < 0 && errno == ENOENT)
		return;
	if (folder < 0)
		action_fail("the folder %s/%s cannot be opened: %s", a->config.ssl_dir, domain, strerror(errno));
	close(folder);
	change(a, (const char *const[FILES]){ NULL, NULL });
	if (unlinkat(root, domain, AT_REMOVEDIR) != 0 && errno != ENOENT)
		action_log("the folder %s/%s stays: %s", a->config.ssl_dir, domain, strerror(errno));
	close(root);
	acme_sweep(a);
}

static const struct kind ssl_issue = { "ssl.issue", "Have a certificate issued by ACME, and put it in place", 600, 5, issued, issue };
static const struct kind ssl_renew = { "ssl.renew", "Have its successor issued, and put it in place; until then the old one is served", 600, 5, issued, renew };
static const struct kind ssl_install = { "ssl.install", "Put an uploaded certificate in place; its secret has certificate and private_key", 120, 5, placed, upload };
static const struct kind ssl_remove = { "ssl.remove", "Take the files of a certificate away", 120, 8, placed, take_away };
POSTERN_KIND(ssl_issue);
POSTERN_KIND(ssl_renew);
POSTERN_KIND(ssl_install);
POSTERN_KIND(ssl_remove);
