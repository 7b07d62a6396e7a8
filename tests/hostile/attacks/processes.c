/* Other processes: who is there, signals to them, sockets of theirs. */
#define _GNU_SOURCE
#include "hostile.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Its own and the supervisor of its sandbox are the only ones it may see. */
static void lists_processes(void)
{
	DIR *folder = opendir("/proc");
	int foreign = 0;
	struct dirent *entry;

	if (!folder)
		failed();
	while ((entry = readdir(folder)))
		if (isdigit((unsigned char)entry->d_name[0])) {
			int pid = atoi(entry->d_name);

			foreign += pid != 1 && pid != getpid();
		}
	if (foreign)
		succeeded();
	refused("none");
}

static void reads_supervisor(void)
{
	static const char *const paths[] = { "/proc/1/environ", "/proc/1/mem", "/proc/1/maps", NULL };
	char byte;

	for (const char *const *path = paths; *path; path++) {
		int file = open(*path, O_RDONLY);

		if (file >= 0 && read(file, &byte, 1) > 0)
			succeeded();
	}
	refused("nothing to read");
}

/* Process 1 is its own supervisor; if the signal had an effect, this process would be gone with it. */
static void kills_supervisor(void)
{
	struct timespec moment = { 0, 500000000 };

	if (kill(1, SIGKILL))
		failed();
	nanosleep(&moment, NULL);
	refused("no effect");
}

static void kills_everybody(void)
{
	if (kill(-1, SIGKILL))
		failed();
	refused("no effect");
}

/* The name is the pinger's. */
static void connects_to_abstract_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	static const char name[] = "pinger";
	int own = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(address.sun_path + 1, name, sizeof name - 1);
	outcome(connect(own, (struct sockaddr *)&address,
			offsetof(struct sockaddr_un, sun_path) + sizeof name));
}

static void connects_to_agent(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/run/osagent.sock" };

	outcome(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof address));
}

const struct attack process_attacks[] = {
	{ "other-processes", lists_processes },
	{ "read-supervisor", reads_supervisor },
	{ "kill-supervisor", kills_supervisor },
	{ "kill-all", kills_everybody },
	{ "abstract-socket", connects_to_abstract_socket },
	{ "agent-socket", connects_to_agent },
	{ 0 },
};
