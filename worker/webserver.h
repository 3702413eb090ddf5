/*
 * webserver.h: files that a web server reads, changed together: put in place atomically, tested by the server itself, loaded,
 * served to whoever asks, and all of them taken back where it objects before it has loaded them. One change of a server is under way at a time; what one that
 * was killed left behind is taken back by the next.
 */
#ifndef POSTERN_WEBSERVER_H
#define POSTERN_WEBSERVER_H
#include "action.h"
#include "template.h"

struct webserver {
	const char *name;               /* nginx, apache */
	const char *sites_dir;
	const char *test, *reload;      /* command lines */
	const char *listen, *listen_tls;/* addresses with ports, separated by spaces */
};
/* By name, from the settings. Fails the action where there is no such server. */
struct webserver webserver_find(struct action *, const char *name);
/* A setting with addresses, split. Returns how many. */
enum { WEBSERVER_LISTEN_MAX = 16 };
size_t webserver_places(struct action *, const char *listen, const char *places[WEBSERVER_LISTEN_MAX]);

/* First line of what Postern writes: a file of that place without it is somebody else's. */
#define WEBSERVER_MARK "# Managed by Postern: what is changed here is lost with the next change of the website.\n"

/* Ends the action, to be tried until that is mended, where the server refuses what is there already. */
void webserver_check(struct action *, const struct webserver *);

struct webserver_file {
	const char *path;      /* absolute; its folder exists */
	const char *bytes;     /* NULL: the file goes */
	size_t len;
	mode_t mode;
	const char *mark;      /* what is there is replaced or removed only where it begins with this; NULL: whatever it is */
	bool stays;            /* it takes something away (a suspension, a removal): it stays in place whatever else is in the way */
};
enum { WEBSERVER_FILES_MAX = 8 };

/* All of them, tested, loaded and answering every request from now on, or none. Does nothing where all are as they should be. Ends the
 * action, with the server's own message, where they cannot be: everything is then as it was before, but for what stays. Where the server
 * refuses what was there before, too, or does not read the folder of sites, the action waits for that to be mended. What the server was
 * told of is in place for good, as it may be loaded at any moment: where it is not answered by yet the action is tried again. */
void webserver_change(struct action *, const struct webserver *, const struct webserver_file *, size_t count);

/* The file's bytes: the mark, a comment ("" or whole lines), and a template of this server filled in. They live as long as the action. */
void webserver_fill(struct action *, const struct webserver *, struct webserver_file *, const char *comment, const char *name,
                    const struct template_value *, size_t count);
#endif
