/* openapi_command.c: `postern openapi`: the description of the API, as its endpoint answers it. */
#include "cli.h"
#include "openapi.h"
#include <stdio.h>
#include <string.h>

static const struct option options[] = {
	{ .name = "yaml", .about = "As YAML; default: as JSON" },
	{ .name = "dialect", .value = "DIALECT", .about = "envelope (default): the addresses below /api/v1; plain: those below /api" },
	{ .name = "version", .value = "VERSION", .about = "Of OpenAPI: 3.1 (default), or 3.0 for tools that read no other" },
	{ .name = "" }
};

/* One of two words; the first where nothing is given. 0: it is, *second tells which; else an exit code. */
static int either(const char *given, const char *name, const char *one, const char *other, bool *second)
{
	*second = given && strcmp(given, other) == 0;
	if (!given || *second || strcmp(given, one) == 0)
		return 0;
	return cli_error(CLI_USAGE, "--%s takes %s or %s", name, one, other);
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *values[3], *words[1], *document;
	struct openapi_edition edition;
	size_t n;
	int rc = option_parse(options, argc, argv, values, words, &n, 0, "openapi");

	(void)cli;
	if (!rc)
		rc = either(values[1], "dialect", "envelope", "plain", &edition.plain);
	if (!rc)
		rc = either(values[2], "version", "3.1", "3.0", &edition.v30);
	if (rc)
		return rc;
	edition.yaml = values[0] != NULL;
	document = openapi_document(edition);
	if (!document)
		return cli_error(CLI_FAILED, "out of memory");
	printf("%s%s", document, values[0] ? "" : "\n");
	return CLI_OK;
}

const struct command command_openapi = {
	"openapi", run, "openapi [--yaml] [--dialect envelope|plain] [--version 3.1|3.0]", "Describe the API as OpenAPI", options, NULL,
	"openapi > openapi.json\nopenapi --yaml > openapi.yaml\nopenapi --version 3.0 > openapi-3.0.json\n"
};
