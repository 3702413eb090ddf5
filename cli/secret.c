/* secret.c: see secret.h. */
#include "secret.h"
#include "token.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = number;
}

bool secret_terminal(void)
{
	return isatty(STDIN_FILENO);
}

/* Byte by byte, so that a second secret finds the rest of stdin. */
static bool read_line(char secret[SECRET_MAX])
{
	size_t len = 0;
	char c;

	while (!interrupted) {
		const ssize_t n = read(STDIN_FILENO, &c, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || (n > 0 && c == '\0') || (n > 0 && c != '\n' && len == SECRET_MAX - 1))
			return false;
		if (n == 0 || c == '\n')
			break;
		secret[len++] = c;
	}
	if (len && secret[len - 1] == '\r')
		len--;
	secret[len] = '\0';
	return len > 0 && !interrupted;
}

bool secret_read(const char *name, char secret[SECRET_MAX])
{
	struct termios before, silent;
	struct sigaction catching = { .sa_handler = on_signal }, old[2];
	const bool terminal = secret_terminal() && tcgetattr(STDIN_FILENO, &before) == 0;

	interrupted = 0;
	if (terminal) {
		/* Whoever interrupts must get an echoing terminal back. */
		sigemptyset(&catching.sa_mask);
		sigaction(SIGINT, &catching, &old[0]);
		sigaction(SIGTERM, &catching, &old[1]);
		silent = before;
		silent.c_lflag &= ~(tcflag_t)ECHO;
		fprintf(stderr, "%s: ", name);
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
	}
	const bool ok = read_line(secret);
	if (terminal) {
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
		fputc('\n', stderr);
		sigaction(SIGINT, &old[0], NULL);
		sigaction(SIGTERM, &old[1], NULL);
		if (interrupted)
			raise(interrupted);
	}
	if (!ok)
		token_wipe(secret, SECRET_MAX);
	return ok;
}
