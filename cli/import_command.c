/* import_command.c: `postern import`: which importer, and from where. */
#include "import.h"
#include "cli.h"
#include <string.h>

enum { ACCOUNT, DRY_RUN };

static const struct option options[] = {
	[ACCOUNT] = { .name = "account", .value = "NAME", .about = "Account of sites whose files belong to no person" },
	[DRY_RUN] = { .name = "dry-run", .about = "Show what would be created, create nothing" },
	{ .name = "" }
};

static int run(struct cli *cli, int argc, char **argv)
{
	const char *values[2], *words[2];
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
	const struct import_options how = {
		.source = n > 1 ? words[1] : server->usual, .account = values[ACCOUNT],
		.dry_run = values[DRY_RUN] != NULL, .json = cli->json
	};
	local = cli_local(cli);
	return local ? import_sites(local, server, &how, stdout, stderr) : CLI_FAILED;
}

const struct command command_import = {
	"import", run, "import nginx|apache [FILE|FOLDER|-] [--account NAME] [--dry-run]",
	"Take over into the inventory what a web server already serves", options,
	"Reads a configuration (default: /etc/nginx, /etc/apache2) or, from \"-\", what nginx -T prints. It only adds; nothing on "
	"the machine changes, and what it adds is managed: false. An account is the Unix owner of a document root; a "
	"certificate is recorded as active, expiring (within 14 days) or expired.",
	"import nginx --dry-run\nimport nginx --account demo\nimport apache /etc/apache2/sites-enabled\n"
};
