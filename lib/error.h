/*
 * error.h: the error catalogue: one row per code with HTTP status, CLI exit code, title, meaning and remedy.
 * Codes are the contract's (section 2); every error a caller or operator sees comes from here.
 */
#ifndef POSTERN_ERROR_H
#define POSTERN_ERROR_H

enum error_code {
	ERR_INTERNAL = 0, /* zero is never yes */
	ERR_BAD_REQUEST,
	ERR_UNAUTHORIZED,
	ERR_FORBIDDEN,
	ERR_NOT_FOUND,
	ERR_METHOD_NOT_ALLOWED,
	ERR_NOT_ACCEPTABLE,
	ERR_CONFLICT,
	ERR_PRECONDITION_FAILED,
	ERR_PAYLOAD_TOO_LARGE,
	ERR_UNSUPPORTED_MEDIA_TYPE,
	ERR_VALIDATION,
	ERR_RATE_LIMITED,
	ERR_UNAVAILABLE,
	ERR_COUNT
};

struct error_info {
	const char *code;    /* "not_found" */
	int status;          /* HTTP status */
	int exit_code;       /* of the CLI: contract section 8 */
	const char *title;   /* constant per code, for RFC 9457 and as default message */
	const char *meaning; /* one sentence */
	const char *remedy;  /* one sentence: what to do next */
	const char *command_remedy; /* the same for who uses the command, to whom HTTP's words mean nothing */
};

const struct error_info *error_info(enum error_code); /* never NULL; out of range is ERR_INTERNAL */
enum error_code error_from_status(int http_status);   /* nearest; unknown ones are ERR_INTERNAL */
#endif
