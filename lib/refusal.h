/*
 * refusal.h: why the gate refused, in words: one table from the reasons of gate.judge (sql/functions/10_gate.sql) to what the
 * caller is told and can do about it.
 */
#ifndef POSTERN_REFUSAL_H
#define POSTERN_REFUSAL_H
#include "request.h"

/* Replace r->failure by this refusal. An unknown reason is a plain 403: zero is never yes. */
void refusal_set(struct request *r, const char *reason);
#endif
