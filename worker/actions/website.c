/* website.c: virtual hosts of nginx and Apache, from templates. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "webserver.h"

static const struct field present[] = {
	{ "id",             F_INT,           F_REQUIRED, "Number of the website" },
	{ "domain",         F_HOSTNAME,      F_REQUIRED, "Its name" },
	{ "aliases",        F_HOSTNAME_LIST, 0,          "Further names" },
	{ "web_server",     F_ENUM,          F_REQUIRED, "Which server serves it", .choices = "nginx apache" },
	{ "username",       F_USERNAME,      F_REQUIRED, "Unix user of the account" },
	{ "home",           F_PATH,          F_REQUIRED, "The account's home folder", .max = 500 },
	{ "document_root",  F_PATH,          F_REQUIRED, "Folder it is served from", .max = 500 },
	{ "runtime",        F_ENUM,          F_REQUIRED, "What answers", .choices = "static php proxy" },
	{ "php_version",    F_TEXT,          F_NULLABLE, "Version of PHP, such as 8.2", .max = 5 },
	{ "proxy_socket",   F_PATH,          F_NULLABLE, "Unix socket that answers", .max = 107 },
	{ "proxy_address",  F_ADDRESS,       F_NULLABLE, "Address that answers" },
	{ "proxy_port",     F_INT,           F_NULLABLE, "Port that answers", .min = 1, .max = 65535 },
	{ "https_redirect", F_BOOL,          0,          "Whether plain HTTP leads to HTTPS, once there is a certificate" },
	{ "certificate",    F_BOOL,          0,          "False: a certificate that is there is about to go, and not to be served" },
	{ "suspended",      F_BOOL,          0,          "Whether it answers 503 only" },
	{ 0 }
};
static const struct field removed[] = {
	{ "id",             F_INT,      F_REQUIRED, "Number of the website" },
	{ "domain",         F_HOSTNAME, F_REQUIRED, "Its name" },
	{ 0 }
};

enum { SITE_MAX = 1 << 20, NAMES_MAX = 128, LISTEN_MAX = 16, FILE_NAME_MAX = 200 };
#define PLACEHOLDER_PAGE "<!DOCTYPE html>\n<title>New website</title>\n<p>This website is ready. Put your files here.\n"

/* ---- the document root ---- */

/* Who owns what is made for the account. */
static void owner_of(struct action *a, uid_t *uid, gid_t *gid)
{
	const char *name = action_text(a, "username");
	struct passwd *user;

	*uid = (uid_t)-1;
	*gid = (gid_t)-1;
	if (strcmp(a->config.unix_users, "none") == 0)
		return;
	if (!(user = getpwnam(name)))
		action_retry("there is no Unix user %s yet", name);
	*uid = user->pw_uid;
	*gid = user->pw_gid;
}

/* Below the account's home? Then the rest of the path, else NULL. */
static const char *below(const char *folder, const char *path)
{
	size_t len = strlen(folder);

	return strncmp(path, folder, len) == 0 && path[len] == '/' ? path + len + 1 : NULL;
}

static int open_home(struct action *a)
{
	const char *path = action_text(a, "home");
	int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), home = root < 0 ? -1 : file_open_beneath(root, path, O_RDONLY | O_DIRECTORY, 0);

	if (home < 0)
		action_retry("the home folder %s cannot be opened: %s", path, strerror(errno));
	close(root);
	return home;
}

/*
 * A new folder appears with its page at once, so that a page is never put into a folder that was there before. The home
 * belongs to the account: whatever it plants there, no symbolic link is followed.
 */
static void make_document_root(struct action *a, int home, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *new = arena_printf(a->arena, ".%.200s.postern", name);
	const char *above = slash ? arena_strndup(a->arena, path, (size_t)(slash - path)) : "";
	uid_t uid;
	gid_t gid;
	int parent, folder;

	owner_of(a, &uid, &gid);
	parent = file_make_folder(home, above, 0755, uid, gid);
	folder = parent < 0 ? -1 : file_make_folder(parent, new, 0755, uid, gid);
	if (folder < 0 || !file_write(folder, "index.html", PLACEHOLDER_PAGE, strlen(PLACEHOLDER_PAGE), 0644, uid, gid) ||
	    (renameat2(parent, new, parent, name, RENAME_NOREPLACE) != 0 && (errno != EEXIST || !file_remove(parent, new))))
		action_fail("the document root %s cannot be made: %s", action_text(a, "document_root"),
		            errno == ELOOP ? "a symbolic link is in its way" : strerror(errno));
	close(folder);
	close(parent);
}

static void have_document_root(struct action *a)
{
	const char *path = action_text(a, "document_root"), *rest = below(action_text(a, "home"), path);
	struct stat st;
	int home, folder;

	if (!rest) { /* an administrator's choice, and theirs to make */
		if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
			action_fail("there is no folder %s; it lies outside the account's home, so create it yourself", path);
		return;
	}
	home = open_home(a);
	folder = file_open_beneath(home, rest, O_PATH | O_DIRECTORY, 0);
	if (folder < 0 && errno == ENOENT)
		make_document_root(a, home, rest);
	else if (folder < 0)
		action_fail("the document root %s cannot be used: %s", path,
		            errno == ELOOP ? "it leads through a symbolic link" : errno == ENOTDIR ? "it is no folder" : strerror(errno));
	else
		close(folder);
	close(home);
}

/* ---- what answers ---- */

static const char *php_socket(struct action *a)
{
	const char *version = action_text(a, "php_version"), *user = action_text(a, "username");
	struct buf path;
	struct stat st;
	char *text;

	if (version[strspn(version, "0123456789.")])
		action_fail("php_version must be a version such as 8.2");
	buf_init(&path, 1024);
	for (const char *c = a->config.php_socket; *c; c++)
		if (strncmp(c, "%v", 2) == 0 || strncmp(c, "%u", 2) == 0)
			buf_str(&path, *++c == 'v' ? version : user);
		else
			buf_char(&path, *c);
	text = buf_failed(&path) ? NULL : arena_strdup(a->arena, path.data);
	buf_free(&path);
	if (!text || stat(text, &st) != 0 || !S_ISSOCK(st.st_mode))
		action_retry("PHP-FPM has no socket %s; start a pool for it, or set php_socket", text ? text : "of such a name");
	return text;
}

/* A tenant's socket may come later; what is there must be a socket, reached without a symbolic link. */
static void check_socket(struct action *a, const char *path)
{
	const char *rest = below(action_text(a, "home"), path);
	struct stat st;
	int home, fd;

	if (!rest)
		return;
	home = open_home(a);
	fd = file_open_beneath(home, rest, O_PATH, 0);
	if (fd < 0 ? errno != ENOENT : fstat(fd, &st) != 0 || !S_ISSOCK(st.st_mode))
		action_fail("proxy_target: %s is no socket, or a symbolic link is on the way to it", path);
	if (fd >= 0)
		close(fd);
	close(home);
}

static const char *proxy_url(struct action *a, const struct webserver *w)
{
	const char *socket = action_text_or(a, "proxy_socket", NULL), *address;
	bool nginx = strcmp(w->name, "nginx") == 0;

	if (socket) {
		check_socket(a, socket);
		return nginx ? arena_printf(a->arena, "http://unix:%s", socket) : arena_printf(a->arena, "unix:%s|http://127.0.0.1/", socket);
	}
	address = action_text(a, "proxy_address");
	return arena_printf(a->arena, strchr(address, ':') ? "http://[%s]:%d%s" : "http://%s:%d%s", address,
	                    (int)action_int(a, "proxy_port", 80), nginx ? "" : "/");
}

/* ---- the virtual host ---- */

static bool has_certificate(struct action *a, const char **certificate, const char **key)
{
	struct stat st;

	*certificate = arena_printf(a->arena, "%s/%s/fullchain.pem", a->config.ssl_dir, action_text(a, "domain"));
	*key = arena_printf(a->arena, "%s/%s/privkey.pem", a->config.ssl_dir, action_text(a, "domain"));
	return stat(*certificate, &st) == 0 && stat(*key, &st) == 0;
}

static size_t split(struct action *a, const char *text, const char *words[LISTEN_MAX])
{
	char *rest = arena_strdup(a->arena, text), *word;
	size_t n = 0;

	while ((word = strsep(&rest, " ")))
		if (*word && n < LISTEN_MAX)
			words[n++] = word;
	return n;
}

/* ":8443", or nothing where it is HTTPS' own. */
static const char *port_suffix(const char *listen)
{
	const char *colon = strrchr(listen, ':');

	return colon && strcmp(colon, ":443") != 0 ? colon : "";
}

static void virtual_host(struct action *a, const struct webserver *w, bool tls, bool certified, struct buf *out)
{
	static const char *const flag[] = { "" };
	const char *names[NAMES_MAX] = { action_text(a, "domain") }, *listen[LISTEN_MAX], *listen_tls[LISTEN_MAX];
	const char *certificate, *key, *root = action_text(a, "document_root"), *home = action_text(a, "home"), *runtime = action_text(a, "runtime");
	const char *folder = arena_printf(a->arena, "%s/%s", a->config.templates_dir, w->name), *suffix, *php = NULL, *proxy = NULL;
	struct json_object *aliases = action_value(a, "aliases");
	bool suspended = action_bool(a, "suspended", false), redirect = !suspended && !tls && certified && action_bool(a, "https_redirect", false);
	bool answers = !suspended && !redirect, proxied = answers && strcmp(runtime, "proxy") == 0, files = answers && !proxied;
	bool scripts = files && strcmp(runtime, "php") == 0;
	size_t n = 1, places = split(a, w->listen, listen);

	split(a, w->listen_tls, listen_tls);
	suffix = port_suffix(listen_tls[0]);
	for (size_t i = 0; aliases && i < json_object_array_length(aliases) && n < NAMES_MAX; i++)
		names[n++] = json_object_get_string(json_object_array_get_idx(aliases, i));
	if (tls)
		places = split(a, w->listen_tls, listen);
	has_certificate(a, &certificate, &key);
	if (!below(home, root))
		home = root; /* links are followed, to what their owner owns, from here on */
	if (scripts)
		php = php_socket(a);
	if (proxied)
		proxy = proxy_url(a, w);

	const struct template_value values[] = {
		{ "DOMAIN", names, 1 }, { "NAME", names, n }, { "ALIAS", names + 1, n - 1 }, { "LISTEN", listen, places },
		{ "PLAIN", flag, !tls }, { "TLS", flag, tls }, { "CERTIFICATE", &certificate, tls }, { "KEY", &key, tls },
		{ "ACME", (const char *const *)&a->config.acme_webroot, 1 }, { "TEMPLATES", &folder, 1 },
		{ "REDIRECT", &suffix, redirect }, { "SUSPENDED", flag, suspended },
		{ "ROOT", &root, files }, { "HOME", &home, files }, { "STATIC", flag, files && !scripts },
		{ "PHP", &php, scripts }, { "SCRIPTS", flag, scripts }, { "FILES", flag, files }, { "PROXY", &proxy, proxied },
		{ "PROXIED", flag, proxied },
	};
	template_fill(a, arena_printf(a->arena, "%s/site.conf.in", w->name), values, sizeof values / sizeof *values, out);
}

/* A file's name has 255 bytes, a domain 253; a long one is told apart by its number. */
static const char *site_path(struct action *a, const struct webserver *w)
{
	const char *domain = action_text(a, "domain");

	return strlen(domain) <= FILE_NAME_MAX ? arena_printf(a->arena, "%s/%s.conf", w->sites_dir, domain)
	                                       : arena_printf(a->arena, "%s/%.*s-%lld.conf", w->sites_dir, FILE_NAME_MAX, domain,
	                                                      (long long)action_int(a, "id", 0));
}

/* Nothing to do where that server has no folder of ours: it never had a website. */
static void take_away(struct action *a, const char *server)
{
	const struct webserver w = webserver_find(a, server);
	const struct webserver_file file = { site_path(a, &w), NULL, 0, 0, WEBSERVER_MARK };
	struct stat st;

	if (stat(w.sites_dir, &st) == 0)
		webserver_change(a, &w, &file, 1);
}

static void apply(struct action *a)
{
	const struct webserver w = webserver_find(a, action_text(a, "web_server"));
	struct webserver_file file = { site_path(a, &w), NULL, 0, 0644, WEBSERVER_MARK };
	const char *certificate, *key;
	bool certified = has_certificate(a, &certificate, &key) && action_bool(a, "certificate", true);
	struct buf text;

	if (strcmp(action_text(a, "runtime"), "proxy") != 0 && !action_bool(a, "suspended", false))
		have_document_root(a);
	buf_init(&text, SITE_MAX);
	buf_str(&text, WEBSERVER_MARK);
	virtual_host(a, &w, false, certified, &text);
	if (certified)
		virtual_host(a, &w, true, certified, &text);
	if (mkdir(w.sites_dir, 0755) != 0 && errno != EEXIST)
		action_fail("the folder %s cannot be made: %s", w.sites_dir, strerror(errno));
	file.bytes = text.data;
	file.len = text.len;
	webserver_change(a, &w, &file, 1);
	take_away(a, strcmp(w.name, "nginx") == 0 ? "apache" : "nginx"); /* which may have served it before */
	buf_free(&text);
}

static void remove_site(struct action *a)
{
	take_away(a, "nginx");
	take_away(a, "apache");
}

static const struct kind website_apply = { "website.apply", "Serve a website as it is to be: its virtual host, and a document root where there is none", 120, 8, present, apply };
static const struct kind website_remove = { "website.remove", "Take a virtual host away; its files stay", 120, 8, removed, remove_site };
POSTERN_KIND(website_apply);
POSTERN_KIND(website_remove);
