/*
 * sites_reader.h: what the readers of web servers' configurations share. A reader walks directives and notes server
 * blocks and their names in a struct parser; sites_finish() then merges the blocks of one name and finds which names
 * belong together.
 */
#ifndef POSTERN_SITES_READER_H
#define POSTERN_SITES_READER_H
#include "sites.h"

#include "buf.h"
#include "hostname.h"

#define SITES_TEXT_MAX     (16u << 20) /* bytes read, all files together */
#define SITES_WORK_FACTOR  64u         /* bytes parsed per byte read: snippets are included many times */
#define SITES_FILES_MAX    20000u
#define SITES_INCLUDES_MAX 200000u     /* inclusions carried out */
#define SITES_DEPTH_MAX    64          /* blocks and includes within each other */
#define SITES_NAMES_MAX    65536u      /* server names, all blocks together */
#define SITES_WORDS_MAX    16384u      /* of one directive: a long server_name list */
#define SITES_LINE_MAX     (1u << 20)  /* bytes of one directive */
#define SITES_PATH_MAX     4096u

/* A path below a site that is served from another folder, or by another program. */
struct part {
	const char *path, *file;
	unsigned line;
	const char *folder;                     /* NULL: it is a proxy */
	struct part *next;
};

struct block {
	const char *file;
	unsigned line;
	size_t first_name, name_count;
	struct part *parts;                     /* the newest first */
	const char *root, *root_note;           /* of the server itself */
	const char *location_root, *location_note; /* of its "location /" */
	const char *nested_root, *nested_note;  /* of another location, where the server itself has none */
	enum site_kind backend;
	bool backend_is_root;                   /* named by "location /": has the last word */
	const char *redirect;
	bool redirects_all, redirects_root;     /* for all requests; for "location /" */
	bool refuses;                           /* answers nothing but an error */
	const char *certificate, *certificate_file;
	unsigned certificate_line;
	bool tls, listens;
	bool addressed;                         /* listens on addresses of its own, not on all */
	int ports[SITES_PORTS_MAX];
	size_t port_count;
	size_t main_site;                       /* index of the site that the block is about */
};

struct name {
	const char *text;                       /* A-label, or as written when it is skipped */
	const char *reason;                     /* why it is skipped; NULL: it is a domain */
	struct block *block;
	size_t at;                              /* its place in the configuration */
	size_t group;                           /* for the first of equal names: how many there are */
	size_t site;                            /* index of its site */
};

struct file {
	const char *path, *text;
	size_t len;
};

struct lexer {
	const char *file, *text;
	size_t len, pos;
	unsigned line, start;                   /* start: line of the directive's first word */
};

struct parser {
	struct arena *arena;
	struct sites *conf;
	void (*read)(struct parser *, struct lexer *, int place, struct block *); /* a whole file's directives */
	void *own;                              /* the reader's own */
	struct buf text;                        /* the words of the present directive, each with its NUL */
	size_t *word, word_count;
	bool words_dropped;
	struct file *files;                     /* sorted by path: sections of the text, or what was read so far */
	size_t file_count, file_room;
	const char *prefix;                     /* what relative includes begin with */
	bool on_disk;
	bool sections;                          /* the text has all files, each below a line with its name */
	size_t warning_room;
	size_t loaded, work, includes;
	const char *within[SITES_DEPTH_MAX];    /* files being read, to see cycles */
	int within_count, depth;
	struct name *names;
	size_t name_count, name_room;
	const char *default_root, *default_note; /* of blocks that name none */
	const char *default_certificate, *default_certificate_file;
	unsigned default_certificate_line;
	bool stopped, no_memory;
};

/* A parser for a text of `loaded` bytes, with its conf and room for words; NULL when out of memory. */
struct parser *sites_parser(struct arena *, size_t loaded);
/* The end: free the words and merge. NULL when out of memory. */
struct sites *sites_finish(struct parser *);

void sites_warn(struct parser *, const char *file, unsigned line, const char *what, const char *about);
void sites_stop(struct parser *, const struct lexer *, const char *why);
void *sites_need(struct parser *, void *memory);         /* stops the parser where it is NULL */
const char *sites_keep(struct parser *, const char *text);
bool sites_spend(struct parser *, size_t work);          /* false: it was too much */
const char *sites_word(const struct parser *, size_t i); /* "" behind the last */

/* A document root as the API takes it: absolute, no empty, "." or ".." part, no variable. Else NULL and *note. */
const char *sites_clean_root(struct parser *, const char *text, const char **note);
void sites_add_port(int *ports, size_t *count, int port);
/* Why a server name is no domain that could be imported; NULL when it is one, then `out` has its A-label. */
const char *sites_judge_name(const char *text, char out[HOSTNAME_MAX]);
/* `reason` is a literal: it is not copied. */
void sites_add_name(struct parser *, const struct lexer *, struct block *, const char *text, const char *reason);
bool sites_is_url(const char *text);
/* Does the text have this part, in whatever case? */
bool sites_mentions(const char *text, const char *part);
/* Does a pattern of a redirect mean every request, or all but what proves to an authority that the name is ours? */
bool sites_is_everything(const char *pattern);
/* Keep in mind a path that is served from a folder (NULL: by a proxy), for sites_report_parts(), unless it is for such proofs. */
void sites_add_part(struct parser *, const struct lexer *, struct block *, const char *path, const char *folder);
/* Warn of each that is not in the root of the block. */
void sites_report_parts(struct parser *, const struct block *);

/* The index of path in the sorted files, or where it belongs. */
size_t sites_file_index(const struct parser *, const char *path, bool *found);
/* Know a file's text. One that is known already is kept. */
void sites_add_file(struct parser *, const char *path, const char *text, size_t len);
void sites_read_file(struct parser *, const struct lexer *from, struct file, int place, struct block *);
/* Read all files of a folder and its subfolders, in the order of their names. */
void sites_include_folder(struct parser *, struct lexer *, const char *path, int place, struct block *);
/* What relative paths in `path` begin with, with its last slash: the nearest folder at or above it that has one of the files
 * `main` (ended by NULL), else its own. */
char *sites_home(struct arena *, const char *path, const char *const *main);
/* Read the files on disk that a path or glob names. A folder is read whole where `folders` says so. False when there is none
 * of that path; a glob's folder that cannot be read is warned of, one that is missing where `folders` is false. */
bool sites_include(struct parser *, struct lexer *, const char *path, bool folders, int place, struct block *);
/* Read `path` (NULL: standard input) as the main text. False with *why, a sentence naming it. */
bool sites_load(struct arena *, const char *path, const char **text, size_t *len, const char **why);
#endif
