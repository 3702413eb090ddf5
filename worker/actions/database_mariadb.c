/*
 * database_mariadb.c: databases of accounts in MariaDB, through its client, which reads statements from a pipe. What Postern
 * made is listed in a table of its own there (postern_owned.objects): neither databases nor users can bear a mark that their
 * user could not change. A row is written before what it is about is made, so that a kill leaves nothing without its row.
 *
 * A dump is a script of a stranger's: it is written and read in by a client that is logged in as the database's own user, or as
 * a deputy who may do less, and that runs as nobody. Nothing in it is looked for or taken out to be safe.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "database.h"
#include "verifier.h"

enum { SCRIPT_MAX = 64 << 10, BROKEN_MAX = 20 };
/* What is in use, and who is admitted by a second password for the time of a dump: how he is to be put back then. */
#define LIST_OF_OURS \
	"CREATE DATABASE IF NOT EXISTS postern_owned CHARACTER SET utf8mb4;\n" \
	"CREATE TABLE IF NOT EXISTS postern_owned.objects (what ENUM('database', 'user') NOT NULL, name VARBINARY(255) NOT NULL," \
	" marker CHAR(36) NOT NULL, PRIMARY KEY (what, name)) ENGINE = InnoDB;\n" \
	"CREATE TABLE IF NOT EXISTS postern_owned.admitted (marker CHAR(36) NOT NULL PRIMARY KEY, user VARBINARY(255) NOT NULL," \
	" verifier CHAR(41) NOT NULL, once CHAR(41) NOT NULL, connections INT NOT NULL, job CHAR(36) NOT NULL) ENGINE = InnoDB;\n"
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
static const char *unquoted_pattern(struct action *a, const char *text)
{
	char *out = arena_alloc(a->arena, 2 * strlen(text) + 1), *o = out;

	if (!out)
		action_retry("out of memory");
	for (; *text; *o++ = *text++)
		if (strchr("_%\\", *text))
			*o++ = '\\';
	return out;
}
static const char *pattern_of(struct action *a, const char *text)
{
	return name_of(a, unquoted_pattern(a, text));
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

	if (!*a->config.mariadb_command)
		action_fail("no MariaDB server for databases is set; set mariadb_command");
	command_split(a, a->config.mariadb_command, &client);
	command_add(&client, "--batch");
	command_add(&client, "--skip-column-names");
	command_add(&client, "--binary-mode"); /* backslashes are no commands of the client's */
	command_add(&client, "--skip-local-infile");
	command_add(&client, "--default-character-set=utf8mb4");
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
	if (client.cut)
		action_fail("mariadb_command says more than can be read");
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
	const char *charset, *collation; /* of the database; "": none there */
};

static struct state look(struct action *a, const struct database *d)
{
	struct buf script = begin();
	char *line[4], *rest;

	buf_str(&script, LIST_OF_OURS);
	/* compared as bytes: their collations take e for an accented one */
	add_look(a, &script, "user", d->user, arena_printf(a->arena, "mysql.user WHERE BINARY User = %s AND Host = 'localhost'", literal(a, d->user)));
	add_look(a, &script, "database", d->name,
	         arena_printf(a->arena, "information_schema.SCHEMATA WHERE BINARY SCHEMA_NAME = %s", literal(a, d->name)));
	buf_printf(&script, "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE BINARY SCHEMA_NAME = %s;\n",
	           literal(a, d->name));
	rest = arena_strdup(a->arena, run(a, &script));
	for (int i = 0; i < 3; i++)
		line[i] = strsep(&rest, "\n");
	line[3] = line[2] ? strchr(line[2], '\t') : NULL;
	if (line[3])
		*line[3]++ = '\0';
	return (struct state){ .user = whose(d, line[0]), .database = whose(d, line[1]), .charset = line[2] ? line[2] : "",
	                       .collation = line[3] ? line[3] : "" };
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
	/* a lock alone leaves its events running; without what is left its views could not be dumped */
	buf_printf(&script, "GRANT ALL PRIVILEGES ON %s.* TO %s;\n", pattern_of(a, d->name), user);
	if (d->suspended)
		buf_printf(&script, "REVOKE ALL PRIVILEGES ON %s.* FROM %s;\nGRANT SELECT, EXECUTE, SHOW VIEW ON %s.* TO %s;\n",
		           pattern_of(a, d->name), user, pattern_of(a, d->name), user);
	buf_printf(&script, "DO GET_LOCK('postern %s', 30);\nDELETE FROM postern_owned.admitted WHERE marker = '%s';\n", d->marker, d->marker);
	buf_printf(&script, "ALTER USER %s IDENTIFIED BY PASSWORD '%s' WITH MAX_USER_CONNECTIONS %d ACCOUNT %s;\n", user, d->verifier,
	           d->connections, d->suspended ? "LOCK" : "UNLOCK");
	if (d->suspended)
		buf_printf(&script, "KILL HARD USER %s;\n", user);
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

static const char *deputy_of(struct action *a, const struct database *d)
{
	return arena_printf(a->arena, "postern_deputy_%s", d->marker);
}
static const char *copy_of(struct action *a, const struct database *d)
{
	return arena_printf(a->arena, "postern_fresh_%s", d->marker);
}

/* Permissions outlive what they are for; a database of that name made later would be open to whoever had them. */
static void add_forget(struct action *a, struct buf *script, const char *name)
{
	static const char *const tables[] = { "db", "tables_priv", "columns_priv", "procs_priv" };
	const char *given = arena_printf(a->arena, "%s, %s", literal(a, name), literal(a, unquoted_pattern(a, name)));

	buf_str(script, "SET @left = 0;\n");
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
		buf_printf(script, "SET @left = @left + (SELECT COUNT(*) FROM mysql.%s WHERE BINARY Db IN (%s));\n"
		                   "DELETE FROM mysql.%s WHERE BINARY Db IN (%s);\n", tables[i], given, tables[i], given);
	buf_str(script, "EXECUTE IMMEDIATE IF(@left > 0, 'FLUSH PRIVILEGES', 'DO 0');\n");
}

/* The deputy, and what events of his are at work on. */
static void add_dismissal(struct action *a, struct buf *script, const struct database *d)
{
	const char *deputy = arena_printf(a->arena, "%s@'localhost'", literal(a, deputy_of(a, d)));

	/* there must be one to have his sessions ended */
	buf_printf(script, "CREATE USER IF NOT EXISTS %s ACCOUNT LOCK;\nALTER USER %s ACCOUNT LOCK;\nKILL HARD USER %s;\nDROP USER IF EXISTS %s;\n",
	           deputy, deputy, deputy, deputy);
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
		buf_printf(&script, "CREATE USER IF NOT EXISTS %s ACCOUNT LOCK;\nALTER USER %s ACCOUNT LOCK;\n", user_of(a, d), user_of(a, d));
		buf_printf(&script, "REVOKE ALL PRIVILEGES, GRANT OPTION FROM %s;\nKILL HARD USER %s;\n", user_of(a, d), user_of(a, d));
	}
	add_dismissal(a, &script, d);
	buf_printf(&script, "DROP DATABASE IF EXISTS %s;\n", name_of(a, copy_of(a, d)));
	if (s.database == OURS)
		buf_printf(&script, "DROP DATABASE IF EXISTS %s;\n", name_of(a, d->name));
	if (s.user == OURS)
		buf_printf(&script, "DROP USER IF EXISTS %s;\n", user_of(a, d));
	if (s.database == OURS)
		add_forget(a, &script, d->name);
	buf_printf(&script, "DELETE FROM postern_owned.admitted WHERE marker = '%s';\n", d->marker);
	buf_printf(&script, "DELETE FROM postern_owned.objects WHERE marker = '%s';\n", d->marker);
	action_progress(30, "dropping the database and its user");
	run(a, &script);
}

/* ---- who reads and writes dumps ---- */

/* Any user of the server can hold a lock of any name: ours bear the marker, which nobody else knows.
 * Statements with ends of their own, between DELIMITER lines. Users of the list who still have the second password get back the
 * first alone: their own, or a newer one that they have set meanwhile. */
static void put_back(struct action *a, const char *marker)
{
	struct buf script = begin();

	buf_printf(&script, LIST_OF_OURS "DO GET_LOCK('postern %s', 30);\nDELIMITER //\n"
	           "BEGIN NOT ATOMIC FOR r IN (SELECT o.user, o.verifier, o.connections, u.authentication_string AS now FROM postern_owned.admitted o"
	           " JOIN mysql.global_priv p ON BINARY p.User = o.user AND p.Host = 'localhost' AND p.Priv LIKE CONCAT('%%\"', o.once, '\"%%')"
	           " JOIN mysql.user u ON BINARY u.User = o.user AND u.Host = 'localhost' WHERE o.marker = '%s') DO"
	           " EXECUTE IMMEDIATE CONCAT('ALTER USER ''', REPLACE(r.user, '''', ''''''), '''@''localhost'' IDENTIFIED BY PASSWORD ''',"
	           " IF(r.now REGEXP '^[*][0-9A-F]{40}$', r.now, r.verifier), ''' WITH MAX_USER_CONNECTIONS ', r.connections);"
	           " END FOR; END//\nDELIMITER ;\nDELETE FROM postern_owned.admitted WHERE marker = '%s';\n", marker, marker, marker);
	run(a, &script);
}

/* Those whose job was killed, and is at work no more: nothing holds its lock file. */
static void put_back_left(struct action *a)
{
	struct buf script = begin();
	char *line, *rest;

	buf_str(&script, LIST_OF_OURS "SELECT marker, job FROM postern_owned.admitted;\n");
	rest = arena_strdup(a->arena, run(a, &script));
	while (rest && (line = strsep(&rest, "\n"))) {
		char *tab = strchr(line, '\t');
		int fd;

		if (!tab)
			continue;
		*tab = '\0';
		fd = open(arena_printf(a->arena, "%s/jobs/%s", a->config.worker_dir, tab + 1), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
			put_back(a, line);
		if (fd >= 0)
			close(fd);
	}
}

enum { SECRET = 24 };
struct login {
	char password[2 * SECRET + 1], verifier[NATIVE_VERIFIER_MAX];
};

static struct login new_login(void)
{
	unsigned char random[SECRET];
	struct login login;

	if (RAND_bytes(random, sizeof random) != 1)
		action_retry("there are no random bytes");
	for (size_t i = 0; i < sizeof random; i++)
		snprintf(login.password + 2 * i, 3, "%02x", random[i]);
	if (!verifier_native(login.password, login.verifier))
		action_retry("no password can be made");
	return login;
}

/* Let us in as the database's own user, by a password of this attempt's beside his, until put_back. */
static struct login admit(struct action *a, const struct database *d)
{
	const struct login login = new_login();
	struct buf script = begin();
	const char *user = literal(a, d->user), *output;

	buf_printf(&script, LIST_OF_OURS "DO GET_LOCK('postern %s', 30);\n"
	           "SET @own = (SELECT authentication_string FROM mysql.user WHERE BINARY User = %s AND Host = 'localhost' AND plugin = 'mysql_native_password');\n"
	           "SET @good = COALESCE(@own REGEXP '^[*][0-9A-F]{40}$', 0);\n"
	           "REPLACE INTO postern_owned.admitted SELECT '%s', %s, @own, '%s', %d, '%s' FROM DUAL WHERE @good;\n", d->marker, user,
	           d->marker, user, login.verifier, d->connections, a->job);
	buf_printf(&script, "EXECUTE IMMEDIATE IF(@good, CONCAT(%s, @own, ''' OR mysql_native_password USING ''%s'' WITH MAX_USER_CONNECTIONS %d'), 'DO 0');\n"
	           "SELECT @good;\n",
	           literal(a, arena_printf(a->arena, "ALTER USER %s IDENTIFIED VIA mysql_native_password USING '", user_of(a, d))), login.verifier,
	           d->connections + 2);
	output = run(a, &script);
	if (*output != '1')
		action_fail("the MariaDB user \"%s\" has no password any more that Postern could leave as it is; rotate it, then retry", d->user);
	return login;
}

/* Somebody who may do this with one database, until dismissed. */
static struct login deputise(struct action *a, const struct database *d, const char *what, const char *database)
{
	const struct login login = new_login();
	const char *deputy = arena_printf(a->arena, "%s@'localhost'", literal(a, deputy_of(a, d)));
	struct buf script = begin();

	add_dismissal(a, &script, d);
	buf_printf(&script, "CREATE USER %s IDENTIFIED BY PASSWORD '%s' WITH MAX_USER_CONNECTIONS 4;\nGRANT %s ON %s.* TO %s;\n", deputy, login.verifier,
	           what, pattern_of(a, database), deputy);
	if (d->suspended) /* to see the routines of another */
		buf_printf(&script, "GRANT SELECT ON mysql.proc TO %s;\n", deputy);
	run(a, &script);
	return login;
}

static void dismiss(struct action *a, const struct database *d)
{
	struct buf script = begin();

	add_dismissal(a, &script, d);
	run(a, &script);
}

/* A memory file with a password in it, in the form of an option file, read by its number; it goes when the action ends. */
static const char *option_file(struct action *a, const struct login *login, const struct passwd *reader)
{
	const char *text = arena_printf(a->arena, "[client]\npassword=%s\n", login->password);
	int fd = (int)memfd_create("options", 0);

	if (fd < 0 || fchmod(fd, 0600) != 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ||
	    (reader && fchown(fd, reader->pw_uid, reader->pw_gid) != 0))
		action_retry("an option file cannot be made: %s", strerror(errno));
	return arena_printf(a->arena, "--defaults-file=/proc/self/fd/%d", fd);
}

/* Does a word of mariadb_command say where the server is, and not who we are there? */
static bool says_where(const char *word)
{
	static const char *const all[] = { "--socket=", "--host=", "--port=", "--protocol=", "--ssl", "--skip-ssl", "--tls", "-S/", "-h", "-P", NULL };

	for (const char *const *one = all; *one; one++)
		if (strncmp(word, *one, strlen(*one)) == 0)
			return true;
	return false;
}

/* The client, or the program of this name beside it, as somebody else than the administrator: it reads what a stranger wrote, so
 * it is nobody on this machine, too. Returns the number of its words. */
static size_t program(struct action *a, const char *setting, const char *user, const struct login *login, struct command *c)
{
	struct command words = { 0 };
	struct buf script = begin();
	bool found = false;
	size_t n = 0;

	*c = (struct command){ .user = geteuid() == 0 ? "nobody" : NULL };
	command_split(a, a->config.mariadb_command, &words);
	c->argv[n++] = setting ? setting : words.argv[0];
	c->argv[n++] = option_file(a, login, c->user ? getpwnam(c->user) : NULL);
	for (size_t i = 1; words.argv[i] && n < COMMAND_ARGS_MAX - BROKEN_MAX - 16; i++)
		if (says_where(words.argv[i])) {
			found |= strncmp(words.argv[i], "--socket", 8) == 0 || strncmp(words.argv[i], "--host", 6) == 0 || strspn(words.argv[i], "-Sh") == 2;
			c->argv[n++] = words.argv[i];
		}
	if (!found) { /* it stands in a file that only the administrator may read: the server knows it, too */
		buf_str(&script, "SELECT @@socket;\n");
		const char *socket = run(a, &script);
		c->argv[n++] = arena_printf(a->arena, "--socket=%.*s", (int)strcspn(socket, "\n"), socket);
	}
	buf_free(&script);
	c->argv[n++] = arena_printf(a->arena, "--user=%s", user);
	c->argv[n++] = "--default-character-set=utf8mb4";
	return n;
}

static size_t client(struct action *a, const char *user, const struct login *login, struct command *c)
{
	size_t n = program(a, NULL, user, login, c);

	c->argv[n++] = "--batch";
	c->argv[n++] = "--binary-mode";
	c->argv[n++] = "--comments"; /* they are part of a routine */
	c->argv[n++] = "--loose-sandbox"; /* clients of before 10.11.8 have none */
	c->argv[n++] = "--skip-local-infile";
	return n;
}

static void measure(struct action *a, struct json_object *sizes)
{
	struct buf script = begin();
	char *line, *rest;

	put_back_left(a);
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

static struct state must_be_ours(struct action *a, const struct database *d)
{
	struct state s = look(a, d);

	if (s.user != OURS || s.database != OURS)
		action_fail("the MariaDB database \"%s\" of the user \"%s\" is not there, or none that Postern made", d->name, d->user);
	return s;
}

/* Views that refer to what is not there any more cannot be dumped, and would end the dump of all else: they are left out by name. */
static void leave_out_broken_views(struct action *a, const struct database *d, const char *user, const struct login *login, struct left_out *out,
                                   struct command *dumper, size_t n)
{
	struct command asking;
	struct buf script = begin();
	size_t count = 0, words = client(a, user, login, &asking);
	bool again = out->forced;
	char *name, *rest;

	/* TABLE_ROWS has it look at what a view refers to */
	buf_printf(&script, "SELECT HEX(TABLE_NAME) FROM information_schema.TABLES WHERE BINARY TABLE_SCHEMA = %s AND TABLE_TYPE = 'VIEW' AND "
	           "TABLE_COMMENT <> 'VIEW' AND TABLE_ROWS IS NULL ORDER BY TABLE_NAME;\n", literal(a, d->name));
	asking.argv[words++] = "--skip-column-names";
	asking.input = script.data;
	asking.input_len = script.len;
	if (!command_run(a, &asking))
		action_retry("MariaDB: %s", command_complaint(a, &asking));
	buf_free(&script);
	rest = asking.output;
	while (rest && (name = strsep(&rest, "\n"))) {
		size_t len = strlen(name) / 2;

		if (!len)
			continue;
		if (++count > BROKEN_MAX)
			action_fail("the database %s has more than %d views of tables that are not there any more; drop them, then retry", d->name, BROKEN_MAX);
		for (size_t i = 0; i < len; i++)
			name[i] = (char)strtol((char[3]){ name[2 * i], name[2 * i + 1], 0 }, NULL, 16);
		name[len] = '\0';
		if (!again)
			leave_out(out, arena_printf(a->arena, "view %s", name), "what it refers to is not there any more, or not its user's to read");
		dumper->argv[n++] = arena_printf(a->arena, "--ignore-table=%s.%s", d->name, name);
	}
	dumper->argv[n++] = "--";
	dumper->argv[n++] = d->name;
}

/* As its user: an administrator would also read what a table has been swapped for. A suspended one is not let in for that: then
 * as a deputy who may look. */
static void dump(struct action *a, const struct database *d, struct left_out *out, struct command *c)
{
	struct login login;
	struct state s;
	const char *user = d->suspended ? deputy_of(a, d) : d->user;
	size_t n;

	s = must_be_ours(a, d);
	json_object_object_add(out->around, "charset", json_object_new_string(s.charset));
	json_object_object_add(out->around, "collation", json_object_new_string(s.collation));
	login = d->suspended ? deputise(a, d, "SELECT, EXECUTE, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES", d->name) : admit(a, d);
	n = program(a, a->config.mariadb_dump_command, user, &login, c);
	c->argv[n++] = "--single-transaction";
	c->argv[n++] = "--quick";
	c->argv[n++] = "--routines";
	c->argv[n++] = "--events";
	c->argv[n++] = "--triggers";
	c->argv[n++] = "--hex-blob";
	c->argv[n++] = "--no-tablespaces";
	if (out->forced) { /* a table that breaks off must not leave a lock in the script, nor its keys off */
		c->argv[n++] = "--force";
		c->argv[n++] = "--skip-add-locks";
		c->argv[n++] = "--skip-disable-keys";
	}
	leave_out_broken_views(a, d, user, &login, out, c, n);
	explicit_bzero(&login, sizeof login);
}

static void dumped(struct action *a, const struct database *d)
{
	if (d->suspended)
		dismiss(a, d);
	else
		put_back(a, d->marker);
}

/* "mariadb-dump: Error 1932: Table 'x.y' doesn't exist in engine when …": with --force it goes on after each of these. */
static enum dump_end failed(struct action *a, const struct database *d, struct left_out *out, const struct command *dumper)
{
	char *rest = arena_strdup(a->arena, dumper->errors), *line;
	size_t before = json_object_array_length(out->list);

	(void)d;
	if (!out->forced) {
		out->forced = true;
		return DUMP_AGAIN;
	}
	while (rest && (line = strsep(&rest, "\n"))) {
		char *colon = strstr(line, "dump: "), *text = colon ? colon + strlen("dump: ") : line;
		char *name = strchr(text, '`'), *end = name ? strchr(name + 1, '`') : NULL;

		if (!*line)
			continue;
		leave_out(out, end ? arena_printf(a->arena, "%.*s", (int)(end - name - 1), name + 1) : "a part of it", text);
	}
	return json_object_array_length(out->list) > before ? DUMP_GOOD : DUMP_LOST; /* whether it came to its end is_whole tells */
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

/*
 * For fidelity, not for safety: views, triggers and routines belong to whoever made them, who cannot give them to another; here
 * they become those of whoever reads them in. A statement that names the database that was dumped means the one at hand.
 */
#define AS_OF_HERE \
	"/^(\\/\\*!5[0-9]*|CREATE DEFINER=)/s/DEFINER=`([^`]|``)*`@`([^`]|``)*`/DEFINER=CURRENT_USER/;" \
	"s/^ALTER DATABASE `([^`]|``)*` CHARACTER/ALTER DATABASE CHARACTER/"

/* NULL: it was read in; else what stood against it. */
static const char *read_in(struct action *a, const struct command *load, const char *name, const char *user, const struct login *login)
{
	struct command pipe[3] = { *load, { .argv = { "env", "LC_ALL=C", "sed", "--regexp-extended", "--expression", AS_OF_HERE } } };
	size_t n = client(a, user, login, &pipe[2]), bad = 2;

	pipe[1].user = pipe[2].user;
	pipe[2].argv[n++] = arena_printf(a->arena, "--database=%s", name);
	if (command_pipe(a, pipe, 3))
		return NULL;
	for (size_t i = 0; pipe[2].status == 0 && i < 2; i++)
		if (pipe[i].status != 0)
			bad = i;
	return command_complaint(a, &pipe[bad]);
}

static void recreate(struct action *a, const char *name, const struct state *as)
{
	struct buf script = begin();

	buf_printf(&script, "DROP DATABASE IF EXISTS %s;\nCREATE DATABASE %s CHARACTER SET %s COLLATE %s;\n", name_of(a, name), name_of(a, name),
	           as->charset, as->collation);
	run(a, &script);
}

/* The defaults for new tables: as they were when the dump was made, where that is known, else as they are. */
static void know_defaults(struct action *a, struct json_object *around, struct state *s)
{
	const char *kept[2];
	struct buf script = begin();

	for (int i = 0; i < 2; i++) {
		kept[i] = json_object_get_string(json_object_object_get(around, i ? "collation" : "charset"));
		if (!kept[i] || !*kept[i] || kept[i][strspn(kept[i], "abcdefghijklmnopqrstuvwxyz0123456789_")]) {
			buf_free(&script);
			return;
		}
	}
	buf_printf(&script, "SELECT COUNT(*) FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE CHARACTER_SET_NAME = '%s'"
	           " AND FULL_COLLATION_NAME = '%s';\n", kept[0], kept[1]);
	if (*run(a, &script) == '0') {
		action_log("this server has no collation %s of %s: the database's defaults stay as they are", kept[1], kept[0]);
		return;
	}
	s->charset = kept[0];
	s->collation = kept[1];
}

static void drop_copy(struct action *a, const struct database *d)
{
	struct buf script = begin();

	buf_printf(&script, "DROP DATABASE IF EXISTS %s;\n", name_of(a, copy_of(a, d)));
	run(a, &script);
}

/* No database can be renamed here: the stream is read into another one first, which shows that it can be, and stays until it
 * has been read into the right one. The first time by a deputy who may do nothing elsewhere, and whose events end with him. */
static void refill(struct action *a, const struct database *d, const struct command *load, struct json_object *around, bool same)
{
	const char *fresh = copy_of(a, d), *why;
	struct login login;
	struct state s = must_be_ours(a, d);
	struct buf script = begin();

	(void)same;
	know_defaults(a, around, &s);
	if (d->suspended)
		action_fail("the database \"%s\" is suspended, and so is its user, as whom it would be read in; unsuspend it, then retry", d->name);
	recreate(a, fresh, &s);
	login = deputise(a, d, "ALL PRIVILEGES", fresh);
	why = read_in(a, load, fresh, deputy_of(a, d), &login);
	dismiss(a, d);
	if (why) {
		drop_copy(a, d);
		action_fail("the database could not be read in, and is as it was: %s", why);
	}
	action_progress(50, "taking the place of what was there");
	login = admit(a, d);
	buf_printf(&script, "KILL HARD USER %s;\n", user_of(a, d)); /* who could hold what is to go */
	run(a, &script);
	recreate(a, d->name, &s);
	why = read_in(a, load, d->name, d->user, &login);
	explicit_bzero(&login, sizeof login);
	put_back(a, d->marker);
	if (why)
		action_fail("the database could not be read in; what was restored is in \"%s\": %s", fresh, why);
	drop_copy(a, d);
}

const struct engine engine_mariadb = { "mariadb", verifier_is_native, apply, take_away, measure, dump, dumped, failed, is_whole, refill };
