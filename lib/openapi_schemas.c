/* openapi_schemas.c: the objects that requests hold and answers show, from the tables of fields. */
#include "openapi_private.h"

#include <stdio.h>

/* The words of a value's type, without braces. `input`: as it may be sent. */
void openapi_type_words(struct buf *b, const struct field *f, bool input)
{
	bool null = f->flags & F_NULLABLE || (!input && f->flags & F_MAYBE_NULL);
	const char *type = "string";

	if (f->type == F_ENUM && null) { /* null is a type, and no word of the list */
		struct field one = *f;

		one.flags = 0;
		literal(b, "'anyOf':[{");
		openapi_type_words(b, &one, input);
		literal(b, "},{'type':'null'}]");
		return;
	}
	switch (f->type) {
	case F_INT: type = "integer"; break;
	case F_BOOL: type = "boolean"; break;
	case F_CIDR_LIST: case F_SCOPE_LIST: case F_UUID_LIST: case F_EMAIL_LIST: case F_HOSTNAME_LIST: case F_PORT_LIST: type = "array"; break;
	case F_JSON: return;
	default: break;
	}
	if (null || f->type == F_OBJECT_ID) {
		begin_list(b, "type");
		item(b, type);
		if (f->type == F_OBJECT_ID)
			item(b, "integer");
		if (null)
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
	case F_TEXT:
		if (input && f->min > 0)
			number(b, "minLength", f->min);
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
const char *openapi_typical(const struct field *f)
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
	const char *example = f->example ? f->example : openapi_typical(f);

	begin(b, f->name);
	openapi_type_words(b, f, input);
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
		openapi_type_words(b, f, input);
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
		literal(b, "'dry_run':{'type':'boolean','const':true,'description':'Everything was checked, nothing was changed'}");
	end(b);
}

bool openapi_has_required(const struct field *fields, unsigned flag)
{
	for (const struct field *f = fields; f->name; f++)
		if (f->flags & flag && f->flags & F_REQUIRED)
			return true;
	return false;
}

/* Which fields a route's body may have. */
unsigned openapi_input_flag(const struct route *t)
{
	return t->input ? F_INPUT : t->does == DO_CREATE ? F_CREATE : F_CHANGE;
}

/* A body. `flag`: which fields it may have; `required`: those marked so must be there. */
static void input_words(struct buf *b, const struct field *fields, unsigned flag, bool required)
{
	text(b, "type", "object");
	literal(b, "'additionalProperties':false");
	if (required && openapi_has_required(fields, flag)) {
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
const char *openapi_input_name(const struct resource *resource, const struct route *t, char out[NAME_MAX_BYTES])
{
	if (t->method == M_GET)
		return NULL;
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

	if (!openapi_input_name(resource, t, name))
		return;
	begin(b, name);
	input_words(b, t->input ? t->input : resource->fields, openapi_input_flag(t), t->does != DO_PATCH);
	end(b);
}

/* The object as a change or its dry run answers it: the plain dialect has no other place for dry_run. */
static const char *changed(const struct resource *resource, enum shape shape, char out[NAME_MAX_BYTES])
{
	char word[NAME_MAX_BYTES];

	snprintf(word, sizeof word, "%s%s", shape == PLAIN ? "changed-" : "", resource->one);
	return component(word, "", out);
}

/* What a dry run of a deletion lists: sql/functions/13_loss.sql. */
#define THINGS "'items':{'type':'object','required':['resource','name'],'properties':{'resource':{'type':'string'},'id':{'type':'string'}," \
	"'name':{'type':'string'},'size_bytes':{'type':'integer','description':'Where it is known'}}}"

static bool confirmed(const struct route *t)
{
	for (const struct field *f = t->input; f && f->name; f++)
		if (strcmp(f->name, "confirm") == 0)
			return true;
	return false;
}

/* The data of a route's good answer. */
static void answer_words(struct buf *b, const struct resource *resource, const struct route *t, enum shape shape,
                         bool dry, bool job)
{
	char name[NAME_MAX_BYTES];

	if (job) {
		reference(b, "schemas", component("job", "", name));
	} else if (t->document) {
		literal(b, "'type':'object','description':'An OpenAPI document'");
	} else if (t->output) {
		object_words(b, t->output, NULL, false, dry && shape == PLAIN);
	} else if (t->does == DO_CALL) {
		literal(b, "'type':'object'");
	} else if (t->does == DO_DELETE && dry && confirmed(t)) {
		literal(b, "'type':'object','required':['confirm','would_delete','stays'],'properties':{"
		           "'confirm':{'type':['string','null'],'description':'What confirm must say; null: it need not be given'},"
		           "'would_delete':{'type':'array','description':'All that would go'," THINGS "},"
		           "'stays':{'type':'array','description':'What would be left of it'," THINGS "}");
		if (shape == PLAIN)
			literal(b, "'dry_run':{'type':'boolean','const':true}");
		buf_char(b, '}');
	} else if (t->does == DO_DELETE) {
		changed(resource, shape, name);
		/* of a dry run: the object as a job would find it, or nothing */
		literal(b, shape == PLAIN ? "'anyOf':[{'type':'object','required':['dry_run'],'properties':{'dry_run':{'type':'boolean','const':true}}},{"
		                          : "'anyOf':[{'type':'null'},{");
		reference(b, "schemas", name);
		buf_str(b, "}]");
	} else if (t->once) {
		component(t->operation_id, dry && t->does == DO_CREATE ? "DryRun" : "Secret", name);
		reference(b, "schemas", name);
	} else {
		reference(b, "schemas", dry ? changed(resource, shape, name) : component(resource->one, "", name));
	}
}

/* Where 200 answers a dry run it answers, with Prefer: wait, a job that has ended well, too. */
void openapi_data_schema(struct buf *b, const struct resource *resource, const struct route *t, enum shape shape,
                        bool dry, bool job)
{
	const bool both = dry && !job && (t->does == DO_DELETE || t->flags & R_JOB);

	if (both)
		literal(b, "'anyOf':[{");
	answer_words(b, resource, t, shape, dry, job);
	if (both) {
		literal(b, "},{");
		answer_words(b, resource, t, shape, dry, true);
		buf_str(b, "}]");
	}
}

static const char list_members[] =
	"'total':{'type':['integer','null'],'minimum':0,'description':'How many there are; null where a cursor was given'},"
	"'page':{'type':['integer','null'],'minimum':1,'description':'null where a cursor was given'},"
	"'per_page':{'type':'integer','minimum':1,'maximum':100},"
	"'next_cursor':{'type':['string','null'],'description':'Where the list goes on; null at its end'}";

static void resource_schemas(struct buf *b, const struct resource *resource, enum shape shape)
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
	if (writes && shape == PLAIN) {
		begin(b, changed(resource, shape, name));
		text(b, "description", "The object as a plain answer to a change or its dry run");
		object_words(b, resource->fields, NULL, false, true);
		end(b);
	}
	if (lists && shape == PLAIN) {
		begin(b, component(resource->one, "List", name));
		literal(b, "'type':'object','required':['data','total','page','per_page','next_cursor'],'properties':{"
		           "'data':{'type':'array','items':{");
		reference(b, "schemas", one);
		buf_str(b, "}}");
		literal(b, list_members);
		buf_str(b, "}}");
	} else if (lists) {
		begin(b, component(resource->one, "Page", name));
		literal(b, "'type':'object','required':['resource','items','total','page','per_page','next_cursor'],"
		           "'properties':{");
		begin(b, "resource");
		text(b, "const", resource->name);
		end(b);
		literal(b, "'items':{'type':'array','items':{");
		reference(b, "schemas", one);
		buf_str(b, "}}");
		literal(b, list_members);
		buf_str(b, "}}");
	}
	for (const struct route *t = resource->routes; t->path; t++) {
		input_schema(b, resource, t);
		if (t->once) {
			begin(b, component(t->operation_id, "Secret", name));
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

/* The last word of a name is none that generators append to operations: no Body, Error, Params, Response, Result. */
static const char common_schemas[] =
	"'Nothing':{'description':'An empty object: nothing can be given here','type':'object','maxProperties':0},"
	"'Fault':{'type':'object','required':['code','message','details'],'properties':{"
		"'code':{'type':'string','enum':[@],'description':'Stable; what programs decide by'},"
		"'message':{'type':'string','description':'What is wrong, for people'},"
		"'details':{'type':'string','description':'What to do about it'},"
		"'fields':{'type':'object','additionalProperties':{'type':'string'},"
			"'description':'Only where single fields or parameters are at fault: what is wrong with each'}}}";

/* An error in each dialect: as it is, and as RFC 9457. */
static const char *const failures[] = {
[ENVELOPE] =
	"'Failure':{'description':'An error as envelope','type':'object','required':['success','message','error',"
		"'timestamp','request_id'],'properties':{"
		"'success':{'type':'boolean','const':false},'message':{'type':'string'},'error':{'$ref':'#/components/schemas/Fault'},"
		"'timestamp':{'type':'string','format':'date-time'},'request_id':{'type':'string','format':'uuid'}}},"
	"'Problem':{'description':'An error as RFC 9457, for who accepts application/problem+json; with the members of "
		"the envelope',"
		"'type':'object','required':['type','title','status','detail','success','message','error','timestamp',"
		"'request_id'],'properties':{"
		"'type':{'type':'string','format':'uri','examples':['urn:postern:error:not_found']},'title':{'type':'string'},"
		"'status':{'type':'integer'},'detail':{'type':'string'},"
		"'success':{'type':'boolean','const':false},'message':{'type':'string'},'error':{'$ref':'#/components/schemas/Fault'},"
		"'timestamp':{'type':'string','format':'date-time'},'request_id':{'type':'string','format':'uuid'}}}",
[PLAIN] =
	"'Failure':{'type':'object','required':['error','request_id'],'properties':{"
		"'error':{'$ref':'#/components/schemas/Fault'},'request_id':{'type':'string','format':'uuid'}}},"
	"'Problem':{'description':'An error as RFC 9457, with the members of the plain dialect',"
		"'type':'object','required':['type','title','status','detail','error','request_id'],'properties':{"
		"'type':{'type':'string','format':'uri','examples':['urn:postern:error:not_found']},'title':{'type':'string'},"
		"'status':{'type':'integer'},'detail':{'type':'string'},"
		"'error':{'$ref':'#/components/schemas/Fault'},'request_id':{'type':'string','format':'uuid'}}}"
};

void openapi_schemas(struct buf *b, const struct tables *tables, enum shape shape)
{
	const char *at = strchr(common_schemas, '@');

	begin(b, "schemas");
	for (size_t i = 0; i < tables->count; i++)
		resource_schemas(b, tables->item[i], shape);
	separate(b);
	for (const char *c = common_schemas; *c; c++)
		if (c != at)
			buf_char(b, *c == '\'' ? '"' : *c);
		else
			for (int code = 0; code < ERR_COUNT; code++)
				item(b, error_info((enum error_code)code)->code);
	literal(b, failures[shape]);
	end(b);
}
