/* main.c: `postern`, the operator's command: options of all commands, and which command it is. */
#include "cli.h"
#include "help.h"
#include "nearest.h"
#include "show.h"
#include "words.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct command *const commands[] = {
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

int cli_error(int code, const char *format, ...)
{
	char text[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	fputs("postern: ", stderr);
	show_text(stderr, text);
	fputc('\n', stderr);
	return code;
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
		} else if (!strcmp(arg, "--version")) {
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
