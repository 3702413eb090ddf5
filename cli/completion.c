/* completion.c: `postern completion`: words for the shell, from the same tables as the commands. */
#include "cli.h"
#include "help.h"
#include "words.h"
#include <stdio.h>
#include <string.h>

static void dashed(const struct option *options)
{
	for (const struct option *o = options; o && o->name[0]; o++)
		printf(" --%s", o->name);
}

/* Options of every form of a verb; naming one twice does no harm. */
static void verb_options(const struct resource *resource, const char *verb)
{
	struct option options[OPTION_MAX + 1];
	const struct route *one = route_find(resource, verb, 1), *many = route_find(resource, verb, 2);

	if (one) {
		route_options(resource, one, options);
		dashed(options);
	}
	if (many && many != one) {
		route_options(resource, many, options);
		dashed(options);
	}
}

static void verb_values(const struct resource *resource, const char *verb)
{
	struct option options[OPTION_MAX + 1];
	const struct route *route = route_find(resource, verb, 1);

	if (!route)
		return;
	route_options(resource, route, options);
	for (const struct option *o = options; o->name[0]; o++)
		if (o->field && (o->field->choices || o->field->type == F_BOOL))
			printf("\t\"%s %s --%s\") known=\"%s\";;\n", resource->one, verb, o->name,
			       o->field->choices ? o->field->choices : "true false");
}

/* The words that may come next, into `known`: the same for every shell, as all have case. */
static void print_words(void)
{
	size_t n;
	const struct resource *const *all = resources(&n);
	const char *verbs[WORDS_MAX];

	puts("\tcase $group in");
	for (size_t i = 0; i < n; i++) {
		if (strcmp(all[i]->name, all[i]->one) != 0)
			printf("\t%s) group=%s;;\n", all[i]->name, all[i]->one);
		if (all[i]->alias && !command_find(all[i]->alias))
			printf("\t%s) group=%s;;\n", all[i]->alias, all[i]->one);
	}
	puts("\tesac\n\tcase \"$group $verb\" in");
	fputs("\t' ') known='", stdout);
	for (const struct command *const *c = commands; *c; c++)
		printf("%s ", (*c)->name);
	for (size_t i = 0; i < n; i++)
		printf("%s ", all[i]->one);
	puts("';;");
	for (const struct command *const *c = commands; *c; c++) {
		printf("\t'%s '*) known='", (*c)->name);
		dashed((*c)->options);
		puts("';;");
	}
	for (size_t i = 0; i < n; i++) {
		const size_t count = resource_verbs(all[i], verbs);
		printf("\t'%s ') known='", all[i]->one);
		for (size_t v = 0; v < count; v++)
			printf("%s ", verbs[v]);
		puts("';;");
		for (size_t v = 0; v < count; v++) {
			printf("\t'%s %s') known='", all[i]->one, verbs[v]);
			verb_options(all[i], verbs[v]);
			puts("';;");
		}
	}
	fputs("\tesac\n\tknown+='", stdout);
	dashed(global_options);
	puts("'\n\tcase \"$group $verb $prev\" in");
	for (size_t i = 0; i < n; i++) {
		const size_t count = resource_verbs(all[i], verbs);
		for (size_t v = 0; v < count; v++)
			verb_values(all[i], verbs[v]);
	}
	puts("\tesac");
}

static void bash(void)
{
	puts("# bash completion for postern; made by \"postern completion bash\"\n"
	     "_postern()\n{\n"
	     "\tlocal i group='' verb='' known='' cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
	     "\tCOMPREPLY=()\n"
	     "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	     "\t\tcase ${COMP_WORDS[i]} in\n"
	     "\t\t--config) ((i++));;\n"
	     "\t\t-*) ;;\n"
	     "\t\t*) if [ -z \"$group\" ]; then group=${COMP_WORDS[i]}; else verb=${COMP_WORDS[i]}; break; fi;;\n"
	     "\t\tesac\n"
	     "\tdone\n"
	     "\t[ \"$prev\" = --config ] && return");
	print_words();
	puts("\tmapfile -t COMPREPLY < <(compgen -W \"$known\" -- \"$cur\")\n"
	     "}\n"
	     "complete -o default -F _postern postern");
}

static void zsh(void)
{
	puts("#compdef postern\n"
	     "# zsh completion for postern; made by \"postern completion zsh\"\n"
	     "_postern()\n{\n"
	     "\tlocal i group='' verb='' known='' prev=${words[CURRENT-1]}\n"
	     "\tfor ((i = 2; i < CURRENT; i++)); do\n"
	     "\t\tcase ${words[i]} in\n"
	     "\t\t--config) ((i++));;\n"
	     "\t\t-*) ;;\n"
	     "\t\t*) if [[ -z $group ]]; then group=${words[i]}; else verb=${words[i]}; break; fi;;\n"
	     "\t\tesac\n"
	     "\tdone\n"
	     "\tif [[ $prev == --config ]]; then _files; return; fi");
	print_words();
	puts("\tcompadd -- ${=known} || _files\n"
	     "}\n"
	     "_postern \"$@\"");
}

static int run(struct cli *cli, int argc, char **argv)
{
	static const struct { const char *name; void (*print)(void); } shells[] = { { "bash", bash }, { "zsh", zsh } };
	const char *values[1], *words[1];
	size_t n;
	const int rc = option_parse(NULL, argc, argv, values, words, &n, 1, "completion");

	(void)cli;
	if (rc)
		return rc;
	for (size_t i = 0; n && i < sizeof shells / sizeof *shells; i++)
		if (!strcmp(words[0], shells[i].name)) {
			shells[i].print();
			return CLI_OK;
		}
	return cli_error(CLI_USAGE, "for which shell? There are: bash, zsh\nTry: postern completion --help");
}

const struct command command_completion = {
	"completion", run, "completion bash|zsh", "Print completion for a shell", NULL, NULL,
	"completion bash > /etc/bash_completion.d/postern\n"
	"completion zsh > /usr/local/share/zsh/site-functions/_postern\n"
};
