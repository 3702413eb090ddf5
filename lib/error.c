/* error.c: the error catalogue. */
#include "error.h"

#include <stddef.h>

/* Exit codes of the CLI. */
enum { FAILED = 1, NOT_FOUND = 3, CONFLICT = 4, REFUSED = 5, UNREACHABLE = 6, INVALID = 7 };

static const struct error_info catalogue[ERR_COUNT] = {
	[ERR_INTERNAL] = { "internal_error", 500, FAILED, "Internal error",
		"Something went wrong on the server; nothing was changed.",
		"Try again; if it stays, give the request id to the operator, whose log has the cause.",
		"Try again; if it stays, the logs of PostgreSQL and of this command have the cause." },
	[ERR_BAD_REQUEST] = { "bad_request", 400, INVALID, "Bad request",
		"The request cannot be understood: its JSON, a query parameter or a header is malformed or unknown.",
		"Correct what the message or fields name and send the request again.",
		"Correct what is named and run the command again." },
	[ERR_UNAUTHORIZED] = { "unauthorized", 401, REFUSED, "Unauthorized",
		"No valid token was sent: it is missing, unknown, expired or revoked.",
		"Send a valid token as \"Authorization: Bearer <token>\".",
		"The operator's command needs no token: run it on the machine of the installation." },
	[ERR_FORBIDDEN] = { "forbidden", 403, REFUSED, "Forbidden",
		"The token is valid but may not do this: its scopes, role, deny list or allowed addresses refuse it.",
		"Use a token that may do it: the details say which scope, role or address it takes.",
		"Do what the message names first." },
	[ERR_NOT_FOUND] = { "not_found", 404, NOT_FOUND, "Not found",
		"There is no such object or route within the reach of this token.",
		"Check the path and the id; list the resource to see what is there.",
		"The list of the resource shows what is there." },
	[ERR_METHOD_NOT_ALLOWED] = { "method_not_allowed", 405, FAILED, "Method not allowed",
		"This path does not take this method.",
		"Use one of the methods in the Allow header.",
		"--help shows what can be done with it." },
	[ERR_NOT_ACCEPTABLE] = { "not_acceptable", 406, FAILED, "Not acceptable",
		"The answer cannot be given in a form that the Accept header allows.",
		"Accept application/json, or leave the header out.",
		"Ask for JSON." },
	[ERR_CONFLICT] = { "conflict", 409, CONFLICT, "Conflict",
		"The object exists already, or its present state forbids the change.",
		"Read the object, resolve what the message names, and try again.",
		"Resolve what the message names and run the command again." },
	[ERR_PRECONDITION_FAILED] = { "precondition_failed", 412, CONFLICT, "Precondition failed",
		"Somebody else changed the object since it was read.",
		"Read the object again and repeat the change with its new ETag.",
		"Look at the object again and repeat the change." },
	[ERR_PAYLOAD_TOO_LARGE] = { "payload_too_large", 413, INVALID, "Payload too large",
		"The body is larger than this server takes.",
		"Send a smaller body, in several requests if need be.",
		"Give less at once." },
	[ERR_UNSUPPORTED_MEDIA_TYPE] = { "unsupported_media_type", 415, INVALID, "Unsupported media type",
		"The body is not of a type that this route reads.",
		"Send JSON with \"Content-Type: application/json\".",
		"Give JSON." },
	[ERR_VALIDATION] = { "validation_error", 422, INVALID, "Validation failed",
		"The body is readable, but fields in it are missing, unknown or have values that cannot be taken.",
		"Correct the fields that are named and send the request again.",
		"Correct what is named and run the command again." },
	[ERR_RATE_LIMITED] = { "rate_limited", 429, REFUSED, "Too many requests",
		"The limit of requests for this token or address is used up.",
		"Wait for as many seconds as the Retry-After header says.",
		"Wait a minute and run the command again." },
	[ERR_UNAVAILABLE] = { "unavailable", 503, UNREACHABLE, "Service unavailable",
		"The database cannot be reached or cannot record the request, so nothing was answered or changed.",
		"Try again after as many seconds as the Retry-After header says.",
		"Try again when PostgreSQL can be reached; postern doctor finds out why it cannot." },
};

const struct error_info *error_info(enum error_code code)
{
	return &catalogue[(unsigned)code < ERR_COUNT ? code : ERR_INTERNAL];
}

enum error_code error_from_status(int http_status)
{
	for (size_t i = 0; i < ERR_COUNT; i++)
		if (catalogue[i].status == http_status)
			return (enum error_code)i;
	switch (http_status) {
	case 414: /* URI too long */
	case 431: /* header fields too large */
	case 505: /* HTTP version */
		return ERR_BAD_REQUEST;
	case 502:
	case 504:
		return ERR_UNAVAILABLE;
	default:
		return ERR_INTERNAL;
	}
}
