/* sql_files.c: see sql_files.h. */
#include "sql_files.h"
#include "cli.h"
#include <dirent.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX_BYTES (4u << 20) /* of one SQL file */

bool sha256_final(EVP_MD_CTX *digest, char out[SHA256_HEX])
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (EVP_DigestFinal_ex(digest, sum, &n) != 1 || n != 32)
		return false;
	for (unsigned i = 0; i < n; i++)
		snprintf(out + 2 * i, 3, "%02x", sum[i]);
	return true;
}

static bool sha256(const void *data, size_t len, char out[SHA256_HEX])
{
	EVP_MD_CTX *digest = EVP_MD_CTX_new();
	const bool ok = digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
	                EVP_DigestUpdate(digest, data, len) == 1 && sha256_final(digest, out);

	EVP_MD_CTX_free(digest);
	return ok;
}

static int read_file(struct sql_file *f)
{
	struct stat info;
	FILE *in = fopen(f->path, "re");

	if (!in || fstat(fileno(in), &info) != 0) {
		const int rc = cli_error(CLI_FAILED, "%s: %s", f->path, strerror(errno));
		if (in)
			fclose(in);
		return rc;
	}
	if (!S_ISREG(info.st_mode) || info.st_size > (off_t)FILE_MAX_BYTES) {
		fclose(in);
		return cli_error(CLI_FAILED, "%s: not a file of at most %u bytes", f->path, FILE_MAX_BYTES);
	}
	f->text = malloc((size_t)info.st_size + 1);
	f->len = f->text ? fread(f->text, 1, (size_t)info.st_size, in) : 0;
	const bool whole = f->text && f->len == (size_t)info.st_size;
	fclose(in);
	if (!whole)
		return cli_error(CLI_FAILED, "%s: cannot be read", f->path);
	f->text[f->len] = '\0';
	if (strlen(f->text) != f->len)
		return cli_error(CLI_FAILED, "%s: holds a NUL byte: is the installation damaged?", f->path);
	return sha256(f->text, f->len, f->sha256) ? CLI_OK : cli_error(CLI_FAILED, "SHA-256 is not available");
}

void sql_files_free(struct sql_files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		free(files->item[i].name);
		free(files->item[i].path);
		free(files->item[i].text);
	}
	free(files->item);
}

static int is_sql(const struct dirent *entry)
{
	const size_t len = strlen(entry->d_name);

	return entry->d_name[0] != '.' && len > 4 && !strcmp(entry->d_name + len - 4, ".sql");
}

/* Bytes decide, not the locale: the order must be the same everywhere. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* The number of "0012_name.sql"; 0 where the name is not of that shape. */
static int number_of(const char *name)
{
	return strspn(name, "0123456789") == 4 && name[4] == '_' ? atoi(name) : 0;
}

static int add_file(struct sql_files *files, const char *folder, const char *name, bool numbered)
{
	struct sql_file *f = &files->item[files->count];
	const size_t len = strlen(folder) + strlen(name) + 2;

	*f = (struct sql_file){ .number = numbered ? number_of(name) : 0, .name = strdup(name), .path = malloc(len) };
	files->count++;
	if (!f->name || !f->path)
		return cli_error(CLI_FAILED, "out of memory");
	snprintf(f->path, len, "%s/%s", folder, name);
	if (numbered && !f->number)
		return cli_error(CLI_FAILED, "%s: a migration is called NNNN_name.sql, from 0001", f->path);
	if (numbered && files->count > 1 && f[-1].number == f->number)
		return cli_error(CLI_FAILED, "%s and %s have the same number", f[-1].path, f->path);
	return read_file(f);
}

int sql_files_read(struct sql_files *files, const char *sql_dir, const char *name, bool numbered)
{
	const size_t len = strlen(sql_dir) + strlen(name) + 2;
	char *folder = malloc(len);
	struct dirent **entries = NULL;
	int rc = CLI_OK;

	if (!folder)
		return cli_error(CLI_FAILED, "out of memory");
	snprintf(folder, len, "%s/%s", sql_dir, name);
	const int n = scandir(folder, &entries, is_sql, by_name);
	if (n < 0)
		rc = cli_error(CLI_FAILED, "%s: %s\nThe setting sql_dir names the folder of Postern's SQL files.", folder,
		               strerror(errno));
	else if (n == 0)
		rc = cli_error(CLI_FAILED, "%s: no SQL files there\nThe setting sql_dir names the folder of Postern's SQL files.",
		               folder);
	else if (!(files->item = calloc((size_t)n, sizeof *files->item)))
		rc = cli_error(CLI_FAILED, "out of memory");
	for (int i = 0; i < n; i++) {
		if (rc == CLI_OK)
			rc = add_file(files, folder, entries[i]->d_name, numbered);
		free(entries[i]);
	}
	free(entries);
	free(folder);
	return rc;
}
