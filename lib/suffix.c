/* suffix.c: see suffix.h. */
#include "suffix.h"

#include <libpsl.h>

enum suffix suffix_of(const char *list, const char *name)
{
	psl_ctx_t *psl = psl_load_file(list);
	enum suffix found = SUFFIX_NONE;

	if (!psl || psl_suffix_count(psl) == 0)
		found = SUFFIX_UNKNOWN;
	else if (psl_is_public_suffix2(psl, name, PSL_TYPE_ICANN | PSL_TYPE_NO_STAR_RULE))
		found = SUFFIX_REGISTRY;
	else if (psl_is_public_suffix2(psl, name, PSL_TYPE_PRIVATE | PSL_TYPE_NO_STAR_RULE))
		found = SUFFIX_PRIVATE;
	psl_free(psl);
	return found;
}
