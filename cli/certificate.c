/* certificate.c: see certificate.h. */
#include "certificate.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXPIRING_S = 14 * 86400, FILE_MAX = 1 << 20 };

/* OpenSSL asks for a passphrase on the terminal unless it is given one. */
static int no_passphrase(char *out, int size, int writing, void *user)
{
	(void)out, (void)size, (void)writing, (void)user;
	return -1;
}

/* The file opened for reading, if it is an ordinary one of a sane size; else -1. */
static int open_file(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX)) {
		close(fd);
		errno = EINVAL;
		return -1;
	}
	return fd;
}

const char *certificate_status(const char *path, time_t now, const char **why)
{
	int fd = open_file(path);
	const int fault = fd < 0 ? errno : 0;
	BIO *file = fd >= 0 ? BIO_new_fd(fd, BIO_CLOSE) : NULL;
	X509 *certificate = file ? PEM_read_bio_X509(file, NULL, no_passphrase, NULL) : NULL;
	const bool variable = strchr(path, '$');
	const char *status = variable || fault == EACCES ? "pending" : "error";

	*why = certificate ? NULL : variable ? "its name has a variable" : fault ? strerror(fault) : "there is no certificate in it";
	if (certificate) {
		time_t soon = now + EXPIRING_S;
		const ASN1_TIME *end = X509_get0_notAfter(certificate);

		status = "active";
		if (X509_cmp_time(end, &now) < 0)
			status = "expired";
		else if (X509_cmp_time(end, &soon) < 0)
			status = "expiring";
		X509_free(certificate);
	}
	if (file)
		BIO_free(file);
	else if (fd >= 0)
		close(fd);
	return status;
}
