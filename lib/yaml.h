/*
 * yaml.h: JSON as YAML 1.2 in block style, for people. Every value keeps its type in a reader of any YAML version.
 */
#ifndef POSTERN_YAML_H
#define POSTERN_YAML_H
#include <stdbool.h>

#include "buf.h"

/* Append `json` as YAML. False when it is not valid JSON or memory ran out. */
bool yaml_from_json(struct buf *, const char *json);
#endif
