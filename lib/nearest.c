/* nearest.c: optimal string alignment distance over three rows. */
#include "nearest.h"

#include <ctype.h>
#include <string.h>

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static int lower(char c)
{
	return tolower((unsigned char)c);
}

static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t rows[3][NEAREST_WORD_MAX + 1];
	size_t *before = rows[0], *last = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b_len; j++)
		last[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			int ca = lower(a[i - 1]), cb = lower(b[j - 1]);
			row[j] = smaller(smaller(last[j], row[j - 1]) + 1, last[j - 1] + (ca != cb));
			if (i > 1 && j > 1 && ca == lower(b[j - 2]) && lower(a[i - 2]) == cb)
				row[j] = smaller(row[j], before[j - 2] + 1);
		}
		size_t *spare = before;
		before = last;
		last = row;
		row = spare;
	}
	return last[b_len];
}

const char *nearest(const char *word, const char *const *candidates, size_t n)
{
	size_t len = strlen(word);
	if (!len || len > NEAREST_WORD_MAX)
		return NULL;
	size_t limit = smaller(len / 3 > 2 ? len / 3 : 2, len - 1);

	const char *best = NULL;
	for (size_t i = 0; i < n; i++) {
		size_t candidate_len = strlen(candidates[i]);
		if (candidate_len > NEAREST_WORD_MAX)
			continue;
		size_t d = distance(word, len, candidates[i], candidate_len);
		if (d <= limit) {
			best = candidates[i];
			if (!d)
				break;
			limit = d - 1;
		}
	}
	return best;
}
