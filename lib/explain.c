/* explain.c: see explain.h. */
#include "explain.h"

#include <string.h>

#include "http.h"
#include "json.h"
#include "refusal.h"
#include "resource.h"

static const char *text_of(struct json_object *object, const char *name)
{
	struct json_object *value;

	return json_object_object_get_ex(object, name, &value) ? json_object_get_string(value) : NULL;
}

/* The request that is asked about, as a web server would hand it over, and its route or what is wrong with its address. */
static bool imagine(struct request *r, struct request *asked)
{
	struct arena *a = r->arena;
	const char *path = text_of(r->body, "path"), *ip = text_of(r->body, "ip"), *mark = strchr(path, '?');
	struct json_object *https;
	bool plain = json_object_object_get_ex(r->body, "https", &https) && !json_object_get_boolean(https);
	char *environment[] = {
		arena_printf(a, "REQUEST_METHOD=%s", text_of(r->body, "method")), arena_printf(a, "REQUEST_URI=%s", path),
		arena_printf(a, "QUERY_STRING=%s", mark ? mark + 1 : ""), arena_printf(a, "REMOTE_ADDR=%s", ip ? ip : r->address),
		arena_printf(a, "HTTPS=%s", plain ? "off" : "on"), NULL
	};

	*asked = (struct request){ .arena = a, .config = r->config, .peppers = r->peppers };
	for (size_t i = 0; i + 1 < sizeof environment / sizeof *environment; i++)
		if (!environment[i])
			return false;
	http_read_environment(asked, environment);
	for (const struct resource *const *each = __start_postern_resources; each < __stop_postern_resources; each++) {
		asked->failure = (struct failure){ .set = false };
		asked->resource = *each;
		if (resource_address(asked) || asked->failure.code != ERR_NOT_FOUND)
			break;
	}
	return true;
}

int explain_prepare(struct request *r, struct json_object *body)
{
	struct request asked;

	if (*text_of(body, "path") != '/')
		return request_fail(r, ERR_VALIDATION, "path", "must begin with / as in /api/v1/domains: without scheme and host");
	if (!imagine(r, &asked))
		return request_fail(r, ERR_INTERNAL, NULL, "out of memory");
	if (*asked.address)
		json_object_object_add(body, "_ip", json_object_new_string(asked.address));
	if (!asked.route)
		return 0;
	json_object_object_add(body, "_operation", json_object_new_string(asked.route->operation_id));
	json_object_object_add(body, "_admin", json_object_new_boolean(asked.admin_path));
	json_object_object_add(body, "_insecure", json_object_new_boolean(asked.insecure && asked.config->require_https));
	json_object_object_add(body, "_open", json_object_new_boolean(resource_is_open(&asked)));
	return 0;
}

/* Scopes as "a, b", as gate.c has them for a refused request. */
static const char *joined(struct arena *arena, struct json_object *list)
{
	const char *text = "";

	for (size_t i = 0; text && i < json_object_array_length(list); i++)
		text = arena_printf(arena, "%s%s%s", text, i ? ", " : "", json_object_get_string(json_object_array_get_idx(list, i)));
	return text;
}

/* What the path takes instead of that method. */
static const char *taken(const struct request *asked)
{
	struct buf list;
	const char *text;

	buf_init(&list, 200);
	reply_methods(asked, &list);
	text = buf_failed(&list) ? NULL : arena_printf(asked->arena, "the path takes %s", list.data);
	buf_free(&list);
	return text;
}

static void put(struct json_object *object, const char *name, const char *text)
{
	json_object_object_add(object, name, text ? json_object_new_string(text) : NULL);
}

int explain_tell(struct request *r, struct json_object *document)
{
	static const char *const roles[] = { [ROLE_NONE] = NULL, [VIEWER] = "viewer", [CUSTOMER] = "customer", [ADMIN] = "admin" };
	const char *reason = text_of(document, "reason"), *check = NULL;
	const struct error_info *info;
	struct request asked;

	if (!imagine(r, &asked))
		return -1;
	if (asked.failure.set) {
		check = asked.allowed ? "method" : "route";
		if (asked.allowed)
			asked.failure.details = taken(&asked);
	}
	if (reason && strcmp(reason, "open") != 0) {
		asked.caller.held = joined(r->arena, json_object_object_get(document, "held"));
		refusal_set(&asked, reason);
		check = refusal_check(reason);
	}
	info = asked.failure.set ? error_info(asked.failure.code) : NULL;
	json_object_object_add(document, "allowed", json_object_new_boolean(!info));
	json_object_object_add(document, "status", json_object_new_int(info ? info->status : 200));
	put(document, "code", info ? info->code : NULL);
	put(document, "check", check);
	put(document, "message", !info ? (reason ? "it is not let in, and answered as one without a token is" : "the gate lets it in") : asked.failure.message ? asked.failure.message : info->title);
	put(document, "details", info && !asked.failure.details ? info->remedy : asked.failure.details);
	put(document, "method", asked.method_name);
	put(document, "path", asked.uri);
	put(document, "ip", *asked.address ? asked.address : NULL);
	put(document, "operation", asked.route ? asked.route->operation_id : NULL);
	put(document, "needed", refusal_needed(&asked));
	put(document, "role", asked.route ? roles[asked.route->role] : NULL);
	return 0;
}
