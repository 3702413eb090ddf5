/* config_command.c: `postern config`: the settings as they are, as they could be, and whether they hold. */
#include "cli.h"
#include "help.h"
#include <stdio.h>

static const struct option options[] = {
	{ .name = "show", .about = "The settings in force; passwords masked" },
	{ .name = "check", .about = "Read the settings and say what is wrong with them" },
	{ .name = "sample", .about = "A settings file with every setting explained" },
	{ .name = "man", .about = "The manual page postern.conf(5), as source for man" },
	{ .name = "" }
};

static void man(FILE *out)
{
	struct setting_text s;

	fputs(".\\\" Made by \"postern config --man\"; do not edit.\n"
	      ".TH POSTERN.CONF 5 \"\" \"Postern " POSTERN_VERSION "\" \"File Formats\"\n"
	      ".SH NAME\npostern.conf \\- settings of Postern\n"
	      ".SH SYNOPSIS\n.I /etc/postern/postern.conf\n"
	      ".SH DESCRIPTION\n"
	      "Read by every endpoint and by\n.BR postern (1)\nwhen it starts; a file that is missing is an empty one.\n"
	      "Lines are\n.IR name \\~=\\~ value ;\ncomments start with #.\n"
	      "Values may stand in double quotes, and must where they hold \" #\".\n"
	      "Unknown names and values out of bounds are errors.\n"
	      ".PP\nThe environment goes over the file: the setting\n.B dsn\nas\n.BR POSTERN_DSN .\n"
	      ".B POSTERN_CONFIG\nnames another file.\n"
	      ".PP\nPrograms read it once: restart them after a change.\n"
	      "Settings that are marked so may also be changed while programs run, over the API or with\n.BR postern\\ settings ;\n"
	      "what was set so is kept in the database, goes over the file, and is obeyed from the next request on.\n"
	      "The environment goes over both.\n"
	      ".SH SETTINGS\n", out);
	for (size_t i = 0; config_describe(i, &s); i++) {
		man_entry(out, s.name, NULL, s.about, "");
		fputs("Takes ", out);
		man_text(out, s.takes);
		fputs(*s.preset ? ".\nDefault: \\fB" : ".\n", out);
		man_text(out, s.preset);
		fputs(*s.preset ? "\\fR.\n" : "", out);
		fputs(s.fixed ? "" : "May change while programs run.\n", out);
	}
	fputs(".SH FILES\n.TP\n.I /etc/postern/postern.conf\nMode 0640, root and the group postern: it may hold a password.\n"
	      ".SH SEE ALSO\n.BR postern (1),\n.BR postern\\-endpoint (8)\n", out);
}

/* With what the database holds, where it can be asked. */
static int show(struct cli *cli)
{
	struct local *local = cli_local(cli);
	const struct config *config = &cli->config;
	struct db_error error;

	if (local && local_settings(local, &config, &error) != DB_OK)
		cli_error(CLI_UNREACHABLE, "the database cannot be asked what it holds of the settings; these are the file's");
	config_print(config, stdout);
	return CLI_OK;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *values[4], *words[1];
	size_t n;
	const int rc = option_parse(options, argc, argv, values, words, &n, 0, "config");

	if (rc)
		return rc;
	if (!values[0] + !values[1] + !values[2] + !values[3] != 3)
		return cli_error(CLI_USAGE, "one of --show, --check, --sample and --man is needed\nTry: postern config --help");
	if (values[2]) {
		config_print_sample(stdout);
		return CLI_OK;
	}
	if (values[3]) {
		man(stdout);
		return CLI_OK;
	}
	if (!cli_config(cli))
		return CLI_FAILED;
	if (values[0])
		return show(cli);
	else
		cli_note(cli, "The settings are in order.");
	return CLI_OK;
}

const struct command command_config = {
	"config", run, "config --show|--check|--sample|--man", "Show, check or explain the settings", options, NULL,
	"config --show\nconfig --check --config /etc/postern/postern.conf\nconfig --sample > postern.conf\n"
};
