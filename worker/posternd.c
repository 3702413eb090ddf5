/*
 * posternd.c: the worker, the one process that changes the machine; under the name of a kind, the action of one job.
 *
 * One thread, one loop: take the jobs that are due, start their actions (task.c), pass on what they say, note how they end.
 * Whatever it knows is in PostgreSQL: killed at any point, the next one begins where the rows say. A job is at work under a
 * lease, which is renewed; while PostgreSQL is away actions run on, and what came of them is noted when it is back.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "acme.h"
#include "action.h"
#include "contain.h"
#include "cron.h"
#include "db.h"
#include "input.h"
#include "json.h"
#include "log.h"
#include "machine.h"
#include "envelope.h"
#include "sealer.h"
#include "settings.h"
#include "task.h"
#include "timestamp.h"
#include "token.h"
#include "watch.h"

enum {
	TASKS_MAX = 64, LEASE_S = 60, BEAT_S = 15, POLL_S = 2, HOUSE_S = 60, CRON_S = 2, SEQUENCE_MAX = 2000,
	SEQUENCE_SLOW_MS = 1000, SEQUENCE_FAST_MS = 100, TELL_MS = 500, PAUSE_MIN_S = 5, PAUSE_MAX_S = 3600,
	PAUSE_BLOCKED_S = 10
};
#define SECOND ((int64_t)1000000)

static const char help[] =
	"Usage: posternd [--config FILE]\n"
	"Runs the jobs that Postern's API writes down: what changes the machine. Stays in the foreground; the log goes to\n"
	"standard error. SIGTERM ends running jobs, too; they are done again at the next start.\n\n"
	"  --config FILE     settings; default $POSTERN_CONFIG, else /etc/postern/postern.conf\n"
	"  --check-config    read the settings, say what is wrong, and end\n"
	"  --kinds           the kinds of jobs whose actions come with Postern\n"
	"  --describe        what each of them does, may take, and is told\n"
	"  --cron-run RESULT COMMAND   what crontabs call: runs the command, leaves in that file how it went\n"
	"  --version, --help\n";

static const struct db_stmt take = {
	"take", "SELECT * FROM work.take($1::text, $2::int, $3::text[], $4::int, $5::text[], $6::int, $7::int)", 7, 8
};
static const struct db_stmt beat = { "beat", "SELECT * FROM work.beat($1::text, $2::text[], $3::int)", 3, 1 };
static const struct db_stmt step = { "step", "SELECT work.step($1::text, $2::text, $3::int, $4::text, $5::text)", 5, 1 };
static const struct db_stmt finish = { "finish", "SELECT work.finish($1::text, $2::text, $3::bool, $4::text, $5::text, $6::text, $7::int, $8::bool)", 8, 1 };
static const struct db_stmt recover = { "recover", "SELECT work.recover($1::text, $2::text)", 2, 1 };
static const struct db_stmt sequence = { "sequence", "SELECT work.sequence($1::int)", 1, 1 };
static const struct db_stmt house = { "house", "SELECT work.keep_house($1::int, $2::int)", 2, 1 };
static const struct db_stmt seen = { "seen", "SELECT work.seen($1::text, $2::text)", 2, 1 };
static const struct db_stmt deliver = { "deliver", "SELECT plugins.deliver($1::int)", 1, 1 };
static const struct db_stmt held = { "held", "SELECT * FROM gate.settings_held($1::int)", 1, 2 };
static const struct db_stmt settle = { "settle", "SELECT gate.settle()", 0, 1 };

struct worker {
	struct config base;         /* of file and environment */
	struct config config;       /* in force: with what the database holds */
	struct settings *settings;
	const char *config_path;
	struct arena *arena;        /* of one round of the loop */
	struct db *db, *listener;
	unsigned opened;            /* of db: its connections */
	struct sealer sealer;
	struct watch watch;
	char machine[80];           /* the host's name */
	char node[33], name[80];    /* see name_node(); "node pid random" */
	struct task tasks[TASKS_MAX];
	size_t room;                /* tasks that may run at once */
	bool ending, recovered;
	int64_t listen_us, take_us, idle_us, beat_us, house_us, cron_us, sequence_us, settle_us; /* when each is due next */
};

static bool ran_quietly(struct worker *w, const struct db_stmt *stmt, const struct db_value *values)
{
	PGresult *result = NULL;
	bool good = db_ran(w->db, stmt, values, &result, w->arena);

	PQclear(result);
	return good;
}

/* ---- the hint: NOTIFY; the tables are the truth ---- */

static void listen_for_jobs(struct worker *w, int64_t now)
{
	if (db_opened(w->db) != w->opened) { /* elsewhere, maybe: a server that hangs never hangs up */
		w->opened = db_opened(w->db);
		db_close(w->listener);
	}
	if (db_connection(w->listener) || now < w->listen_us)
		return;
	w->listen_us = now + POLL_S * SECOND;
	db_command(w->listener, "LISTEN postern_jobs");
	w->take_us = 0; /* what was asked for meanwhile */
}

static void hear_hints(struct worker *w)
{
	PGconn *c = db_connection(w->listener);
	PGnotify *hint;

	if (!c)
		return;
	if (!PQconsumeInput(c)) {
		db_close(w->listener);
		return;
	}
	while ((hint = PQnotifies(c))) {
		w->take_us = w->beat_us = 0; /* something new, or something to cancel */
		PQfreemem(hint);
	}
}

/* ---- settings ---- */

/* Before each job is taken, and each round of housekeeping: what was changed until now holds for it. */
static void heed_settings(struct worker *w)
{
	struct db_value known = db_int4(w->arena, settings_number(w->settings));
	PGresult *result = NULL;
	struct config now;
	struct held *newest;

	if (!db_ran(w->db, &held, &known, &result, w->arena))
		return;
	if (PQntuples(result) == 1 && settings_take(w->settings, db_get_int4(result, 0, 0, 0), db_get_text(result, 0, 1))) {
		newest = settings_hold(w->settings);
		if (config_copy(&now, &newest->config)) {
			config_free(&w->config);
			w->config = now;
			w->room = (size_t)now.worker_jobs;
		}
		settings_release(w->settings, newest);
		log_event("info", "settings", "message", "read from the database", NULL);
	}
	PQclear(result);
}

/* ---- jobs ---- */

static size_t running(const struct worker *w)
{
	size_t n = 0;

	for (size_t i = 0; i < TASKS_MAX; i++)
		n += w->tasks[i].kind != NULL;
	return n;
}

/* What the job says of the object, by the kind's fields and nothing else; NULL with *why. The worker trusts nothing in a row. */
static struct json_object *checked(struct worker *w, const struct kind *kind, const char *text, const char **why)
{
	struct json_object *given, *out = json_object_new_object();
	size_t at;

	given = json_parse(text, strlen(text), why, &at);
	if (!given || !json_object_is_type(given, json_type_object)) {
		*why = "its data are no object";
		goto bad;
	}
	for (const struct field *f = kind->fields; f->name; f++) {
		struct json_object *value = NULL, *copy;

		if (!json_object_object_get_ex(given, f->name, &value) || (!value && !(f->flags & F_REQUIRED))) {
			if (f->flags & F_REQUIRED) {
				*why = arena_printf(w->arena, "its data lack \"%s\"", f->name);
				goto bad;
			}
			continue;
		}
		*why = NULL;
		copy = f->type == F_JSON ? json_object_get(value) : input_value(w->arena, f, value, why);
		if (*why) {
			*why = arena_printf(w->arena, "its %s %s", f->name, *why);
			goto bad;
		}
		json_object_object_add(out, f->name, copy);
	}
	json_object_put(given);
	return out;
bad:
	json_object_put(given);
	json_object_put(out);
	return NULL;
}

/* Pauses grow from attempt to attempt, with a spread, so that what failed together does not come back together. */
static int pause_s(int attempt)
{
	int64_t s = PAUSE_MIN_S;
	unsigned char spread = 0;

	for (int i = 1; i < attempt && s < PAUSE_MAX_S; i++)
		s *= 3;
	if (s > PAUSE_MAX_S)
		s = PAUSE_MAX_S;
	if (getrandom(&spread, sizeof spread, GRND_NONBLOCK) < 0)
		spread = 128;
	return (int)(s / 2 + s * spread / 255);
}

/* Note how an attempt ended. False: PostgreSQL is away; it is to be noted later. */
static bool noted(struct worker *w, const struct task *t, bool good, const char *why, bool again, bool blocked)
{
	struct db_value values[] = {
		db_text(w->name), db_text(t->job), db_bool(w->arena, good), db_text(good ? NULL : why),
		db_text(t->result ? json_object_to_json_string_ext(t->result, JSON_C_TO_STRING_PLAIN) : NULL),
		db_text(t->log.len ? t->log.data : NULL), { NULL, 0 }, db_bool(w->arena, blocked)
	};
	PGresult *result = NULL;
	struct db_error error;
	enum db_status status;

	if (blocked)
		values[6] = db_int4(w->arena, PAUSE_BLOCKED_S);
	else if (again && t->attempt < t->kind->attempts)
		values[6] = db_int4(w->arena, pause_s(t->attempt));
	status = db_run(w->db, &finish, values, &result, w->arena, &error);
	PQclear(result);
	if (status == DB_GONE || (status == DB_ERROR && (db_is_conflict(&error) || db_is_stale(&error)))) {
		if (status == DB_ERROR)
			db_close(w->db);
		return false;
	}
	if (status == DB_ERROR)
		log_event("error", "job_not_noted", "job", t->job, "message", error.message, NULL);
	log_event(good ? "info" : "warn", good ? "job_succeeded" : values[6].data ? "job_again" : "job_failed", "job", t->job,
	          "kind", t->kind->name, "error", good ? NULL : why, NULL);
	return true;
}

/* The job's secret, an object as JSON text: who asked for the job has encrypted it to our key. NULL with *why. */
static char *opened(struct worker *w, const void *sealed, size_t len, const char **why)
{
	char *text = envelope_open(w->arena, arena_printf(w->arena, "%s/key", w->config.worker_dir), sealed, len, why);
	struct json_object *secret = NULL;
	size_t at;

	if (!text)
		return NULL;
	secret = json_parse(text, strlen(text), why, &at);
	if (!json_object_is_type(secret, json_type_object)) {
		*why = "its secret is no object";
		token_wipe(text, strlen(text));
		text = NULL;
	}
	json_object_put(secret);
	return text;
}

/* What the action of a plugin is told of it: its settings, with the secret ones. NULL with *why. */
static const char *of_plugin(struct worker *w, struct task *t, const char *kind, const char *told, const void *sealed, size_t len, const char **why)
{
	static const struct field fields[] = { { "input", F_JSON, 0, "What was asked for" }, { "event", F_JSON, 0, "What has happened" }, { 0 } };
	static const struct field slug = { "name", F_SLUG, 0, "" };
	struct json_object *plugin, *settings = NULL, *name, *limit, *attempts, *secrets;
	char *secret = NULL;
	const char *text = NULL;
	size_t at;

	*why = "what is told of its plugin is no object";
	plugin = json_parse(told, strlen(told), why, &at);
	if (!json_object_object_get_ex(plugin, "settings", &settings) || !json_object_is_type(settings, json_type_object) ||
	    !json_object_object_get_ex(plugin, "name", &name) || !json_object_object_get_ex(plugin, "limit_s", &limit) ||
	    !json_object_object_get_ex(plugin, "attempts", &attempts))
		goto end;
	json_object_put(input_value(w->arena, &slug, name, why)); /* it becomes part of a path */
	if (*why || (sealed && !(secret = opened(w, sealed, len, why))))
		goto end;
	snprintf(t->plugin, sizeof t->plugin, "%s", json_object_get_string(name));
	if (!t->kind) {
		snprintf(t->kind_name, sizeof t->kind_name, "%s", kind);
		t->own = (struct kind){ t->kind_name, "", json_object_get_int(limit), json_object_get_int(attempts), fields, NULL };
		t->kind = &t->own;
	}
	json_object_object_del(plugin, "limit_s");
	json_object_object_del(plugin, "attempts");
	secrets = secret ? json_parse(secret, strlen(secret), why, &at) : NULL;
	if (secrets) {
		json_object_object_foreach(secrets, key, value)
			json_object_object_add(settings, key, json_object_get(value));
	}
	text = arena_strdup(w->arena, json_object_to_json_string_ext(plugin, JSON_C_TO_STRING_PLAIN));
	json_object_put(secrets);
end:
	if (secret)
		token_wipe(secret, strlen(secret));
	json_object_put(plugin);
	return text;
}

/* A secret of the job and one of its plugin, each NULL where there is none. */
struct sealed { const void *data; size_t len; };

static void begin(struct worker *w, const char *job, int64_t account, const char *name, int attempt, const char *data, struct sealed sealed, const char *told, struct sealed of_it)
{
	static const struct kind none = { "plugin", "", 60, 1, NULL, NULL };
	struct task *t = NULL;
	struct json_object *fine = NULL;
	const char *why = NULL, *plugin = NULL;
	char *secret = NULL;
	bool again = false, started = false;

	for (size_t i = 0; i < TASKS_MAX && !t; i++)
		if (!w->tasks[i].kind)
			t = &w->tasks[i];
	if (!t)
		return; /* its lease runs out */
	*t = (struct task){ .kind = kind_find(name), .account = account, .attempt = attempt, .out = -1, .err = -1, .lock = -1 };
	snprintf(t->job, sizeof t->job, "%s", job);
	if (told)
		plugin = of_plugin(w, t, name, told, of_it.data, of_it.len, &why);
	if (t->kind && (plugin || !told))
		fine = checked(w, t->kind, data, &why);
	if (fine && sealed.data)
		secret = opened(w, sealed.data, sealed.len, &why);
	if (fine && (secret || !sealed.data))
		started = task_start(t, &w->config, w->config_path, json_object_to_json_string_ext(fine, JSON_C_TO_STRING_PLAIN), secret, plugin, &why, &again);
	json_object_put(fine);
	if (secret)
		token_wipe(secret, strlen(secret));
	if (plugin)
		token_wipe((char *)plugin, strlen(plugin));
	if (started) {
		log_event("info", "job_started", "job", job, "kind", t->kind->name, NULL);
		return;
	}
	t->kind = t->kind ? t->kind : &none;
	snprintf(t->error, sizeof t->error, "%s", why ? why : "");
	t->ended = true; /* noted by the loop, with the others */
	t->reaped = true;
	t->status = (again ? 75 : 1) << 8;
}

/* Of the kinds' names, all or the heavy ones. */
static struct db_value kind_names(struct worker *w, bool heavy_only)
{
	const char **names = arena_array(w->arena, (size_t)(__stop_postern_kinds - __start_postern_kinds), sizeof *names);
	size_t n = 0;

	for (const struct kind *const *k = __start_postern_kinds; names && k < __stop_postern_kinds; k++)
		if (!heavy_only || (*k)->heavy)
			names[n++] = (*k)->name;
	return db_text_array(w->arena, names, n);
}

/* How many more heavy jobs may begin: one place at least stays for others, where there are two. */
static size_t heavy_room(const struct worker *w)
{
	size_t most = w->config.heavy_jobs ? (size_t)w->config.heavy_jobs : w->room / 2, busy = 0;

	if (most >= w->room)
		most = w->room - 1;
	if (most == 0)
		most = 1;
	for (size_t i = 0; i < TASKS_MAX; i++)
		busy += w->tasks[i].kind && w->tasks[i].kind->heavy;
	return most > busy ? most - busy : 0;
}

static void take_jobs(struct worker *w, int64_t now)
{
	size_t busy = running(w), free_slots = w->room > busy ? w->room - busy : 0;
	PGresult *result = NULL;

	if (w->ending || now < w->take_us || !free_slots)
		return;
	w->take_us = now + POLL_S * SECOND;
	struct db_value values[] = {
		db_text(w->name), db_int4(w->arena, (int32_t)free_slots), kind_names(w, false), db_int4(w->arena, LEASE_S),
		kind_names(w, true), db_int4(w->arena, (int32_t)heavy_room(w)), db_int4(w->arena, w->config.account_jobs)
	};
	if (!db_ran(w->db, &take, values, &result, w->arena))
		return;
	for (int i = 0; i < PQntuples(result); i++) {
		struct sealed both[2];

		for (int n = 0; n < 2; n++)
			both[n] = (struct sealed){ PQgetisnull(result, i, 4 + 2 * n) ? NULL : PQgetvalue(result, i, 4 + 2 * n), (size_t)PQgetlength(result, i, 4 + 2 * n) };
		begin(w, db_get_text(result, i, 0), db_get_int8(result, i, 7, 0), db_get_text(result, i, 1), db_get_int4(result, i, 2, 1), db_get_text(result, i, 3), both[0],
		      db_get_text(result, i, 5), both[1]);
	}
	if (PQntuples(result))
		w->take_us = 0; /* there may be more */
	PQclear(result);
}

/* Renew the leases; end what was cancelled, and what is no longer ours. */
static void keep_leases(struct worker *w, int64_t now)
{
	const char *ids[TASKS_MAX];
	size_t n = 0;
	PGresult *result = NULL;

	if (now < w->beat_us)
		return;
	w->beat_us = now + BEAT_S * SECOND;
	for (size_t i = 0; i < TASKS_MAX; i++)
		if (w->tasks[i].kind && !w->tasks[i].ended)
			ids[n++] = w->tasks[i].job;
	struct db_value values[] = { db_text(w->name), db_text_array(w->arena, ids, n), db_int4(w->arena, LEASE_S) };
	if (!n || !db_ran(w->db, &beat, values, &result, w->arena))
		return;
	for (int row = 0; row < PQntuples(result); row++)
		for (size_t i = 0; i < TASKS_MAX; i++) {
			struct task *t = &w->tasks[i];

			if (t->kind && !t->cancelled && strcmp(t->job, db_get_text(result, row, 0)) == 0) {
				t->cancelled = true;
				task_end(t, now);
			}
		}
	PQclear(result);
}

static void tell(struct worker *w, struct task *t, int64_t now)
{
	struct db_value values[] = {
		db_text(w->name), db_text(t->job), { NULL, 0 }, db_text(*t->message ? t->message : NULL),
		db_text(t->log.len ? t->log.data : NULL)
	};

	if (!t->told || t->ended || now < t->told_us + TELL_MS * 1000)
		return;
	if (t->progress >= 0)
		values[2] = db_int4(w->arena, t->progress);
	t->told_us = now;
	t->told = !ran_quietly(w, &step, values);
}

static void tend_jobs(struct worker *w, int64_t now)
{
	for (size_t i = 0; i < TASKS_MAX; i++) {
		struct task *t = &w->tasks[i];
		const char *why;
		bool again, blocked, good;

		if (!t->kind)
			continue;
		if (!t->ended)
			task_look(t, now);
		tell(w, t, now);
		if (!t->ended || now < t->told_us)
			continue;
		good = task_good(t, &why, &again, &blocked);
		if (w->ending && !good && WIFSIGNALED(t->status)) { /* by us: its row stays as it is, for the next worker */
			task_free(t, &w->config);
			continue;
		}
		if (noted(w, t, good, why, again, blocked)) {
			task_free(t, &w->config);
			w->take_us = 0;
		} else {
			t->told_us = now + SECOND; /* PostgreSQL is away: ask again then */
		}
	}
}

/* End those that do not get on. A tenant's program is measured alone: what it keeps waiting (tar, the engine of backups) may use
 * time all the same. */
static void end_idle(struct worker *w, int64_t now)
{
	int64_t every = w->config.job_idle_s * SECOND / 8, used;
	struct processes all = { 0 };

	if (now < w->idle_us)
		return;
	w->idle_us = now + (every < SECOND ? SECOND : every > 30 * SECOND ? 30 * SECOND : every);
	for (size_t i = 0; i < TASKS_MAX; i++) {
		struct task *t = &w->tasks[i];

		if (!t->kind || !t->pid || t->reaped || t->late || t->idle || t->cancelled)
			continue;
		used = contain_used(t->account, t->job);
		if (used < 0) {
			if (!all.item)
				all = processes_read();
			used = processes_cpu_of_others(&all, t->pid, geteuid());
		}
		task_move(t, used, w->config.job_idle_s, now);
	}
	processes_free(&all);
}

/* ---- by the clock ---- */

static void number_events(struct worker *w, int64_t now)
{
	PGresult *result = NULL;
	struct db_value values[] = { db_int4(w->arena, SEQUENCE_MAX) };

	if (now < w->sequence_us)
		return;
	w->sequence_us = now + SEQUENCE_SLOW_MS * 1000;
	if (!db_ran(w->db, &sequence, values, &result, w->arena))
		return;
	if (db_get_int4(result, 0, 0, 0) > 0) {
		w->sequence_us = now + SEQUENCE_FAST_MS * 1000;
		ran_quietly(w, &deliver, values);
	}
	PQclear(result);
}

static void keep_house(struct worker *w, int64_t now)
{
	struct db_value values[] = { db_int4(w->arena, w->config.event_days), db_int4(w->arena, w->config.job_days) };
	struct db_value room = db_int4(w->arena, SEQUENCE_MAX);
	struct db_value recovery[] = { db_text(w->name), db_text(w->node) };

	if (!w->recovered) {
		if (!(w->recovered = ran_quietly(w, &recover, recovery)))
			return;
	}
	if (now >= w->cron_us) {
		cron_collect(&w->config, w->db, w->arena);
		w->cron_us = now + CRON_S * SECOND;
	}
	if (now < w->house_us)
		return;
	w->house_us = now + HOUSE_S * SECOND;
	ran_quietly(w, &recover, recovery); /* leases of other machines' workers that ran out */
	ran_quietly(w, &house, values);
	ran_quietly(w, &deliver, &room); /* what was numbered when an earlier worker ended */
	ran_quietly(w, &settle, NULL);
}

/* How machine and services are, and that we are here. */
static void watch_machine(struct worker *w, int64_t now)
{
	const char *found = w->ending ? NULL : watch_round(&w->watch, &w->config, w->arena, now);
	struct db_value values[] = { db_text(w->machine), db_text(found) };

	if (found)
		ran_quietly(w, &seen, values);
}

/* ---- the loop ---- */

static int wait_ms(const struct worker *w, int64_t now)
{
	int64_t due = w->sequence_us, ms;

	if (!w->ending && running(w) < w->room && w->take_us < due)
		due = w->take_us;
	for (size_t i = 0; i < TASKS_MAX; i++)
		if (w->tasks[i].kind && now + 100000 < due)
			due = now + 100000; /* a kill's grace, a notice that is still to be given */
	ms = (due - now) / 1000;
	return ms < 0 ? 0 : ms > 1000 ? 1000 : (int)ms + 1;
}

static void await(struct worker *w, int signals)
{
	struct pollfd fds[2 * TASKS_MAX + 3] = { { .fd = signals, .events = POLLIN } };
	struct signalfd_siginfo got;
	nfds_t n = 1;

	if (db_connection(w->listener) && PQsocket(db_connection(w->listener)) >= 0)
		fds[n++] = (struct pollfd){ .fd = PQsocket(db_connection(w->listener)), .events = POLLIN };
	if (w->watch.pid && w->watch.fd >= 0)
		fds[n++] = (struct pollfd){ .fd = w->watch.fd, .events = POLLIN };
	for (size_t i = 0; i < TASKS_MAX; i++) {
		if (w->tasks[i].kind && w->tasks[i].out >= 0)
			fds[n++] = (struct pollfd){ .fd = w->tasks[i].out, .events = POLLIN };
		if (w->tasks[i].kind && w->tasks[i].err >= 0)
			fds[n++] = (struct pollfd){ .fd = w->tasks[i].err, .events = POLLIN };
	}
	poll(fds, n, wait_ms(w, timestamp_now()));
	while (read(signals, &got, sizeof got) == sizeof got)
		if (got.ssi_signo != SIGCHLD && !w->ending) {
			w->ending = true;
			log_event("info", "stopping", NULL);
			for (size_t i = 0; i < TASKS_MAX; i++)
				if (w->tasks[i].kind && !w->tasks[i].ended) /* done again at the next start */
					task_end(&w->tasks[i], timestamp_now());
		}
}

static void work(struct worker *w, int signals)
{
	while (!w->ending || running(w)) {
		int64_t now = timestamp_now();

		arena_reset(w->arena);
		listen_for_jobs(w, now);
		hear_hints(w);
		if (now >= w->take_us || now >= w->house_us)
			heed_settings(w);
		keep_house(w, now);
		tend_jobs(w, now);
		end_idle(w, now);
		keep_leases(w, now);
		if (w->recovered)
			take_jobs(w, now);
		watch_machine(w, now);
		number_events(w, now);
		if (sealer_round(&w->sealer, &w->config, w->db, w->arena, now))
			w->sequence_us = 0; /* there is more: come back at once */
		await(w, signals);
	}
}

/* ---- the beginning ---- */

static int list_kinds(void)
{
	for (const struct kind *const *k = __start_postern_kinds; k < __stop_postern_kinds; k++)
		puts((*k)->name);
	return 0;
}

static int describe_kinds(void)
{
	for (const struct kind *const *k = __start_postern_kinds; k < __stop_postern_kinds; k++) {
		printf("%s\n  %s. At most %d s, %d attempts.\n", (*k)->name, (*k)->about, (*k)->limit_s, (*k)->attempts);
		for (const struct field *f = (*k)->fields; f->name; f++)
			printf("  %-20s %s%s\n", f->name, f->about, f->flags & F_REQUIRED ? "" : f->flags & F_NULLABLE ? " (may be null)" : " (may be left out)");
	}
	return 0;
}

/*
 * A node is the lock file in worker_dir, of a machine since its start: that we hold the lock proves that whatever
 * worked under this name before has ended. The host's name would not (a clone has the same), nor would a file's content
 * (a copied folder has it, too). After a restart of the machine the leases of before run out by the clock.
 */
static bool name_node(int lock, char node[static 33])
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	char text[128], boot[64] = "";
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
	bool known = file && fgets(boot, sizeof boot, file);
	struct stat st;

	if (file)
		fclose(file);
	if (fstat(lock, &st) != 0 || (!known && getrandom(boot, sizeof boot - 1, 0) < 0))
		return false;
	snprintf(text, sizeof text, "%.36s %ju %ju", boot, (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	if (EVP_Q_digest(NULL, "SHA256", NULL, text, strlen(text), hash, NULL) != 1)
		return false;
	trail_hex(hash, 16, node);
	return true;
}

/* The worker's folder, and the lock that makes it the only one here. */
static bool have_folder(const struct config *config, char node[static 33])
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof path, "%s/jobs", config->worker_dir);
	if ((mkdir(config->worker_dir, 0750) != 0 && errno != EEXIST) || (mkdir(path, 0700) != 0 && errno != EEXIST)) {
		fprintf(stderr, "posternd: worker_dir %s: %s\n", config->worker_dir, strerror(errno));
		return false;
	}
	snprintf(path, sizeof path, "%s/lock", config->worker_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) {
		fprintf(stderr, fd < 0 ? "posternd: %s: %s\n" : "posternd: another one is at work here: it holds %s (%s)\n", path, strerror(errno));
		return false;
	}
	return name_node(fd, node); /* held until the process ends */
}

static int signal_channel(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool open_worker(struct worker *w)
{
	unsigned random = 0;

	if (gethostname(w->machine, sizeof w->machine - 1) != 0 || !*w->machine)
		snprintf(w->machine, sizeof w->machine, "localhost");
	if (getrandom(&random, sizeof random, 0) != sizeof random)
		return false;
	snprintf(w->name, sizeof w->name, "%s %d %08x", w->node, (int)getpid(), random);
	w->room = (size_t)w->config.worker_jobs;
	w->arena = arena_new();
	w->settings = settings_new(&w->base);
	w->db = db_new(&w->config, "worker");
	w->listener = db_new_direct(&w->config, "worker");
	if (!w->arena || !w->settings || !w->db || !w->listener)
		return false;
	db_on_connect(w->db, db_fits, NULL);
	return true;
}

int main(int argc, char **argv)
{
	char *whole;
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' }, { "check-config", no_argument, NULL, 'C' }, { "kinds", no_argument, NULL, 'k' },
		{ "describe", no_argument, NULL, 'd' },
		{ "version", no_argument, NULL, 'v' }, { "help", no_argument, NULL, 'h' }, { 0 }
	};
	static struct worker w;
	const struct kind *kind = kind_find(program_invocation_short_name);
	bool check = false;
	int option, signals;

	if (kind)
		return action_main(kind);
	if (strcmp(program_invocation_short_name, ACME_HOOK) == 0)
		return acme_hook(argc, argv);
	if (argc == 4 && strcmp(argv[1], "--cron-run") == 0)
		return cron_run(argv[2], argv[3]);
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'c': w.config_path = optarg; break;
		case 'C': check = true; break;
		case 'k': return list_kinds();
		case 'd': return describe_kinds();
		case 'v': puts("posternd " POSTERN_VERSION); return 0;
		case 'h': fputs(help, stdout); return 0;
		default: fputs(help, stderr); return 2;
		}
	}
	if (!config_load(&w.base, w.config_path, stderr) || !config_copy(&w.config, &w.base))
		return 1;
	if (check) {
		puts("the settings are in order");
		return 0;
	}
	if (!w.config_path)
		w.config_path = getenv("POSTERN_CONFIG");
	if (w.config_path && (whole = realpath(w.config_path, NULL))) /* actions run elsewhere */
		w.config_path = whole;
	log_open("posternd", w.config.log_format);
	if (!have_folder(&w.config, w.node))
		return 1;
	signals = signal_channel();
	if (signals < 0 || !open_worker(&w)) {
		fprintf(stderr, "posternd: %s\n", strerror(errno));
		return 1;
	}
	contain_open(&w.config);
	if (!task_sweep(&w.config)) {
		fprintf(stderr, "posternd: something that an earlier worker has started does not end; see above\n");
		return 1;
	}
	sealer_open(&w.sealer, w.node, w.machine);
	log_event("info", "started", "machine", w.machine, "name", w.name, NULL);
	work(&w, signals);
	watch_end(&w.watch);
	contain_close();
	sealer_close(&w.sealer);
	db_free(w.listener);
	db_free(w.db);
	arena_free(w.arena);
	settings_free(w.settings);
	config_free(&w.config);
	config_free(&w.base);
	return 0;
}
