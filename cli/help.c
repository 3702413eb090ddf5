/* help.c: see help.h; and the command `postern help`. */
#include "help.h"
#include "cli.h"
#include "error.h"
#include "show.h"
#include "words.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

const struct option global_options[] = {
	{ .name = "config", .value = "FILE", .about = "Settings; default: $POSTERN_CONFIG, else /etc/postern/postern.conf" },
	{ .name = "json", .about = "Answers as JSON: data on stdout, errors on stderr" },
	{ .name = "quiet", .about = "Data and errors only, no remarks (-q)" },
	{ .name = "help", .about = "Help on the command or verb (-h)" },
	{ .name = "version", .about = "The version" },
	{ .name = "" }
};

static const struct { int code; const char *about; } exits[] = {
	{ CLI_OK,          "Done" },
	{ CLI_FAILED,      "Failed" },
	{ CLI_USAGE,       "The command line was not understood" },
	{ CLI_NOT_FOUND,   "There is no such object" },
	{ CLI_CONFLICT,    "It exists already, or its state forbids the change" },
	{ CLI_REFUSED,     "Refused: no permission, or a limit is used up" },
	{ CLI_UNREACHABLE, "The database is out of reach" },
	{ CLI_INVALID,     "Invalid input; the message names the field" },
};

static const struct { const char *name, *about; } environment[] = {
	{ "POSTERN_CONFIG",  "Settings file, where --config is not given" },
	{ "NO_COLOR",        "Where it is set, nothing has a colour" },
	{ "POSTERN_<NAME>",  "Overrides the setting of that name, in capitals" },
	{ "PGUSER, PGPASSWORD, PGPASSFILE, …", "As in libpq; init and migrate connect with them" },
};

static const char first_examples[] =
	"init\n"
	"domain list --account demo --status active,suspended --sort domain\n"
	"token create --name ci --scopes domains:read --expires-on 2027-01-31\n"
	"audit list --since yesterday --json\n"
	"domain create --domain example.org --account demo --wait\n";

/* ---- pieces ---- */

typedef void line_fn(FILE *, const char *text);

static void each_line(FILE *out, const char *lines, line_fn *print)
{
	char line[256];

	while (lines && *lines) {
		const size_t len = strcspn(lines, "\n");
		snprintf(line, sizeof line, "%.*s", (int)len, lines);
		print(out, line);
		lines += len + (lines[len] == '\n');
	}
}

/* What the option means; of a filter without what only creation defaults to. */
static int about_len(const struct option *o)
{
	const char *cut = o->goes == TO_QUERY && o->field ? strstr(o->about, "; default") : NULL;

	return cut ? (int)(cut - o->about) : (int)strlen(o->about);
}

/* The same in the command's words. */
static struct json_object *about_of(const struct option *o)
{
	char text[1024];

	snprintf(text, sizeof text, "%.*s", about_len(o), o->about);
	return show_in_words(text);
}

/* " (primary, addon)", " (1 to 50)": what the type alone does not say. */
static void bounds(char *to, size_t size, const struct option *o)
{
	const struct field *f = o->field;
	size_t len = 0;

	to[0] = '\0';
	if (!f)
		return;
	if (f->choices) {
		len = (size_t)snprintf(to, size, " (");
		for (const char *c = f->choices; *c && len + 4 < size; c++)
			len += (size_t)snprintf(to + len, size - len, "%s%.1s", *c == ' ' ? "," : "", c);
		snprintf(to + len, size - len, ")");
	} else if (f->type == F_INT && f->max > 0) {
		snprintf(to, size, " (%lld to %lld)", f->min, f->max);
	}
	if (o->goes == TO_BODY && f->flags & F_NULLABLE) {
		len = strlen(to);
		snprintf(to + len, size - len, "; null clears");
	}
	if (o->goes == TO_SECRET)
		snprintf(to, size, "; read from stdin, or asked for");
}

static bool required(const struct route *route, const struct option *o)
{
	return route && route->does != DO_PATCH && (o->goes == TO_BODY || o->goes == TO_SECRET) &&
	       o->field->flags & F_REQUIRED;
}

static void print_options(FILE *out, const struct option *options, const struct route *route)
{
	for (const struct option *o = options; o && o->name[0]; o++) {
		char left[100], extra[400];
		bounds(extra, sizeof extra, o);
		const int len = snprintf(left, sizeof left, "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
		struct json_object *about = about_of(o);
		fprintf(out, "  %-28s%s%s%s%s\n", left, len > 27 ? "\n                              " : "",
		        json_object_get_string(about), extra, required(route, o) ? " (required)" : "");
		json_object_put(about);
	}
}

/* A value as a shell takes it: quoted where it must be. */
static void print_word(FILE *out, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@,+%=";

	if (*word && !word[strspn(word, plain)]) {
		fputs(word, out);
		return;
	}
	fputc('\'', out);
	for (; *word; word++)
		fputs(*word == '\'' ? "'\\''" : (char[]){ *word, '\0' }, out);
	fputc('\'', out);
}

#define ANY_UUID "0190b3a4-5c1e-7c3a-9f27-3a1d0f6b2c11"

/* For fields whose table gives no example. */
static const char *any_value(enum field_type type)
{
	switch (type) {
	case F_INT:        return "1";
	case F_BOOL:       return "yes";
	case F_HOSTNAME:   return "example.org";
	case F_EMAIL:
	case F_MAILBOX:
	case F_EMAIL_LIST: return "admin@example.org";
	case F_PATH:       return "/srv/demo";
	case F_TIMESTAMP:  return "2027-01-31T00:00:00Z";
	case F_DATE:       return "2027-01-31";
	case F_UUID:
	case F_UUID_LIST:  return ANY_UUID;
	case F_ADDRESS:    return "192.0.2.7";
	case F_HOSTNAME_LIST: return "www.example.org";
	case F_PORT_LIST:  return "20001";
	case F_PEM:        return "certificate.pem";
	case F_CIDR_LIST:  return "192.0.2.0/24";
	case F_SCOPE_LIST: return "domains:read";
	default:           return "demo";
	}
}

static void print_example(FILE *out, const struct field *f)
{
	struct json_object *value = f->example ? json_tokener_parse(f->example) : NULL;
	char *text = value ? show_value(value) : NULL;

	if (text)
		print_word(out, text);
	else if (f->choices)
		fprintf(out, "%.*s", (int)strcspn(f->choices, " "), f->choices);
	else
		fputs(any_value(f->type), out);
	free(text);
	json_object_put(value);
}

static const struct field *field_named(const struct resource *resource, const char *name)
{
	for (const struct field *f = resource->fields; name && f->name; f++)
		if (!strcmp(f->name, name))
			return f;
	return NULL;
}

/* One line that would work, but for the names in it. */
/* How an object is named: by its key, else as its id is. */
static void print_id(FILE *out, const struct resource *resource)
{
	const struct field *key = field_named(resource, resource->key), *id = field_named(resource, "id"), *name = field_named(resource, "name");

	if (key && key->example)
		print_example(out, key);
	else if (id && id->type == F_TEXT && id->example)
		print_example(out, id);
	else if (id && id->type == F_TEXT && name && name->example)
		print_example(out, name);
	else if (!strcmp(resource->name, "tokens"))
		fputs("admin/ci-deploy", out);
	else
		fputs(id && id->type == F_UUID ? ANY_UUID : "31", out);
}

/* A change of several objects, each of which is an option. */
static bool several_at_once(const struct route *route)
{
	return route->does == DO_CALL && !route_takes_id(route) && route_verb(route) && !strcmp(route_verb(route), "update");
}

static void example(FILE *out, const struct resource *resource, const struct route *route)
{
	struct option options[OPTION_MAX + 1];
	const struct field *many = route_words_field(route);
	bool said = false;

	fprintf(out, "%s %s", resource->one, route_verb(route));
	if (route_takes_id(route)) {
		fputc(' ', out);
		print_id(out, resource);
	}
	route_options(resource, route, options);
	if (many) {
		fputc(' ', out);
		print_id(out, resource);
		fputc(' ', out);
		print_id(out, resource);
		fputs("-old", out);
	} else if (several_at_once(route)) {
		fputs(" --job-days 30 --event-days 10", out);
	}
	for (const struct option *o = options; o->name[0]; o++) {
		const bool filter = route->does == DO_LIST && o->field && o->field->choices && !said;
		const bool change = route->does == DO_PATCH && o->goes == TO_BODY && !said;
		const bool shown = o->goes == TO_BODY && o->field->flags & F_EXAMPLE && route->does != DO_PATCH;
		const bool confirms = route->does == DO_DELETE && !strcmp(o->name, "confirm"), member = many == o->field && many;
		if ((!required(route, o) && !filter && !change && !shown && !confirms) || member)
			continue;
		said = true;
		fprintf(out, " --%s", o->name);
		if (o->goes == TO_BODY && o->field->type == F_UUID && !strcmp(o->field->name, "token")) {
			fputc(' ', out);
			print_id(out, resource_find("tokens"));
		} else if (o->goes != TO_SECRET) {
			fputc(' ', out);
			print_example(out, o->field);
		} else {
			fputs(" < secret", out);
		}
	}
}

/* A verb may have several routes that do the same for the command: the first is its. */
static bool is_first(const struct resource *resource, const struct route *route)
{
	const char *verb = route_verb(route);

	for (const struct route *r = resource->routes; verb && r != route; r++)
		if (route_verb(r) && !strcmp(route_verb(r), verb) && route_takes_id(r) == route_takes_id(route))
			return false;
	return verb != NULL;
}

static void print_command_line(FILE *out, const char *line)
{
	fprintf(out, "  postern %s\n", line);
}

/* ---- pages ---- */

void help_main(FILE *out)
{
	size_t n;
	const struct resource *const *all = resources(&n);

	fputs("Examples:\n", out);
	each_line(out, first_examples, print_command_line);
	fputs("\nUsage: postern COMMAND …, or postern RESOURCE VERB [ID] [--FIELD VALUE …]\n\nCommands:\n", out);
	for (const struct command *const *c = commands; *c; c++)
		fprintf(out, "  %-14s%s\n", (*c)->name, (*c)->about);
	fputs("\nResources:\n", out);
	for (size_t i = 0; i < n; i++)
		fprintf(out, "  %-14s%s\n", all[i]->one, all[i]->about);
	fputs("\nOptions of all:\n", out);
	print_options(out, global_options, NULL);
	fputs("\nMore: postern help COMMAND, postern help RESOURCE [VERB], postern help exit-status\n", out);
}

void help_resource(FILE *out, const struct resource *resource)
{
	const char *verbs[WORDS_MAX];
	const size_t n = resource_verbs(resource, verbs);

	fputs("Examples:\n", out);
	for (const struct route *route = resource->routes; route->path; route++) {
		if (!is_first(resource, route))
			continue;
		fputs("  postern ", out);
		example(out, resource, route);
		fputc('\n', out);
	}
	for (const struct command *const *c = commands; *c; c++)
		if (command_verb(*c, resource))
			each_line(out, (*c)->examples, print_command_line);
	fprintf(out, "\n%s: %s.\n\n", resource->one, resource->about);
	fprintf(out, "Usage: postern %s VERB [ID] [--FIELD VALUE …]\n\nVerbs:\n", resource->one);
	for (size_t i = 0; i < n; i++) {
		const struct route *route = route_find(resource, verbs[i], 1);
		fprintf(out, "  %-14s%s\n", verbs[i], route ? route->summary : "Give it another name");
	}
	for (const struct command *const *c = commands; *c; c++)
		if (command_verb(*c, resource))
			fprintf(out, "  %-14s%s\n", command_verb(*c, resource), (*c)->about);
	fprintf(out, "\nMore: postern %s VERB --help\n", resource->one);
}

static const char *words_of(const struct resource *resource, const struct route *route, char *to, size_t size)
{
	const struct field *many = route_words_field(route);

	if (route_takes_id(route))
		snprintf(to, size, " ID%s%s", resource->key ? "|" : "", resource->key ? resource->key : "");
	else
		snprintf(to, size, "%s", many ? " [ID …]" : "");
	return to;
}

void help_verb(FILE *out, const struct resource *resource, const char *verb)
{
	struct option options[OPTION_MAX + 1];
	char words[80];
	bool found = false;

	for (size_t count = 1; count <= 2; count++) { /* a verb may have a form for one object and one for many */
		const struct route *route = route_find(resource, verb, count);
		if (!route || (count == 2 && route == route_find(resource, verb, 1)))
			continue;
		fprintf(out, "%sExample:\n  postern ", found ? "\n" : "");
		example(out, resource, route);
		route_options(resource, route, options);
		fprintf(out, "\n\n%s.\n\nUsage: postern %s %s%s%s\n", route->summary, resource->one, verb,
		        words_of(resource, route, words, sizeof words), options[0].name[0] ? " [OPTION …]" : "");
		if (options[0].name[0])
			fputs("\nOptions:\n", out);
		print_options(out, options, route);
		found = true;
	}
	if (!found)
		fprintf(out, "Example:\n  postern %s rename ID new-name\n\nGive it another name.\n", resource->one);
}

void help_command(FILE *out, const struct command *command)
{
	fputs("Examples:\n", out);
	each_line(out, command->examples, print_command_line);
	fprintf(out, "\n%s.\n\nUsage: postern %s\n", command->about, command->usage);
	if (command->more)
		fprintf(out, "\n%s\n", command->more);
	if (option_count(command->options))
		fputs("\nOptions:\n", out);
	print_options(out, command->options, NULL);
}

static void help_exits(FILE *out)
{
	for (size_t i = 0; i < sizeof exits / sizeof *exits; i++)
		fprintf(out, "  %d  %s\n", exits[i].code, exits[i].about);
}

/* ---- the man page ---- */

void man_text(FILE *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
	for (; *text; text++)
		if (!strncmp(text, "…", 3)) { /* roff is ASCII */
			fputs("...", out);
			text += 2;
		} else {
			fputs(*text == '\\' ? "\\e" : *text == '-' ? "\\-" : *text == '\'' ? "\\(aq" : (char[]){ *text, '\0' }, out);
		}
}

static void man_line(FILE *out, const char *line)
{
	fputs("postern ", out);
	man_text(out, line);
	fputc('\n', out);
}

static void man_examples(FILE *out, const char *lines)
{
	fputs(".nf\n.RS\n", out);
	each_line(out, lines, man_line);
	fputs(".RE\n.fi\n", out);
}

void man_entry(FILE *out, const char *name, const char *value, const char *about, const char *extra)
{
	fputs(".TP\n\\fB", out);
	man_text(out, name);
	fputs("\\fR", out);
	if (value) {
		fputs(" \\fI", out);
		man_text(out, value);
		fputs("\\fR", out);
	}
	fputc('\n', out);
	man_text(out, about);
	man_text(out, extra);
	fputs(".\n", out);
}

static void man_options(FILE *out, const struct option *options)
{
	for (const struct option *o = options; o && o->name[0]; o++) {
		char name[sizeof o->name + 2], extra[400];
		bounds(extra, sizeof extra, o);
		snprintf(name, sizeof name, "--%s", o->name);
		struct json_object *about = show_in_words(o->about);
		man_entry(out, name, o->value, json_object_get_string(about), extra);
		json_object_put(about);
	}
}

static void man_resource(FILE *out, const struct resource *resource)
{
	fprintf(out, ".SS %s\n", resource->one);
	man_text(out, resource->about);
	fputs(".\n", out);
	for (const struct route *route = resource->routes; route->path; route++) {
		struct option options[OPTION_MAX + 1];
		char words[80], name[160];
		if (!is_first(resource, route))
			continue;
		snprintf(name, sizeof name, "%s %s%s", resource->one, route_verb(route),
		         words_of(resource, route, words, sizeof words));
		man_entry(out, name, NULL, route->summary, "");
		if (!route_options(resource, route, options))
			continue;
		fputs("Options: ", out);
		for (const struct option *o = options; o->name[0]; o++) {
			fputs("\\fB\\-\\-", out);
			man_text(out, o->name);
			fprintf(out, "\\fR%s", required(route, o) ? " (required)" : "");
			fputs(o[1].name[0] ? ",\n" : ".\n", out);
		}
	}
}

static void help_man(FILE *out)
{
	size_t n;
	const struct resource *const *all = resources(&n);

	fputs(".\\\" Made by \"postern help --man\"; do not edit.\n"
	      ".TH POSTERN 1 \"\" \"Postern " POSTERN_VERSION "\" \"User Commands\"\n"
	      ".SH NAME\npostern \\- operate the Postern automation API\n"
	      ".SH SYNOPSIS\n"
	      ".B postern\n.I command\n.RI [ option\\~...]\n.br\n"
	      ".B postern\n.I resource verb\n.RI [ id ]\n.RB [ \\-\\-\\fIfield\\~value\\fR\\~...]\n"
	      ".SH DESCRIPTION\n"
	      "What the API can do, at the machine and without a token: the same checks, the same rules,\n"
	      "the same audit trail, with \"system\" as the actor.\n"
	      ".PP\n"
	      "Data goes to stdout, messages go to stderr.\n"
	      "Tables are for people and may change; \\fB\\-\\-json\\fR is for programs.\n"
	      "On a terminal a table fits its width: what is cut ends in three dots, and status has a colour unless NO_COLOR is set.\n"
	      "Elsewhere nothing is cut.\n"
	      "Nothing asks questions, but for a secret that is needed, or a deletion that loses data, while stdin is a terminal.\n"
	      ".PP\n"
	      "A time is RFC 3339, a date of this machine\\(aqs clock, today, yesterday, or a distance such as 30m, 1h or 7d.\n"
	      "A switch is yes or no, on or off, true or false.\n"
	      "A token is named by its id, its name, or OWNER/NAME.\n"
	      "Secrets are never arguments:\n"
	      "\\fB\\-\\-\\fIfield\\fB\\-stdin\\fR reads one line of stdin. Lists are given with commas.\n"
	      ".SH EXAMPLES\n", out);
	man_examples(out, first_examples);
	fputs(".SH OPTIONS\nEvery command takes these, anywhere on the line.\n", out);
	man_options(out, global_options);
	fputs(".SH COMMANDS\n", out);
	for (const struct command *const *c = commands; *c; c++) {
		fprintf(out, ".SS ");
		man_text(out, (*c)->usage);
		fputc('\n', out);
		man_text(out, (*c)->about);
		fputs(".\n", out);
		if ((*c)->more) {
			fputs(".PP\n", out);
			man_text(out, (*c)->more);
			fputc('\n', out);
		}
		man_options(out, (*c)->options);
	}
	fputs(".SH RESOURCES\nThe plural and the alias of a resource work too, and so does \\fBshow\\fR for \\fBget\\fR.\n"
	      "A filter takes one value or several with commas.\n", out);
	for (size_t i = 0; i < n; i++)
		man_resource(out, all[i]);
	fputs(".SH EXIT STATUS\n", out);
	for (size_t i = 0; i < sizeof exits / sizeof *exits; i++)
		fprintf(out, ".TP\n.B %d\n%s.\n", exits[i].code, exits[i].about);
	fputs(".SH ENVIRONMENT\n", out);
	for (size_t i = 0; i < sizeof environment / sizeof *environment; i++)
		man_entry(out, environment[i].name, NULL, environment[i].about, "");
	fputs(".SH FILES\n.TP\n.I /etc/postern/postern.conf\n"
	      "Settings; \\fBpostern config \\-\\-sample\\fR explains each.\n"
	      ".SH SEE ALSO\n.BR postern.conf (5),\n.BR postern\\-endpoint (8)\n", out);
}

/* ---- postern help ---- */

static const struct command *command_of(const char *word, const char *verb)
{
	for (const struct command *const *c = commands; *c; c++)
		if (command_verb(*c, resource_find(word)) && !strcmp(command_verb(*c, resource_find(word)), verb))
			return *c;
	return NULL;
}

static const struct option help_options[] = {
	{ .name = "man", .about = "The manual page, as source for man" },
	{ .name = "" }
};

static int unknown_topic(const char *word)
{
	const char *known[2 * WORDS_MAX];
	size_t n, count = 0;
	const struct resource *const *all = resources(&n);

	for (const struct command *const *c = commands; *c; c++)
		known[count++] = (*c)->name;
	for (size_t i = 0; i < n && count < WORDS_MAX; i++)
		known[count++] = all[i]->one;
	known[count++] = "exit-status";
	return cli_unknown("topic", word, known, count, "");
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *values[1], *words[2];
	size_t n;
	const int rc = option_parse(help_options, argc, argv, values, words, &n, 2, "help");

	(void)cli;
	if (rc)
		return rc;
	if (values[0]) {
		help_man(stdout);
	} else if (!n) {
		help_main(stdout);
	} else if (!strcmp(words[0], "exit-status")) {
		help_exits(stdout);
	} else if (n == 2 && resource_find(words[0]) && command_of(words[0], words[1])) {
		help_command(stdout, command_of(words[0], words[1]));
	} else if (command_find(words[0]) && (n < 2 || !resource_find(words[0]))) {
		help_command(stdout, command_find(words[0]));
	} else {
		const struct resource *resource = resource_find(words[0]);
		const char *verbs[WORDS_MAX];
		if (!resource)
			return unknown_topic(words[0]);
		if (n < 2) {
			help_resource(stdout, resource);
		} else if (route_find(resource, words[1], 1) || (!strcmp(words[1], "rename") && route_rename(resource))) {
			help_verb(stdout, resource, words[1]);
		} else {
			const size_t count = resource_verbs(resource, verbs);
			return cli_unknown("verb", words[1], verbs, count, resource->one);
		}
	}
	return CLI_OK;
}

const struct command command_help = {
	"help", run, "help [TOPIC [VERB]]", "Show help on a command, a resource or exit-status", help_options, NULL,
	"help domain create\nhelp exit-status\n"
};
