/* import.c: see import.h. First who owns what, then what is there already; then the rest is created. */
#include "import.h"
#include "apache_conf.h"
#include "arena.h"
#include "buf.h"
#include "certificate.h"
#include "error.h"
#include "json.h"
#include "local.h"
#include "nginx_conf.h"
#include "show.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#define PERSON_UID   1000u    /* Debian's first uid for people */
#define NOBODY_UID   65534u
#define ITEM_MAX     (1u << 20) /* bytes of one JSON item */
#define MESSAGE_MAX  2048u
#define NAME_COLUMNS 60       /* of a skipped name, which may be a long expression */

enum action { UNDECIDED = 0, CREATED, EXISTING, SKIPPED, UNASSIGNED, FAILED };

struct account {
	const char *name;
	bool created, has_primary;
	const char *failure;      /* why it cannot take domains, or NULL */
	struct account *next;
};

/* A line of the outcome: a site, or a name that was skipped. */
struct row {
	const struct site *site;
	const struct site_skip *skip;
	const char *type, *account, *root, *ssl; /* as they are in the database, or will be; NULL: unknown */
	enum action action;
	const char *reason;       /* for SKIPPED, UNASSIGNED and FAILED */
};

struct call {
	const struct resource *resource;
	const struct route *route;
};

struct import {
	struct arena *arena;
	struct local *local;
	const struct import_options *options;
	struct call get_domain, list_domains, create_domain, get_account, create_account;
	struct account *accounts;
	struct row *rows;
	size_t row_count;
	FILE *err;
	time_t now;
	int exit_code;            /* of the first failure */
	bool unreachable;         /* no use going on */
};

static void message(FILE *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void message(FILE *err, const char *format, ...)
{
	char text[MESSAGE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	fputs("postern: ", err);
	show_text(err, text);
	fputc('\n', err);
}

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

/* Run a route; counts a refusal as the import's failure, 404 only where nothing but that was asked. */
static int run(struct import *im, const struct call *call, const char *id, const struct local_parameter *query,
               struct json_object *body, struct json_object **answer, const char **failure)
{
	*answer = NULL;
	*failure = NULL;
	int status = local_call(im->local, call->resource, call->route, id, query, body, answer);
	if ((status >= 200 && status < 300) || (status == 404 && call->route->does == DO_GET))
		return status;
	*failure = refusal(im, status, *answer);
	if (!im->exit_code)
		im->exit_code = error_info(error_from_status(status))->exit_code;
	im->unreachable |= status == 503;
	return status;
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
		if (!im->exit_code)
			im->exit_code = error_info(ERR_NOT_FOUND)->exit_code;
		return;
	}
	if (im->options->dry_run) {
		account->created = true;
		return;
	}
	struct json_object *body = json_object_new_object();
	if (put_string(body, "username", account->name) && put_string(body, "name", full_name(im, person)) &&
	    put_string(body, "home", person->pw_dir) && put_member(body, "managed", json_object_new_boolean(false))) {
		const char *failure;
		run(im, &im->create_account, NULL, NULL, body, &answer, &failure);
		account->created = !failure;
		account->failure = failure ? arena_printf(im->arena, "account %s: %s", account->name, failure) : NULL;
		json_object_put(answer);
	} else {
		account->failure = "out of memory";
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

	run(im, &im->list_domains, NULL, query, NULL, &answer, &account->failure);
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
	return account;
}

/* --- domains --- */

/* Decide every site's account: its document root's owner, else --account. Aliases follow their site. */
static void assign_accounts(struct import *im, struct sites *conf)
{
	for (size_t i = 0; i < conf->site_count; i++) {
		struct site *site = &conf->sites[i];
		const char *why = site->root_note ? site->root_note : "it has no document root";
		if (site->alias_of)
			continue;
		site->account = site->root ? owner_of(im, site->root, &why) : NULL;
		if (!site->account)
			site->account = im->options->account;
		if (!site->account)
			im->rows[i].reason = why;
	}
	for (size_t i = 0; i < conf->site_count; i++) {
		struct site *site = &conf->sites[i];
		if (site->alias_of) {
			site->account = site->alias_of->account;
			im->rows[i].reason = im->rows[site->alias_of - conf->sites].reason;
		}
	}
}

/* From now on the row tells what the database has. */
static void show_stored(struct import *im, struct row *row, struct json_object *answer)
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
		arena_printf(im->arena, "%s%s", conf->prefix, site->certificate);
	return certificate_status(path ? path : "", im->now);
}

/* Fill the rows of what is there already, and of what belongs to nobody. */
static void compare(struct import *im, const struct sites *conf)
{
	for (size_t i = 0; i < conf->site_count && !im->unreachable; i++) {
		struct row *row = &im->rows[i];
		const struct site *site = row->site;
		struct json_object *answer;
		const char *failure;
		int status = run(im, &im->get_domain, site->name, NULL, NULL, &answer, &failure);

		row->type = *site_type_name(site->type) ? site_type_name(site->type) : NULL;
		row->account = site->account;
		row->root = site->root;
		row->ssl = certificate_of(im, conf, site);
		if (failure) {
			row->action = FAILED;
			row->reason = failure;
		} else if (status != 404) {
			row->action = EXISTING;
			row->reason = NULL;
			show_stored(im, row, answer);
		} else if (!site->account) {
			row->action = UNASSIGNED;
		}
		json_object_put(answer);
	}
}

static void create_domain(struct import *im, struct row *row)
{
	struct account *account = account_for(im, row->account);
	const char *failure = account ? account->failure : "out of memory";
	struct json_object *answer = NULL;

	if (!failure && row->site->type == SITE_PRIMARY && account->has_primary)
		row->type = site_type_name(SITE_ADDON);
	if (!failure && !im->options->dry_run) {
		struct json_object *body = json_object_new_object();
		if (put_string(body, "domain", row->site->name) && put_string(body, "account", row->account) &&
		    put_string(body, "type", row->type) && put_string(body, "document_root", row->root) &&
		    put_string(body, "ssl_status", row->ssl) && put_member(body, "managed", json_object_new_boolean(false)))
			run(im, &im->create_domain, NULL, NULL, body, &answer, &failure);
		else
			failure = "out of memory";
		if (!failure)
			show_stored(im, row, answer);
		json_object_put(body);
		json_object_put(answer);
	}
	row->action = failure ? FAILED : CREATED;
	row->reason = failure;
	if (failure && !im->exit_code)
		im->exit_code = error_info(ERR_INTERNAL)->exit_code;
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

/* --- the outcome --- */

enum { DOMAIN = 0, TYPE, ACCOUNT, ROOT, CERTIFICATE, OUTCOME, COLUMNS };

static const char *outcome_text(struct import *im, const struct row *row)
{
	const char *text = NULL;

	switch (row->action) {
	case CREATED:
		return im->options->dry_run ? "would create" : "create";
	case EXISTING:
		return "already there";
	case SKIPPED:
		text = arena_printf(im->arena, "skip: %s", row->reason);
		break;
	case UNASSIGNED:
		text = arena_printf(im->arena, "unassigned: give --account (%s)", row->reason);
		break;
	case FAILED:
		text = arena_printf(im->arena, "failed: %s", row->reason);
		break;
	case UNDECIDED:
		break;
	}
	return text ? text : "failed";
}

static size_t columns_of(const char *text)
{
	size_t count = 0;

	for (; *text; text++)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

/* A skipped name as it is shown: "" for the server without a name, cut when it is a long expression. */
static const char *shown_name(struct import *im, const char *name)
{
	size_t len = strlen(name);
	const char *cut = name;

	if (!len)
		return "\"\"";
	if (len > NAME_COLUMNS) {
		len = NAME_COLUMNS - 3;
		while (len && ((unsigned char)name[len] & 0xc0) == 0x80)
			len--;
		cut = arena_printf(im->arena, "%.*s...", (int)len, name);
	}
	return cut ? cut : "-";
}

static void row_cells(struct import *im, const struct row *row, const char *cells[COLUMNS])
{
	const char *const values[COLUMNS] = {
		row->site ? row->site->name : shown_name(im, row->skip->name),
		row->type, row->account, row->root, row->ssl, outcome_text(im, row)
	};

	for (int c = 0; c < COLUMNS; c++)
		cells[c] = values[c] ? values[c] : "-";
}

static void print_cells(FILE *out, const char *const cells[COLUMNS], const size_t widths[COLUMNS])
{
	for (int c = 0; c < COLUMNS; c++) {
		show_text(out, cells[c]);
		if (c < OUTCOME)
			fprintf(out, "%*s", (int)(widths[c] - columns_of(cells[c])) + 2, "");
	}
	fputc('\n', out);
}

static bool print_table(struct import *im, FILE *out)
{
	static const char *const heads[COLUMNS] = {
		"DOMAIN", "TYPE", "ACCOUNT", "DOCUMENT ROOT", "CERTIFICATE", "WHAT HAPPENS"
	};
	const char *(*cells)[COLUMNS] = arena_array(im->arena, im->row_count, sizeof *cells);
	size_t widths[COLUMNS];

	if (!cells)
		return false;
	for (int c = 0; c < COLUMNS; c++)
		widths[c] = columns_of(heads[c]);
	for (size_t i = 0; i < im->row_count; i++) {
		row_cells(im, &im->rows[i], cells[i]);
		for (int c = 0; c < COLUMNS; c++)
			if (columns_of(cells[i][c]) > widths[c])
				widths[c] = columns_of(cells[i][c]);
	}
	print_cells(out, heads, widths);
	for (size_t i = 0; i < im->row_count; i++)
		print_cells(out, cells[i], widths);
	return true;
}

static void json_text(struct buf *b, const char *name, const char *text)
{
	buf_char(b, ',');
	buf_json(b, name);
	buf_char(b, ':');
	buf_json(b, text);
}

/* Written by hand: what stands in a configuration need not be UTF-8, which buf_json() mends. */
static bool print_json_row(const struct row *row, FILE *out)
{
	static const char *const actions[] = { "failed", "create", "existing", "skip", "unassigned", "failed" };
	const struct site *site = row->site;
	struct buf b;

	buf_init(&b, ITEM_MAX);
	buf_str(&b, "{\"domain\":");
	buf_json(&b, site ? site->name : row->skip->name);
	json_text(&b, "type", row->type);
	json_text(&b, "account", row->account);
	json_text(&b, "document_root", row->root);
	json_text(&b, "ssl_status", row->ssl);
	json_text(&b, "action", actions[row->action]);
	json_text(&b, "reason", row->reason);
	if (site) {
		json_text(&b, "alias_of", site->alias_of ? site->alias_of->name : NULL);
		json_text(&b, "kind", site_kind_name(site->kind));
		json_text(&b, "redirect", site->redirect);
		json_text(&b, "certificate", site->certificate);
		buf_str(&b, ",\"ports\":[");
		for (size_t i = 0; i < site->port_count; i++)
			buf_printf(&b, "%s%d", i ? "," : "", site->ports[i]);
		buf_char(&b, ']');
	}
	json_text(&b, "file", site ? site->file : row->skip->file);
	buf_printf(&b, ",\"line\":%u}", site ? site->line : row->skip->line);
	bool complete = !buf_failed(&b);
	if (complete)
		fwrite(b.data, 1, b.len, out);
	buf_free(&b);
	return complete;
}

static bool print_outcome(struct import *im, FILE *out)
{
	size_t count[FAILED + 1] = { 0 }, accounts = 0;
	const bool dry_run = im->options->dry_run;
	bool complete = true;

	for (size_t i = 0; i < im->row_count; i++)
		count[im->rows[i].action]++;
	for (const struct account *a = im->accounts; a; a = a->next)
		accounts += a->created;
	if (im->options->json) {
		fputs("{\"items\":[", out);
		for (size_t i = 0; i < im->row_count && complete; i++) {
			if (i)
				fputc(',', out);
			complete = print_json_row(&im->rows[i], out);
		}
		fprintf(out, "],\"created\":%zu,\"existing\":%zu,\"skipped\":%zu,\"unassigned\":%zu,\"failed\":%zu,"
		        "\"accounts_created\":%zu,\"dry_run\":%s}\n", count[CREATED], count[EXISTING], count[SKIPPED],
		        count[UNASSIGNED], count[FAILED], accounts, dry_run ? "true" : "false");
	} else {
		complete = print_table(im, out);
		fprintf(out, "\n%zu %s, %zu already there, %zu skipped, %zu unassigned, %zu failed; %zu account%s %s\n",
		        count[CREATED], dry_run ? "would be created" : "created", count[EXISTING], count[SKIPPED],
		        count[UNASSIGNED], count[FAILED], accounts, accounts == 1 ? "" : "s",
		        dry_run ? "would be created" : "created");
	}
	complete = complete && fflush(out) == 0 && !ferror(out);
	if (count[UNASSIGNED])
		message(im->err, "%zu domain%s left out without an account: run again with --account NAME",
		        count[UNASSIGNED], count[UNASSIGNED] == 1 ? " was" : "s were");
	return complete;
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

static int import_conf(struct import *im, struct sites *conf, FILE *out)
{
	im->row_count = conf->site_count + conf->skip_count;
	im->rows = arena_array(im->arena, im->row_count, sizeof *im->rows);
	if (!im->rows)
		return message(im->err, "out of memory"), error_info(ERR_INTERNAL)->exit_code;
	for (size_t i = 0; i < conf->site_count; i++)
		im->rows[i].site = &conf->sites[i];
	for (size_t i = 0; i < conf->skip_count; i++)
		im->rows[conf->site_count + i] =
			(struct row){ .skip = &conf->skips[i], .action = SKIPPED, .reason = conf->skips[i].reason };
	assign_accounts(im, conf);
	if (!sites_set_types(im->arena, conf))
		return message(im->err, "out of memory"), error_info(ERR_INTERNAL)->exit_code;
	compare(im, conf);
	create_domains(im, conf);
	if (im->unreachable) {
		message(im->err, "PostgreSQL is out of reach; what was imported is kept: run again when it is back");
		return error_info(ERR_UNAVAILABLE)->exit_code;
	}
	if (!print_outcome(im, out)) {
		message(im->err, "the outcome could not be written");
		return error_info(ERR_INTERNAL)->exit_code;
	}
	return im->exit_code;
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
		message(err, "out of memory");
		return code;
	}
	struct sites *conf = server->load(im.arena, options->source, &why);
	if (!conf) {
		message(err, "%s", why);
		code = error_info(ERR_VALIDATION)->exit_code;
	} else {
		for (size_t i = 0; i < conf->warning_count; i++)
			message(err, "%s", conf->warnings[i]);
		if (!conf->blocks) {
			message(err, "%s has %s", strcmp(options->source, "-") == 0 ? "standard input" : options->source,
			        server->nothing);
			code = error_info(ERR_VALIDATION)->exit_code;
		} else if (!find_calls(&im)) {
			message(err, "this program was built without the domains or accounts resource");
		} else {
			code = import_conf(&im, conf, out);
		}
	}
	arena_free(im.arena);
	return code;
}
