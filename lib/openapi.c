/* openapi.c: see openapi.h. */
#include "openapi.h"

#include <pthread.h>
#include <stdlib.h>

#include "openapi_private.h"
#include "yaml.h"

#ifndef POSTERN_VERSION
#define POSTERN_VERSION "0.1.0"
#endif

enum { DOCUMENT_MAX = 8 << 20 };

static int by_name(const void *a, const void *b)
{
	return strcmp((*(const struct resource *const *)a)->name, (*(const struct resource *const *)b)->name);
}

static void gather(struct tables *t)
{
	t->count = 0;
	for (const struct resource *const *r = __start_postern_resources;
	     r < __stop_postern_resources && t->count < RESOURCES_MAX; r++)
		t->item[t->count++] = *r;
	qsort(t->item, t->count, sizeof *t->item, by_name);
}

static const char about[] =
	"Automation of a hosting server: scoped tokens, exact rate limits, an audit trail of every request.\n\n"
	"**Two dialects.** Below `/api/v1` every answer is an envelope (`success`, `message`, `data`, `timestamp`, "
		"`request_id`); below "
	"`/api` an object is answered as it is and a list as `data` with its page beside it. Either answers errors as "
		"RFC 9457 where "
	"`Accept` asks for `application/problem+json`. This description is about one of them: "
		"`/api/openapi.json?dialect=envelope`, which is the default, or `?dialect=plain`; `version=3.0` gives it for "
		"tools that read no OpenAPI 3.1.\n\n"
	"**Every answer** has `X-Request-Id` and `Cache-Control`, and once the token is recognised the headers of its "
		"rate limit and `X-Accepted-Scopes`.\n\n"
	"**Other spellings.** Each path also answers with `.php` after the resource's name, with `.php?id=` in place of "
		"the id, below "
	"`/api/v1/admin` (for administrators' tokens only) and under a resource's other name. `x-spellings` lists them "
		"all; they take "
	"and answer the same.\n\n"
	"**Every path** takes HEAD where it takes GET, and answers OPTIONS with 204 and `Allow`, without a token. A "
		"method that it does "
	"not take is a 405 with `Allow`; a path that is not described here is a 404. Unknown parameters are a 400, "
		"unknown fields a 422; "
	"both name the nearest known name.\n\n"
	"**Tokens** are sent as `Authorization: Bearer …`, or as `X-API-Key: …` where a server withholds Authorization; "
		"never in a URL. "
	"Each operation names the scope that it needs (`x-required-scope`).\n\n"
	"**Writes** take `dry_run=true` (check everything, change nothing) and `Idempotency-Key` (never twice). "
		"`If-Match` with an `ETag` "
	"guards a change against another's.\n\n"
	"**Lists** have pages of up to 100, `sort`, `order`, `search`, a filter for each field that has one "
		"(`status=active,suspended`: "
	"any of these) and a cursor that neither skips nor repeats rows while others are added.";

static void write_document(struct buf *b, const struct tables *tables, enum shape shape)
{
	buf_char(b, '{');
	text(b, "openapi", "3.1.0");
	begin(b, "info");
	text(b, "title", "Postern");
	text(b, "version", POSTERN_VERSION);
	text(b, "summary", "Automation API with scoped tokens");
	text(b, "description", about);
	literal(b, "'license':{'name':'ISC','identifier':'ISC'}");
	end(b);
	literal(b, "'servers':[{'url':'/','description':'This server'}]");
	openapi_tags(b, tables);
	openapi_paths(b, tables, shape);
	begin(b, "components");
	literal(b, "'securitySchemes':{"
	           "'bearer':{'type':'http','scheme':'bearer','description':'A token, as it was shown when it was "
	           "created'},"
	           "'apiKey':{'type':'apiKey','in':'header','name':'X-API-Key','description':'The same token, for "
	           "servers that withhold Authorization'}}");
	begin(b, "headers");
	openapi_headers(b);
	end(b);
	begin(b, "parameters");
	openapi_parameters(b);
	end(b);
	begin(b, "responses");
	openapi_shared_answers(b, shape);
	end(b);
	openapi_schemas(b, tables, shape);
	end(b);
	buf_char(b, '}');
}

/* ---- each edition once ---- */

enum { EDITIONS = 8 }; /* dialect, version and form */

static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;
static struct buf made[EDITIONS];

static bool make(struct buf *b, struct openapi_edition edition)
{
	struct tables tables;
	struct buf json, older;
	bool ok;

	buf_init(&json, DOCUMENT_MAX);
	buf_init(&older, DOCUMENT_MAX);
	gather(&tables);
	write_document(&json, &tables, edition.plain ? PLAIN : ENVELOPE);
	ok = !buf_failed(&json) && (!edition.v30 || openapi_to_30(&older, json.data));
	if (ok && edition.yaml)
		ok = yaml_from_json(b, (edition.v30 ? &older : &json)->data);
	else if (ok)
		buf_str(b, (edition.v30 ? &older : &json)->data);
	buf_free(&json);
	buf_free(&older);
	return ok && !buf_failed(b);
}

const char *openapi_document(struct openapi_edition edition)
{
	struct buf *b = &made[(edition.plain ? 1 : 0) + (edition.v30 ? 2 : 0) + (edition.yaml ? 4 : 0)];

	pthread_mutex_lock(&making);
	if (!b->len) {
		buf_init(b, DOCUMENT_MAX);
		if (!make(b, edition))
			buf_free(b); /* the next request tries again */
	}
	pthread_mutex_unlock(&making);
	return b->len ? b->data : NULL;
}
