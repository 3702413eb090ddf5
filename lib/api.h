/*
 * api.h: what a resource is: fields and routes as data. A file in cgi/ includes this, fills the two tables and ends with
 * POSTERN_RESOURCE(name); nothing else needs to know it. Everything is read from the tables: routing, checks, input
 * validation, filters and sorting, row to JSON, audit, the API description, the CLI, the web server's route lists.
 *
 * The SQL side is a schema of the resource's name with a view `item` whose columns are the fields (write-only ones left
 * out) in this order, then `version`; and a function per write operation (sql/functions/endpoint.sql tells its contract).
 */
#ifndef POSTERN_API_H
#define POSTERN_API_H
#include <stdbool.h>
#include <stddef.h>

struct config;
struct json_object;
struct request;

enum field_type {
	F_NONE = 0,
	F_INT,       /* 64 bit; bounds min..max when max > 0 */
	F_BOOL,
	F_TEXT,      /* UTF-8 without control characters; characters min..max (max 0: 200) */
	F_ENUM,      /* one of .choices, space-separated */
	F_NAME,      /* 1 to 50 of A-Z a-z 0-9 - _ */
	F_SLUG,      /* 1 to 50 of a-z 0-9 - _, starting with a letter */
	F_USERNAME,  /* Unix user name: a-z or _, then a-z 0-9 _ -; at most 32 */
	F_PEM,       /* PEM blocks: printable ASCII in lines, at most 64 KiB; the CLI takes a file's name */
	F_HOSTNAME,  /* stored as A-label */
	F_UNICODE,   /* output only: the A-label in the row, shown as U-label */
	F_EMAIL,
	F_MAILBOX,   /* address whose mail is kept here: lower case, host as A-label; min 0: "@example.org" is one, too */
	F_PATH,      /* absolute, no "." or ".." part, no double slash */
	F_TIMESTAMP, /* RFC 3339 */
	F_DATE,      /* input only: YYYY-MM-DD */
	F_UUID,
	F_OBJECT_ID, /* output only: an object's id, of whatever resource, as a number where it is one, else as a text */
	F_ADDRESS,   /* IPv4 or IPv6 */
	F_CIDR_LIST, /* list of blocks, at most max (0: 100) */
	F_SCOPE_LIST,/* list of scopes, normalised to resource:verb, at most max (0: 200) */
	F_UUID_LIST,
	F_EMAIL_LIST,/* list of addresses, hosts as A-labels, at most max (0: 100) */
	F_HOSTNAME_LIST, /* stored as A-labels, at most max (0: 100) */
	F_PORT_LIST, /* numbers from 1 to 65535, at most max (0: 100) */
	F_JSON       /* a JSON value: shown as PostgreSQL made it; what is given, prepare or SQL must judge */
};

enum field_flag {
	F_CREATE    = 1 << 0,  /* may be given at creation */
	F_CHANGE    = 1 << 1,  /* may be given to PUT and PATCH */
	F_INPUT     = F_CREATE | F_CHANGE,
	F_REQUIRED  = 1 << 2,  /* must be given at creation (and to PUT) */
	F_NULLABLE  = 1 << 3,  /* null is a value */
	F_SORT      = 1 << 4,  /* sortable: the column is never null */
	F_FILTER    = 1 << 5,  /* a query parameter of this name filters */
	F_SEARCH    = 1 << 6,  /* `search` looks here */
	F_SECRET    = 1 << 7,  /* masked in audit rows, never shown */
	F_ADMIN     = 1 << 8,  /* only an administrator may give it */
	F_WRITEONLY = 1 << 9,  /* input without a column in the view */
	F_LOCAL     = 1 << 10, /* may be given at creation by the operator's CLI only (imports) */
	F_CLAIM     = 1 << 12, /* a host name that the account gets for itself: reserved ones and public suffixes are not a tenant's to have */
	F_MAYBE_NULL = 1 << 11, /* an object may show null, though null cannot be given */
	F_ANY        = 1 << 13, /* its filter takes "*" for any value but null; the command's option may go without a value then */
	F_EXAMPLE    = 1 << 14  /* stands in the command's example of creation though it may be left out by others */
};

struct field {
	const char *name;
	enum field_type type;
	unsigned flags;
	const char *about;         /* one line, for people and the API description */
	long long min, max;
	const char *choices;       /* F_ENUM */
	const char *spelling;      /* another name under which it is read ("rateLimitRpm"), or NULL */
	const char *example;       /* JSON text for the API description, or NULL */
};

/* Who holds what was done to an object (sql/functions/12_holds.sql): a tenant neither takes it back nor deletes the object. */
#define HELD_BY(what) \
	{ "held_by", F_ENUM, F_FILTER | F_MAYBE_NULL, \
	  "administrator: one " what "; only an administrator lifts that, or deletes the object. null: nobody holds it", \
	  .choices = "administrator" }

/* What holds data is deleted only with its name said (sql/functions/13_loss.sql). */
#define CONFIRM(one, name, like) \
	{ "confirm", F_TEXT, F_INPUT, "The " name " of the " one ", as a proof that the loss of what it holds is meant; " \
	  "with dry_run=true the answer lists all that would go", .max = 320, .example = "\"" like "\"" }

enum method { M_NONE = 0, M_GET, M_HEAD, M_POST, M_PUT, M_PATCH, M_DELETE, M_OPTIONS, M_OTHER };
enum role { ROLE_NONE = 0, VIEWER, CUSTOMER, ADMIN };
enum bucket { RATE_NONE = 0, RATE_CALL, RATE_ACTION };

/* The scope of a route that takes none: every valid token may call it. */
#define SCOPE_NONE "-"

enum verb {
	DO_NOTHING = 0,
	DO_LIST,     /* rows of the view */
	DO_GET,      /* one row by id */
	DO_READ,     /* a document from function `call` or `document`, no id */
	DO_EXPORT,   /* all rows that the list's filters find, as lines of `output`, written as they are read */
	DO_CREATE,   /* the rest change something, by function `call` */
	DO_REPLACE,
	DO_PATCH,
	DO_DELETE,
	DO_ACTION,   /* on one object; answers with its row */
	DO_CALL      /* on no or one object; answers with a document */
};

enum route_flag {
	R_OWN       = 1 << 0,  /* about the caller itself: needs no account */
	R_NO_WILD   = 1 << 1,  /* only an administrator's "*" implies its scope, no "resource:*" */
	R_OPEN_TOO  = 1 << 2,  /* answers without a token as well, and with any: a document, or a short form */
	R_CREATES   = 1 << 3,  /* an action that answers 201 */
	R_SHOW_ONCE = 1 << 4,  /* the answer holds a secret: Cache-Control: no-store, not kept for replays */
	R_JOB       = 1 << 5,  /* answers 202 with the job that it asked for */
	R_LISTED    = 1 << 6,  /* answers the addresses of the setting metrics_addresses without a token, too, by the schema's open() */
	R_GRANTS    = 1 << 7   /* gives or takes away what others may: not with a key that was superseded by a rotation */
};

struct route {
	enum method method;
	const char *path;          /* below the resource: "", "/{id}", "/{id}/suspend", "/revoke"; ".json": below /api/ only */
	const char *operation_id;  /* "createDomain" */
	const char *scope;         /* "domains:write" or SCOPE_NONE */
	enum role role;            /* the least role */
	enum bucket bucket;
	const char *audit;         /* "domain.create" */
	enum verb does;
	const char *call;          /* function in the resource's schema; NULL for DO_LIST, DO_GET and with `document` */
	const char *summary;       /* imperative, one line */
	unsigned flags;
	const struct field *input; /* body of an action; NULL: none (CREATE, REPLACE and PATCH use the resource's fields). EXPORT, document: parameters */
	/* Last word on a checked body of an admitted request, before SQL sees it: 0, or -1 after request_fail(). May be NULL. */
	int (*prepare)(struct request *, struct json_object *body);
	const char *adds;          /* the members that prepare adds to the body, space-separated; the database takes no others */
	/* Last word on the document that SQL made for CALL or READ: adds what only C knows. 0, or -1: no answer without it. May be NULL. */
	int (*tell)(struct request *, struct json_object *document);
	const struct field *output;/* what CALL or READ answers with; NULL: READ the resource's fields, CALL any object. EXPORT: a line */
	const char *once;          /* R_SHOW_ONCE: the member that holds the secret */
	/* READ: what it answers, made by the program by the parameters `input` and constant while it runs; NULL: out of memory. */
	const char *(*document)(const struct request *);
	const char *type;          /* the document is answered bare, as this media type; one of SQL's is then a JSON string, its text */
};

/* The columns "does, call" of a route. */
#define LIST       DO_LIST, NULL
#define GET        DO_GET, NULL
#define READ(fn)   DO_READ, fn
#define EXPORT     DO_EXPORT, NULL
#define CREATE     DO_CREATE, "create"
#define REPLACE    DO_REPLACE, "update"
#define PATCH      DO_PATCH, "update"
#define DELETE     DO_DELETE, "delete"
#define ACTION(fn) DO_ACTION, fn
#define CALL(fn)   DO_CALL, fn

struct resource {
	const char *name;          /* "domains": path, schema, binary, socket, CLI group */
	const char *one;           /* "domain": singular, for messages and the CLI */
	const char *alias;         /* another path name, or NULL */
	const char *about;         /* one sentence */
	const struct field *fields;/* ended by a zero row */
	const struct route *routes;/* ended by a zero row */
	const char *sort;          /* default sort field, default "id" */
	bool newest_first;         /* default order is descending */
	bool cursor_only;          /* no pages, no total */
	bool feed;                 /* it grows at its end: next_cursor is given there too, for what is to come */
	const char *key;           /* a unique field that /{id} takes too, or NULL */
	/* What this program knows and the database does not: handed to the schema's learn(jsonb, boolean) by each new connection
	 * (false), and by `postern migrate`, whose list is the whole one (true). May be NULL. */
	struct json_object *(*knows)(const struct config *);
	const char *shows;         /* where its lists leave out rows by the token's other scopes: which they hold, told where none is; or NULL */
	const char *scope_too;     /* a further scope that its SQL asks administrators for, or NULL */
};

/* Every resource linked into a program, in no order: one in a binary of cgi/, all in the CLI. */
extern const struct resource *const __start_postern_resources[];
extern const struct resource *const __stop_postern_resources[];
#define POSTERN_RESOURCE(r) \
	static const struct resource *const r##_entry __attribute__((section("postern_resources"), used)) = &(r)

/*
 * What a prepare function may do with its request: say no, or add what only C can make.
 * request_fail: code is an enum error_code; field NULL for the whole body. Texts are copied. Returns -1.
 */
int request_fail(struct request *, int code, const char *field, const char *message);
/* What is the matter with `field` is told of `as`: its value was given under that name, a string that stays. */
void request_given_as(struct request *, const char *field, const char *as);
/* Show `value` once in the answer's object as `name`; wiped afterwards; never logged, audited or kept. */
int request_show_once(struct request *, const char *name, const char *value);
/* The {id} of its path, as it was sent; or NULL. */
const char *request_object(const struct request *);
/* The settings in force, and the peppers of this program. */
const struct config *request_config(const struct request *);
const struct peppers *request_peppers(const struct request *);
#endif
