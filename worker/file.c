/* file.c: files that an action writes; see action.h. */
#include "action.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, DEPTH_MAX = 256 };

int file_open_beneath(int root, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC), .mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS
	};

	path += strspn(path, "/");
	return (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof how);
}

/* The folder that holds `path`, open, and the last part's name. -1: errno. */
static int parent_of(int root, const char *path, const char **name)
{
	char folder[PATH_BYTES];
	const char *slash;

	path += strspn(path, "/");
	slash = strrchr(path, '/');
	*name = slash ? slash + 1 : path;
	if (!**name || strcmp(*name, ".") == 0 || strcmp(*name, "..") == 0 || (slash && (size_t)(slash - path) >= sizeof folder)) {
		errno = EINVAL;
		return -1;
	}
	snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 0, path);
	return file_open_beneath(root, folder, O_RDONLY | O_DIRECTORY, 0);
}

int file_make_folder(int root, const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	char part[PATH_BYTES];
	int at = file_open_beneath(root, "", O_RDONLY | O_DIRECTORY, 0), next;

	path += strspn(path, "/");
	while (at >= 0 && *path) {
		size_t len = strcspn(path, "/");
		bool made;

		if (len >= sizeof part) {
			close(at);
			errno = ENAMETOOLONG;
			return -1;
		}
		snprintf(part, sizeof part, "%.*s", (int)len, path);
		made = mkdirat(at, part, 0700) == 0;
		next = file_open_beneath(at, part, O_RDONLY | O_DIRECTORY, 0);
		close(at);
		at = next;
		if (at >= 0 && made && (fchmod(at, mode) != 0 || (uid != (uid_t)-1 && fchown(at, uid, gid) != 0))) {
			close(at);
			return -1;
		}
		path += len;
		path += strspn(path, "/");
	}
	return at;
}

static bool write_all(int fd, const char *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno != EINTR)
			return false;
		bytes += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return true;
}

bool file_write(int root, const char *path, const void *bytes, size_t len, mode_t mode, uid_t uid, gid_t gid)
{
	const char *name;
	char temporary[300];
	int folder = parent_of(root, path, &name), fd = -1;
	bool done = false;

	if (folder < 0)
		return false;
	snprintf(temporary, sizeof temporary, ".%.200s.new", name);
	if (unlinkat(folder, temporary, 0) == 0 || errno == ENOENT) /* of an attempt that was killed */
		fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0) {
		done = write_all(fd, bytes, len) && fchmod(fd, mode) == 0 && (uid == (uid_t)-1 || fchown(fd, uid, gid) == 0) &&
		       fsync(fd) == 0 && renameat(folder, temporary, folder, name) == 0 && fsync(folder) == 0;
		if (!done) {
			int why = errno;

			unlinkat(folder, temporary, 0);
			errno = why;
		}
		close(fd);
	}
	close(folder);
	return done;
}

char *file_read(struct action *a, int root, const char *path, size_t max, size_t *len)
{
	int fd = file_open_beneath(root, path, O_RDONLY, 0);
	struct stat st;
	char *text = NULL;
	ssize_t n = 1;

	*len = 0;
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= 0 && (size_t)st.st_size <= max)
		text = arena_alloc(a->arena, (size_t)st.st_size + 1);
	while (text && n > 0 && *len < (size_t)st.st_size) {
		n = read(fd, text + *len, (size_t)st.st_size - *len);
		*len += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	return n < 0 ? NULL : text;
}

/* What lies deeper than folders may be open at once is put beside what is removed, and removed then: whoever has a home may
 * nest as many folders as he likes. */
static bool put_beside(int top, int folder, const char *name, unsigned *beside)
{
	char other[40];

	snprintf(other, sizeof other, ".postern-removed-%d-%u", (int)getpid(), *beside);
	if (renameat2(folder, name, top, other, RENAME_NOREPLACE) != 0)
		return false;
	++*beside;
	return true;
}

static bool remove_tree(int top, int folder, const char *name, int depth, unsigned *beside)
{
	int fd;
	DIR *entries;
	struct dirent *e;
	bool gone = true;

	if (unlinkat(folder, name, 0) == 0 || errno == ENOENT)
		return true;
	if (errno != EISDIR && errno != EPERM)
		return false;
	if (depth == 0)
		return put_beside(top, folder, name, beside);
	fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || !(entries = fdopendir(fd))) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while (gone && (e = readdir(entries)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			gone = remove_tree(top, dirfd(entries), e->d_name, depth - 1, beside);
	closedir(entries);
	return gone && (unlinkat(folder, name, AT_REMOVEDIR) == 0 || errno == ENOENT);
}

bool file_remove(int root, const char *path)
{
	const char *name;
	char other[40];
	int folder = parent_of(root, path, &name);
	unsigned beside = 0;
	bool gone;

	if (folder < 0)
		return errno == ENOENT;
	gone = remove_tree(folder, folder, name, DEPTH_MAX, &beside);
	for (unsigned i = 0; gone && i < beside; i++) {
		snprintf(other, sizeof other, ".postern-removed-%d-%u", (int)getpid(), i);
		gone = remove_tree(folder, folder, other, DEPTH_MAX, &beside);
	}
	close(folder);
	return gone;
}

int file_folder_of(const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_BYTES];
	int len = snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);

	*name = slash + 1;
	if ((size_t)len >= sizeof folder) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return open(len ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int file_lock(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	action_waits(true);
	while (fd >= 0 && flock(fd, LOCK_EX) != 0)
		if (errno != EINTR) {
			close(fd);
			fd = -1;
		}
	action_waits(false);
	return fd;
}
