/* website.c: virtual hosts of nginx and Apache, from templates. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "served.h"
#include "tenant.h"
#include "webserver.h"
#include "x509info.h"

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
	{ "proxy_socket",   F_PATH,          F_NULLABLE, "Unix socket that answers, of an administrator's choice", .max = 107 },
	{ "proxy_name",     F_TEXT,          F_NULLABLE, "Unix socket that answers, by its name in the account's folder for sockets", .max = 50 },
	{ "proxy_address",  F_ADDRESS,       F_NULLABLE, "Address that answers" },
	{ "proxy_port",     F_INT,           F_NULLABLE, "Port that answers", .min = 1, .max = 65535 },
	{ "https_redirect", F_BOOL,          0,          "Whether plain HTTP leads to HTTPS, once there is a certificate" },
	{ "hsts",           F_BOOL,          0,          "Whether browsers are told to ask by HTTPS alone" },
	{ "max_body_mb",    F_INT,           0,          "Megabytes that a request's body may have; default 128", .min = 1, .max = 2048 },
	{ "certificate",    F_BOOL,          0,          "False: a certificate that is there is about to go, and not to be served" },
	{ "suspended",      F_BOOL,          0,          "Whether it answers 503 only" },
	{ 0 }
};
static const struct field removed[] = {
	{ "id",             F_INT,      F_REQUIRED, "Number of the website" },
	{ "domain",         F_HOSTNAME, F_REQUIRED, "Its name" },
	{ 0 }
};

enum { SITE_MAX = 1 << 20, PEM_MAX = 64 << 10, BODY_MB = 128, NAMES_MAX = 128, FILE_NAME_MAX = 200 };
#define DEFAULT_NAME "default.postern.invalid"
#define DEFAULT_PAIR "+default" /* no domain's folder */
#define PLACEHOLDER_PAGE "<!DOCTYPE html>\n<title>New website</title>\n<p>This website is ready. Put your files here.\n"

/* ---- the document root ---- */

/* Who owns what is made for the account. */
static void owner_of(struct action *a, uid_t *uid, gid_t *gid)
{
	const char *name = action_text(a, "username");
	struct passwd *user;

	*uid = (uid_t)-1;
	*gid = (gid_t)-1;
	if (tenant_none(a))
		return;
	if (!(user = tenant_user(a, name)))
		action_retry("there is no Unix user %s yet", name);
	*uid = user->pw_uid;
	*gid = tenant_web_user(a)->pw_gid;
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
 * belongs to the account: whatever it plants there, no symbolic link is followed. What is made below it is for the account and the
 * web server's group alone, which the folder hands on.
 */
static void make_document_root(struct action *a, int home, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *new = arena_printf(a->arena, ".%.200s.postern", name);
	const char *above = slash ? arena_strndup(a->arena, path, (size_t)(slash - path)) : "";
	mode_t mode = tenant_none(a) ? 0755 : 02750;
	uid_t uid;
	gid_t gid;
	int parent, folder;

	owner_of(a, &uid, &gid);
	parent = file_make_folder(home, above, mode, uid, gid);
	folder = parent < 0 ? -1 : file_make_folder(parent, new, mode, uid, gid);
	if (folder < 0 || !file_write(folder, "index.html", PLACEHOLDER_PAGE, strlen(PLACEHOLDER_PAGE), tenant_none(a) ? 0644 : 0640, uid, gid) ||
	    (renameat2(parent, new, parent, name, RENAME_NOREPLACE) != 0 && (errno != EEXIST || !file_remove(parent, new))))
		action_fail("the document root %s cannot be made: %s", action_text(a, "document_root"),
		            errno == ELOOP ? "a symbolic link is in its way" : strerror(errno));
	close(folder);
	close(parent);
}

/* What it cannot enter it answers with 404 or 403, whatever is there. */
static void check_web_server_enters(struct action *a, const char *path)
{
	const char *home = action_text(a, "home"), *why = tenant_none(a) ? NULL : tenant_web_objection(a, path);

	if (why)
		action_fail("the web server's user %s cannot enter the document root %s: %s; let it in: postern account mend %s, or chmod 0710 and "
		            "chgrp its group on %s and the folders below it; then retry this job", a->config.web_user, path, why,
		            action_text(a, "username"), home);
}

static void have_document_root(struct action *a)
{
	const char *path = action_text(a, "document_root"), *rest = below(action_text(a, "home"), path);
	struct stat st;
	int home, folder;

	if (!rest) { /* an administrator's choice, and theirs to make */
		if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
			action_fail("there is no folder %s; it lies outside the account's home, so create it yourself", path);
		check_web_server_enters(a, path);
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
	check_web_server_enters(a, path);
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

/* An administrator's choice: where no tenant can put a link, now or later. */
static const char *chosen_socket(struct action *a, const char *path)
{
	const char *homes = a->config.home_dir;

	if (below(action_text(a, "home"), path) || below(homes, path))
		action_fail("proxy_target: %s lies below %s, where its owner can put a link in its place; have the application listen on %s/%s/s/app.sock and "
		            "set proxy_target to unix:app.sock", path, homes, a->config.app_sockets_dir, action_text(a, "username"));
	return path;
}

static const char *proxy_url(struct action *a, const struct webserver *w)
{
	const char *socket = action_text_or(a, "proxy_socket", NULL), *name = action_text_or(a, "proxy_name", NULL), *address;
	bool nginx = strcmp(w->name, "nginx") == 0;

	if (socket || name) {
		socket = name ? tenant_socket(a, action_text(a, "username"), name) : chosen_socket(a, socket);
		return nginx ? arena_printf(a->arena, "http://unix:%s", socket) : arena_printf(a->arena, "unix:%s|http://127.0.0.1/", socket);
	}
	address = action_text(a, "proxy_address");
	return arena_printf(a->arena, strchr(address, ':') ? "http://[%s]:%d%s" : "http://%s:%d%s", address,
	                    (int)action_int(a, "proxy_port", 80), nginx ? "" : "/");
}

/* ---- the virtual host ---- */

/* Names of a website, or some of them. */
struct names {
	const char *all[NAMES_MAX];
	size_t count;
};

static void all_names(struct action *a, struct names *out)
{
	struct json_object *aliases = action_value(a, "aliases");

	*out = (struct names){ { action_text(a, "domain") }, 1 };
	for (size_t i = 0; aliases && i < json_object_array_length(aliases) && out->count < NAMES_MAX; i++)
		out->all[out->count++] = json_object_get_string(json_object_array_get_idx(aliases, i));
}

static const char *pair_path(struct action *a, const char *folder, const char *file)
{
	return arena_printf(a->arena, "%s/%s/%s", a->config.ssl_dir, folder, file);
}

/* Which of the names the certificate that is there is for, and which it is not. One without a subjectAltName is for the domain alone. */
static void divide(struct action *a, const struct names *names, struct names *certified, struct names *bare)
{
	const char *domain = action_text(a, "domain"), *key = pair_path(a, domain, "privkey.pem"), *text = NULL, *held[X509INFO_NAMES_MAX];
	int folder = open(arena_printf(a->arena, "%s/%s", a->config.ssl_dir, domain), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t len, count;

	certified->count = bare->count = 0;
	if (folder >= 0 && access(key, F_OK) == 0 && action_bool(a, "certificate", true))
		text = file_read(a, folder, "fullchain.pem", PEM_MAX, &len);
	if (folder >= 0)
		close(folder);
	count = text ? x509info_names(a->arena, text, held) : 0;
	if (text && !count)
		held[count++] = domain;
	for (size_t i = 0; i < names->count; i++) {
		struct names *to = x509info_covers(held, count, names->all[i]) ? certified : bare;

		to->all[to->count++] = names->all[i];
	}
}

/* ":8443", or nothing where it is HTTPS' own. */
static const char *port_suffix(const char *listen)
{
	const char *colon = strrchr(listen, ':');

	return colon && strcmp(colon, ":443") != 0 ? colon : "";
}

/* Plain, with TLS, or plain and leading to that. */
enum host { PLAIN, TLS, REDIRECT };

static void virtual_host(struct action *a, const struct webserver *w, enum host host, const struct names *names, struct buf *out)
{
	static const char *const flag[] = { "" };
	const char *listen[WEBSERVER_LISTEN_MAX], *listen_tls[WEBSERVER_LISTEN_MAX], *hsts = "max-age=63072000", *body;
	const char *certificate = pair_path(a, action_text(a, "domain"), "fullchain.pem"), *key = pair_path(a, action_text(a, "domain"), "privkey.pem");
	const char *root = action_text(a, "document_root"), *home = action_text(a, "home"), *runtime = action_text(a, "runtime");
	const char *folder = arena_printf(a->arena, "%s/%s", a->config.templates_dir, w->name), *suffix, *php = NULL, *proxy = NULL;
	bool suspended = action_bool(a, "suspended", false), tls = host == TLS, redirect = !suspended && host == REDIRECT;
	bool answers = !suspended && !redirect, proxied = answers && strcmp(runtime, "proxy") == 0, files = answers && !proxied;
	bool scripts = files && strcmp(runtime, "php") == 0;
	size_t places = webserver_places(a, w->listen, listen);
	long long body_mb = action_int(a, "max_body_mb", BODY_MB);

	if (!names->count)
		return;
	webserver_places(a, w->listen_tls, listen_tls);
	suffix = port_suffix(listen_tls[0]);
	body = strcmp(w->name, "nginx") == 0 ? arena_printf(a->arena, "%lldm", body_mb) : arena_printf(a->arena, "%lld", body_mb << 20);
	if (tls)
		places = webserver_places(a, w->listen_tls, listen);
	if (!below(home, root))
		home = root; /* links are followed, to what their owner owns, from here on */
	if (scripts)
		php = php_socket(a);
	if (proxied)
		proxy = proxy_url(a, w);

	const struct template_value values[] = {
		{ "DOMAIN", names->all, 1 }, { "NAME", names->all, names->count }, { "ALIAS", names->all + 1, names->count - 1 },
		{ "LISTEN", listen, places }, { "PLAIN", flag, !tls }, { "TLS", flag, tls }, { "CERTIFICATE", &certificate, tls }, { "KEY", &key, tls },
		{ "HSTS", &hsts, tls && action_bool(a, "hsts", false) }, { "BODY", &body, 1 },
		{ "ACME", (const char *const *)&a->config.acme_webroot, 1 }, { "TEMPLATES", &folder, 1 },
		{ "REDIRECT", &suffix, redirect }, { "SUSPENDED", flag, suspended },
		{ "ROOT", &root, files }, { "HOME", &home, files }, { "STATIC", flag, files && !scripts },
		{ "PHP", &php, scripts }, { "SCRIPTS", flag, scripts }, { "FILES", flag, files }, { "PROXY", &proxy, proxied },
		{ "PROXIED", flag, proxied },
	};
	template_fill(a, arena_printf(a->arena, "%s/site.conf.in", w->name), values, sizeof values / sizeof *values, out);
}

/* ---- who asks for no website ---- */

/* A pair that nobody trusts, for a server that cannot refuse without one. */
static void have_default_pair(struct action *a, const char *certificate)
{
	const char *key, *text;
	int root, folder;

	if (access(certificate, F_OK) == 0)
		return;
	root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	folder = root < 0 ? -1 : file_make_folder(root, pair_path(a, DEFAULT_PAIR, ""), 0700, (uid_t)-1, (gid_t)-1);
	if (folder < 0 || !x509info_self_signed(a->arena, DEFAULT_NAME, &key, &text) ||
	    !file_write(folder, "privkey.pem", key, strlen(key), 0600, (uid_t)-1, (gid_t)-1) ||
	    !file_write(folder, "fullchain.pem", text, strlen(text), 0600, (uid_t)-1, (gid_t)-1))
		action_retry("%s cannot be made: %s", certificate, strerror(errno));
	close(folder);
	close(root);
}

/* The virtual host for them, for plain HTTP or TLS. '+' comes before all that a domain's name begins with, and servers read files in this
 * order: of virtual hosts at one address the first answers for names that none has. */
static struct webserver_file default_host(struct action *a, const struct webserver *w, bool tls)
{
	static const char *const flag[] = { "" };
	const char *listen[WEBSERVER_LISTEN_MAX], *name = DEFAULT_NAME, *folder = arena_printf(a->arena, "%s/%s", a->config.templates_dir, w->name);
	const char *certificate = pair_path(a, DEFAULT_PAIR, "fullchain.pem"), *key = pair_path(a, DEFAULT_PAIR, "privkey.pem");
	const struct template_value values[] = {
		{ "NAME", &name, 1 }, { "LISTEN", listen, webserver_places(a, tls ? w->listen_tls : w->listen, listen) }, { "PLAIN", flag, !tls }, { "TLS", flag, tls },
		{ "CERTIFICATE", &certificate, tls }, { "KEY", &key, tls }, { "TEMPLATES", &folder, 1 },
	};
	struct webserver_file file = { arena_printf(a->arena, "%s/+default%s.conf", w->sites_dir, tls ? "-tls" : ""), NULL, 0, 0644, WEBSERVER_MARK, false };

	if (tls && strcmp(w->name, "apache") == 0)
		have_default_pair(a, certificate);
	webserver_fill(a, w, &file, "", "default.conf.in", values, sizeof values / sizeof *values);
	return file;
}

/* ---- the jobs ---- */

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
	const struct webserver_file file = { site_path(a, &w), NULL, 0, 0, WEBSERVER_MARK, true };
	struct stat st;

	if (stat(w.sites_dir, &st) == 0)
		webserver_change(a, &w, &file, 1);
}

/* Of two virtual hosts of one name Apache serves the first, and says nothing; nginx warns (webserver.c). */
static void check_names(struct action *a)
{
	struct json_object *aliases = action_value(a, "aliases");
	size_t n = aliases ? json_object_array_length(aliases) : 0;

	for (size_t i = 0; i <= n; i++) {
		const char *name = i < n ? json_object_get_string(json_object_array_get_idx(aliases, i)) : action_text(a, "domain");
		const char *served = served_by_apache(a, name);

		if (served)
			action_fail("%s already; import that (postern import apache), or take it out there", served);
	}
}

static void apply(struct action *a)
{
	const struct webserver w = webserver_find(a, action_text(a, "web_server"));
	bool suspended = action_bool(a, "suspended", false);
	struct webserver_file files[] = { { site_path(a, &w), NULL, 0, 0644, WEBSERVER_MARK, suspended }, { 0 }, { 0 } };
	struct names names, certified, bare;
	struct buf text;

	if (strcmp(w.name, "apache") == 0 && !suspended) /* Apache may be unable to tell, and a suspension does not wait for that */
		check_names(a);
	if (strcmp(action_text(a, "runtime"), "proxy") != 0 && !suspended)
		have_document_root(a);
	buf_init(&text, SITE_MAX);
	buf_str(&text, WEBSERVER_MARK);
	all_names(a, &names);
	divide(a, &names, &certified, &bare);
	if (certified.count && action_bool(a, "https_redirect", false)) {
		virtual_host(a, &w, REDIRECT, &certified, &text);
		virtual_host(a, &w, PLAIN, &bare, &text);
	} else {
		virtual_host(a, &w, PLAIN, &names, &text);
	}
	virtual_host(a, &w, TLS, &certified, &text);
	if (mkdir(w.sites_dir, 0755) != 0 && errno != EEXIST)
		action_fail("the folder %s cannot be made: %s", w.sites_dir, strerror(errno));
	files[0].bytes = text.data;
	files[0].len = text.len;
	files[1] = default_host(a, &w, false);
	if (certified.count)
		files[2] = default_host(a, &w, true);
	webserver_change(a, &w, files, certified.count ? 3 : 2);
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
