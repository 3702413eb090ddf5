/*
 * refusal.h: why the gate refused, in words: one table from the reasons of gate.judge (sql/functions/10_gate.sql) to what the
 * caller is told and can do about it.
 */
#ifndef POSTERN_REFUSAL_H
#define POSTERN_REFUSAL_H
#include "request.h"

/* The scope that the request's route takes: for X-Accepted-Scopes, for what a refusal says, and for who asks before. */
const char *refusal_needed(const struct request *r);

/* What to do where a request is let in, and something that it asks for is refused. */
extern const char refusal_in_part[];

/* Which check a reason stands for; "scope" for an unknown one. */
const char *refusal_check(const char *reason);

/* Replace r->failure by this refusal. An unknown reason is a plain 403: zero is never yes. */
void refusal_set(struct request *r, const char *reason);
#endif
