/*
 * completion.c: `postern completion`: for each shell a few lines that ask `postern completion words`, which tells from the
 * tables, and from the database where an object is named, what may come next.
 */
#include "cli.h"
#include "help.h"
#include "words.h"
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_S = 3 }; /* nobody waits longer for a word */

/* The line so far: what was given before the word that is being typed. */
struct line {
	struct cli *cli;
	const char *current, *before; /* the word, and the one in front of it */
	const char *group, *verb;     /* the first two words that are no options */
	size_t words;                 /* how many of these come after them */
};

static void say(const struct line *line, const char *word)
{
	if (!strncmp(word, line->current, strlen(line->current)))
		puts(word);
}

static void say_all(const struct line *line, const char *words)
{
	for (char word[80]; *words; words += strcspn(words, " "), words += strspn(words, " ")) {
		snprintf(word, sizeof word, "%.*s", (int)strcspn(words, " "), words);
		say(line, word);
	}
}

static void say_options(const struct line *line, const struct option *options)
{
	for (const struct option *o = options; o && o->name[0]; o++) {
		char word[sizeof o->name + 2];

		snprintf(word, sizeof word, "--%s", o->name);
		say(line, word);
	}
}

/* ---- what there is in the database ---- */

/* How the rows of a list are named; tokens by owner and name. */
static void say_objects(const struct line *line, const struct resource *resource, const char *member)
{
	const struct resource *tokens = resource_find("tokens");
	const struct local_parameter query[] = { { "per_page", "100" }, { NULL, NULL } };
	struct json_object *answer = NULL, *rows = NULL, *value = NULL, *owner = NULL;
	struct local *local = resource ? cli_local(line->cli) : NULL;
	char word[400];
	int status = 500;

	for (const struct route *r = local ? resource->routes : NULL; r && r->path && status == 500; r++)
		if (r->does == DO_LIST)
			status = local_call(local, resource, r, NULL, query, NULL, &answer);
	if (status < 400 && json_object_object_get_ex(answer, "data", &rows))
		for (size_t i = 0; i < json_object_array_length(rows); i++) {
			struct json_object *row = json_object_array_get_idx(rows, i);

			if (!json_object_object_get_ex(row, resource == tokens ? "name" : member, &value) || !value)
				continue;
			json_object_object_get_ex(row, "owner", &owner);
			snprintf(word, sizeof word, "%s%s%s", resource == tokens ? json_object_get_string(owner) : "", resource == tokens ? "/" : "",
			         json_object_get_string(value));
			say(line, word);
		}
	json_object_put(answer);
}

/* Fields that name an object of another resource. */
static void say_named(const struct line *line, const struct field *f)
{
	static const struct { const char *field, *resource, *member; } named[] = {
		{ "account", "accounts", "username" }, { "owner", "users", "username" }, { "domain", "domains", "domain" },
		{ "role", "roles", "name" }, { "token", "tokens", "id" }, { "token_id", "tokens", "id" }
	};

	for (size_t i = 0; i < sizeof named / sizeof *named; i++)
		if (!strcmp(f->name, named[i].field)) {
			say_objects(line, resource_find(named[i].resource), named[i].member);
			return;
		}
}

/* ---- what may come next ---- */

/* The value of the option in front of the word. False: it takes none. */
static bool say_value(const struct line *line, const struct resource *resource, const struct option *options)
{
	if (strncmp(line->before, "--", 2) != 0)
		return false;
	for (const struct option *o = options; o->name[0]; o++) {
		if (strcmp(o->name, line->before + 2) != 0 || !o->value)
			continue;
		if (!strcmp(o->name, "columns") || !strcmp(o->name, "sort")) {
			for (const struct field *f = resource->fields; f->name; f++)
				if (strcmp(o->name, "sort") != 0 || f->flags & F_SORT)
					say(line, f->name);
		} else if (o->field && o->field->choices) {
			say_all(line, o->field->choices);
		} else if (o->field && o->field->type == F_BOOL) {
			say_all(line, "yes no");
		} else if (!strcmp(o->value, TIME_VALUE)) {
			say_all(line, "today yesterday 1h 1d 7d");
		} else if (!strcmp(o->value, "asc|desc")) {
			say_all(line, "asc desc");
		} else if (o->field) {
			say_named(line, o->field);
		}
		return true;
	}
	return false;
}

static void say_resource(const struct line *line, const struct resource *resource)
{
	const char *verbs[WORDS_MAX];
	struct option options[OPTION_MAX + 1];
	const struct route *one, *many;
	size_t n = line->verb ? 0 : resource_verbs(resource, verbs);

	for (size_t i = 0; i < n; i++)
		say(line, verbs[i]);
	for (const struct command *const *c = commands; *c; c++) {
		const char *verb = command_verb(*c, resource);

		if (verb && !line->verb)
			say(line, verb);
		else if (verb && !strcmp(verb, line->verb))
			say_options(line, (*c)->options);
	}
	if (!line->verb)
		return;
	one = route_find(resource, line->verb, 1);
	many = route_find(resource, line->verb, 2);
	if (!one && !strcmp(line->verb, "rename"))
		one = route_rename(resource);
	for (int form = 0; form < 2; form++) {
		const struct route *route = form ? many : one;

		if (!route || (form && many == one))
			continue;
		route_options(resource, route, options);
		if (say_value(line, resource, options))
			return;
		if (*line->current != '-' && ((route_takes_id(route) && !line->words) || route_words_field(route))) {
			say_objects(line, resource, resource->key ? resource->key : "id");
			return;
		}
		say_options(line, options);
	}
}

static void say_start(const struct line *line)
{
	size_t n;
	const struct resource *const *all = resources(&n);

	for (const struct command *const *c = commands; *c; c++)
		if (!strchr((*c)->name, ' '))
			say(line, (*c)->name);
	for (size_t i = 0; i < n; i++)
		say(line, all[i]->one);
}

/* The words after "postern", the last of which is being typed. */
static int say_words(struct cli *cli, const char **words, size_t n)
{
	struct line line = { .cli = cli, .current = n ? words[n - 1] : "", .before = n > 1 ? words[n - 2] : "" };
	const struct resource *resource;
	const struct command *command;

	alarm(PATIENCE_S);
	for (size_t i = 0; i + 1 < n; i++) {
		if (!strcmp(words[i], "--config"))
			cli->config_path = words[++i];
		else if (*words[i] == '-')
			continue;
		else if (!line.group)
			line.group = words[i];
		else if (!line.verb)
			line.verb = words[i];
		else
			line.words++;
	}
	if (!strcmp(line.before, "--config"))
		return CLI_OK; /* the shell knows files */
	resource = line.group ? resource_find(line.group) : NULL;
	command = line.group ? command_find(line.group) : NULL;
	if (!line.group || (!strcmp(line.group, "help") && !line.verb))
		say_start(&line);
	else if (!strcmp(line.group, "completion") && !line.verb)
		say_all(&line, "bash zsh fish");
	else if (!strcmp(line.group, "import") && !line.verb)
		say_all(&line, "nginx apache");
	if (command)
		say_options(&line, command->options);
	if (resource)
		say_resource(&line, resource);
	if (*line.current == '-')
		say_options(&line, global_options);
	return CLI_OK;
}

/* ---- the shells ---- */

/* bash takes "@", ":" and "=" for ends of words; what the word was before them is taken off what is offered. */
static const char bash[] =
	"# bash completion for postern; made by \"postern completion bash\"\n"
	"_postern()\n{\n"
	"\tlocal line=${COMP_LINE:0:COMP_POINT} words current part=${COMP_WORDS[COMP_CWORD]}\n"
	"\tread -ra words <<<\"$line\"\n"
	"\t[[ $line == *[[:space:]] ]] && words+=('')\n"
	"\tcurrent=${words[${#words[@]}-1]}\n"
	"\t[[ $part == [@:=] ]] && part=\n"
	"\tmapfile -t COMPREPLY < <(\"${words[0]}\" completion words -- \"${words[@]:1}\" 2>/dev/null)\n"
	"\tCOMPREPLY=(\"${COMPREPLY[@]#\"${current%\"$part\"}\"}\")\n"
	"}\n"
	"complete -o default -F _postern postern\n";

static const char zsh[] =
	"#compdef postern\n"
	"# zsh completion for postern; made by \"postern completion zsh\"\n"
	"_postern()\n{\n"
	"\tlocal -a known\n"
	"\tknown=(\"${(@f)$(\"${words[1]}\" completion words -- \"${(@)words[2,CURRENT]}\" 2>/dev/null)}\")\n"
	"\tif [[ -n $known[1] ]]; then compadd -- \"${known[@]}\"; else _files; fi\n"
	"}\n"
	"_postern \"$@\"\n";

static const char fish[] =
	"# fish completion for postern; made by \"postern completion fish\"\n"
	"function __postern\n"
	"\tset -l words (commandline -opc)\n"
	"\tset -l known ($words[1] completion words -- $words[2..-1] (commandline -ct) 2>/dev/null)\n"
	"\tif test -n \"$known\"\n"
	"\t\tstring join \\n -- $known\n"
	"\telse\n"
	"\t\t__fish_complete_path (commandline -ct)\n"
	"\tend\n"
	"end\n"
	"complete -c postern -f -a '(__postern)'\n";

static int run(struct cli *cli, int argc, char **argv)
{
	enum { LINE_WORDS = 500 };
	static const struct { const char *name, *script; } shells[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };
	const char *values[1], *words[LINE_WORDS];
	size_t n;
	const int rc = option_parse(NULL, argc, argv, values, words, &n, LINE_WORDS, "completion");

	if (rc)
		return rc;
	if (n && !strcmp(words[0], "words"))
		return say_words(cli, words + 1, n - 1);
	for (size_t i = 0; n == 1 && i < sizeof shells / sizeof *shells; i++)
		if (!strcmp(words[0], shells[i].name)) {
			fputs(shells[i].script, stdout);
			return CLI_OK;
		}
	return cli_error(CLI_USAGE, "for which shell? There are: bash, zsh, fish\nTry: postern completion --help");
}

const struct command command_completion = {
	"completion", run, "completion bash|zsh|fish", "Print completion for a shell", NULL,
	"The shell asks \"postern completion words -- WORD ...\" for what may come next. Names of objects come from the database, where "
	"it answers at once.",
	"completion bash > /etc/bash_completion.d/postern\n"
	"completion zsh > /usr/local/share/zsh/site-functions/_postern\n"
	"completion fish > /etc/fish/completions/postern.fish\n"
};
