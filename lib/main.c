/* main.c: the main() of every endpoint binary; what it serves is the resource that is linked in. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "server.h"

static const char help[] =
	"Usage: %s [--config FILE] [--socket PATH [--socket-mode OCTAL]]\n"
	"Serves %s as FastCGI: on file descriptor 0 (systemd socket activation, spawn-fcgi), or on a socket of its own.\n\n"
	"  --config FILE        settings; default $POSTERN_CONFIG, else /etc/postern/postern.conf\n"
	"  --socket PATH        listen on this Unix socket instead of file descriptor 0\n"
	"  --socket-mode OCTAL  its mode, default 0660\n"
	"  --check-config       read the settings, say what is wrong, and end\n"
	"  --version, --help\n\n"
	"SIGTERM finishes the requests under way. The log, one line per request, goes to standard error.\n";

/* The one resource there is; where there are several (the API's description knows all), that of the program's name. */
static const struct resource *served(void)
{
	if (__stop_postern_resources - __start_postern_resources == 1)
		return *__start_postern_resources;
	for (const struct resource *const *r = __start_postern_resources; r < __stop_postern_resources; r++)
		if (strcmp((*r)->name, program_invocation_short_name) == 0)
			return *r;
	return NULL;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },     { "socket", required_argument, NULL, 's' },
		{ "socket-mode", required_argument, NULL, 'm' },{ "check-config", no_argument, NULL, 'C' },
		{ "version", no_argument, NULL, 'v' },          { "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	const struct resource *resource = served();
	const char *config_path = NULL, *socket_path = NULL, *why;
	static struct config config; /* these live as long as the process, whichever way it ends */
	static struct service service;
	unsigned long mode = 0660;
	bool check = false;
	struct stat st;
	int option, fd = STDIN_FILENO, status;
	char *end;

	service.config = &config;
	service.resource = resource;
	if (!resource) {
		fprintf(stderr, "%s: several resources are linked in; name the program like the one that it serves\n", argv[0]);
		return 2;
	}
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'c': config_path = optarg; break;
		case 's': socket_path = optarg; break;
		case 'm':
			mode = strtoul(optarg, &end, 8);
			if (*end || mode > 0777) {
				fprintf(stderr, "%s: --socket-mode takes an octal mode such as 0660\n", argv[0]);
				return 2;
			}
			break;
		case 'C': check = true; break;
		case 'v': printf("postern %s %s\n", resource->name, POSTERN_VERSION); return 0;
		case 'h': printf(help, argv[0], resource->name); return 0;
		default: fprintf(stderr, help, argv[0], resource->name); return 2;
		}
	}
	if (!resource_check(resource, &why)) {
		fprintf(stderr, "%s: %s\n", resource->name, why);
		return 1;
	}
	if (!config_load(&config, config_path, stderr))
		return 1;
	if (!peppers_load(config.pepper_file, &service.peppers, &why)) {
		fprintf(stderr, "%s: pepper_file %s: %s\n", resource->name, config.pepper_file, why);
		return 1;
	}
	if (check) {
		puts("the settings are in order");
		config_free(&config);
		return 0;
	}
	log_open(resource->name, config.log_format);
	if (socket_path && (fd = server_listen(socket_path, (unsigned)mode, &why)) < 0) {
		fprintf(stderr, "%s: --socket %s: %s\n", resource->name, socket_path, why);
		return 1;
	}
	if (fstat(fd, &st) != 0 || !S_ISSOCK(st.st_mode)) {
		fprintf(stderr, "%s: file descriptor 0 is no socket; give --socket PATH\n", resource->name);
		return 2;
	}
	service.settings = settings_new(&config);
	service.gate = service.settings ? gate_new(&config, service.settings, resource) : NULL;
	service.limit = address_limit_new();
	status = service.gate && service.limit ? server_run(&service, fd) : 1;
	if (socket_path)
		unlink(socket_path);
	gate_free(service.gate);
	settings_free(service.settings);
	address_limit_free(service.limit);
	peppers_free(&service.peppers);
	config_free(&config);
	return status;
}
