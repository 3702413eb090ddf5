/*
 * cli.h: what the commands of `postern` share: the invocation, its exit codes, its messages.
 * Data goes to stdout, messages to stderr; every function that reports an error returns the exit code to end with.
 */
#ifndef POSTERN_CLI_H
#define POSTERN_CLI_H
#include "config.h"
#include "local.h"
#include "option.h"
#include <stdbool.h>
#include <stddef.h>

#ifndef POSTERN_VERSION
#define POSTERN_VERSION "0.1.0"
#endif

/* A promise (contract section 8); answers of the API map to them by lib/error.h. */
enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED,
	CLI_USAGE,
	CLI_NOT_FOUND,
	CLI_CONFLICT,
	CLI_REFUSED,
	CLI_UNREACHABLE,
	CLI_INVALID
};

struct cli {
	const char *config_path; /* --config, or NULL for the usual place */
	bool json, quiet, help, version;
	bool config_loaded;
	struct config config;
	struct local *local;
};

/* The settings, read on first use. NULL after an error message: end with CLI_FAILED. */
const struct config *cli_config(struct cli *);
/* The local caller, opened on first use. NULL after an error message: end with CLI_FAILED. */
struct local *cli_local(struct cli *);

/* A message for people, on stderr; not with --quiet. */
void cli_note(const struct cli *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Whether --json was given: errors are JSON as well. */
bool cli_wants_json(void);
/* "postern: …" on stderr, control characters made harmless; with --json {"error":{"code","message","details"}}. Returns `code`. */
int cli_error(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* PostgreSQL's word that it is starting or shutting down, told from other reasons why it cannot be reached. */
bool cli_in_between(const char *why);
/* PostgreSQL cannot be reached: libpq's reason, and what to do; NULL: nothing more. Returns CLI_UNREACHABLE. */
int cli_unreachable(const char *why, const char *remedy);
/* A usage error: an unknown word, the nearest of the `n` known ones, and where to read on. Returns CLI_USAGE. */
int cli_unknown(const char *what, const char *word, const char *const *known, size_t n, const char *help);

/* A command that is no resource. */
struct command {
	const char *name;
	int (*run)(struct cli *, int argc, char **argv); /* argv[0] is the command's name */
	const char *usage;            /* what follows "postern" */
	const char *about;            /* one sentence */
	const struct option *options; /* ended by a nameless row */
	const char *more;             /* a paragraph of help, or NULL */
	const char *examples;         /* one a line, without "postern " */
};

extern const struct command *const commands[]; /* by name, ended by NULL */
const struct command *command_find(const char *name);
/* "verify" of the command "audit verify" where that is the resource's; else NULL. */
const char *command_verb(const struct command *, const struct resource *);

extern const struct command command_audit_rotate_key;
extern const struct command command_audit_verify, command_completion, command_config, command_doctor, command_help, command_import,
	command_init, command_migrate, command_openapi, command_release_audit, command_routes;

/* `postern <resource> …`; argv[0] is the resource's name as typed. */
int resource_run(struct cli *, const struct resource *, int argc, char **argv);
#endif
