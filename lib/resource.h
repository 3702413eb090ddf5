/*
 * resource.h: the way of a request through the tables: route, method, token, address, scope and rate limit, parameters and
 * body, data, answer. The order is the contract's; every check is made here or in what this calls, once, for all resources.
 */
#ifndef POSTERN_RESOURCE_H
#define POSTERN_RESOURCE_H
#include "address_limit.h"
#include "gate.h"
#include "reply.h"

struct service {
	const struct config *config;  /* of this program's start; requests go by their own, see settings.h */
	struct settings *settings;
	const struct resource *resource;
	struct peppers peppers;
	struct gate *gate;
	struct address_limit *limit;
};

/* Answer r (arena, config, method, path, headers, credential and body filled by http.c). Never fails: *out is an answer. */
void resource_answer(struct service *, struct request *r, struct reply *out);

/* Find r->route and r->id by r->path, r->method; fills dialect, base, allowed. False: no such path (404). */
bool resource_route(struct request *r);

/* The same, or r->failure: no such path (404), not this method (405). OPTIONS has no route, which is no failure. */
bool resource_address(struct request *r);

/* Does its route answer without a token now, so that one that is not let in is answered as nobody is? */
bool resource_is_open(const struct request *r);

/* Have the route's `tell` say the last word on the document. False: there is no answer. */
bool resource_tell(struct request *r, struct verdict *);

/* Why a read has found nothing: there is none (404), or which one is meant cannot be told (409). */
const char *resource_absence(const struct request *r, int status);

/* The status of a change that went well: of any such, and of this one. */
int resource_status(const struct route *);
int resource_success(const struct request *r);

/* Is the table complete and consistent? Every route has a scope, an audit action and what its verb needs. Writes the first
 * fault to *why. Checked at start by every program and by a test. */
bool resource_check(const struct resource *, const char **why);
#endif
