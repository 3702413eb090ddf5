/*
 * floor.c: what a FastCGI answer costs that does nothing: libfcgi's loop as its manual has it, four processes, a connection
 * for each request. Every other candidate is measured against it.
 * usage: floor SOCKET BYTES     BYTES: of the body, those of Postern's list
 */
#include <fcgiapp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 4, BACKLOG = 512, HEAD_MAX = 128 };

static void serve(int listener, const char *answer, int len)
{
	FCGX_Request request;

	if (FCGX_InitRequest(&request, listener, 0) != 0)
		return;
	while (FCGX_Accept_r(&request) == 0) {
		FCGX_PutStr(answer, len, request.out);
		FCGX_Finish_r(&request);
	}
}

int main(int argc, char **argv)
{
	long bytes = argc == 3 ? strtol(argv[2], NULL, 10) : -1;
	char *answer;
	int listener, head;

	if (bytes < 2 || bytes > 1 << 20) {
		fputs("usage: floor SOCKET BYTES\n", stderr);
		return 2;
	}
	answer = malloc((size_t)bytes + HEAD_MAX);
	if (!answer || FCGX_Init() != 0)
		return 1;
	head = snprintf(answer, HEAD_MAX, "Content-Type: application/json; charset=utf-8\r\nContent-Length: %ld\r\n\r\n", bytes);
	memset(answer + head, 'x', (size_t)bytes); /* a JSON string */
	answer[head] = answer[head + bytes - 1] = '"';

	umask(S_IRWXO); /* the web server comes in by the folder's group */
	listener = FCGX_OpenSocket(argv[1], BACKLOG);
	if (listener < 0) {
		fprintf(stderr, "floor: cannot listen on %s\n", argv[1]);
		return 1;
	}
	for (int i = 0; i < WORKERS; i++)
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGTERM);
			serve(listener, answer, head + (int)bytes);
			_exit(1);
		}
	while (wait(NULL) > 0)
		;
	return 1; /* no worker ends by itself */
}
