/* import_command.c: `postern import`: which importer, and from where. */
#include "import.h"
#include "cli.h"
#include <stdio.h>
#include <string.h>

enum { ACCOUNT, DRY_RUN, DEFINE, SERVER_VERSION };

static const struct option options[] = {
	[ACCOUNT] = { .name = "account", .value = "NAME", .about = "Account of sites whose files belong to no person, or to one who cannot be an account" },
	[DRY_RUN] = { .name = "dry-run", .about = "Show what would be created: the import is done and taken back" },
	[DEFINE] = { .name = "define", .value = "NAME[=VALUE],…", .about = "Names that Apache is started with (-D), and values of variables" },
	[SERVER_VERSION] = { .name = "server-version", .value = "N.N.N", .about = "Version of Apache, which <IfVersion> goes by" },
	{ .name = "" }
};

static bool is_version(const char *text)
{
	unsigned part[3];
	int end = 0;

	return strspn(text, "0123456789.") == strlen(text) &&
	       sscanf(text, "%4u.%4u.%4u%n", &part[0], &part[1], &part[2], &end) == 3 && !text[end];
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *values[4], *words[2];
	size_t n;
	const int rc = option_parse(options, argc, argv, values, words, &n, 2, "import");
	const struct import_server *server = import_servers;
	struct local *local;

	if (rc)
		return rc;
	while (server->name && (!n || strcmp(words[0], server->name) != 0))
		server++;
	if (!server->name)
		return cli_error(CLI_USAGE, "import from what? There are: nginx, apache\nTry: postern import --help");
	if ((values[DEFINE] || values[SERVER_VERSION]) && strcmp(server->name, "apache") != 0)
		return cli_error(CLI_USAGE, "--%s is for apache only: nginx has no conditions\nTry: postern import --help",
		                 values[DEFINE] ? "define" : "server-version");
	if (values[SERVER_VERSION] && !is_version(values[SERVER_VERSION]))
		return cli_error(CLI_USAGE, "--server-version is no version: give it as 2.4.62\nTry: postern import --help");
	const struct import_options how = {
		.source = n > 1 ? words[1] : server->usual, .account = values[ACCOUNT],
		.given = { .defines = values[DEFINE], .version = values[SERVER_VERSION] },
		.dry_run = values[DRY_RUN] != NULL, .json = cli->json
	};
	local = cli_local(cli);
	return local ? import_sites(local, server, &how, stdout, stderr) : CLI_FAILED;
}

const struct command command_import = {
	"import", run, "import nginx|apache [FILE|FOLDER|-] [--account NAME] [--dry-run] [--define NAME,…] [--server-version N.N.N]",
	"Take over into the inventory what a web server already serves", options,
	"Reads a configuration (default: /etc/nginx, /etc/apache2), a folder or file of sites or, from \"-\", what nginx -T prints. It "
	"only adds; nothing on the machine changes, and what it adds is managed: false. What it does not take over is named with file "
	"and line. A dry run is the same import, taken back at its end: its rows and exit code are those of the real one. An account is the Unix owner of a document root; a "
	"certificate is recorded as active, expiring (within 14 days) or expired; as error where its file is not there or no certificate, as pending "
	"where that is not known.",
	"import nginx --dry-run\nimport nginx --account demo\nimport apache /etc/apache2/sites-enabled\n"
};
