/*
 * suffix.h: public suffixes, under which names are registered (publicsuffix.org): nobody's own.
 */
#ifndef POSTERN_SUFFIX_H
#define POSTERN_SUFFIX_H

enum suffix {
	SUFFIX_NONE = 0,  /* an ordinary name */
	SUFFIX_PRIVATE,   /* a company's, such as github.io */
	SUFFIX_REGISTRY,  /* a registry's, such as co.uk */
	SUFFIX_UNKNOWN    /* the list cannot be read */
};

/* Which kind of suffix this name itself is: an A-label in lower case of two labels or more, as input has it. `list`: the path of
 * the list, as text or compiled (DAFSA); it is read each time, so that a new one counts at once. */
enum suffix suffix_of(const char *list, const char *name);
#endif
