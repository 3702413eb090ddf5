/* main.c: `postern`, the operator's command: options of all commands, and which command it is. */
#include "cli.h"
#include "help.h"
#include "nearest.h"
#include "show.h"
#include "words.h"
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct command *const commands[] = {
	&command_audit_rotate_key,
	&command_audit_verify, &command_completion, &command_config, &command_doctor, &command_help, &command_import, &command_init, &command_migrate,
	&command_openapi, &command_release_audit, &command_routes, NULL
};

/* Of two words: a verb of a resource that is no route. */
static const struct command *command_of_two(const char *one, const char *two)
{
	const struct resource *resource = resource_find(one);
	char name[128];

	snprintf(name, sizeof name, "%s %s", resource ? resource->name : one, two);
	return command_find(name);
}

const struct command *command_find(const char *name)
{
	for (const struct command *const *c = commands; *c; c++)
		if (!strcmp((*c)->name, name))
			return *c;
	return NULL;
}

const char *command_verb(const struct command *command, const struct resource *resource)
{
	const size_t len = resource ? strlen(resource->one) : 0;

	return len && !strncmp(command->name, resource->one, len) && command->name[len] == ' ' ? command->name + len + 1 : NULL;
}

const struct config *cli_config(struct cli *cli)
{
	if (!cli->config_loaded)
		cli->config_loaded = config_load(&cli->config, cli->config_path, stderr);
	return cli->config_loaded ? &cli->config : NULL;
}

struct local *cli_local(struct cli *cli)
{
	const struct config *config = cli_config(cli);

	if (config && !cli->local && !(cli->local = local_open(config)))
		cli_error(CLI_FAILED, "out of memory");
	return cli->local;
}

void cli_note(const struct cli *cli, const char *format, ...)
{
	char text[2048];
	va_list args;

	if (cli->quiet)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	show_text(stderr, text);
	fputc('\n', stderr);
}

static bool json_wanted;

bool cli_wants_json(void)
{
	return json_wanted;
}

/* The first line is the message; what follows says what to do. */
static int error_as_json(int code, const char *text)
{
	static const char *const codes[] = {
		[CLI_FAILED] = "failed", [CLI_USAGE] = "usage", [CLI_NOT_FOUND] = "not_found", [CLI_CONFLICT] = "conflict",
		[CLI_REFUSED] = "forbidden", [CLI_UNREACHABLE] = "unavailable", [CLI_INVALID] = "validation_error"
	};
	const size_t len = strcspn(text, "\n");
	const char *details = text[len] ? text + len + 1 : NULL;
	struct json_object *all = json_object_new_object(), *error = json_object_new_object();

	json_object_object_add(error, "code", json_object_new_string(codes[code]));
	json_object_object_add(error, "message", json_object_new_string_len(text, (int)len));
	if (details)
		json_object_object_add(error, "details", json_object_new_string(details));
	json_object_object_add(all, "error", error);
	fprintf(stderr, "%s\n", json_object_to_json_string_ext(all, SHOW_JSON));
	json_object_put(all);
	return code;
}

int cli_error(int code, const char *format, ...)
{
	char text[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (json_wanted)
		return error_as_json(code, text);
	fputs("postern: ", stderr);
	show_text(stderr, text);
	fputc('\n', stderr);
	return code;
}

bool cli_in_between(const char *why)
{
	return strstr(why, "the database system is ") != NULL; /* shutting down, starting up, in recovery mode */
}

int cli_unreachable(const char *why, const char *remedy)
{
	const char *more = cli_in_between(why) ? "Try again when it has started; systemctl status postgresql says how it is." : remedy;
	size_t len = strlen(why);

	while (len && why[len - 1] == '\n') /* libpq ends its messages so */
		len--;
	return cli_error(CLI_UNREACHABLE, "%.*s%s%s", (int)len, why, more ? "\n" : "", more ? more : "");
}

int cli_unknown(const char *what, const char *word, const char *const *known, size_t n, const char *help)
{
	const char *near = nearest(word, known, n);

	return cli_error(CLI_USAGE, "there is no %s \"%s\"%s%s%s\nTry: postern %s%s--help", what, word,
	                 near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "", help, *help ? " " : "");
}

/* Take the options of all commands out of argv. They are words of our own, so no field may bear their names. */
static int take_globals(struct cli *cli, int *argc, char **argv)
{
	int kept = 1;

	for (int i = 1; i < *argc && strcmp(argv[i], "--") != 0; i++)
		json_wanted |= !strcmp(argv[i], "--json");
	for (int i = 1; i < *argc; i++) {
		const char *arg = argv[i];
		if (!strcmp(arg, "--")) {
			while (i < *argc)
				argv[kept++] = argv[i++];
		} else if (!strcmp(arg, "--json")) {
			cli->json = true;
		} else if (!strcmp(arg, "-q") || !strcmp(arg, "--quiet")) {
			cli->quiet = true;
		} else if (!strcmp(arg, "-h") || !strcmp(arg, "--help")) {
			cli->help = true;
		} else if (!strcmp(arg, "--version") && (kept == 1 || strcmp(argv[1], "openapi") != 0)) { /* that has versions of its own */
			cli->version = true;
		} else if (!strncmp(arg, "--config=", 9)) {
			cli->config_path = arg + 9;
		} else if (!strcmp(arg, "--config")) {
			if (++i == *argc)
				return cli_error(CLI_USAGE, "--config needs a file\nTry: postern --help");
			cli->config_path = argv[i];
		} else {
			argv[kept++] = argv[i];
		}
	}
	argv[kept] = NULL;
	*argc = kept;
	return CLI_OK;
}

static int unknown_command(const char *word)
{
	const char *known[3 * WORDS_MAX];
	size_t n, count = 0;
	const struct resource *const *all = resources(&n);

	for (const struct command *const *c = commands; *c; c++)
		known[count++] = (*c)->name;
	for (size_t i = 0; i < n && count + 2 < 3 * WORDS_MAX; i++) {
		known[count++] = all[i]->one;
		known[count++] = all[i]->name;
	}
	return cli_unknown(*word == '-' ? "option" : "command", word, known, count, "");
}

static int dispatch(struct cli *cli, int argc, char **argv)
{
	const struct command *command = argc > 1 ? command_find(argv[1]) : NULL;
	const struct resource *resource = argc > 1 ? resource_find(argv[1]) : NULL;
	const struct command *two = argc > 2 ? command_of_two(argv[1], argv[2]) : NULL;

	if (two && !cli->version) {
		command = two;
		resource = NULL;
		argv++;
		argc--;
	}
	/* "config" is a command (--show) and, by contract, another name of the settings resource (list, get, …). */
	if (command && resource && argc > 2 && argv[2][0] != '-')
		command = NULL;
	if (cli->version) {
		puts("postern " POSTERN_VERSION);
		return CLI_OK;
	}
	if (argc < 2 && !cli->help && cli->json)
		return cli_error(CLI_USAGE, "a command is needed\nTry: postern --help");
	if (argc < 2) {
		help_main(cli->help ? stdout : stderr);
		return cli->help ? CLI_OK : CLI_USAGE;
	}
	if (command && cli->help) {
		help_command(stdout, command);
		return CLI_OK;
	}
	if (command)
		return command->run(cli, argc - 1, argv + 1);
	if (!resource)
		return unknown_command(argv[1]);
	if (cli->help && argc < 3) {
		help_resource(stdout, resource);
		return CLI_OK;
	}
	return resource_run(cli, resource, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	struct cli cli = { 0 };
	int rc;

	rc = take_globals(&cli, &argc, argv);
	if (rc == CLI_OK)
		rc = dispatch(&cli, argc, argv);
	local_close(cli.local);
	if (cli.config_loaded)
		config_free(&cli.config);
	if ((fflush(stdout) != 0 || ferror(stdout)) && rc == CLI_OK)
		rc = cli_error(CLI_FAILED, "stdout could not be written: is the disk full?");
	return rc;
}
