/* envelope.c: see envelope.h. */
#include "envelope.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/cms.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "token.h"

enum { FILE_MAX = 64 << 10, DAYS = 36500 };

/* ---- files ---- */

static BIO *open_file(const char *path, mode_t forbidden, const char **why)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	BIO *bio;

	if (fd < 0) {
		*why = errno == ENOENT ? "the worker has no key yet; run postern init" : "the worker's key cannot be read; see its file's owner and mode";
		return NULL;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX || st.st_mode & forbidden) {
		*why = "the worker's key may be read by others, or is no file; chmod 600 it";
		close(fd);
		return NULL;
	}
	if (!(bio = BIO_new_fd(fd, BIO_CLOSE)))
		close(fd);
	return bio;
}

/* A new file, whole or not at all. */
static bool write_file(const char *path, mode_t mode, BIO *text, bool replace)
{
	char temporary[PATH_MAX], *bytes;
	long len = BIO_get_mem_data(text, &bytes);
	int fd;
	bool good;

	if (snprintf(temporary, sizeof temporary, "%s.new", path) >= (int)sizeof temporary) {
		errno = ENAMETOOLONG;
		return false;
	}
	unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return false;
	good = write(fd, bytes, (size_t)len) == len && fchmod(fd, mode) == 0 && fsync(fd) == 0;
	close(fd);
	good = good && (replace ? rename(temporary, path) : link(temporary, path)) == 0;
	if (!good || !replace)
		unlink(temporary);
	return good;
}

/* ---- keys ---- */

static X509 *certificate_of(EVP_PKEY *key)
{
	X509 *made = X509_new();
	bool good = made && X509_set_version(made, X509_VERSION_3) == 1 && ASN1_INTEGER_set(X509_get_serialNumber(made), 1) == 1 &&
	            X509_gmtime_adj(X509_getm_notBefore(made), 0) && X509_time_adj_ex(X509_getm_notAfter(made), DAYS, 0, NULL) &&
	            X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC, (const unsigned char *)"posternd", -1, -1, 0) == 1 &&
	            X509_set_issuer_name(made, X509_get_subject_name(made)) == 1 && X509_set_pubkey(made, key) == 1 &&
	            X509_sign(made, key, EVP_sha256()) > 0;

	if (good)
		return made;
	X509_free(made);
	return NULL;
}

static EVP_PKEY *load_key(const char *path, const char **why)
{
	BIO *file = open_file(path, 0077, why);
	EVP_PKEY *key = NULL;

	if (file && !(key = PEM_read_bio_PrivateKey(file, NULL, NULL, "")))
		*why = "the worker's key cannot be read: it is no private key in PEM";
	BIO_free(file);
	return key;
}

bool envelope_create(const char *private_path, const char *public_path)
{
	const char *why;
	EVP_PKEY *key = access(private_path, F_OK) == 0 ? load_key(private_path, &why) : NULL;
	bool found = key, good = found;
	X509 *certificate = NULL;
	BIO *text = BIO_new(BIO_s_secmem()), *public = BIO_new(BIO_s_mem());

	errno = 0;
	if (!found && access(private_path, F_OK) != 0 && (key = EVP_EC_gen("P-256")))
		good = text && PEM_write_bio_PKCS8PrivateKey(text, key, NULL, NULL, 0, NULL, NULL) == 1 && write_file(private_path, 0600, text, false);
	good = good && public && (certificate = certificate_of(key)) && PEM_write_bio_X509(public, certificate) == 1 &&
	       write_file(public_path, 0644, public, true);
	if (!good && !errno)
		errno = EINVAL;
	X509_free(certificate);
	EVP_PKEY_free(key);
	BIO_free(text);
	BIO_free(public);
	ERR_clear_error();
	return good;
}

/* ---- closing and opening ---- */

/* Whoever gets it: by ECDH, whose shared secret becomes a key by SHA-256. */
static bool add_worker(CMS_ContentInfo *cms, X509 *certificate)
{
	CMS_RecipientInfo *worker = CMS_add1_recipient_cert(cms, certificate, CMS_KEY_PARAM);
	EVP_PKEY_CTX *way = worker ? CMS_RecipientInfo_get0_pkey_ctx(worker) : NULL;

	return way && EVP_PKEY_CTX_set_ecdh_kdf_md(way, EVP_sha256()) == 1;
}

unsigned char *envelope_close(struct arena *arena, const char *public_path, const char *text, size_t *len, const char **why)
{
	BIO *file = open_file(public_path, 0, why), *in = BIO_new_mem_buf(text, -1), *out = BIO_new(BIO_s_mem());
	X509 *certificate = file ? PEM_read_bio_X509(file, NULL, NULL, "") : NULL;
	CMS_ContentInfo *cms = NULL;
	unsigned char *sealed = NULL;
	char *bytes;
	long n = 0;

	if (file && !certificate)
		*why = "the worker's public key cannot be read: it is no certificate in PEM; run postern init";
	if (certificate && in && out && (cms = CMS_encrypt(NULL, NULL, EVP_aes_256_gcm(), CMS_BINARY | CMS_PARTIAL)) &&
	    add_worker(cms, certificate) && CMS_final(cms, in, NULL, CMS_BINARY) == 1 && i2d_CMS_bio(out, cms) == 1 &&
	    (n = BIO_get_mem_data(out, &bytes)) > 0 && (sealed = arena_alloc(arena, (size_t)n)))
		memcpy(sealed, bytes, (size_t)n);
	else if (certificate)
		*why = "the secret could not be encrypted to the worker's key";
	*len = (size_t)n;
	CMS_ContentInfo_free(cms);
	X509_free(certificate);
	BIO_free(file);
	BIO_free(in);
	BIO_free(out);
	ERR_clear_error();
	return sealed;
}

char *envelope_open(struct arena *arena, const char *private_path, const void *sealed, size_t len, const char **why)
{
	EVP_PKEY *key = load_key(private_path, why);
	BIO *in = len <= INT_MAX ? BIO_new_mem_buf(sealed, (int)len) : NULL, *out = BIO_new(BIO_s_mem());
	CMS_ContentInfo *cms = key && in ? d2i_CMS_bio(in, NULL) : NULL;
	char *text = NULL, *bytes = NULL;
	long n = 0;

	if (cms && OBJ_obj2nid(CMS_get0_type(cms)) == NID_id_smime_ct_authEnvelopedData && out &&
	    CMS_decrypt(cms, key, NULL, NULL, out, CMS_BINARY) == 1 && (n = BIO_get_mem_data(out, &bytes)) >= 0)
		text = arena_strndup(arena, bytes ? bytes : "", (size_t)n);
	else if (key)
		*why = "the secret was not encrypted to this worker's key; ask for the change again";
	if (bytes)
		token_wipe(bytes, (size_t)n);
	CMS_ContentInfo_free(cms);
	EVP_PKEY_free(key);
	BIO_free(in);
	BIO_free(out);
	ERR_clear_error();
	return text;
}
