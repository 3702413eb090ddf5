/*
 * request.h: one request on its way, from the web server (or the CLI) to the answer. Internal to lib/.
 * Strings live in the request's arena or are constants; nothing is freed singly.
 */
#ifndef POSTERN_REQUEST_H
#define POSTERN_REQUEST_H
#include <json-c/json.h>
#include <stdint.h>

#include "address.h"
#include "api.h"
#include "arena.h"
#include "buf.h"
#include "config.h"
#include "error.h"
#include "token.h"

enum dialect { DIALECT_PLAIN = 0, DIALECT_ENVELOPE };

/* What went wrong, for the caller and the trail. `set` false: nothing did. */
struct failure {
	bool set;
	enum error_code code;
	const char *message;       /* NULL: the catalogue's title */
	const char *details;       /* or NULL */
	const char *reason;        /* word for the trail; NULL: the code */
	struct json_object *fields;/* name -> text, or NULL; put at arena reset */
};

/* Query parameters as checked. */
struct query {
	long long page;            /* 1.. ; 0: a cursor was given */
	int per_page;
	const char *sort;          /* a sortable field */
	bool descending;
	bool ordered;              /* sort or order differ from the resource's default */
	const char *search;
	const char *since, *until; /* canonical timestamps */
	struct json_object *filter;/* field -> list of texts, or NULL */
	const char *cursor;        /* as sent */
	bool dry_run, cascade;
	struct json_object *input; /* of a DELETE, whose body some clients cannot send; or NULL */
};

/* What an opened cursor holds. */
struct position {
	const char *value;         /* of the sort field, in the last row seen; NULL when sorted by id */
	const char *id;
	const char *bound;         /* the account it is bound to */
};

enum credential { CREDENTIAL_NONE = 0, CREDENTIAL_TWO, CREDENTIAL_BAD, CREDENTIAL_TOKEN };

/* What the gate said about the caller. Zero grants nothing. */
struct caller {
	bool admitted;
	bool recognised;           /* the token is one of ours: rate headers are due */
	bool local;                /* the operator's CLI */
	int rank;
	int64_t account_id;
	int rate_limit, remaining;
	int64_t reset_at_s;
	int64_t ticket;            /* of an admitted request whose row in the trail is still to come; 0: none */
	const char *held;          /* scopes, comma-separated, on 403 */
};

struct request {
	struct arena *arena;
	const struct config *config;
	int settings_number;       /* of the settings that this is */
	const struct peppers *peppers;
	const struct resource *resource;
	const struct route *route;
	unsigned allowed;          /* methods of the path, 1 << enum method */
	enum method method;        /* HEAD is kept; the route is GET's */
	const char *method_name;
	const char *uri;           /* path and query as sent, bounded */
	const char *path;          /* path alone */
	const char *base;          /* path up to the resource's name and .php, for Location */
	const char *query_text;
	enum dialect dialect;
	bool admin_path;
	bool wants_problem;
	bool open;                 /* answers without a token, too: whoever is not let in is answered as nobody is */
	bool php;
	bool id_in_query;          /* what its path lacks was given as ?id= */
	const char *id;
	char request_id[37];
	char address[ADDRESS_TEXT_MAX];
	bool insecure;             /* over plain HTTP from elsewhere */
	const char *user_agent;
	const char *malformed;     /* what of it is not UTF-8, for people ("the query", "If-Match"); NULL: all is, or may be so */
	int wait_s;                /* Prefer: wait; 0: not asked for */
	bool waited;
	const char *if_match, *if_none_match, *accept, *content_type, *content_encoding, *idempotency_key;
	enum credential credential;
	char key_id[TOKEN_KEY_ID_LEN + 1];
	unsigned char digest[TOKEN_DIGEST_LEN * TOKEN_PEPPERS_MAX];
	size_t digest_len;
	const char *body_text;
	size_t body_len;
	bool body_too_large;
	bool encoded;              /* the body has a Content-Encoding */
	struct json_object *body;  /* as checked; put at arena reset */
	const char *admin_field;   /* a given field that only administrators may set, or NULL */
	const char *admin_why;     /* why so, where it is its value; or NULL */
	struct { const char *field, *as; } given_as[4]; /* fields whose value was given under another name */
	const char *secrets[8];    /* secret fields that were given, for the trail */
	size_t secret_count;
	struct query query;
	struct position position;
	struct failure failure;
	struct caller caller;
	const char *once_name;     /* show-once value: in the answer, nowhere else */
	char once_value[256];
	int64_t begin_us;
};

/* Where lines go as they are made. Both answer false when nobody takes them any more. */
struct sink {
	bool (*write)(void *to, const char *data, size_t len);
	bool (*step)(void *to, int64_t rows); /* so many were written: show them */
	void *to;
};

struct service;

/* An answer, complete before its first byte leaves, unless it has a `stream`. */
struct reply {
	int status;
	struct buf head;           /* header lines, each ended by CRLF, without Status and Content-Length */
	struct buf body;
	bool no_body;              /* 204, 304, HEAD: what `body` holds is not sent */
	char etag[40];             /* of the data, not of timestamp or request id; quoted; "" where there is none */
	/* Writes the body of a good answer, in place of `body`; false: it was cut, and the peer must see that. Or NULL. */
	bool (*stream)(struct service *, struct request *, const struct sink *);
};

/* Say no. `code` is an enum error_code. Only the first failure counts; fields of further ones with the same code add up. */
int request_failf(struct request *, enum error_code code, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int64_t request_elapsed_us(const struct request *);
#endif
