/*
 * export.h: all rows that a list's filters find, oldest first, as lines (NDJSON, CSV): read in chunks over a connection of its own
 * and written as they come, so in constant memory. No statement is open while a line waits for its reader. Neither is a row
 * skipped or repeated: each chunk begins after the last row of the one before, and all end at the time of the first.
 *   NDJSON  an object a line; where no filter leaves rows out, what the resource's function `tail` has to add, such as seals; the
 *           last is {"count":N}
 *   CSV     RFC 4180, a line of names first, "# N rows" last. Null is an empty cell, an empty text is "". A cell that begins with
 *           = + - @ ' tab or CR has a ' before it: no spreadsheet takes it for a formula, and whoever takes one off has the text
 * What lacks its last line was cut.
 */
#ifndef POSTERN_EXPORT_H
#define POSTERN_EXPORT_H
#include "request.h"

/* The `format` that was asked for. */
bool export_csv(const struct request *);

/* Write it all. False: it was cut; *why is who by, in words for the log. *rows counts what was written in either case. */
bool export_write(struct request *, const struct sink *, int64_t *rows, const char **why);
#endif
