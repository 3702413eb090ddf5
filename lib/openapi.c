/* openapi.c: see openapi.h. The document is written as JSON text into a buffer; YAML is made from that. */
#include "openapi.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "buf.h"
#include "error.h"
#include "yaml.h"

#ifndef POSTERN_VERSION
#define POSTERN_VERSION "0.1.0"
#endif

enum { DOCUMENT_MAX = 8 << 20, RESOURCES_MAX = 128, NAME_MAX_BYTES = 128 };
enum shape { ENVELOPE = 0, PLAIN, SHAPES };

static const char *const methods[] = {
	[M_GET] = "get", [M_POST] = "post", [M_PUT] = "put", [M_PATCH] = "patch", [M_DELETE] = "delete"
};
static const char *const roles[] = { [VIEWER] = "viewer", [CUSTOMER] = "customer", [ADMIN] = "admin" };

/* ---- writing JSON ---- */

/* A comma where one is due: not after what opens, and not after a name. */
static void separate(struct buf *b)
{
	if (b->len && !strchr("{[:,", b->data[b->len - 1]))
		buf_char(b, ',');
}

static void key(struct buf *b, const char *name)
{
	separate(b);
	buf_json(b, name);
	buf_char(b, ':');
}

static void begin(struct buf *b, const char *name)
{
	key(b, name);
	buf_char(b, '{');
}

static void end(struct buf *b)
{
	buf_char(b, '}');
}

static void begin_list(struct buf *b, const char *name)
{
	key(b, name);
	buf_char(b, '[');
}

static void end_list(struct buf *b)
{
	buf_char(b, ']');
}

static void item(struct buf *b, const char *text)
{
	separate(b);
	buf_json(b, text);
}

static void text(struct buf *b, const char *name, const char *value)
{
	key(b, name);
	buf_json(b, value);
}

static void number(struct buf *b, const char *name, long long value)
{
	key(b, name);
	buf_int(b, value);
}

/* JSON of the source's own, with ' for ". */
static void literal(struct buf *b, const char *json)
{
	if (*json != '}')
		separate(b);
	for (; *json; json++)
		buf_char(b, *json == '\'' ? '"' : *json);
}

static void reference(struct buf *b, const char *kind, const char *prefix, const char *name)
{
	separate(b);
	buf_printf(b, "\"$ref\":\"#/components/%s/%s%s\"", kind, prefix, name);
}

static void refer(struct buf *b, const char *as, const char *kind, const char *prefix, const char *name)
{
	begin(b, as);
	reference(b, kind, prefix, name);
	end(b);
}

/* "api-keys" and "revokeTokens" as names of components: "ApiKeys", "RevokeTokens". */
static const char *component(const char *word, const char *suffix, char out[NAME_MAX_BYTES])
{
	size_t n = 0;
	bool upper = true;

	for (; *word && n + 1 < NAME_MAX_BYTES; word++) {
		if (!isalnum((unsigned char)*word)) {
			upper = true;
			continue;
		}
		out[n++] = (char)(upper ? toupper((unsigned char)*word) : *word);
		upper = false;
	}
	for (; *suffix && n + 1 < NAME_MAX_BYTES; suffix++)
		out[n++] = *suffix;
	out[n] = '\0';
	return out;
}

/* ---- the tables ---- */

struct tables {
	const struct resource *item[RESOURCES_MAX];
	size_t count;
};

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

static const struct field *field_of(const struct resource *resource, const char *name)
{
	for (const struct field *f = resource->fields; f->name; f++)
		if (name && strcmp(f->name, name) == 0)
			return f;
	return NULL;
}

static bool any_field(const struct resource *resource, unsigned flags)
{
	for (const struct field *f = resource->fields; f->name; f++)
		if (f->flags & flags)
			return true;
	return false;
}

static bool takes_id(const struct route *t)
{
	return strstr(t->path, "{id}") != NULL;
}

/* Outside the dialects: one address, one media type. */
static bool is_bare(const struct route *t)
{
	return *t->path == '.';
}

static bool is_open(const struct route *t)
{
	return t->flags & R_OPEN_TOO || strcmp(t->scope, SCOPE_OPEN) == 0;
}

/* ---- schemas ---- */

/* The words of a value's type, without braces. `input`: as it may be sent. */
static void type_words(struct buf *b, const struct field *f, bool input)
{
	bool null = f->flags & F_NULLABLE || (!input && f->flags & F_MAYBE_NULL);
	const char *type = "string";

	switch (f->type) {
	case F_INT: type = "integer"; break;
	case F_BOOL: type = "boolean"; break;
	case F_CIDR_LIST: case F_SCOPE_LIST: case F_UUID_LIST: case F_EMAIL_LIST: case F_HOSTNAME_LIST: case F_PORT_LIST: type = "array"; break;
	case F_JSON: return;
	default: break;
	}
	if (null) {
		begin_list(b, "type");
		item(b, type);
		item(b, "null");
		end_list(b);
	} else {
		text(b, "type", type);
	}
	switch (f->type) {
	case F_INT:
		text(b, "format", "int64");
		if (f->max > 0) {
			number(b, "minimum", f->min);
			number(b, "maximum", f->max);
		}
		break;
	case F_TEXT: /* the table counts bytes: no character has more than four */
		if (input && f->min > 0)
			number(b, "minLength", (f->min + 3) / 4);
		if (input)
			number(b, "maxLength", f->max > 0 ? f->max : 200);
		break;
	case F_PEM:
		text(b, "pattern", "-----BEGIN ");
		number(b, "maxLength", 65536);
		break;
	case F_ENUM:
		begin_list(b, "enum");
		for (const char *c = f->choices; *c; c += strcspn(c, " "), c += strspn(c, " ")) {
			separate(b);
			buf_json_n(b, c, strcspn(c, " "));
		}
		if (null)
			literal(b, "null");
		end_list(b);
		break;
	case F_NAME: text(b, "pattern", "^[A-Za-z0-9_-]{1,50}$"); break;
	case F_SLUG: text(b, "pattern", "^[a-z][a-z0-9_-]{0,49}$"); break;
	case F_USERNAME: text(b, "pattern", "^[a-z_][a-z0-9_-]{0,31}$"); break;
	case F_HOSTNAME: text(b, "format", input ? "idn-hostname" : "hostname"); break;
	case F_UNICODE: text(b, "format", "idn-hostname"); break;
	case F_EMAIL:
		text(b, "format", "email");
		number(b, "maxLength", 254);
		break;
	case F_MAILBOX:
		if (f->min > 0)
			text(b, "format", input ? "idn-email" : "email");
		else
			text(b, "pattern", "@");
		number(b, "maxLength", 254);
		break;
	case F_PATH:
		text(b, "pattern", "^/");
		if (input)
			number(b, "maxLength", f->max > 0 ? f->max : 200);
		break;
	case F_TIMESTAMP: text(b, "format", "date-time"); break;
	case F_DATE: text(b, "format", "date"); break;
	case F_UUID: text(b, "format", "uuid"); break;
	case F_ADDRESS: literal(b, null ? "'anyOf':[{'format':'ipv4'},{'format':'ipv6'},{'type':'null'}]"
	                                : "'anyOf':[{'format':'ipv4'},{'format':'ipv6'}]"); break;
	case F_CIDR_LIST: case F_SCOPE_LIST: case F_UUID_LIST: case F_EMAIL_LIST: case F_HOSTNAME_LIST: case F_PORT_LIST:
		literal(b, f->type == F_UUID_LIST ? "'items':{'type':'string','format':'uuid'}"
		           : f->type == F_EMAIL_LIST ? (input ? "'items':{'type':'string','format':'idn-email'}"
		                                              : "'items':{'type':'string','format':'email'}")
		           : f->type == F_PORT_LIST ? "'items':{'type':'integer','minimum':1,'maximum':65535}"
		           : f->type == F_HOSTNAME_LIST ? (input ? "'items':{'type':'string','format':'idn-hostname'}"
		                                                 : "'items':{'type':'string','maxLength':255}")
		           : f->type == F_SCOPE_LIST ? "'items':{'type':'string',"
		                                       "'maxLength':100}" : "'items':{'type':'string'}");
		if (input)
			number(b, "maxItems", f->max > 0 ? f->max : f->type == F_SCOPE_LIST ? 200 : 100);
		break;
	default: break;
	}
}

/* What a field looks like where its table gives no example; NULL for what has no typical value. */
static const char *typical(const struct field *f)
{
	switch (f->type) {
	case F_INT: return strcmp(f->name, "id") == 0 ? "31" : f->min > 1 ? NULL : "1";
	case F_BOOL: return "true";
	case F_NAME: return "\"ci-deploy\"";
	case F_SLUG: return "\"customer\"";
	case F_USERNAME: return "\"alice\"";
	case F_HOSTNAME: case F_UNICODE: return "\"example.org\"";
	case F_EMAIL: case F_MAILBOX: return "\"alice@example.org\"";
	case F_PATH: return "\"/home/alice\"";
	case F_TIMESTAMP: return "\"2026-06-12T00:00:00+00:00\"";
	case F_DATE: return "\"2027-01-31\"";
	case F_UUID: return "\"123e4567-e89b-42d3-a456-426614174000\"";
	case F_ADDRESS: return "\"192.0.2.10\"";
	case F_CIDR_LIST: return "[\"192.0.2.0/24\"]";
	case F_SCOPE_LIST: return "[\"domains:read\"]";
	case F_EMAIL_LIST: return "[\"alice@example.com\"]";
	case F_HOSTNAME_LIST: return "[\"www.example.org\"]";
	case F_PORT_LIST: return "[20001]";
	case F_UUID_LIST: return "[\"123e4567-e89b-42d3-a456-426614174000\"]";
	default: return NULL;
	}
}

static void property(struct buf *b, const struct field *f, bool input)
{
	const char *example = f->example ? f->example : typical(f);

	begin(b, f->name);
	type_words(b, f, input);
	text(b, "description", f->about);
	if (example) {
		begin_list(b, "examples");
		buf_str(b, example);
		end_list(b);
	}
	if (input && f->flags & F_ADMIN)
		literal(b, "'x-administrators-only':true");
	if (input && f->flags & F_SECRET)
		literal(b, "'writeOnly':true");
	end(b);
	if (input && f->spelling) {
		begin(b, f->spelling);
		type_words(b, f, input);
		buf_printf(b, ",\"description\":\"Another name of %s\",\"deprecated\":true}", f->name);
	}
}

static bool is_shown(const struct field *f)
{
	return !(f->flags & (F_WRITEONLY | F_SECRET));
}

/* An object as it is answered. `once`: the member that shows a secret, or NULL; `dry`: a dry run may have made it. */
static void object_words(struct buf *b, const struct field *fields, const char *once, bool once_required, bool dry)
{
	text(b, "type", "object");
	begin_list(b, "required");
	for (const struct field *f = fields; f->name; f++)
		if (is_shown(f))
			item(b, f->name);
	if (once && once_required)
		item(b, once);
	end_list(b);
	begin(b, "properties");
	for (const struct field *f = fields; f->name; f++)
		if (is_shown(f))
			property(b, f, false);
	if (once) {
		begin(b, once);
		literal(b, "'type':['string','null'],'description':'Shown in this answer only; null where the answer is the "
		           "replay of an "
		           "earlier one, and left out of a dry run'");
		end(b);
		buf_printf(b, ",\"%s_remedy\":{\"type\":\"string\",\"description\":\"What to do where it is null\"}", once);
	}
	if (dry)
		literal(b, "'dry_run':{'const':true,'description':'Everything was checked, nothing was changed'}");
	end(b);
}

static bool has_required(const struct field *fields, unsigned flag)
{
	for (const struct field *f = fields; f->name; f++)
		if (f->flags & flag && f->flags & F_REQUIRED)
			return true;
	return false;
}

/* Which fields a route's body may have. */
static unsigned input_flag(const struct route *t)
{
	return t->input ? F_INPUT : t->does == DO_CREATE ? F_CREATE : F_CHANGE;
}

/* A body. `flag`: which fields it may have; `required`: those marked so must be there. */
static void input_words(struct buf *b, const struct field *fields, unsigned flag, bool required)
{
	text(b, "type", "object");
	literal(b, "'additionalProperties':false");
	if (required && has_required(fields, flag)) {
		begin_list(b, "required");
		for (const struct field *f = fields; f->name; f++)
			if (f->flags & flag && f->flags & F_REQUIRED)
				item(b, f->name);
		end_list(b);
	}
	begin(b, "properties");
	for (const struct field *f = fields; f->name; f++)
		if (f->flags & flag)
			property(b, f, true);
	end(b);
}

/* The components that a route's answers and body refer to. A name depends on route and dialect only. */
static const char *input_name(const struct resource *resource, const struct route *t, char out[NAME_MAX_BYTES])
{
	if (t->input)
		return component(t->operation_id, "Input", out);
	switch (t->does) {
	case DO_CREATE: return component(resource->one, "Create", out);
	case DO_REPLACE: return component(resource->one, "Replace", out);
	case DO_PATCH: return component(resource->one, "Change", out);
	default: return NULL;
	}
}

static void input_schema(struct buf *b, const struct resource *resource, const struct route *t)
{
	char name[NAME_MAX_BYTES];
	if (!input_name(resource, t, name))
		return;
	begin(b, name);
	input_words(b, t->input ? t->input : resource->fields, input_flag(t), t->does != DO_PATCH);
	end(b);
}

/* The data of a route's good answer. */
static void data_schema(struct buf *b, const struct resource *resource, const struct route *t, enum shape shape,
                        bool dry, bool job)
{
	char name[NAME_MAX_BYTES];

	if (job) {
		reference(b, "schemas", "", component("job", "", name));
	} else if (t->document) {
		literal(b, "'type':'object','description':'An OpenAPI 3.1 document'");
	} else if (t->output) {
		object_words(b, t->output, NULL, false, dry && shape == PLAIN);
	} else if (t->does == DO_CALL) {
		literal(b, "'type':'object'");
	} else if (t->does == DO_DELETE) {
		component(resource->one, shape == PLAIN ? "Result" : "", name);
		/* of a dry run: the object as a job would find it, or nothing */
		literal(b, shape == PLAIN ? "'anyOf':[{'type':'object','required':['dry_run'],'properties':{'dry_run':{'const':true}}},{"
		                          : "'anyOf':[{'type':'null'},{");
		reference(b, "schemas", "", name);
		buf_str(b, "}]");
	} else if (t->once) {
		component(t->operation_id, dry && t->does == DO_CREATE ? "DryRun" : "Result", name);
		reference(b, "schemas", "", name);
	} else {
		reference(b, "schemas", "", component(resource->one, dry && shape == PLAIN ? "Result" : "", name));
	}
}

static const char list_members[] =
	"'total':{'type':['integer','null'],'minimum':0,'description':'How many there are; null where a cursor was given'},"
	"'page':{'type':['integer','null'],'minimum':1,'description':'null where a cursor was given'},"
	"'per_page':{'type':'integer','minimum':1,'maximum':100},"
	"'next_cursor':{'type':['string','null'],'description':'Where the list goes on; null at its end'}";

static void resource_schemas(struct buf *b, const struct resource *resource)
{
	char name[NAME_MAX_BYTES], one[NAME_MAX_BYTES];
	bool rows = false, lists = false, writes = false;

	component(resource->one, "", one);
	for (const struct route *t = resource->routes; t->path; t++) {
		if (t->does == DO_EXPORT) {
			begin(b, component(t->operation_id, "Line", name));
			text(b, "description", "A line of an export");
			object_words(b, t->output, NULL, false, false);
			end(b);
		}
		rows |= t->does != DO_CALL && !t->document && !t->output && !t->type;
		lists |= t->does == DO_LIST;
		writes |= t->does == DO_CREATE || t->does == DO_REPLACE || t->does == DO_PATCH || t->does == DO_ACTION ||
		          t->does == DO_DELETE;
	}
	if (rows) {
		begin(b, one);
		text(b, "description", resource->about);
		object_words(b, resource->fields, NULL, false, false);
		end(b);
	}
	if (writes) {
		begin(b, component(resource->one, "Result", name));
		text(b, "description", "The object as a plain answer to a change or its dry run");
		object_words(b, resource->fields, NULL, false, true);
		end(b);
	}
	if (lists) {
		begin(b, component(resource->one, "List", name));
		literal(b, "'type':'object','required':['data','total','page','per_page','next_cursor'],'properties':{"
		           "'data':{'type':'array','items':{");
		reference(b, "schemas", "", one);
		buf_str(b, "}}");
		literal(b, list_members);
		buf_str(b, "}}");
		begin(b, component(resource->one, "Page", name));
		literal(b, "'type':'object','required':['resource','items','total','page','per_page','next_cursor'],"
		           "'properties':{");
		begin(b, "resource");
		text(b, "const", resource->name);
		end(b);
		literal(b, "'items':{'type':'array','items':{");
		reference(b, "schemas", "", one);
		buf_str(b, "}}");
		literal(b, list_members);
		buf_str(b, "}}");
	}
	for (const struct route *t = resource->routes; t->path; t++) {
		input_schema(b, resource, t);
		if (t->once) {
			begin(b, component(t->operation_id, "Result", name));
			/* whoever gave the secret is not shown it */
			object_words(b, resource->fields, t->once, t->does == DO_CREATE && !field_of(resource, t->once), t->does != DO_CREATE);
			end(b);
		}
		if (t->once && t->does == DO_CREATE) {
			begin(b, component(t->operation_id, "DryRun", name));
			object_words(b, resource->fields, NULL, false, true);
			end(b);
		}
	}
}

static const char common_schemas[] =
	"'Nothing':{'description':'An empty object: nothing can be given here','type':'object','maxProperties':0},"
	"'ErrorBody':{'type':'object','required':['code','message','details'],'properties':{"
		"'code':{'type':'string','enum':[@],'description':'Stable; what programs decide by'},"
		"'message':{'type':'string','description':'What is wrong, for people'},"
		"'details':{'type':'string','description':'What to do about it'},"
		"'fields':{'type':'object','additionalProperties':{'type':'string'},"
			"'description':'Only where single fields or parameters are at fault: what is wrong with each'}},"
		"'examples':[{'code':'not_found','message':'there is no such domain','details':'Check the path and the id; "
		"list the resource to see what is there.'}]},"
	"'Error':{'description':'An error as envelope','type':'object','required':['success','message','error',"
		"'timestamp','request_id'],'properties':{"
		"'success':{'const':false},'message':{'type':'string'},'error':{'$ref':'#/components/schemas/ErrorBody'},"
		"'timestamp':{'type':'string','format':'date-time'},'request_id':{'type':'string','format':'uuid'}}},"
	"'PlainError':{'type':'object','required':['error','request_id'],'properties':{"
		"'error':{'$ref':'#/components/schemas/ErrorBody'},'request_id':{'type':'string','format':'uuid'}}},"
	"'Problem':{'description':'An error as RFC 9457, for who accepts application/problem+json; with the members of "
		"the envelope',"
		"'type':'object','required':['type','title','status','detail','success','message','error','timestamp',"
		"'request_id'],'properties':{"
		"'type':{'type':'string','format':'uri','examples':['urn:postern:error:not_found']},'title':{'type':'string'},"
		"'status':{'type':'integer'},'detail':{'type':'string'},"
		"'success':{'const':false},'message':{'type':'string'},'error':{'$ref':'#/components/schemas/ErrorBody'},"
		"'timestamp':{'type':'string','format':'date-time'},'request_id':{'type':'string','format':'uuid'}}},"
	"'PlainProblem':{'description':'An error as RFC 9457, with the members of the plain dialect',"
		"'type':'object','required':['type','title','status','detail','error','request_id'],'properties':{"
		"'type':{'type':'string','format':'uri','examples':['urn:postern:error:not_found']},'title':{'type':'string'},"
		"'status':{'type':'integer'},'detail':{'type':'string'},"
		"'error':{'$ref':'#/components/schemas/ErrorBody'},'request_id':{'type':'string','format':'uuid'}}}";

static void schemas(struct buf *b, const struct tables *tables)
{
	const char *at = strchr(common_schemas, '@');

	begin(b, "schemas");
	for (size_t i = 0; i < tables->count; i++)
		resource_schemas(b, tables->item[i]);
	separate(b);
	for (const char *c = common_schemas; *c; c++)
		if (c != at)
			buf_char(b, *c == '\'' ? '"' : *c);
		else
			for (int code = 0; code < ERR_COUNT; code++)
				item(b, error_info((enum error_code)code)->code);
	end(b);
}

/* ---- parameters ---- */

static const char common_parameters[] =
	"'page':{'name':'page','in':'query','description':'Which page, from 1; not together with cursor',"
		"'schema':{'type':'integer','minimum':1,'maximum':1000000000,'default':1}},"
	"'per_page':{'name':'per_page','in':'query','description':'Rows of a page','schema':{'type':'integer',"
		"'minimum':1,'maximum':100,'default':20}},"
	"'order':{'name':'order','in':'query','description':'Ascending or descending','schema':{'type':'string',"
		"'enum':['asc','desc']}},"
	"'search':{'name':'search','in':'query','description':'Only what contains this text; upper and lower case are "
		"the same','schema':{'type':'string','minLength':1,'maxLength':200}},"
	"'updated_since':{'name':'updated_since','in':'query','description':'Only what changed at or after this instant',"
		"'schema':{'type':'string','format':'date-time'}},"
	"'since':{'name':'since','in':'query','description':'Only what happened at or after this instant',"
		"'schema':{'type':'string','format':'date-time'}},"
	"'until':{'name':'until','in':'query','description':'Only what happened before this instant',"
		"'schema':{'type':'string','format':'date-time'}},"
	"'cursor':{'name':'cursor','in':'query','description':'Go on where an earlier list with the same filters ended: "
		"its next_cursor','schema':{'type':'string'}},"
	"'dry_run':{'name':'dry_run','in':'query','description':'Check everything, change nothing, answer 200',"
		"'schema':{'type':'boolean','default':false}},"
	"'cascade':{'name':'cascade','in':'query','description':'Delete what depends on it as well',"
		"'schema':{'type':'boolean','default':false}},"
	"'idempotency_key':{'name':'Idempotency-Key','in':'header','description':'The same key and request within 24 "
		"hours gets the first answer again and does nothing twice','schema':{'type':'string','minLength':1,"
		"'maxLength':257},'example':'8e03978e-40d5-43dd-bc93-6894a57f9324'},"
	"'prefer':{'name':'Prefer','in':'header','description':'wait=N: where a job does it, wait up to N seconds, at most 30, "
		"for its end','schema':{'type':'string'},'example':'wait=10'},"
	"'if_match':{'name':'If-Match','in':'header','description':'The ETag of the object as it was read: 412 when "
		"somebody else changed it since','schema':{'type':'string'}},"
	"'if_none_match':{'name':'If-None-Match','in':'header','description':'An ETag: 304 when the data is still the "
		"same','schema':{'type':'string'}}";

static void parameter(struct buf *b, const char *name)
{
	separate(b);
	buf_char(b, '{');
	reference(b, "parameters", "", name);
	end(b);
}

/* {id} in the path: the number or UUID of the object, or its unique name. */
static void id_parameter(struct buf *b, const struct resource *resource)
{
	const struct field *id = field_of(resource, "id"), *name = field_of(resource, resource->key);

	separate(b);
	literal(b, "{'name':'id','in':'path','required':true");
	buf_printf(b, ",\"description\":\"Which %s: "
	              "its id%s%s\"", resource->one, name ? ", or its " : "", name ? name->name : "");
	begin(b, "schema");
	if (name) {
		literal(b, "'anyOf':[{'type':'integer','minimum':1},{");
		type_words(b, name, true);
		buf_str(b, "}]");
	} else if (id) {
		type_words(b, id, true);
	} else {
		text(b, "type", "string");
	}
	end(b);
	if (id && typical(id)) {
		key(b, "example");
		buf_str(b, typical(id));
	}
	end(b);
}

/* `status=active,suspended`: any of these. */
static void filter_parameter(struct buf *b, const struct field *f)
{
	struct field one = *f;

	one.flags = 0;
	one.max = f->type == F_INT ? 0 : f->max;
	separate(b);
	buf_char(b, '{');
	text(b, "name", f->name);
	literal(b, "'in':'query'");
	text(b, "description", f->about);
	literal(b, "'style':'form','explode':false,'schema':{'type':'array','maxItems':50,'items':{");
	if (f->type == F_TEXT)
		text(b, "type", "string");
	else
		type_words(b, &one, true);
	buf_str(b, "}}");
	end(b);
}

/* What a list's rows are chosen by, besides `search`. */
static void filter_parameters(struct buf *b, const struct resource *resource)
{
	bool timed = !field_of(resource, "updated_at");

	if (timed) {
		parameter(b, "since");
		parameter(b, "until");
	} else {
		parameter(b, "updated_since");
	}
	for (const struct field *f = resource->fields; f->name; f++)
		if (f->flags & F_FILTER)
			filter_parameter(b, f);
}

static void list_parameters(struct buf *b, const struct resource *resource)
{
	if (!resource->cursor_only)
		parameter(b, "page");
	parameter(b, "per_page");
	parameter(b, "cursor");
	if (any_field(resource, F_SORT)) {
		separate(b);
		literal(b, "{'name':'sort','in':'query','description':'Sort by this field; ties are broken by id',"
		           "'schema':{'type':'string'");
		text(b, "default", resource->sort ? resource->sort : "id");
		begin_list(b, "enum");
		for (const struct field *f = resource->fields; f->name; f++)
			if (f->flags & F_SORT)
				item(b, f->name);
		end_list(b);
		buf_str(b, "}}");
		parameter(b, "order");
	}
	if (any_field(resource, F_SEARCH))
		parameter(b, "search");
	filter_parameters(b, resource);
}

/* A DELETE's input, which may come in its body or so: some clients send none with it. */
static void input_parameters(struct buf *b, const struct route *t)
{
	for (const struct field *f = t->input; f && f->name; f++) {
		separate(b);
		buf_char(b, '{');
		text(b, "name", f->name);
		text(b, "in", "query");
		text(b, "description", f->about);
		begin(b, "schema");
		type_words(b, f, true);
		end(b);
		end(b);
	}
}

static void parameters(struct buf *b, const struct resource *resource, const struct route *t)
{
	begin_list(b, "parameters");
	if (t->does == DO_LIST)
		list_parameters(b, resource);
	if (t->does == DO_EXPORT) {
		filter_parameters(b, resource);
		input_parameters(b, t);
	} else if (t->method == M_GET) {
		parameter(b, "if_none_match");
	} else {
		if (t->does == DO_DELETE)
			parameter(b, "cascade");
		if (t->does == DO_DELETE)
			input_parameters(b, t);
		parameter(b, "dry_run");
		parameter(b, "idempotency_key");
		parameter(b, "prefer");
		if (takes_id(t))
			parameter(b, "if_match");
	}
	end_list(b);
}

/* ---- answers ---- */

static const char common_headers[] =
	"'X-Request-Id':{'description':'The id of this request: yours where you sent a UUID, else a new one',"
		"'required':true,'schema':{'type':'string','format':'uuid'}},"
	"'X-RateLimit-Limit':{'description':'Requests that the bucket holds per minute','schema':{'type':'integer'}},"
	"'X-RateLimit-Remaining':{'description':'Requests left in this window','schema':{'type':'integer'}},"
	"'X-RateLimit-Reset':{'description':'When the window ends, in Unix seconds','schema':{'type':'integer'}},"
	"'RateLimit-Policy':{'description':'The bucket that decided: its name, its size, its window',"
		"'schema':{'type':'string'}},"
	"'RateLimit':{'description':'What is left of it, and for how many seconds','schema':{'type':'string'}},"
	"'X-Accepted-Scopes':{'description':'The scope that this operation needs','schema':{'type':'string'}},"
	"'ETag':{'description':'Version of the data, for If-None-Match and If-Match','schema':{'type':'string'}},"
	"'Location':{'description':'Where the new object is, in the dialect of the request','required':true,"
		"'schema':{'type':'string'}},"
	"'Link':{'description':'first, prev and next page (RFC 8288)','schema':{'type':'string'}},"
	"'Retry-After':{'description':'Seconds to wait','required':true,'schema':{'type':'integer'}},"
	"'WWW-Authenticate':{'description':'How to authenticate, and what was wrong (RFC 6750)',"
		"'schema':{'type':'string'}},"
	"'Idempotent-Replayed':{'description':'true where this is the first answer again','schema':{'type':'string'}},"
	"'Cache-Control':{'description':'private, no-cache on what was read; no-store on all else','required':true,"
		"'schema':{'type':'string'}}";

static void header(struct buf *b, const char *name)
{
	refer(b, name, "headers", "", name);
}

static void token_headers(struct buf *b)
{
	static const char *const names[] = {
		"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit-Policy", "RateLimit",
		"X-Accepted-Scopes"
	};

	header(b, "X-Request-Id");
	header(b, "Cache-Control");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		header(b, names[i]);
}

/* One shared answer for each code of the catalogue and dialect. */
static void error_responses(struct buf *b)
{
	char name[NAME_MAX_BYTES];

	for (int shape = 0; shape < SHAPES; shape++)
		for (int code = 0; code < ERR_COUNT; code++) {
			const struct error_info *info = error_info((enum error_code)code);
			const char *prefix = shape == PLAIN ? "Plain" : "";

			if (code == ERR_METHOD_NOT_ALLOWED) /* no operation's */
				continue;
			separate(b);
			buf_printf(b, "\"%s%s\":{", prefix, component(info->code, "", name));
			key(b, "description");
			buf_json(b, info->meaning);
			begin(b, "headers");
			token_headers(b);
			if (info->status == 429 || info->status == 503)
				header(b, "Retry-After");
			if (info->status == 401 || info->status == 403 || info->status == 400)
				header(b, "WWW-Authenticate");
			end(b);
			begin(b, "content");
			begin(b, "application/json");
			refer(b, "schema", "schemas", prefix, "Error");
			end(b);
			begin(b, "application/problem+json");
			refer(b, "schema", "schemas", prefix, "Problem");
			end(b);
			end(b);
			end(b);
		}
}

static void error_response(struct buf *b, enum shape shape, enum error_code code)
{
	char status[12], name[NAME_MAX_BYTES];

	snprintf(status, sizeof status, "%d", error_info(code)->status);
	refer(b, status, "responses", shape == PLAIN ? "Plain" : "", component(error_info(code)->code, "", name));
}

/* The schema of a good answer's body. */
static void answer_schema(struct buf *b, const struct resource *resource, const struct route *t, enum shape shape,
                          bool dry, bool job)
{
	char name[NAME_MAX_BYTES];

	if (t->does == DO_LIST && shape == PLAIN) {
		reference(b, "schemas", "", component(resource->one, "List", name));
	} else if (shape == PLAIN) {
		data_schema(b, resource, t, shape, dry, job);
	} else {
		literal(b, "'type':'object','required':['success','message','data','timestamp','request_id'],'properties':{"
		           "'success':{'const':true},'message':{'type':'string'},");
		begin(b, "data");
		if (t->does == DO_LIST)
			reference(b, "schemas", "", component(resource->one, "Page", name));
		else
			data_schema(b, resource, t, shape, dry, job);
		end(b);
		literal(b, "'timestamp':{'type':'string','format':'date-time'},'request_id':{'type':'string','format':'uuid'}");
		if (dry)
			literal(b, "'dry_run':{'const':true}");
		end(b);
	}
}

/* Lines, which no schema of the whole describes. */
static void export_content(struct buf *b, const struct route *t)
{
	char name[NAME_MAX_BYTES];

	begin(b, "content");
	begin(b, t->type);
	begin(b, "schema");
	text(b, "type", "string");
	text(b, "description", "A JSON object a line; the last line is {\"count\":N}, and an export without it was cut");
	text(b, "contentMediaType", t->type);
	refer(b, "contentSchema", "schemas", "", component(t->operation_id, "Line", name));
	end(b);
	end(b);
	begin(b, "text/csv");
	begin(b, "schema");
	text(b, "type", "string");
	text(b, "description", "RFC 4180: a line of names, then the rows; null is an empty cell, an empty text is \"\", and a cell that begins "
	                       "with = + - @ ' tab or CR has a ' before it. The last line is # N rows, and an export without it was cut");
	end(b);
	end(b);
	end(b);
}

/* `dry`: a dry run may be answered so. */
static void good_response(struct buf *b, const struct resource *resource, const struct route *t, enum shape shape,
                          int status, bool dry)
{
	char name[12];

	snprintf(name, sizeof name, "%d", status);
	begin(b, name);
	text(b, "description", status == 202 ? "Accepted: a job does it" : dry && (t->does == DO_CREATE || t->does == DO_DELETE || t->flags & R_CREATES)
	                       ? "A dry run: everything was checked, nothing was changed" : t->summary);
	begin(b, "headers");
	token_headers(b);
	if (status != 202 && t->does != DO_EXPORT && (t->method == M_GET || !dry || t->does != DO_DELETE))
		header(b, "ETag");
	if (status == 201 || status == 202)
		header(b, "Location");
	if (t->does == DO_LIST)
		header(b, "Link");
	if (t->method != M_GET)
		header(b, "Idempotent-Replayed");
	end(b);
	if (t->does == DO_EXPORT) {
		export_content(b, t);
	} else if (status != 204) {
		begin(b, "content");
		begin(b, t->type ? t->type : "application/json");
		begin(b, "schema");
		if (t->type && !strstr(t->type, "json")) {
			text(b, "type", "string");
		} else if (is_open(t) && !t->document) {
			literal(b, "'anyOf':[{");
			answer_schema(b, resource, t, shape, dry, status == 202);
			literal(b, "},{'type':'object','description':'Without a token','required':['status'],"
			           "'properties':{'status':{'const':'ok'}}}]");
		} else {
			answer_schema(b, resource, t, shape, dry, status == 202);
		}
		end(b);
		end(b);
		end(b);
	}
	end(b);
}

static void responses(struct buf *b, const struct resource *resource, const struct route *t, enum shape shape)
{
	bool reads = t->method == M_GET, creates = t->does == DO_CREATE || t->flags & R_CREATES;

	begin(b, "responses");
	if (creates)
		good_response(b, resource, t, shape, 201, false);
	if (t->does == DO_DELETE)
		good_response(b, resource, t, shape, 204, false);
	if (t->does == DO_DELETE || t->flags & R_JOB)
		good_response(b, resource, t, shape, 202, false);
	good_response(b, resource, t, shape, 200, !reads);
	if (reads && t->does != DO_EXPORT) {
		begin(b, "304");
		reference(b, "responses", "", "NotModified");
		end(b);
	}
	error_response(b, shape, ERR_BAD_REQUEST);
	error_response(b, shape, ERR_UNAUTHORIZED);
	error_response(b, shape, ERR_FORBIDDEN);
	if (takes_id(t))
		error_response(b, shape, ERR_NOT_FOUND);
	error_response(b, shape, ERR_NOT_ACCEPTABLE);
	if (!reads)
		error_response(b, shape, ERR_CONFLICT);
	if (!reads && takes_id(t))
		error_response(b, shape, ERR_PRECONDITION_FAILED);
	error_response(b, shape, ERR_PAYLOAD_TOO_LARGE);
	if (!reads) {
		error_response(b, shape, ERR_UNSUPPORTED_MEDIA_TYPE);
		error_response(b, shape, ERR_VALIDATION);
	}
	error_response(b, shape, ERR_RATE_LIMITED);
	error_response(b, shape, ERR_INTERNAL);
	error_response(b, shape, ERR_UNAVAILABLE);
	end(b);
}

/* ---- operations ---- */

static void security(struct buf *b, const struct route *t)
{
	static const char *const schemes[] = { "bearer", "apiKey" };

	begin_list(b, "security");
	if (is_open(t))
		literal(b, "{}");
	for (size_t i = 0; i < 2; i++) {
		separate(b);
		buf_char(b, '{');
		begin_list(b, schemes[i]);
		if (strcmp(t->scope, SCOPE_OPEN) != 0)
			item(b, t->scope);
		end_list(b);
		end(b);
	}
	end_list(b);
}

static void request_body(struct buf *b, const struct resource *resource, const struct route *t)
{
	char name[NAME_MAX_BYTES];
	const struct field *fields = t->input ? t->input : resource->fields;
	bool required = t->does != DO_PATCH && has_required(fields, input_flag(t));

	if (!input_name(resource, t, name) && (t->does == DO_ACTION || t->does == DO_CALL)) {
		literal(b, "'requestBody':{'required':false,"
		           "'content':{'application/json':{'schema':{'$ref':'#/components/schemas/Nothing'}}}}");
		return;
	}
	if (!input_name(resource, t, name))
		return;
	begin(b, "requestBody");
	key(b, "required");
	buf_str(b, required ? "true" : "false");
	begin(b, "content");
	begin(b, "application/json");
	refer(b, "schema", "schemas", "", name);
	if (required) { /* what must be there, and what the table shows by example */
		begin(b, "example");
		for (const struct field *f = fields; f->name; f++)
			if (f->flags & input_flag(t) && (f->example || (f->flags & F_REQUIRED && typical(f)))) {
				key(b, f->name);
				buf_str(b, f->example ? f->example : typical(f));
			}
		end(b);
	}
	end(b);
	end(b);
	end(b);
}

static void operation(struct buf *b, const struct resource *resource, const struct route *t, enum shape shape)
{
	static const char *const who[] = {
		[VIEWER] = "any role", [CUSTOMER] = "role customer or above", [ADMIN] = "administrators only"
	};
	bool plain = shape == PLAIN;

	begin(b, methods[t->method]);
	key(b, "operationId");
	buf_printf(b, "\"%s%s\"", t->operation_id, plain && !is_bare(t) ? "Plain" : "");
	begin_list(b, "tags");
	separate(b);
	buf_printf(b, "\"%s%s\"", resource->name, plain ? " (plain)" : "");
	end_list(b);
	text(b, "summary", t->summary);
	key(b, "description");
	buf_printf(b, "\"%s`%s`; %s.%s%s\"", is_open(t) ? "Answers without a token; with one it needs "
	                                                  "the scope " : "Needs the scope ",
	           t->scope, who[t->role],
	           t->flags & R_NO_WILD ? " No wildcard but an administrator's `*` implies the scope." : "",
	           t->bucket == RATE_ACTION ? " Counts as a heavy action." : "");
	text(b, "x-required-scope", t->scope);
	text(b, "x-least-role", roles[t->role]);
	text(b, "x-audit-action", t->audit);
	security(b, t);
	parameters(b, resource, t);
	request_body(b, resource, t);
	responses(b, resource, t, shape);
	end(b);
}

/* The other spellings of a path, which answer alike. */
static void spellings(struct buf *b, const struct resource *resource, const struct route *t, enum shape shape)
{
	const char *path = t->path;
	const char *names[] = { resource->name, resource->alias };
	const char *prefixes[2] = { shape == PLAIN ? "/api" : "/api/v1", shape == PLAIN ? NULL : "/api/v1/admin" };

	begin_list(b, "x-spellings");
	for (size_t p = 0; p < 2 && prefixes[p]; p++)
		for (size_t n = 0; n < 2 && names[n]; n++) {
			if (p || n) {
				separate(b);
				buf_printf(b, "\"%s/%s%s\"", prefixes[p], names[n], path);
			}
			separate(b);
			buf_printf(b, "\"%s/%s.php%s\"", prefixes[p], names[n], path);
			if (strcmp(path, "/{id}") == 0) {
				separate(b);
				buf_printf(b, "\"%s/%s.php?id={id}\"", prefixes[p], names[n]);
			}
		}
	if (t->flags & R_LISTED && shape == PLAIN) { /* where the web server leads to it from, too */
		separate(b);
		buf_printf(b, "\"/%s\"", resource->name);
	}
	end_list(b);
}

/* A path with all its methods, at the first route that has it. */
static void path_item(struct buf *b, const struct resource *resource, const struct route *first, enum shape shape)
{
	for (const struct route *t = resource->routes; t != first; t++)
		if (strcmp(t->path, first->path) == 0)
			return;
	separate(b);
	buf_printf(b, "\"%s/%s%s\":{", shape == PLAIN ? "/api" : "/api/v1", resource->name, first->path);
	if (!is_bare(first))
		spellings(b, resource, first, shape);
	if (takes_id(first)) {
		begin_list(b, "parameters");
		id_parameter(b, resource);
		end_list(b);
	}
	for (const struct route *t = first; t->path; t++)
		if (strcmp(t->path, first->path) == 0)
			operation(b, resource, t, shape);
	end(b);
}

static void paths(struct buf *b, const struct tables *tables)
{
	begin(b, "paths");
	for (int shape = 0; shape < SHAPES; shape++)
		for (size_t i = 0; i < tables->count; i++)
			for (const struct route *t = tables->item[i]->routes; t->path; t++)
				if (shape == PLAIN || !is_bare(t))
					path_item(b, tables->item[i], t, (enum shape)shape);
	literal(b, "'/api/docs':{'get':{'operationId':'getDocs','tags':['openapi (plain)'],'summary':'Show this "
	           "description to people',"
	           "'description':'A page that the web server gives: Swagger UI.','security':[{}],'responses':{"
	           "'200':{'description':'The page','content':{'text/html':{'schema':{'type':'string'}}}},"
	           "'404':{'description':'The page is not installed here'}}}}");
	end(b);
}

static void tags(struct buf *b, const struct tables *tables)
{
	begin_list(b, "tags");
	for (int shape = 0; shape < SHAPES; shape++)
		for (size_t i = 0; i < tables->count; i++) {
			separate(b);
			buf_char(b, '{');
			key(b, "name");
			buf_printf(b, "\"%s%s\"", tables->item[i]->name, shape == PLAIN ? " (plain)" : "");
			text(b, "description", tables->item[i]->about);
			end(b);
		}
	end_list(b);
}

static const char about[] =
	"Automation of a hosting server: scoped tokens, exact rate limits, an audit trail of every request.\n\n"
	"**Two dialects.** Below `/api/v1` every answer is an envelope (`success`, `message`, `data`, `timestamp`, "
		"`request_id`); below "
	"`/api` an object is answered as it is and a list as `data` with its page beside it. Either answers errors as "
		"RFC 9457 where "
	"`Accept` asks for `application/problem+json`.\n\n"
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

static void write_document(struct buf *b, const struct tables *tables)
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
	tags(b, tables);
	paths(b, tables);
	begin(b, "components");
	literal(b, "'securitySchemes':{"
	           "'bearer':{'type':'http','scheme':'bearer','description':'A token, as it was shown when it was "
	           "created'},"
	           "'apiKey':{'type':'apiKey','in':'header','name':'X-API-Key','description':'The same token, for "
	           "servers that withhold Authorization'}}");
	begin(b, "headers");
	literal(b, common_headers);
	end(b);
	begin(b, "parameters");
	literal(b, common_parameters);
	end(b);
	begin(b, "responses");
	literal(b, "'NotModified':{'description':'The data is what If-None-Match names'");
	begin(b, "headers");
	token_headers(b);
	header(b, "ETag");
	end(b);
	end(b);
	error_responses(b);
	end(b);
	schemas(b, tables);
	end(b);
	buf_char(b, '}');
}

/* ---- once ---- */

static pthread_once_t made = PTHREAD_ONCE_INIT;
static struct buf json, yaml;

static void make(void)
{
	struct tables tables;

	gather(&tables);
	buf_init(&json, DOCUMENT_MAX);
	buf_init(&yaml, DOCUMENT_MAX);
	write_document(&json, &tables);
	if (buf_failed(&json) || !yaml_from_json(&yaml, json.data))
		yaml.failed = true;
}

const char *openapi_json(void)
{
	pthread_once(&made, make);
	return buf_failed(&json) ? NULL : json.data;
}

const char *openapi_yaml(void)
{
	pthread_once(&made, make);
	return buf_failed(&yaml) ? NULL : yaml.data;
}
