/*
 * database_mariadb.c: databases of accounts in MariaDB, through its client, which reads statements from a pipe. What Postern
 * made is listed in a table of its own there (postern_owned.objects): neither databases nor users can bear a mark that their
 * user could not change. A row is written before what it is about is made, so that a kill leaves nothing without its row.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "database.h"
#include "verifier.h"

enum { SCRIPT_MAX = 64 << 10 };
#define LIST_OF_OURS \
	"CREATE DATABASE IF NOT EXISTS postern_owned CHARACTER SET utf8mb4;\n" \
	"CREATE TABLE IF NOT EXISTS postern_owned.objects (what ENUM('database', 'user') NOT NULL, name VARBINARY(255) NOT NULL," \
	" marker CHAR(36) NOT NULL, PRIMARY KEY (what, name)) ENGINE = InnoDB;\n"
enum whose { ABSENT = 0, OURS, FOREIGN };

/* ---- the client ---- */

/* In quotes, where only the quote itself is special: the script sets NO_BACKSLASH_ESCAPES first. */
static const char *in_quotes(struct action *a, const char *text, char quote)
{
	char *out = arena_alloc(a->arena, 2 * strlen(text) + 3), *o = out;

	if (!out)
		action_retry("out of memory");
	*o++ = quote;
	for (; *text; *o++ = *text++)
		if (*text == quote)
			*o++ = quote;
	*o = quote;
	return out;
}
static const char *literal(struct action *a, const char *text)
{
	return in_quotes(a, text, '\'');
}
static const char *name_of(struct action *a, const char *text)
{
	return in_quotes(a, text, '`');
}
static const char *user_of(struct action *a, const struct database *d)
{
	return arena_printf(a->arena, "%s@'localhost'", literal(a, d->user));
}
/* GRANT takes a database's name for a pattern. */
static const char *pattern_of(struct action *a, const char *text)
{
	char *out = arena_alloc(a->arena, 2 * strlen(text) + 1), *o = out;

	if (!out)
		action_retry("out of memory");
	for (; *text; *o++ = *text++)
		if (strchr("_%\\", *text))
			*o++ = '\\';
	return name_of(a, out);
}

/* What the client says of an error: its last line that begins so. Before it is the statement, which is nobody's business. */
static const char *error_of(struct action *a, const struct command *client)
{
	const char *found = strncmp(client->errors, "ERROR ", 6) == 0 ? client->errors : NULL;

	for (const char *at = client->errors; (at = strstr(at, "\nERROR ")); at++)
		found = at + 1;
	return found ? arena_strndup(a->arena, found, strcspn(found, "\n")) : NULL;
}

static bool is_one_of(const char *error, const char *const *numbers)
{
	for (; error && *numbers; numbers++)
		if (strncmp(error + strlen("ERROR "), *numbers, 4) == 0)
			return true;
	return false;
}

/* Run statements, one a line; they stop at the first that fails, with *error then. Returns what they gave. */
static const char *try(struct action *a, struct buf *script, const char **error)
{
	struct command client = { .argv = { NULL } };
	size_t n = 0;

	if (!*a->config.mariadb_command)
		action_fail("no MariaDB server for databases is set; set mariadb_command");
	if (!command_split(a, a->config.mariadb_command, &client))
		action_fail("mariadb_command has too many words");
	while (client.argv[n])
		n++;
	if (n + 5 > COMMAND_ARGS_MAX)
		action_fail("mariadb_command has too many words");
	client.argv[n++] = "--batch";
	client.argv[n++] = "--skip-column-names";
	client.argv[n++] = "--binary-mode"; /* backslashes are no commands of the client's */
	client.argv[n++] = "--default-character-set=utf8mb4";
	if (buf_failed(script))
		action_fail("a statement is too long");
	client.input = script->data;
	client.input_len = script->len;
	*error = NULL;
	if (!command_run(a, &client)) {
		*error = error_of(a, &client);
		if (!*error)
			action_fail("mariadb_command ended with exit code %d; does it run the client?", client.status);
	}
	buf_free(script);
	return client.output;
}

static _Noreturn void give_up(const char *error)
{
	/* server and connection not there, gone, full or stopping; waited too long for a lock; deadlock */
	static const char *const passing[] = { "2002", "2003", "2006", "2013", "1040", "1053", "1205", "1213", NULL };

	if (is_one_of(error, passing))
		action_retry("MariaDB: %s", error);
	action_fail("MariaDB: %s", error);
}

static const char *run(struct action *a, struct buf *script)
{
	const char *error, *output = try(a, script, &error);

	if (error)
		give_up(error);
	return output;
}

static struct buf begin(void)
{
	struct buf script;

	buf_init(&script, SCRIPT_MAX);
	buf_str(&script, "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES';\nSET SESSION lock_wait_timeout = 60;\n");
	return script;
}

/* ---- what is there ---- */

static void add_look(struct action *a, struct buf *script, const char *what, const char *name, const char *there)
{
	buf_printf(script, "SELECT (SELECT COUNT(*) FROM %s), COALESCE((SELECT marker FROM postern_owned.objects WHERE what = '%s' AND name = %s), '-');\n",
	           there, what, literal(a, name));
}

/* "1\t<marker>" */
static enum whose whose(const struct database *d, const char *line)
{
	const char *tab = line ? strchr(line, '\t') : NULL;

	if (!tab)
		action_fail("MariaDB gave no answer; does mariadb_command run its client?");
	if (strncmp(tab + 1, d->marker, strlen(d->marker)) == 0)
		return OURS; /* there, or about to be */
	return *line == '0' ? ABSENT : FOREIGN;
}

struct state {
	enum whose user, database;
	const char *charset; /* of the database; "": none there */
};

static struct state look(struct action *a, const struct database *d)
{
	struct buf script = begin();
	char *line[3], *rest;

	buf_str(&script, LIST_OF_OURS);
	/* compared as bytes: their collations take e for an accented one */
	add_look(a, &script, "user", d->user, arena_printf(a->arena, "mysql.user WHERE BINARY User = %s AND Host = 'localhost'", literal(a, d->user)));
	add_look(a, &script, "database", d->name,
	         arena_printf(a->arena, "information_schema.SCHEMATA WHERE BINARY SCHEMA_NAME = %s", literal(a, d->name)));
	buf_printf(&script, "SELECT DEFAULT_CHARACTER_SET_NAME FROM information_schema.SCHEMATA WHERE BINARY SCHEMA_NAME = %s;\n", literal(a, d->name));
	rest = arena_strdup(a->arena, run(a, &script));
	for (int i = 0; i < 3; i++)
		line[i] = strsep(&rest, "\n");
	return (struct state){ .user = whose(d, line[0]), .database = whose(d, line[1]), .charset = line[2] ? line[2] : "" };
}

static void add_claim(struct action *a, struct buf *script, const char *what, const char *name, const struct database *d)
{
	buf_printf(script, "REPLACE INTO postern_owned.objects VALUES ('%s', %s, '%s');\n", what, literal(a, name), d->marker);
}

/* ---- what is to be there ---- */

/* What was not there a moment ago and is now, was made by somebody else: it is not claimed. */
static _Noreturn void not_applied(struct action *a, const struct database *d, struct state s, const char *error)
{
	static const char *const exists[] = { "1007", "1396", NULL };
	struct buf script = begin();

	if (!is_one_of(error, exists))
		give_up(error);
	if (s.user == ABSENT)
		buf_printf(&script, "DELETE FROM postern_owned.objects WHERE marker = '%s' AND what = 'user';\n", d->marker);
	if (s.database == ABSENT)
		buf_printf(&script, "DELETE FROM postern_owned.objects WHERE marker = '%s' AND what = 'database';\n", d->marker);
	run(a, &script);
	action_retry("MariaDB: %s", error);
}

static void apply(struct action *a, const struct database *d)
{
	struct state s = look(a, d);
	const char *name = name_of(a, d->name), *user = user_of(a, d);
	const char *output, *error;
	struct json_object *result;
	struct buf script = begin();

	if (s.user == FOREIGN)
		action_fail("there is a MariaDB user \"%s\" already that Postern did not make for this; it was left alone: rename it, or delete "
		            "this database and create it with another user", d->user);
	if (s.database == FOREIGN)
		action_fail("there is a MariaDB database \"%s\" already that Postern did not make for this; it was left alone: rename it, or "
		            "delete this one and create it under another name", d->name);
	add_claim(a, &script, "user", d->user, d);
	add_claim(a, &script, "database", d->name, d);
	buf_printf(&script, "CREATE USER%s %s IDENTIFIED BY PASSWORD '%s' ACCOUNT LOCK;\n", s.user == OURS ? " IF NOT EXISTS" : "", user, d->verifier);
	buf_printf(&script, "CREATE DATABASE%s %s CHARACTER SET %s;\n", s.database == OURS ? " IF NOT EXISTS" : "", name, d->charset);
	if (*s.charset && strcmp(s.charset, d->charset) != 0) /* else a collation that its user chose stays */
		buf_printf(&script, "ALTER DATABASE %s CHARACTER SET %s;\n", name, d->charset);
	buf_printf(&script, "GRANT ALL PRIVILEGES ON %s.* TO %s;\n", pattern_of(a, d->name), user);
	buf_printf(&script, "ALTER USER %s IDENTIFIED BY PASSWORD '%s' ACCOUNT %s;\n", user, d->verifier, d->suspended ? "LOCK" : "UNLOCK");
	if (d->suspended)
		buf_printf(&script, "KILL USER %s;\n", user);
	buf_printf(&script, "SELECT COALESCE(SUM(DATA_LENGTH + INDEX_LENGTH), 0) FROM information_schema.TABLES WHERE BINARY TABLE_SCHEMA = %s;\n",
	           literal(a, d->name));
	action_progress(30, "creating what is not there yet");
	output = try(a, &script, &error);
	if (error)
		not_applied(a, d, s, error);
	result = json_object_new_object();
	json_object_object_add(result, "size_bytes", json_object_new_int64(strtoll(output, NULL, 10)));
	action_result(result);
}

static void take_away(struct action *a, const struct database *d)
{
	struct state s = look(a, d);
	struct buf script = begin();

	if (s.user == FOREIGN)
		action_log("the user \"%s\" is none that Postern made for this; it stays", d->user);
	if (s.database == FOREIGN)
		action_log("the database \"%s\" is none that Postern made for this; it stays", d->name);
	if (s.user == OURS) {
		buf_printf(&script, "ALTER USER IF EXISTS %s ACCOUNT LOCK;\n", user_of(a, d));
		buf_printf(&script, "KILL USER %s;\n", user_of(a, d));
	}
	if (s.database == OURS)
		buf_printf(&script, "DROP DATABASE IF EXISTS %s;\n", name_of(a, d->name));
	if (s.user == OURS)
		buf_printf(&script, "DROP USER IF EXISTS %s;\n", user_of(a, d));
	buf_printf(&script, "DELETE FROM postern_owned.objects WHERE marker = '%s';\n", d->marker);
	action_progress(30, "dropping the database and its user");
	run(a, &script);
}

static void measure(struct action *a, struct json_object *sizes)
{
	struct buf script = begin();
	char *line, *rest;

	buf_str(&script, LIST_OF_OURS
	                 "SELECT o.marker, COALESCE(SUM(t.DATA_LENGTH + t.INDEX_LENGTH), 0) FROM postern_owned.objects o LEFT JOIN "
	                 "information_schema.TABLES t ON BINARY t.TABLE_SCHEMA = o.name WHERE o.what = 'database' GROUP BY o.marker;\n");
	rest = arena_strdup(a->arena, run(a, &script));
	while (rest && (line = strsep(&rest, "\n"))) {
		char *tab = strchr(line, '\t');

		if (tab) {
			*tab = '\0';
			json_object_object_add(sizes, line, json_object_new_int64(strtoll(tab + 1, NULL, 10)));
		}
	}
}

/* ---- backups ---- */

/* The programs beside the client: the same words, but for the first. */
static size_t program(struct action *a, const char *setting, struct command *c)
{
	size_t n = 0;

	*c = (struct command){ 0 };
	if (!*a->config.mariadb_command)
		action_fail("no MariaDB server for databases is set; set mariadb_command");
	if (!command_split(a, a->config.mariadb_command, c))
		action_fail("mariadb_command has too many words");
	if (setting)
		c->argv[0] = setting;
	while (c->argv[n])
		n++;
	if (n + 12 > COMMAND_ARGS_MAX)
		action_fail("mariadb_command has too many words");
	return n;
}

static void must_be_ours(struct action *a, const struct database *d)
{
	struct state s = look(a, d);

	if (s.user != OURS || s.database != OURS)
		action_fail("the MariaDB database \"%s\" of the user \"%s\" is not there, or none that Postern made", d->name, d->user);
}

static void dump(struct action *a, const struct database *d, struct command *c)
{
	size_t n = program(a, a->config.mariadb_dump_command, c);

	must_be_ours(a, d);
	c->argv[n++] = "--single-transaction";
	c->argv[n++] = "--quick";
	c->argv[n++] = "--routines";
	c->argv[n++] = "--events";
	c->argv[n++] = "--triggers";
	c->argv[n++] = "--hex-blob";
	c->argv[n++] = "--no-tablespaces";
	c->argv[n++] = "--default-character-set=utf8mb4";
	c->argv[n++] = "--";
	c->argv[n++] = d->name;
}

static void dumped(struct action *a, const struct database *d)
{
	(void)a;
	(void)d;
}

/* Its last line says that it is the last. */
static bool is_whole(struct action *a, struct command *load, const char **why)
{
	struct command pipe[2] = { *load, { .argv = { "tail", "-c", "200" } } };
	const char *last;

	if (!command_pipe(a, pipe, 2)) {
		*why = command_complaint(a, pipe[0].status != 0 ? &pipe[0] : &pipe[1]);
		return false;
	}
	last = strstr(pipe[1].output, "\n-- Dump completed");
	if (last && !strchr(last + 1, '\n')[1])
		return true;
	*why = "the dump has no last line";
	return false;
}

/* Views, triggers and routines run as the user who made them, who may do nothing in another database: those of the one then
 * become those of the one now. They stand at the beginning of lines that no data can be at the beginning of. */
static const char *change_of_definer(struct action *a, const char *then, const char *now)
{
	struct buf b;
	const char *text;

	buf_init(&b, 4096);
	buf_str(&b, "/^\\/\\*!5[0-9]*\\|^CREATE DEFINER=/s/DEFINER=");
	for (const char *c = name_of(a, then); *c; c++)
		buf_printf(&b, strchr(".[]*^$\\/", *c) ? "\\%c" : "%c", *c);
	buf_str(&b, "@`localhost`/DEFINER=");
	for (const char *c = name_of(a, now); *c; c++)
		buf_printf(&b, strchr("&\\/", *c) ? "\\%c" : "%c", *c);
	buf_str(&b, "@`localhost`/g");
	if (buf_failed(&b))
		action_fail("a user's name is too long");
	text = arena_strdup(a->arena, b.data);
	buf_free(&b);
	return text;
}

static void read_in(struct action *a, const struct command *load, const char *name, const char *user_then, const char *user, const char *otherwise)
{
	struct command pipe[3] = { *load, { .argv = { "sed", "--expression", change_of_definer(a, user_then, user) } } };
	size_t n = program(a, NULL, &pipe[2]), bad = 2;

	pipe[2].argv[n++] = "--batch";
	pipe[2].argv[n++] = "--binary-mode";
	pipe[2].argv[n++] = "--default-character-set=utf8mb4";
	pipe[2].argv[n++] = arena_printf(a->arena, "--database=%s", name);
	if (command_pipe(a, pipe, 3))
		return;
	for (size_t i = 0; pipe[2].status == 0 && i < 2; i++)
		if (pipe[i].status != 0)
			bad = i;
	action_fail("the database could not be read in%s: %s", otherwise, command_complaint(a, &pipe[bad]));
}

static void recreate(struct action *a, const char *name, const char *charset)
{
	struct buf script = begin();

	buf_printf(&script, "DROP DATABASE IF EXISTS %s;\nCREATE DATABASE %s CHARACTER SET %s;\n", name_of(a, name), name_of(a, name), charset);
	run(a, &script);
}

/* No database can be renamed here: the stream is read into another one first, which shows that it can be, and stays until it
 * has been read into the right one. */
static void refill(struct action *a, const struct database *d, const struct command *load, const char *user_then)
{
	const char *fresh = arena_printf(a->arena, "postern_fresh_%s", d->marker);
	struct buf script = begin();

	must_be_ours(a, d);
	recreate(a, fresh, d->charset);
	if (!user_then)
		user_then = d->user;
	read_in(a, load, fresh, user_then, d->user, ", and is as it was");
	action_progress(50, "taking the place of what was there");
	recreate(a, d->name, d->charset);
	read_in(a, load, d->name, user_then, d->user, arena_printf(a->arena, "; what was restored is in \"%s\"", fresh));
	buf_printf(&script, "DROP DATABASE %s;\n", name_of(a, fresh));
	run(a, &script);
}

const struct engine engine_mariadb = { "mariadb", verifier_is_native, apply, take_away, measure, dump, dumped, is_whole, refill };
