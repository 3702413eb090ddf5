/* mailbox.c: what is left of a mailbox on disk. Dovecot makes its folder with the first mail. */
#include "action.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const struct field removed[] = {
	{ "folder", F_PATH, F_REQUIRED, "Its folder below mail_dir: /<domain>/<name>-<number>", .max = 400 },
	{ 0 }
};

static void take_away(struct action *a)
{
	const char *folder = action_text(a, "folder"), *slash = strchr(folder + 1, '/');
	const char *domain = slash ? arena_strndup(a->arena, folder + 1, (size_t)(slash - folder - 1)) : NULL;
	int root;

	if (!domain || !slash[1] || strchr(slash + 1, '/'))
		action_fail("%s is no folder of a mailbox", folder);
	root = open(a->config.mail_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0 && errno == ENOENT)
		return; /* no mail was ever kept here */
	if (root < 0)
		action_fail("%s (the setting mail_dir): %s", a->config.mail_dir, strerror(errno));
	if (!file_remove(root, folder)) {
		if (errno == ENOTEMPTY || errno == EBUSY) /* somebody is still logged in */
			action_retry("%s%s is in use", a->config.mail_dir, folder);
		action_fail("%s%s cannot be removed: %s", a->config.mail_dir, folder, strerror(errno));
	}
	/* The domain's folder, which lies directly below, goes with the last one in it. */
	if (unlinkat(root, domain, AT_REMOVEDIR) != 0 && errno != ENOTEMPTY && errno != EEXIST && errno != ENOENT)
		action_log("the empty folder %s stays: %s", domain, strerror(errno));
	close(root);
}

static const struct kind mailbox_remove = { "mailbox.remove", "Remove the mail of a deleted mailbox", 3600, 5, removed, take_away };
POSTERN_KIND(mailbox_remove);
