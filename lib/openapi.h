/*
 * openapi.h: the description of the API (OpenAPI 3.1), made from the tables of every resource that is linked into the
 * program. Made on first use, then constant; safe to call from several threads. NULL when out of memory.
 */
#ifndef POSTERN_OPENAPI_H
#define POSTERN_OPENAPI_H

const char *openapi_json(void);
const char *openapi_yaml(void); /* the same document in block style */
#endif
