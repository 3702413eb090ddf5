/*
 * row.h: rows of a resource's view, as PostgreSQL sends them in binary (an array of composites), to JSON by the field table.
 * The bytes are borrowed from the PGresult.
 */
#ifndef POSTERN_ROW_H
#define POSTERN_ROW_H
#include <libpq-fe.h>
#include <stdint.h>

#include "api.h"
#include "arena.h"
#include "buf.h"

#define ROWS_MAX 101 /* a page of 100 and the one that tells whether more follow */

struct row { const unsigned char *data; size_t len; };
struct rows { size_t count; struct row item[ROWS_MAX]; };

/* Split an array column. False when the bytes are not what the table promises. */
bool rows_read(const PGresult *, int row, int col, struct rows *);

/* {"id":31,…} by the field table, without the closing brace, so that members can be added. False as above. */
bool row_json_open(struct buf *, const struct field *, const struct row *);

/* The same as a line of CSV, without its end (export.h says how). */
bool row_csv(struct buf *, const struct field *, const struct row *);

/* Text of one field's value in the arena (as in JSON, without quotes); NULL when null or unknown. */
const char *row_value(struct arena *, const struct field *, const struct row *, const char *name);
/* The object's version; 0 when unreadable. */
int64_t row_version(const struct field *, const struct row *);
#endif
