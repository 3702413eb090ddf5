/* resource.c: `postern <resource> <verb> …`: words become a route, parameters and a body. */
#include "cli.h"
#include "help.h"
#include "json.h"
#include "request.h"
#include "secret.h"
#include "show.h"
#include "token.h"
#include "when.h"
#include "words.h"
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <strings.h>
#include <unistd.h>
#include <uuid/uuid.h>

#define PAGE_MAX "100" /* contract section 5 */
#define IDS_MAX 1000   /* words of one command */

/* One call as the command line describes it. */
struct call {
	struct cli *cli;
	const struct resource *resource;
	const struct route *route;
	const char *verb;
	struct option options[OPTION_MAX + 1];
	const char *values[OPTION_MAX];
	struct local_parameter query[OPTION_MAX + 3]; /* with room for --all's two and the end */
	size_t queries;
	const char *id;
	char token[UUID_STR_LEN];    /* the id, where a name was given */
	char *copies[OPTION_MAX];    /* of parameters that were given in other words */
	size_t copied;
	struct json_object *body;
};

static void try_help(const struct call *call, char *help, size_t size)
{
	snprintf(help, size, "%s %s", call->resource->one, call->verb);
}

/* ---- words to JSON ---- */

static struct json_object *number_or_text(const char *text, size_t len)
{
	return len > 0 && len < 10 && strspn(text, "0123456789") >= len ? json_object_new_int64(strtoll(text, NULL, 10))
	                                                                : json_object_new_string_len(text, (int)len);
}

static struct json_object *list_value(const char *text, bool numbers)
{
	struct json_object *list = json_object_new_array();

	for (const char *at = text; list && *text;) {
		const size_t len = strcspn(at, ",");
		json_object_array_add(list, numbers ? number_or_text(at, len) : json_object_new_string_len(at, (int)len));
		at += len;
		if (!*at++)
			break;
	}
	return list;
}

/* What a file holds; NULL after a message. */
static struct json_object *file_value(const char *path)
{
	enum { FILE_MAX = 64 << 10 };
	static char text[FILE_MAX + 1];
	FILE *file = fopen(path, "re");
	struct json_object *value = NULL;
	size_t len = file ? fread(text, 1, sizeof text, file) : 0;

	if (!file || ferror(file))
		cli_error(CLI_INVALID, "%s: %s", path, strerror(errno));
	else if (len > FILE_MAX)
		cli_error(CLI_INVALID, "%s: is larger than 64 KiB", path);
	else
		value = json_object_new_string_len(text, (int)len);
	if (file)
		fclose(file);
	token_wipe(text, sizeof text);
	return value;
}

/* "true" or "false" for what people call them; NULL: neither. */
static const char *switch_value(const char *text)
{
	static const char *const words[][2] = { { "yes", "true" }, { "on", "true" }, { "true", "true" }, { "no", "false" }, { "off", "false" },
		{ "false", "false" } };

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (!strcasecmp(text, words[i][0]))
			return words[i][1];
	return NULL;
}

/* What does not fit the type stays text: the one check that judges input names the field and says what it takes. */
static struct json_object *typed_value(const struct field *f, const char *text)
{
	char *end, at_time[TIMESTAMP_TEXT_MAX];
	long long number;

	if (f->flags & F_NULLABLE && !strcmp(text, "null"))
		return NULL;
	switch (f->type) {
	case F_INT:
		errno = 0;
		number = strtoll(text, &end, 10);
		if (!errno && end != text && !*end && strchr("-0123456789", *text))
			return json_object_new_int64(number);
		break;
	case F_BOOL:
		if (switch_value(text))
			return json_object_new_boolean(*switch_value(text) == 't');
		break;
	case F_TIMESTAMP:
		if (when_parse(text, true, at_time))
			return json_object_new_string(at_time);
		break;
	case F_JSON: { /* JSON, or else a text */
		const char *why;
		size_t at;
		struct json_object *value = json_parse(text, strlen(text), &why, &at);

		if (value)
			return value;
		break;
	}
	case F_CIDR_LIST:
	case F_SCOPE_LIST:
	case F_UUID_LIST:
	case F_EMAIL_LIST:
	case F_HOSTNAME_LIST:
	case F_PORT_LIST:
		return list_value(text, f->type == F_PORT_LIST);
	default:
		break;
	}
	return json_object_new_string(text);
}

static bool add_member(struct call *call, const char *name, struct json_object *value)
{
	if (!call->body)
		call->body = json_object_new_object();
	if (call->body && json_object_object_add(call->body, name, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

/* A secret comes from stdin or from a person; one that creation needs is asked for where there is a person to ask. */
static int add_secret(struct call *call, const struct option *option, bool given)
{
	char secret[SECRET_MAX], help[128];
	const bool needed = call->route->does != DO_PATCH && option->field->flags & F_REQUIRED;

	if (!given && !needed)
		return 0;
	if (!given && !secret_terminal()) {
		try_help(call, help, sizeof help);
		return cli_error(CLI_USAGE, "%s is needed: give it on stdin with --%s\nTry: postern %s --help",
		                 option->field->name, option->name, help);
	}
	if (!secret_read(option->field->name, secret))
		return cli_error(CLI_INVALID, "no %s could be read from stdin (one line of at most %d bytes)",
		                 option->field->name, SECRET_MAX - 1);
	const bool added = add_member(call, option->field->name, json_object_new_string(secret));
	token_wipe(secret, sizeof secret);
	return added ? 0 : cli_error(CLI_FAILED, "out of memory");
}

/* A parameter, with times and switches as people say them. */
static int add_parameter(struct call *call, const struct option *o, const char *value)
{
	char at_time[TIMESTAMP_TEXT_MAX];

	if (o->value && !strcmp(o->value, TIME_VALUE)) {
		char *copy = when_parse(value, false, at_time) ? strdup(at_time) : NULL;

		if (!copy)
			return cli_error(CLI_INVALID, "--%s: \"%s\" is no time that is understood\nGive " WHEN_TAKES, o->name, value);
		value = call->copies[call->copied++] = copy;
	} else if (o->field && o->field->type == F_BOOL && switch_value(value)) {
		value = switch_value(value);
	}
	call->query[call->queries++] = (struct local_parameter){ o->parameter, value };
	return 0;
}

static int build(struct call *call)
{
	/* Nothing given is an empty object, so that the answer names the fields that are missing. */
	if (!call->body && (call->route->does == DO_CREATE || (call->route->input && call->route->method != M_GET)) &&
	    !(call->body = json_object_new_object()))
		return cli_error(CLI_FAILED, "out of memory");
	for (size_t i = 0; call->options[i].name[0]; i++) {
		const struct option *o = &call->options[i];
		const char *value = call->values[i];
		int rc;
		switch (o->goes) {
		case TO_QUERY:
			if (value && (rc = add_parameter(call, o, value)))
				return rc;
			break;
		case TO_BODY:
			if (value && o->field->type == F_PEM) {
				struct json_object *held = file_value(value);

				if (!held)
					return CLI_INVALID;
				if (!add_member(call, o->field->name, held))
					return cli_error(CLI_FAILED, "out of memory");
				break;
			}
			if (value && !add_member(call, o->field->name, typed_value(o->field, value)))
				return cli_error(CLI_FAILED, "out of memory");
			break;
		case TO_SECRET:
			rc = add_secret(call, o, value != NULL);
			if (rc)
				return rc;
			break;
		case TO_COMMAND:
			break;
		}
	}
	return 0;
}

/* ---- answers ---- */

static void print_json(FILE *out, struct json_object *answer)
{
	fprintf(out, "%s\n", json_object_to_json_string_ext(answer, SHOW_JSON));
}

static int refused(int status, struct json_object *answer)
{
	return show_error(stderr, status, answer);
}

static const char *option_value(const struct call *call, const char *name)
{
	for (size_t i = 0; call->options[i].name[0]; i++)
		if (!strcmp(call->options[i].name, name))
			return call->values[i];
	return NULL;
}

static int64_t number(struct json_object *answer, const char *name)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(answer, name, &value);
	return value ? json_object_get_int64(value) : -1;
}

static const char *text(struct json_object *answer, const char *name)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(answer, name, &value);
	return value ? json_object_get_string(value) : NULL;
}

static void list_note(const struct call *call, struct json_object *answer, struct json_object *rows)
{
	const int64_t total = number(answer, "total"), page = number(answer, "page"), per = number(answer, "per_page");
	const char *next = text(answer, "next_cursor");

	if (!json_object_array_length(rows))
		cli_note(call->cli, "none");
	else if (next && total >= 0 && page > 0 && per > 0 && page * per < total)
		cli_note(call->cli, "page %lld of %lld, %lld in all; next: --page %lld", (long long)page,
		         (long long)((total + per - 1) / per), (long long)total, (long long)page + 1);
	else if (next)
		cli_note(call->cli, call->resource->feed ? "what comes next: --cursor %s" : "there is more: --cursor %s", next);
}

/* The named members alone, as an object of its own. */
static struct json_object *only(struct json_object *object, const char *names)
{
	struct json_object *chosen = json_object_new_object();

	for (const char *at = names; chosen && *at; at += strcspn(at, ","), at += *at == ',') {
		char name[64];
		struct json_object *value;

		snprintf(name, sizeof name, "%.*s", (int)strcspn(at, ","), at);
		if (json_object_object_get_ex(object, name, &value))
			json_object_object_add(chosen, name, json_object_get(value));
	}
	return chosen;
}

static int show_rows(const struct call *call, struct json_object *answer)
{
	struct json_object *rows = NULL;

	const char *columns = option_value(call, "columns");
	size_t left_out = 0;

	if (!json_object_object_get_ex(answer, "data", &rows) || !json_object_is_type(rows, json_type_array))
		return cli_error(CLI_FAILED, "the answer is no list");
	const size_t n = json_object_array_length(rows);
	if (call->cli->json) {
		for (size_t i = 0; columns && i < n; i++)
			json_object_array_put_idx(rows, i, only(json_object_array_get_idx(rows, i), columns));
		print_json(stdout, answer);
		return CLI_OK;
	}
	if (option_value(call, "value-only")) {
		for (size_t i = 0; i < n; i++)
			show_values(stdout, json_object_array_get_idx(rows, i), columns ? columns : "id");
		return CLI_OK;
	}
	if (n)
		left_out = show_list(stdout, call->resource->fields, rows, columns, show_width());
	list_note(call, answer, rows);
	if (left_out)
		cli_note(call->cli, "%zu more %s: --columns chooses, --json shows all", left_out, left_out == 1 ? "column" : "columns");
	return CLI_OK;
}

/* A backup that lacks something is no good one, though its job went well. */
static int tell_missing(struct json_object *job)
{
	struct json_object *result = NULL, *missing = NULL;

	json_object_object_get_ex(job, "result", &result);
	if (!json_object_object_get_ex(result, "missing", &missing) || !json_object_is_type(missing, json_type_array) ||
	    !json_object_array_length(missing))
		return CLI_OK;
	for (size_t i = 0; i < json_object_array_length(missing); i++) {
		struct json_object *one = json_object_array_get_idx(missing, i);
		const char *part = text(one, "part"), *name = text(one, "name"), *object = text(one, "object"), *reason = text(one, "reason");

		cli_error(CLI_FAILED, "missing: %s %s%s%s: %s", part ? part : "", name ? name : "", object ? ": " : "", object ? object : "",
		          reason ? reason : "");
	}
	return cli_error(CLI_FAILED, "the backup is partial: all else is in it");
}

/* One object: whole, its columns, or their values alone. */
static int show_one(const struct call *call, const struct field *fields, struct json_object *answer)
{
	const char *columns = option_value(call, "columns"), *once = call->route->once;
	struct json_object *chosen = columns ? only(answer, columns) : json_object_get(answer);

	if (!columns && option_value(call, "value-only"))
		columns = once && json_object_object_get_ex(answer, once, NULL) ? once
		        : json_object_object_get_ex(answer, "value", NULL) ? "value" : "id";
	if (call->cli->json)
		print_json(stdout, chosen);
	else if (option_value(call, "value-only"))
		show_values(stdout, answer, columns);
	else
		show_object(stdout, fields, chosen);
	json_object_put(chosen);
	return CLI_OK;
}

/* How a job goes: one live line on a terminal; elsewhere a line when its state or its error changes, and else now and then. */
struct progress { const struct cli *cli; bool live; char told[700], state[300]; time_t at; };

static void tell_progress(struct progress *p, const char *now, const char *state)
{
	enum { EVERY_S = 10 };
	struct winsize size = { .ws_col = 80 };
	const time_t at = time(NULL);

	if (p->cli->quiet || !strcmp(now, p->told))
		return;
	if (p->live) {
		ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
		fputs("\r\033[K", stderr);
		show_cut(stderr, now, size.ws_col > 1 ? size.ws_col - 1 : 79);
		fflush(stderr);
	} else if (strcmp(state, p->state) != 0 || at >= p->at + EVERY_S) {
		cli_note(p->cli, "%s", now);
		p->at = at;
	} else {
		return;
	}
	snprintf(p->told, sizeof p->told, "%s", now);
	snprintf(p->state, sizeof p->state, "%s", state);
}

static void end_progress(const struct progress *p)
{
	if (p->live && *p->told)
		fputs("\r\033[K", stderr);
}

/* Show how a job goes until it has ended: *job is its last state. Ctrl-C ends the waiting, not the job. */
static int await_job(const struct call *call, struct local *local, const char *id, struct json_object **job)
{
	const struct timespec pause = { .tv_nsec = 200 * 1000000L };
	const struct resource *jobs = resource_find("jobs");
	const bool cancels = call->resource == jobs && !strcmp(call->verb, "cancel");
	struct progress progress = { .cli = call->cli, .live = isatty(STDERR_FILENO) };
	char now[700], phase[300];

	*job = NULL;
	for (;;) {
		const struct route *get = jobs->routes;
		int status;

		while (get->does != DO_GET)
			get++;
		json_object_put(*job);
		status = local_call(local, jobs, get, id, NULL, NULL, job);
		if (status >= 400) {
			end_progress(&progress);
			return refused(status, *job);
		}
		const char *state = text(*job, "status"), *message = text(*job, "message"), *error = text(*job, "error");
		const bool cancelled = !strcmp(state, "cancelled"), failed = !strcmp(state, "failed") || (cancelled && !cancels);
		if (failed || cancelled || !strcmp(state, "succeeded"))
			end_progress(&progress);
		if (!strcmp(state, "succeeded"))
			return tell_missing(*job);
		if (cancelled && cancels)
			return CLI_OK;
		if (failed)
			return cli_error(CLI_FAILED, "job %s %s: %s", id, state, error ? error : "no reason was given");
		snprintf(now, sizeof now, "%s %lld %%%s%s%s%s", state, (long long)number(*job, "progress"), message ? ": " : "",
		         message ? message : "", error ? "; it will be tried again: " : "", error ? error : "");
		snprintf(phase, sizeof phase, "%s%.250s", state, error ? error : "");
		tell_progress(&progress, now, phase);
		nanosleep(&pause, NULL);
	}
}

/* The job that a command began: the one it asked for, the one its object names, or itself. NULL: there is none. */
static const char *job_of(const struct call *call, struct local *local, struct json_object *answer)
{
	if (local_job(local))
		return local_job(local);
	return answer ? text(answer, call->resource == resource_find("jobs") ? "id" : "job_id") : NULL;
}

/* The answer as it is when the job has ended: the job itself, or the object with what has become of it. */
static int follow(const struct call *call, struct local *local, struct json_object **answer)
{
	char id[37];
	struct json_object *job = NULL, *object = NULL;
	const struct route *get = call->resource->routes;
	const char *own = *answer ? text(*answer, "id") : NULL;
	int rc;

	snprintf(id, sizeof id, "%s", job_of(call, local, *answer));
	rc = await_job(call, local, id, &job);
	if (call->resource == resource_find("jobs") || call->route->does == DO_DELETE || call->route->flags & R_JOB) {
		json_object_put(*answer);
		*answer = json_object_get(job);
	} else {
		while (get->path && get->does != DO_GET)
			get++;
		if (own && get->path && local_call(local, call->resource, get, own, NULL, NULL, &object) < 400 && object) {
			json_object_object_foreach(object, name, value)
				json_object_object_add(*answer, name, json_object_get(value));
		}
	}
	json_object_put(object);
	json_object_put(job);
	return rc;
}

/* What a dry run of a deletion lists. */
static void show_things(FILE *out, struct json_object *answer, const char *member, const char *heading)
{
	static const struct field fields[] = {
		{ "resource", F_TEXT, 0, "" }, { "name", F_TEXT, 0, "" }, { "size_bytes", F_INT, 0, "" }, { 0 }
	};
	struct json_object *things = NULL;

	if (!json_object_object_get_ex(answer, member, &things) || !json_object_array_length(things))
		return;
	fprintf(out, "%s\n", heading);
	show_list(out, fields, things, "resource,name,size_bytes", show_width());
}

/* Whoever deletes what holds data at a terminal is shown what would go, and types its name. */
static int ask_to_confirm(struct call *call, struct local *local)
{
	const struct local_parameter end = call->query[call->queries];
	struct json_object *answer = NULL;
	const char *name;
	char line[400];
	int rc = CLI_OK, status;

	call->query[call->queries] = (struct local_parameter){ "dry_run", "true" };
	status = local_call(local, call->resource, call->route, call->id, call->query, call->body, &answer);
	call->query[call->queries] = end;
	name = status < 400 ? text(answer, "confirm") : NULL;
	if (status >= 400) {
		rc = refused(status, answer);
	} else if (name) {
		show_things(stderr, answer, "would_delete", "This would be lost:");
		show_things(stderr, answer, "stays", "This stays:");
		fprintf(stderr, "Type %s to delete it: ", name);
		if (!fgets(line, sizeof line, stdin))
			*line = '\0';
		line[strcspn(line, "\r\n")] = '\0';
		if (strcmp(line, name) != 0)
			rc = cli_error(CLI_REFUSED, "that is not %s: nothing was deleted", name);
		else if (!add_member(call, "confirm", json_object_new_string(line)))
			rc = cli_error(CLI_FAILED, "out of memory");
	}
	json_object_put(answer);
	return rc;
}

static bool is_to_be_confirmed(const struct call *call)
{
	for (const struct field *f = call->route->input; call->route->does == DO_DELETE && f && f->name; f++)
		if (strcmp(f->name, "confirm") == 0)
			return !option_value(call, "confirm") && !option_value(call, "dry-run") && secret_terminal() && isatty(STDERR_FILENO);
	return false;
}

/* As JSON; an object with the chosen columns alone. */
static void print_answer(const struct call *call, struct json_object *answer)
{
	if (json_object_is_type(answer, json_type_object) && option_value(call, "columns"))
		show_one(call, NULL, answer);
	else
		print_json(stdout, answer);
}

/* ---- tokens by name ---- */

static void list_tokens(struct local *local, const char *word, struct json_object **answer, int *status)
{
	const char *slash = strchr(word, '/'), *name = slash ? slash + 1 : word;
	const struct resource *tokens = resource_find("tokens");
	char owner[64];
	struct local_parameter query[] = { { "name", name }, { "per_page", PAGE_MAX }, { NULL, NULL }, { NULL, NULL } };

	snprintf(owner, sizeof owner, "%.*s", slash ? (int)(slash - word) : 0, word);
	if (slash)
		query[2] = (struct local_parameter){ "owner", owner };
	for (const struct route *r = tokens->routes; r->path; r++)
		if (r->does == DO_LIST)
			*status = local_call(local, tokens, r, NULL, query, NULL, answer);
}

/* The id of the token that `word` names as NAME or OWNER/NAME. A UUID is one already. */
static int token_id(struct local *local, const char *word, char id[UUID_STR_LEN])
{
	struct json_object *answer = NULL, *rows = NULL, *living = NULL, *any = NULL;
	int status = 500, rc = CLI_OK;
	size_t alive = 0, all;
	char owners[300] = "";
	uuid_t uuid;

	if (uuid_parse(word, uuid) == 0) {
		snprintf(id, UUID_STR_LEN, "%s", word);
		return CLI_OK;
	}
	list_tokens(local, word, &answer, &status);
	if (status >= 400) {
		rc = refused(status, answer);
		json_object_put(answer);
		return rc;
	}
	json_object_object_get_ex(answer, "data", &rows);
	all = rows ? json_object_array_length(rows) : 0;
	for (size_t i = 0; i < all; i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);
		const char *state = text(row, "status");
		const size_t len = strlen(owners);

		any = row;
		if (strcmp(state, "revoked") != 0) {
			living = row;
			alive++;
		}
		snprintf(owners + len, sizeof owners - len, "%s%s/%s", len ? ", " : "", text(row, "owner") ? text(row, "owner") : "-", text(row, "name"));
	}
	if (!all)
		rc = cli_error(CLI_NOT_FOUND, "there is no token \"%s\"\npostern token list shows those that there are", word);
	else if (alive != 1 && all != 1)
		rc = cli_error(CLI_INVALID, "\"%s\" names several tokens: %s\nGive OWNER/NAME, or the id that postern token list shows", word, owners);
	else
		snprintf(id, UUID_STR_LEN, "%s", text(all == 1 ? any : living, "id"));
	json_object_put(answer);
	return rc;
}

static bool names_token(const struct field *f)
{
	return f && f->type == F_UUID && (!strcmp(f->name, "token") || !strcmp(f->name, "token_id") || !strcmp(f->name, "parent_id"));
}

/* Wherever a token's id is taken, its name is, too. */
static int name_tokens(struct call *call, struct local *local)
{
	const struct field *many = route_words_field(call->route);
	const bool tokens = call->resource == resource_find("tokens");
	struct json_object *list = NULL;
	char id[UUID_STR_LEN];
	int rc = CLI_OK;

	if (tokens && call->id) {
		rc = token_id(local, call->id, call->token);
		call->id = call->token;
	}
	if (tokens && many && json_object_object_get_ex(call->body, many->name, &list))
		for (size_t i = 0; rc == CLI_OK && i < json_object_array_length(list); i++) {
			rc = token_id(local, json_object_get_string(json_object_array_get_idx(list, i)), id);
			if (rc == CLI_OK)
				json_object_array_put_idx(list, i, json_object_new_string(id));
		}
	for (size_t i = 0; rc == CLI_OK && call->options[i].name[0]; i++) {
		const struct option *o = &call->options[i];

		if (!call->values[i] || !names_token(o->field))
			continue;
		rc = token_id(local, call->values[i], id);
		if (rc == CLI_OK && o->goes == TO_BODY)
			add_member(call, o->field->name, json_object_new_string(id));
		for (size_t q = 0; rc == CLI_OK && o->goes == TO_QUERY && q < call->queries; q++)
			if (!strcmp(call->query[q].name, o->parameter))
				call->query[q].value = call->copies[call->copied++] = strdup(id);
	}
	return rc;
}

static int run(struct call *call, struct local *local)
{
	struct json_object *answer = NULL, *dry = NULL;
	const int unconfirmed = is_to_be_confirmed(call) ? ask_to_confirm(call, local) : CLI_OK;
	if (unconfirmed)
		return unconfirmed;
	const int status = local_call(local, call->resource, call->route, call->id, call->query, call->body, &answer);
	const bool wait = option_value(call, "wait") != NULL;
	int rc = CLI_OK;

	if (status < 400 && wait && call->route->method == M_GET) {
		json_object_put(answer);
		rc = await_job(call, local, call->id, &answer);
	} else if (status < 400 && wait && job_of(call, local, answer)) {
		rc = follow(call, local, &answer);
	}
	if (status >= 400) {
		rc = refused(status, answer);
	} else if (call->route->does == DO_LIST && answer) {
		rc = show_rows(call, answer);
	} else {
		if (json_object_is_type(answer, json_type_string) && !call->cli->json)
			fputs(json_object_get_string(answer), stdout);
		else if (answer && (call->cli->json || !json_object_is_type(answer, json_type_object)))
			print_answer(call, answer);
		else if (call->route->does == DO_DELETE && option_value(call, "dry-run") && json_object_is_type(answer, json_type_object)) {
			show_things(stdout, answer, "would_delete", "This would be lost:");
			show_things(stdout, answer, "stays", "This stays:");
		} else if (answer) {
			show_one(call, (status == 202 ? resource_find("jobs") : call->resource)->fields, answer);
		}
		if (json_object_is_type(answer, json_type_object))
			json_object_object_get_ex(answer, "dry_run", &dry);
		if (json_object_get_boolean(dry) || (!answer && option_value(call, "dry-run")))
			cli_note(call->cli, "dry run: nothing was changed");
		else if (call->route->once && text(answer, call->route->once))
			cli_note(call->cli, "The secret is shown this once only: keep it now, it is not stored in clear.");
		if (!wait && local_job(local))
			cli_note(call->cli, "Job %s does it: postern job get %s --wait shows how it goes.", local_job(local), local_job(local));
		else if (!answer)
			cli_note(call->cli, "%s%s%s: done", call->resource->one, call->id ? " " : "", call->id ? call->id : "");
	}
	json_object_put(answer);
	return rc;
}

/* ---- exports ---- */

struct export_file { const struct cli *cli; FILE *out; int64_t told; };

static bool write_lines(void *to, const char *data, size_t len)
{
	struct export_file *file = to;

	return fwrite(data, 1, len, file->out) == len;
}

static bool tell_rows(void *to, int64_t rows)
{
	enum { EVERY = 100000 };
	struct export_file *file = to;

	if (rows / EVERY != file->told / EVERY)
		cli_note(file->cli, "%lld rows", (long long)rows);
	file->told = rows;
	return true;
}

/* The trail is nobody else's to read, and a file of that name is whole: it is put in place at the end. */
static int run_export(struct call *call, struct local *local)
{
	const char *path = option_value(call, "output");
	struct export_file file = { .cli = call->cli, .out = stdout };
	const struct sink sink = { write_lines, tell_rows, &file };
	struct json_object *answer = NULL;
	char part[4096];
	int64_t rows = 0;
	int fd, status, rc = CLI_OK;

	if (path) {
		if ((size_t)snprintf(part, sizeof part, "%s.part", path) >= sizeof part)
			return cli_error(CLI_USAGE, "--output: the name is too long");
		fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0 || !(file.out = fdopen(fd, "w")))
			return cli_error(CLI_FAILED, "%s: %s", part, strerror(errno));
	}
	status = local_export(local, call->resource, call->route, call->query, &sink, &rows, &answer);
	if (answer) {
		rc = refused(status, answer);
	} else if (fflush(file.out) != 0 || ferror(file.out) || (path && fsync(fileno(file.out)) != 0)) {
		rc = cli_error(CLI_FAILED, "%s could not be written: %s", path ? part : "stdout", strerror(errno));
	} else if (status != 200) {
		rc = cli_error(CLI_UNREACHABLE, "the database gave no more rows after %lld: the export is cut, and lacks its last line", (long long)rows);
	}
	if (path && fclose(file.out) != 0 && rc == CLI_OK)
		rc = cli_error(CLI_FAILED, "%s could not be written: %s", part, strerror(errno));
	if (path && rc == CLI_OK && rename(part, path) != 0)
		rc = cli_error(CLI_FAILED, "%s: %s", path, strerror(errno));
	if (path && rc != CLI_OK)
		unlink(part);
	if (rc == CLI_OK)
		cli_note(call->cli, "%lld rows in all", (long long)rows);
	json_object_put(answer);
	return rc;
}

/* Rows of the page move to the list that grows. */
static bool append(struct json_object *whole, struct json_object *page)
{
	struct json_object *to = NULL, *from = NULL;

	if (!json_object_object_get_ex(whole, "data", &to) || !json_object_object_get_ex(page, "data", &from) ||
	    !json_object_is_type(to, json_type_array) || !json_object_is_type(from, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(from); i++)
		if (json_object_array_add(to, json_object_get(json_object_array_get_idx(from, i))) < 0)
			return false;
	return true;
}

static size_t rows_of(struct json_object *page)
{
	struct json_object *rows = NULL;

	json_object_object_get_ex(page, "data", &rows);
	return json_object_is_type(rows, json_type_array) ? json_object_array_length(rows) : 0;
}

static int run_all(struct call *call, struct local *local)
{
	struct json_object *whole = NULL, *page = NULL;
	const size_t fixed = call->queries;
	char *cursor = NULL;
	int rc = CLI_OK, status;

	for (size_t pages = 1;; pages++) {
		call->queries = fixed;
		if (!option_value(call, "per-page"))
			call->query[call->queries++] = (struct local_parameter){ "per_page", PAGE_MAX };
		if (cursor)
			call->query[call->queries++] = (struct local_parameter){ "cursor", cursor };
		call->query[call->queries] = (struct local_parameter){ NULL, NULL };
		status = local_call(local, call->resource, call->route, call->id, call->query, call->body, &page);
		if (status >= 400) {
			rc = refused(status, page);
			break;
		}
		const char *next = page ? text(page, "next_cursor") : NULL;
		if (call->resource->feed && !rows_of(page)) /* a feed has no end; this is where it is now */
			next = NULL;
		free(cursor);
		cursor = next ? strdup(next) : NULL;
		if (!whole) {
			whole = page;
		} else {
			const bool appended = append(whole, page);
			json_object_put(page);
			if (!appended) {
				page = NULL;
				rc = cli_error(CLI_FAILED, "the rows do not fit into memory: use --cursor page by page");
				break;
			}
		}
		page = NULL;
		if (!cursor)
			break;
		if (pages % 10 == 0)
			cli_note(call->cli, "%zu pages read", pages);
	}
	json_object_put(page);
	free(cursor);
	if (rc == CLI_OK && whole) {
		json_object_object_add(whole, "next_cursor", NULL);
		rc = show_rows(call, whole);
	}
	json_object_put(whole);
	return rc;
}

/* ---- the command line ---- */

static int check_columns(const struct call *call, const char *help)
{
	const char *names = option_value(call, "columns");
	const char *known[OPTION_MAX];
	size_t n = 0;

	for (const struct field *f = call->route->output && call->route->does != DO_LIST ? call->route->output : call->resource->fields;
	     f->name && n < OPTION_MAX; f++)
		known[n++] = f->name;
	for (const char *at = names; at && *at;) {
		char name[64];
		const size_t len = strcspn(at, ",");
		size_t i = 0;
		snprintf(name, sizeof name, "%.*s", (int)len, at);
		while (i < n && strcmp(known[i], name) != 0)
			i++;
		if (i == n)
			return cli_unknown("column", name, known, n, help);
		at += len + (at[len] == ',');
	}
	return 0;
}

/* Words after the verb: an id, "ID NAME" of rename, or members of a list. */
static int take_words(struct call *call, const char **words, size_t n, const char *help)
{
	const bool rename = !strcmp(call->verb, "rename") && call->route == route_rename(call->resource);
	const struct field *many = route_words_field(call->route);

	if (route_takes_id(call->route)) {
		if (n < 1)
			return cli_error(CLI_USAGE, "which %s? Give its %s%s%s\nTry: postern %s --help", call->resource->one,
			                 "id", call->resource->key ? " or " : "", call->resource->key ? call->resource->key : "", help);
		if (rename && n != 2)
			return cli_error(CLI_USAGE, "rename needs an id and the new name\nTry: postern %s --help", help);
		if (n > (rename ? 2u : 1u))
			return cli_error(CLI_USAGE, "one word too many: \"%s\"\nTry: postern %s --help", words[rename ? 2 : 1], help);
		call->id = words[0];
		if (rename && !add_member(call, "name", json_object_new_string(words[1])))
			return cli_error(CLI_FAILED, "out of memory");
		return 0;
	}
	if (n && !many)
		return cli_error(CLI_USAGE, "\"%s\" is not expected here: values are given as --name value\nTry: postern %s --help",
		                 words[0], help);
	if (n) {
		struct json_object *list = json_object_new_array();
		for (size_t i = 0; list && i < n; i++)
			json_object_array_add(list, json_object_new_string(words[i]));
		if (!list || !add_member(call, many->name, list))
			return cli_error(CLI_FAILED, "out of memory");
	}
	return 0;
}

static int prepare(struct call *call, int argc, char **argv)
{
	static const char *words[IDS_MAX];
	char help[128];
	size_t n = 0;
	int rc;

	try_help(call, help, sizeof help);
	rc = option_parse(call->options, argc, argv, call->values, words, &n, IDS_MAX, help);
	if (!rc)
		rc = take_words(call, words, n, help);
	if (!rc)
		rc = check_columns(call, help);
	if (!rc && option_value(call, "all") && option_value(call, "page"))
		rc = cli_error(CLI_USAGE, "--all and --page exclude each other\nTry: postern %s --help", help);
	if (!rc)
		rc = build(call);
	if (!rc && option_value(call, "value-only") && call->cli->json)
		rc = cli_error(CLI_USAGE, "--json and --value-only exclude each other\nTry: postern %s --help", help);
	if (!rc && (call->route->does == DO_PATCH || !strcmp(call->verb, "update")) && (!call->body || !json_object_object_length(call->body)))
		rc = cli_error(CLI_USAGE, "nothing to change was given\nTry: postern %s --help", help);
	return rc;
}

static size_t leading_words(int argc, char **argv)
{
	size_t n = 0;

	for (int i = 2; i < argc && argv[i][0] != '-'; i++)
		n++;
	return n;
}

int resource_run(struct cli *cli, const struct resource *resource, int argc, char **argv)
{
	struct call call = { .cli = cli, .resource = resource };
	const char *verbs[WORDS_MAX];
	int rc;

	if (argc < 2 && cli->json)
		return cli_error(CLI_USAGE, "a verb is needed after \"%s\"\nTry: postern %s --help", argv[0], resource->one);
	if (argc < 2) {
		help_resource(stderr, resource);
		return CLI_USAGE;
	}
	call.verb = argv[1];
	call.route = route_find(resource, call.verb, leading_words(argc, argv));
	if (!call.route && !strcmp(call.verb, "rename"))
		call.route = route_rename(resource);
	if (!call.route) {
		const size_t n = resource_verbs(resource, verbs);
		return cli_unknown("verb", call.verb, verbs, n, resource->one);
	}
	if (cli->help) {
		help_verb(stdout, resource, call.verb);
		return CLI_OK;
	}
	route_options(resource, call.route, call.options);
	rc = prepare(&call, argc - 1, argv + 1);
	if (!rc) {
		struct local *local = cli_local(cli);
		rc = !local ? CLI_FAILED : name_tokens(&call, local);
		if (!rc)
			rc = call.route->does == DO_EXPORT ? run_export(&call, local)
		     : option_value(&call, "all") ? run_all(&call, local) : run(&call, local);
	}
	while (call.copied)
		free(call.copies[--call.copied]);
	json_object_put(call.body);
	return rc;
}
