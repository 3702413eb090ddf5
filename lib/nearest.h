/*
 * nearest.h: "did you mean …?" for names of settings, fields and parameters.
 */
#ifndef POSTERN_NEAREST_H
#define POSTERN_NEAREST_H
#include <stddef.h>

#define NEAREST_WORD_MAX 64 /* longer words and candidates have no neighbour */

/* The candidate closest to word, case aside, counting inserted, dropped, changed and swapped letters: at most
 * max(2, strlen(word) / 3) of them and fewer than word has letters. NULL when there is none; the first of equals. */
const char *nearest(const char *word, const char *const *candidates, size_t n);

/* The same, for fields and parameters, whose common other words are known: "limit" means per_page, "email" address. They come first. */
const char *intended(const char *word, const char *const *candidates, size_t n);
#endif
