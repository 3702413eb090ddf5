/* import_command.c: `postern import`: which importer, and from where. */
#include "import.h"
#include "cli.h"
#include <string.h>

#define NGINX_USUAL "/etc/nginx"

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
	struct local *local;

	if (rc)
		return rc;
	if (!n || strcmp(words[0], "nginx") != 0)
		return cli_error(CLI_USAGE, "import from what? There is: nginx\nTry: postern import --help");
	const struct import_options how = {
		.source = n > 1 ? words[1] : NGINX_USUAL, .account = values[ACCOUNT],
		.dry_run = values[DRY_RUN] != NULL, .json = cli->json
	};
	local = cli_local(cli);
	return local ? import_nginx(local, &how, stdout, stderr) : CLI_FAILED;
}

const struct command command_import = {
	"import", run, "import nginx [FILE|FOLDER|-] [--account NAME] [--dry-run]",
	"Take over into the inventory what a web server already serves", options,
	"Reads a configuration (default: " NGINX_USUAL ") or, from \"-\", what nginx -T prints. It only adds; nothing on the "
	"machine changes, and what it adds is managed: false. An account is the Unix owner of a document root.",
	"import nginx --dry-run\nimport nginx --account demo\n"
};
