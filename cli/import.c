/* import.c: see import.h. First who owns what, then what is there already; then the rest is created. */
#include "import_private.h"
#include "apache_conf.h"
#include "arena.h"
#include "certificate.h"
#include "error.h"
#include "json.h"
#include "local.h"
#include "nginx_conf.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

#define PERSON_UID   1000u    /* Debian's first uid for people */
#define NOBODY_UID   65534u

/* --- the tables' routes, and their answers --- */

static bool find_call(const char *resource, const char *operation, struct call *out)
{
	for (const struct resource *const *r = __start_postern_resources; r < __stop_postern_resources; r++) {
		for (const struct route *route = (*r)->routes; strcmp((*r)->name, resource) == 0 && route->method; route++) {
			if (strcmp(route->operation_id, operation) == 0) {
				*out = (struct call){ *r, route };
				return true;
			}
		}
	}
	return false;
}

static const char *text_member(struct json_object *object, const char *name)
{
	struct json_object *value;

	return json_object_object_get_ex(object, name, &value) && json_object_is_type(value, json_type_string) ?
		json_object_get_string(value) : NULL;
}

/* What a refusal says: the fields at fault, else its message. */
static const char *refusal(struct import *im, int status, struct json_object *answer)
{
	struct json_object *error = NULL, *fields = NULL;
	const char *text = NULL;

	if (answer && json_object_object_get_ex(answer, "error", &error)) {
		if (json_object_object_get_ex(error, "fields", &fields) && json_object_is_type(fields, json_type_object)) {
			json_object_object_foreach(fields, name, value)
				text = arena_printf(im->arena, "%s%s%s: %s", text ? text : "", text ? "; " : "", name,
				                    value ? json_object_get_string(value) : "");
		}
		if (!text)
			text = arena_strdup(im->arena, text_member(error, "message"));
	}
	return text ? text : error_info(error_from_status(status))->title;
}

/* Run a route. A refusal is *failure; 404 is none where nothing but that was asked, nor is 409, where several claim a name. */
static int run(struct import *im, const struct call *call, const char *id, const struct local_parameter *query,
               struct json_object *body, struct json_object **answer, const char **failure)
{
	*answer = NULL;
	*failure = NULL;
	int status = local_call(im->local, call->resource, call->route, id, query, body, answer);
	if ((status >= 200 && status < 300) || ((status == 404 || status == 409) && call->route->does == DO_GET))
		return status;
	*failure = refusal(im, status, *answer);
	im->unreachable |= status == 503;
	return status;
}

static int exit_code_of(int status)
{
	return error_info(error_from_status(status))->exit_code;
}

static bool put_member(struct json_object *object, const char *name, struct json_object *value)
{
	if (value && json_object_object_add(object, name, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

static bool put_string(struct json_object *object, const char *name, const char *text)
{
	return !text || put_member(object, name, json_object_new_string(text));
}

/* --- accounts --- */

static bool is_person(uid_t uid)
{
	return uid >= PERSON_UID && uid != NOBODY_UID;
}

/* The person who owns a document root: a link's own owner, who decides what is served, else the folder's. */
static const char *owner_of(struct import *im, const char *root, const char **why)
{
	struct stat st;
	bool there = lstat(root, &st) == 0;

	if (there && S_ISLNK(st.st_mode) && !is_person(st.st_uid))
		there = stat(root, &st) == 0;
	if (!there) {
		*why = errno == EACCES ? "its document root is out of reach: run as root" : "its document root is missing";
		return NULL;
	}
	const struct passwd *person = is_person(st.st_uid) ? getpwuid(st.st_uid) : NULL;
	if (!person) {
		*why = "its document root belongs to no person";
		return NULL;
	}
	return arena_strdup(im->arena, person->pw_name);
}

/* The full name in a passwd entry, or the user name where there is none that could be stored. */
static const char *full_name(struct import *im, const struct passwd *person)
{
	size_t len = strcspn(person->pw_gecos ? person->pw_gecos : "", ",");

	if (!len || len > 200 || !utf8_valid(person->pw_gecos, len))
		return person->pw_name;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)person->pw_gecos[i] < 0x20 || person->pw_gecos[i] == 0x7f)
			return person->pw_name;
	return arena_strndup(im->arena, person->pw_gecos, len);
}

static void create_account(struct import *im, struct account *account)
{
	const struct passwd *person = getpwnam(account->name);
	struct json_object *answer;

	if (!person) {
		account->failure = arena_printf(im->arena, "account %s does not exist and is no Unix user: create it first",
		                                account->name);
		account->exit_code = error_info(ERR_NOT_FOUND)->exit_code;
		return;
	}
	struct json_object *body = json_object_new_object();
	if (put_string(body, "username", account->name) && put_string(body, "name", full_name(im, person)) &&
	    put_string(body, "home", person->pw_dir) && put_member(body, "managed", json_object_new_boolean(false))) {
		const char *failure;
		int status = run(im, &im->create_account, NULL, NULL, body, &answer, &failure);
		account->created = !failure;
		account->unfit = failure && exit_code_of(status) == error_info(ERR_VALIDATION)->exit_code;
		account->exit_code = failure ? exit_code_of(status) : 0;
		account->failure = failure ? arena_printf(im->arena, "account %s: %s", account->name, failure) : NULL;
		json_object_put(answer);
	} else {
		account->failure = "out of memory";
		account->exit_code = error_info(ERR_INTERNAL)->exit_code;
	}
	json_object_put(body);
}

/* Whether an account that exists has its primary domain already. */
static void look_for_primary(struct import *im, struct account *account)
{
	const struct local_parameter query[] = {
		{ "account", account->name }, { "type", "primary" }, { "per_page", "1" }, { NULL, NULL }
	};
	struct json_object *answer, *data;

	int status = run(im, &im->list_domains, NULL, query, NULL, &answer, &account->failure);
	account->exit_code = account->failure ? exit_code_of(status) : 0;
	account->has_primary = answer && json_object_object_get_ex(answer, "data", &data) &&
		json_object_is_type(data, json_type_array) && json_object_array_length(data) > 0;
	json_object_put(answer);
}

/* The account of this name, created if need be. NULL when out of memory. */
static struct account *account_for(struct import *im, const char *name)
{
	struct json_object *answer;

	for (struct account *a = im->accounts; a; a = a->next)
		if (strcmp(a->name, name) == 0)
			return a;
	struct account *account = arena_alloc(im->arena, sizeof *account);
	if (!account)
		return NULL;
	account->name = name;
	account->next = im->accounts;
	im->accounts = account;
	int status = run(im, &im->get_account, name, NULL, NULL, &answer, &account->failure);
	json_object_put(answer);
	if (status == 404)
		create_account(im, account);
	else if (!account->failure)
		look_for_primary(im, account);
	else
		account->exit_code = exit_code_of(status);
	return account;
}

/* --- domains --- */

/* The owner of every site's files; then which names belong together. */
static void find_owners(struct import *im, struct sites *conf)
{
	for (size_t i = 0; i < conf->site_count; i++) {
		struct site *site = &conf->sites[i];
		const char *note = site->own.root_note, *why = note ? note : "it has no document root";
		if (site->own.root)
			site->owner = owner_of(im, site->own.root, &why);
		im->rows[i].reason = why;
	}
	sites_join(conf);
}

/* The account of a site that is new: its owner's, where that can be one, else --account. */
static void assign_account(struct import *im, struct import_row *row, struct site *site)
{
	const char *owner = site->lender->owner;
	struct account *account = owner ? account_for(im, owner) : NULL;

	site->account = owner;
	if (account && account->unfit) {
		row->reason = arena_printf(im->arena, "its owner %s cannot be an account: %s", owner, account->failure);
		site->account = NULL;
	}
	if (!site->account)
		site->account = im->options->account;
}

/* Decide every site's account. What is there already is in its own; aliases follow their site. */
static void assign_accounts(struct import *im, struct sites *conf)
{
	for (size_t i = 0; i < conf->site_count && !im->unreachable; i++) {
		struct site *site = &conf->sites[i];
		struct import_row *row = &im->rows[i];
		if (row->action == EXISTING)
			site->account = row->account;
		else if (row->action == UNDECIDED && !site->alias_of)
			assign_account(im, row, site);
	}
	for (size_t i = 0; i < conf->site_count; i++) {
		struct site *site = &conf->sites[i];
		struct import_row *row = &im->rows[i];
		if (row->action == UNDECIDED && site->alias_of) {
			site->account = site->alias_of->account;
			row->reason = im->rows[site->alias_of - conf->sites].reason;
		}
		if (row->action == UNDECIDED && !site->account)
			row->action = UNASSIGNED;
	}
}

/* From now on the row tells what the database has. */
static void show_stored(struct import *im, struct import_row *row, struct json_object *answer)
{
	row->type = arena_strdup(im->arena, text_member(answer, "type"));
	row->account = arena_strdup(im->arena, text_member(answer, "account"));
	row->root = arena_strdup(im->arena, text_member(answer, "document_root"));
	row->ssl = arena_strdup(im->arena, text_member(answer, "ssl_status"));
}

/* What is known of a site's certificate; a relative path begins where the configuration's own do. */
static const char *certificate_of(struct import *im, const struct sites *conf, const struct site *site)
{
	if (!site->certificate)
		return "none";
	const char *path = site->certificate[0] == '/' ? site->certificate :
		arena_printf(im->arena, "%s%s", conf->prefix, site->certificate), *why;
	const char *status = certificate_status(path ? path : "", im->now, &why);

	if (why)
		import_message(im->err, "%s:%u: the certificate of %s is recorded as %s: %s: %s", site->certificate_file, site->certificate_line, site->name,
		               status, site->certificate, why);
	return status;
}

/* A tenant's claim that nothing has proven stands in nobody's way. */
static bool is_claim(struct json_object *domain)
{
	const char *status = text_member(domain, "status");

	return status && strcmp(status, "unproven") == 0;
}

/* Fill the rows of what is there already. */
static void compare(struct import *im, const struct sites *conf)
{
	for (size_t i = 0; i < conf->site_count && !im->unreachable; i++) {
		struct import_row *row = &im->rows[i];
		struct json_object *answer;
		const char *failure;
		int status = run(im, &im->get_domain, row->site->name, NULL, NULL, &answer, &failure);

		row->root = row->site->content.root;
		row->ssl = certificate_of(im, conf, row->site);
		if (failure) {
			row->action = FAILED;
			row->reason = failure;
			row->exit_code = exit_code_of(status);
		} else if (status != 404 && status != 409 && !is_claim(answer)) {
			row->action = EXISTING;
			row->reason = NULL;
			show_stored(im, row, answer);
		}
		json_object_put(answer);
	}
}

/* What the rows that are not there yet will be. */
static void fill_rows(struct import *im, const struct sites *conf)
{
	for (size_t i = 0; i < conf->site_count; i++) {
		struct import_row *row = &im->rows[i];
		if (row->action == EXISTING)
			continue;
		row->type = *site_type_name(row->site->type) ? site_type_name(row->site->type) : NULL;
		row->account = row->site->account;
	}
}

static void create_domain(struct import *im, struct import_row *row)
{
	struct account *account = account_for(im, row->account);
	const char *failure = account ? account->failure : "out of memory";
	int exit_code = account ? account->exit_code : error_info(ERR_INTERNAL)->exit_code;
	struct json_object *answer = NULL;

	if (!failure && row->site->type == SITE_PRIMARY && account->has_primary)
		row->type = site_type_name(SITE_ADDON);
	if (!failure) {
		struct json_object *body = json_object_new_object();
		if (put_string(body, "domain", row->site->name) && put_string(body, "account", row->account) &&
		    put_string(body, "type", row->type) && put_string(body, "document_root", row->root) &&
		    put_string(body, "ssl_status", row->ssl) && put_member(body, "managed", json_object_new_boolean(false)))
			exit_code = exit_code_of(run(im, &im->create_domain, NULL, NULL, body, &answer, &failure));
		else
			failure = "out of memory";
		if (!failure)
			show_stored(im, row, answer);
		json_object_put(body);
		json_object_put(answer);
	}
	row->action = failure ? FAILED : CREATED;
	row->reason = failure;
	row->exit_code = exit_code ? exit_code : error_info(ERR_INTERNAL)->exit_code;
}

/* Subdomains last: each wants its parent, of whatever type, to be there. */
static void create_domains(struct import *im, const struct sites *conf)
{
	static const enum site_type order[] = { SITE_PRIMARY, SITE_ADDON, SITE_ALIAS, SITE_SUBDOMAIN };

	for (size_t o = 0; o < sizeof order / sizeof *order; o++)
		for (size_t i = 0; i < conf->site_count && !im->unreachable; i++)
			if (conf->sites[i].type == order[o] && im->rows[i].action == UNDECIDED)
				create_domain(im, &im->rows[i]);
}

/* --- the command --- */

static bool find_calls(struct import *im)
{
	return find_call("domains", "getDomain", &im->get_domain) &&
	       find_call("domains", "listDomains", &im->list_domains) &&
	       find_call("domains", "createDomain", &im->create_domain) &&
	       find_call("accounts", "getAccount", &im->get_account) &&
	       find_call("accounts", "createAccount", &im->create_account);
}

static int out_of_memory(struct import *im)
{
	import_message(im->err, "out of memory");
	return error_info(ERR_INTERNAL)->exit_code;
}

/* What an import does to the database, one transaction. False when out of memory. */
static bool write_rows(struct import *im, struct sites *conf)
{
	compare(im, conf);
	assign_accounts(im, conf);
	if (!sites_set_types(im->arena, conf))
		return false;
	fill_rows(im, conf);
	create_domains(im, conf);
	return true;
}

static int import_conf(struct import *im, struct sites *conf, FILE *out)
{
	im->conf = conf;
	im->row_count = conf->site_count + conf->skip_count;
	im->rows = arena_array(im->arena, im->row_count, sizeof *im->rows);
	if (!im->rows)
		return out_of_memory(im);
	for (size_t i = 0; i < conf->site_count; i++)
		im->rows[i].site = &conf->sites[i];
	for (size_t i = 0; i < conf->skip_count; i++)
		im->rows[conf->site_count + i] =
			(struct import_row){ .skip = &conf->skips[i], .action = SKIPPED, .reason = conf->skips[i].reason };
	find_owners(im, conf);
	im->unreachable = !local_begin(im->local);
	bool complete = write_rows(im, conf);
	bool kept = complete && !im->unreachable && !im->options->dry_run;
	bool ended = local_end(im->local, kept);
	if (!complete)
		return out_of_memory(im);
	if (im->unreachable || (kept && !ended)) {
		import_message(im->err, im->unreachable ? "PostgreSQL is out of reach; nothing was imported: run again when it is back" :
			"PostgreSQL did not say whether the import is kept: run again when it is back, which only adds what is missing");
		return error_info(ERR_UNAVAILABLE)->exit_code;
	}
	if (!import_print(im, out)) {
		import_message(im->err, "the outcome could not be written");
		return error_info(ERR_INTERNAL)->exit_code;
	}
	for (size_t i = 0; i < im->row_count; i++)
		if (im->rows[i].action == FAILED)
			return im->rows[i].exit_code;
	return 0;
}

const struct import_server import_servers[] = {
	{ "nginx", "/etc/nginx", nginx_conf_load, "no server block: give nginx.conf, or the output of nginx -T" },
	{ "apache", "/etc/apache2", apache_conf_load, "no virtual host: give apache2.conf (httpd.conf), or a folder of sites" },
	{ NULL }
};

int import_sites(struct local *local, const struct import_server *server, const struct import_options *options, FILE *out,
                 FILE *err)
{
	struct import im = { .arena = arena_new(), .local = local, .options = options, .err = err, .now = time(NULL) };
	int code = error_info(ERR_INTERNAL)->exit_code;
	const char *why;

	if (!im.arena) {
		import_message(err, "out of memory");
		return code;
	}
	struct sites *conf = server->load(im.arena, options->source, &options->given, &why);
	if (!conf) {
		import_message(err, "%s", why);
		code = error_info(ERR_VALIDATION)->exit_code;
	} else {
		for (size_t i = 0; i < conf->warning_count; i++)
			import_message(err, "%s", conf->warnings[i]);
		if (!conf->blocks) {
			import_message(err, "%s has %s", strcmp(options->source, "-") == 0 ? "standard input" : options->source,
			        server->nothing);
			code = error_info(ERR_VALIDATION)->exit_code;
		} else if (!find_calls(&im)) {
			import_message(err, "this program was built without the domains or accounts resource");
		} else {
			code = import_conf(&im, conf, out);
		}
	}
	arena_free(im.arena);
	return code;
}
