/* openapi_command.c: `postern openapi`: the description of the API, as its endpoint answers it. */
#include "cli.h"
#include "openapi.h"
#include <stdio.h>

static const struct option options[] = {
	{ .name = "yaml", .about = "As YAML; default: as JSON" },
	{ .name = "" }
};

static int run(struct cli *cli, int argc, char **argv)
{
	const char *values[1], *words[1], *document;
	size_t n;
	const int rc = option_parse(options, argc, argv, values, words, &n, 0, "openapi");

	(void)cli;
	if (rc)
		return rc;
	document = values[0] ? openapi_yaml() : openapi_json();
	if (!document)
		return cli_error(CLI_FAILED, "out of memory");
	printf("%s%s", document, values[0] ? "" : "\n");
	return CLI_OK;
}

const struct command command_openapi = {
	"openapi", run, "openapi [--yaml]", "Describe the API as OpenAPI 3.1", options, NULL,
	"openapi > openapi.json\nopenapi --yaml > openapi.yaml\n"
};
