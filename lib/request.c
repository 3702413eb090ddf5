/* request.c: what prepare functions and the rest of lib/ ask of a request. */
#include "request.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "timestamp.h"

enum { MESSAGE_MAX = 600 };

static void put_json(void *object)
{
	json_object_put(object);
}

int request_failf(struct request *r, enum error_code code, const char *field, const char *fmt, ...)
{
	struct failure *f = &r->failure;
	char text[MESSAGE_MAX];
	va_list args;

	if (f->set && f->code != code)
		return -1;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	if (!f->set) {
		f->set = true;
		f->code = code;
		f->message = field ? arena_printf(r->arena, "%.100s: %s", field, text) : arena_strdup(r->arena, text);
	}
	if (!field)
		return -1;
	if (!f->fields) {
		f->fields = json_object_new_object();
		if (!f->fields || arena_defer(r->arena, put_json, f->fields) != 0) {
			f->fields = NULL;
			return -1;
		}
	}
	if (json_object_object_length(f->fields) < 100)
		json_object_object_add(f->fields, arena_printf(r->arena, "%.100s", field), json_object_new_string(text));
	return -1;
}

int request_fail(struct request *r, int code, const char *field, const char *message)
{
	return request_failf(r, (enum error_code)code, field, "%s", message);
}

void request_given_as(struct request *r, const char *field, const char *as)
{
	for (size_t i = 0; i < sizeof r->given_as / sizeof *r->given_as; i++)
		if (!r->given_as[i].field) {
			r->given_as[i].field = field;
			r->given_as[i].as = arena_strdup(r->arena, as);
			return;
		}
}

int request_show_once(struct request *r, const char *name, const char *value)
{
	r->once_name = name;
	return (size_t)snprintf(r->once_value, sizeof r->once_value, "%s", value) < sizeof r->once_value ? 0 : -1;
}

const char *request_object(const struct request *r)
{
	return r->id;
}

const struct config *request_config(const struct request *r)
{
	return r->config;
}

const struct peppers *request_peppers(const struct request *r)
{
	return r->peppers;
}

int64_t request_elapsed_us(const struct request *r)
{
	int64_t us = timestamp_now() - r->begin_us;

	return us > 0 ? us : 0;
}
