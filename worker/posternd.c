/* posternd.c: the main() of the worker; under the name of a kind, of an action. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "action.h"

static int list_kinds(void)
{
	for (const struct kind *const *k = __start_postern_kinds; k < __stop_postern_kinds; k++)
		puts((*k)->name);
	return 0;
}

int main(int argc, char **argv)
{
	const struct kind *kind = kind_find(program_invocation_short_name);

	if (kind)
		return action_main(kind);
	if (argc == 2 && strcmp(argv[1], "--kinds") == 0)
		return list_kinds();
	return 2;
}
