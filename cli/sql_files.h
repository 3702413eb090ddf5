/*
 * sql_files.h: the SQL files of this version, in the order of their names, with their digests.
 */
#ifndef POSTERN_SQL_FILES_H
#define POSTERN_SQL_FILES_H
#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>

#define SHA256_HEX 65

struct sql_file {
	int number;            /* of a migration; 0 for functions */
	char *name, *path, *text;
	size_t len;
	char sha256[SHA256_HEX];
};

struct sql_files {
	struct sql_file *item;
	size_t count;
};

/* Every *.sql in sql_dir/name into a zeroed *files; numbered: they must be called NNNN_name.sql, each number once.
 * Returns the exit code, after a message where it is not CLI_OK; sql_files_free() is due in either case. */
int sql_files_read(struct sql_files *, const char *sql_dir, const char *name, bool numbered);
void sql_files_free(struct sql_files *);

/* End a SHA-256 and write it as hex. */
bool sha256_final(EVP_MD_CTX *, char out[SHA256_HEX]);
#endif
