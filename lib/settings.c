/* settings.c: see settings.h. */
#include "settings.h"

#include <json-c/json.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "log.h"

struct settings {
	pthread_mutex_t lock;
	const struct config *base;
	struct held *_Atomic newest; /* has a use of its own */
};

static struct held *made(const struct config *base, int number)
{
	struct held *held = calloc(1, sizeof *held);

	if (held && !config_copy(&held->config, base)) {
		free(held);
		return NULL;
	}
	if (held) {
		held->number = number;
		held->users = 1;
	}
	return held;
}

struct settings *settings_new(const struct config *base)
{
	struct settings *s = calloc(1, sizeof *s);
	struct held *held = s ? made(base, 0) : NULL;

	if (!held) {
		free(s);
		return NULL;
	}
	s->base = base;
	atomic_init(&s->newest, held);
	pthread_mutex_init(&s->lock, NULL);
	return s;
}

static void drop(struct held *held)
{
	if (held && --held->users == 0) {
		config_free(&held->config);
		free(held);
	}
}

void settings_free(struct settings *s)
{
	if (!s)
		return;
	drop(atomic_load(&s->newest));
	pthread_mutex_destroy(&s->lock);
	free(s);
}

struct held *settings_hold(struct settings *s)
{
	struct held *held;

	pthread_mutex_lock(&s->lock);
	held = atomic_load(&s->newest);
	held->users++;
	pthread_mutex_unlock(&s->lock);
	return held;
}

void settings_release(struct settings *s, struct held *held)
{
	pthread_mutex_lock(&s->lock);
	drop(held);
	pthread_mutex_unlock(&s->lock);
}

bool settings_is_newest(const struct settings *s, const struct held *held)
{
	return atomic_load(&s->newest) == held;
}

int settings_number(struct settings *s)
{
	int number;

	pthread_mutex_lock(&s->lock);
	number = atomic_load(&s->newest)->number;
	pthread_mutex_unlock(&s->lock);
	return number;
}

bool settings_take(struct settings *s, int number, const char *text)
{
	struct held *held = made(s->base, number);
	struct json_object *all;
	const char *why;
	size_t at;

	if (!held)
		return false;
	all = text ? json_parse(text, strlen(text), &why, &at) : NULL;
	if (json_object_is_type(all, json_type_object)) {
		json_object_object_foreach(all, name, value)
			if (!value || !config_lay(&held->config, name, json_object_get_string(value)))
				log_event("warn", "setting_left_out", "name", name, "message", "the database holds a value that does not fit this program", NULL);
	}
	json_object_put(all);
	pthread_mutex_lock(&s->lock);
	drop(atomic_exchange(&s->newest, held));
	pthread_mutex_unlock(&s->lock);
	return true;
}
