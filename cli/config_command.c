/* config_command.c: `postern config`: the settings as they are, as they could be, and whether they hold. */
#include "cli.h"
#include <stdio.h>

static const struct option options[] = {
	{ .name = "show", .about = "The settings in force; passwords masked" },
	{ .name = "check", .about = "Read the settings and say what is wrong with them" },
	{ .name = "sample", .about = "A settings file with every setting explained" },
	{ .name = "" }
};

static int run(struct cli *cli, int argc, char **argv)
{
	const char *values[3], *words[1];
	size_t n;
	const int rc = option_parse(options, argc, argv, values, words, &n, 0, "config");

	if (rc)
		return rc;
	if (!values[0] + !values[1] + !values[2] != 2)
		return cli_error(CLI_USAGE, "one of --show, --check and --sample is needed\nTry: postern config --help");
	if (values[2]) {
		config_print_sample(stdout);
		return CLI_OK;
	}
	if (!cli_config(cli))
		return CLI_FAILED;
	if (values[0])
		config_print(&cli->config, stdout);
	else
		cli_note(cli, "The settings are in order.");
	return CLI_OK;
}

const struct command command_config = {
	"config", run, "config --show|--check|--sample", "Show, check or explain the settings", options, NULL,
	"config --show\nconfig --check --config /etc/postern/postern.conf\nconfig --sample > postern.conf\n"
};
