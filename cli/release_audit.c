/* release_audit.c: `postern release-audit`: the report of the resource of that name, as an exit code too. */
#include "cli.h"
#include "show.h"
#include "words.h"
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

static const char *text(struct json_object *object, const char *name)
{
	struct json_object *value = NULL;

	return json_object_object_get_ex(object, name, &value) && value ? json_object_get_string(value) : "-";
}

static void line(const char *label, const char *object, const char *what, const char *remedy)
{
	char all[2048];

	snprintf(all, sizeof all, "%-12s%s %s%s%s", label, object, what, *remedy ? ". " : "", remedy);
	show_text(stdout, all);
	putchar('\n');
}

static void show(struct json_object *report)
{
	struct json_object *findings = json_object_object_get(report, "findings"), *unseen = json_object_object_get(report, "unseen");
	struct json_object *files = json_object_object_get(report, "files"), *migrations = json_object_object_get(report, "migrations");

	printf("version     %s, commit %s\n", text(report, "version"), text(report, "commit"));
	printf("files       %s listed in the manifest\n", text(files, "listed"));
	printf("migrations  %s applied, %s shipped\n", text(migrations, "applied"), text(migrations, "shipped"));
	for (size_t i = 0; i < json_object_array_length(unseen); i++) {
		struct json_object *row = json_object_array_get_idx(unseen, i);
		line("not seen", text(row, "object"), text(row, "why"), "");
	}
	for (size_t i = 0; i < json_object_array_length(findings); i++) {
		struct json_object *row = json_object_array_get_idx(findings, i);
		line("FINDING", text(row, "object"), text(row, "finding"), text(row, "remedy"));
	}
	printf("status      %s\n", text(report, "status"));
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *values[1], *words[1];
	const struct resource *resource = resource_find("release-audit");
	struct json_object *report = NULL;
	struct local *local;
	size_t n;
	int rc = option_parse(NULL, argc, argv, values, words, &n, 0, "release-audit"), status;

	if (rc)
		return rc;
	if (!(local = cli_local(cli)))
		return CLI_FAILED;
	status = local_call(local, resource, resource->routes, NULL, NULL, NULL, &report);
	if (status >= 400) {
		rc = show_error(stderr, status, report);
	} else {
		if (cli->json)
			puts(json_object_to_json_string_ext(report, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE));
		else
			show(report);
		rc = strcmp(text(report, "status"), "ok") == 0 ? CLI_OK : CLI_FAILED;
	}
	json_object_put(report);
	return rc;
}

const struct command command_release_audit = {
	"release-audit", run, "release-audit", "Find out whether what is installed is what was released", NULL,
	"Compares installed files with the manifest that came with them, applied migrations with those shipped, modes and owners of "
	"configuration and key files and the database's grants with what they should be. Best run as root. Ends with 0 when all is in "
	"order, with 1 when something is not, or could not be looked at.",
	"release-audit\nrelease-audit --json\n"
};
