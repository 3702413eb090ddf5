/* openapi_operations.c: addresses, parameters and operations, from the tables of routes. */
#include "openapi_private.h"

static const char *const methods[] = {
	[M_GET] = "get", [M_POST] = "post", [M_PUT] = "put", [M_PATCH] = "patch", [M_DELETE] = "delete"
};
static const char *const roles[] = { [VIEWER] = "viewer", [CUSTOMER] = "customer", [ADMIN] = "admin" };

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
	reference(b, "parameters", name);
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
		openapi_type_words(b, name, true);
		buf_str(b, "}]");
	} else if (id) {
		openapi_type_words(b, id, true);
	} else {
		text(b, "type", "string");
	}
	end(b);
	if (id && openapi_typical(id)) {
		key(b, "example");
		buf_str(b, openapi_typical(id));
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
		openapi_type_words(b, &one, true);
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
		openapi_type_words(b, f, true);
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
		input_parameters(b, t);
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
		if (strcmp(t->scope, SCOPE_NONE) != 0)
			item(b, t->scope);
		end_list(b);
		end(b);
	}
	end_list(b);
}

static const char *example_of(const struct field *f)
{
	return f->example ? f->example : openapi_typical(f);
}

/* Does it stand in the example of a body? What must be there does, and what the table shows by example. */
static bool in_example(const struct field *f, bool whole)
{
	return example_of(f) && (f->flags & F_EXAMPLE || f->example || (whole && f->flags & F_REQUIRED));
}

/* An example of a body. Where no field stands out it has the first that a caller may give. */
static void body_example(struct buf *b, const struct field *fields, unsigned flag, bool whole)
{
	bool any = false;

	begin(b, "example");
	for (const struct field *f = fields; f->name; f++)
		if (f->flags & flag && in_example(f, whole)) {
			key(b, f->name);
			buf_str(b, example_of(f));
			any = true;
		}
	for (const struct field *f = fields; f->name && !any; f++)
		if (f->flags & flag && example_of(f) && !(f->flags & F_ADMIN)) {
			key(b, f->name);
			buf_str(b, example_of(f));
			any = true;
		}
	end(b);
}

static void request_body(struct buf *b, const struct resource *resource, const struct route *t)
{
	char name[NAME_MAX_BYTES];
	const struct field *fields = t->input ? t->input : resource->fields;
	const unsigned flag = openapi_input_flag(t);
	const bool whole = t->does != DO_PATCH;

	if (!openapi_input_name(resource, t, name)) {
		if (t->does == DO_ACTION || t->does == DO_CALL)
			literal(b, "'requestBody':{'required':false,'content':{'application/json':"
			           "{'schema':{'$ref':'#/components/schemas/Nothing'},'example':{}}}}");
		return;
	}
	begin(b, "requestBody");
	key(b, "required");
	buf_str(b, whole && openapi_has_required(fields, flag) ? "true" : "false");
	begin(b, "content");
	begin(b, "application/json");
	refer(b, "schema", "schemas", name);
	body_example(b, fields, flag, whole);
	end(b);
	end(b);
	end(b);
}

static void operation(struct buf *b, const struct resource *resource, const struct route *t, enum shape shape)
{
	static const char *const who[] = {
		[VIEWER] = "any role", [CUSTOMER] = "role customer or above", [ADMIN] = "administrators only"
	};

	begin(b, methods[t->method]);
	key(b, "operationId");
	buf_json(b, t->operation_id);
	begin_list(b, "tags");
	item(b, resource->name);
	end_list(b);
	text(b, "summary", t->summary);
	key(b, "description");
	buf_char(b, '"');
	if (strcmp(t->scope, SCOPE_NONE) == 0)
		buf_str(b, "Needs no scope; any valid token");
	else
		buf_printf(b, "%s`%s`; %s", is_open(t) ? "Answers without a token, and with any; all that it tells needs the scope " : "Needs the scope ",
		           t->scope, who[t->role]);
	buf_printf(b, ".%s%s%s\"",
	           t->flags & R_NO_WILD ? " No wildcard but an administrator's `*` implies the scope." : "",
	           t->bucket == RATE_ACTION ? " Counts as a heavy action." : "",
	           t->flags & R_GRANTS ? " Not with a key that a rotation replaced." : "");
	text(b, "x-required-scope", t->scope);
	text(b, "x-least-role", roles[t->role]);
	text(b, "x-audit-action", t->audit);
	security(b, t);
	parameters(b, resource, t);
	request_body(b, resource, t);
	openapi_answers(b, resource, t, shape);
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

void openapi_paths(struct buf *b, const struct tables *tables, enum shape shape)
{
	begin(b, "paths");
	for (size_t i = 0; i < tables->count; i++)
		for (const struct route *t = tables->item[i]->routes; t->path; t++)
			if (shape == PLAIN || !is_bare(t))
				path_item(b, tables->item[i], t, shape);
	if (shape == PLAIN)
		literal(b, "'/api/docs':{'get':{'operationId':'getDocs','tags':['openapi'],'summary':'Show this "
	           "description to people',"
	           "'description':'A page that the web server gives: Swagger UI.','security':[],'responses':{"
	           "'200':{'description':'The page','content':{'text/html':{'schema':{'type':'string'}}}},"
	           "'404':{'description':'The page is not installed here'}}}}");
	end(b);
}

void openapi_tags(struct buf *b, const struct tables *tables)
{
	begin_list(b, "tags");
	for (size_t i = 0; i < tables->count; i++) {
		separate(b);
		buf_char(b, '{');
		text(b, "name", tables->item[i]->name);
		text(b, "description", tables->item[i]->about);
		end(b);
	}
	end_list(b);
}

void openapi_parameters(struct buf *b)
{
	literal(b, common_parameters);
}
