/* person.c: see person.h. */
#include "person.h"

#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { NO_UID = 4294967295u, ANCESTORS_MAX = 32 };

/* A whole number that a text is; false where it is none. */
static bool number(const char *text, unsigned long *out)
{
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	*out = strtoul(text, &end, 10);
	return (*end == '\0' || *end == '\n') && *out < NO_UID;
}

static bool login_uid(unsigned long *uid)
{
	char text[32] = "";
	FILE *f = fopen("/proc/self/loginuid", "re");
	bool known = f && fgets(text, sizeof text, f) && number(text, uid);

	if (f)
		fclose(f);
	return known;
}

/* What a process is called, and its parent. False: there is no such process. */
static bool look(pid_t pid, char name[16], pid_t *parent)
{
	char path[64], text[512];
	const char *open, *close;
	size_t len;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	len = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[len] = '\0';
	open = strchr(text, '(');
	close = strrchr(text, ')'); /* a name may hold brackets */
	if (!open || !close || close < open || (size_t)(close - open - 1) >= 16 || sscanf(close + 1, " %*c %d", parent) != 1)
		return false;
	memcpy(name, open + 1, (size_t)(close - open - 1));
	name[close - open - 1] = '\0';
	return true;
}

static bool below_sudo(void)
{
	pid_t pid = getppid();
	char name[16];

	for (int i = 0; i < ANCESTORS_MAX && pid > 1 && look(pid, name, &pid); i++)
		if (strcmp(name, "sudo") == 0)
			return true;
	return false;
}

const char *person_name(char name[PERSON_MAX])
{
	unsigned long uid = getuid();
	const struct passwd *user;

	if (!login_uid(&uid) && !(getuid() == 0 && below_sudo() && number(getenv("SUDO_UID"), &uid)))
		uid = getuid();
	user = getpwuid((uid_t)uid);
	if (user && strlen(user->pw_name) < PERSON_MAX)
		snprintf(name, PERSON_MAX, "%s", user->pw_name);
	else
		snprintf(name, PERSON_MAX, "%lu", uid);
	return name;
}
