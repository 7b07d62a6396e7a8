/* More of something than the app has. */
#define _GNU_SOURCE
#include "hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ATTACK_SECONDS = 4, BURNERS = 3, CHUNK = 1 << 16 };

static void forks_for_ever(void)
{
	for (;;) {
		pid_t pid = fork();

		if (pid < 0)
			failed();
		if (pid == 0)
			for (;;)
				pause();
	}
}

static void takes_all_memory(void)
{
	for (;;) {
		char *memory = malloc(1 << 20);

		if (!memory)
			failed();
		memset(memory, 1, 1 << 20);
	}
}

static void fill(const char *path)
{
	static char chunk[CHUNK];
	int file = open(path, O_WRONLY | O_CREAT, 0600);

	if (file < 0)
		failed();
	memset(chunk, 7, sizeof chunk);
	while (write(file, chunk, sizeof chunk) > 0)
		;
	failed();
}

static void fills_disk(void)
{
	fill("/data/all");
}

static void fills_memory_disk(void)
{
	fill("/tmp/all");
}

static void makes_many_files(void)
{
	char path[64];

	for (int i = 0;; i++) {
		int file;

		snprintf(path, sizeof path, "/data/%d", i);
		file = open(path, O_WRONLY | O_CREAT, 0600);
		if (file < 0 || write(file, "x", 1) != 1)
			failed();
		close(file);
	}
}

static void leaks_files(void)
{
	while (open("/dev/null", O_RDONLY) >= 0)
		;
	failed();
}

static void floods_log(void)
{
	time_t end = time(NULL) + ATTACK_SECONDS;
	char line[1000];

	memset(line, 'x', sizeof line);
	line[sizeof line - 1] = '\n';
	while (time(NULL) < end)
		if (write(1, line, sizeof line) < 0)
			failed();
	refused("end of the flood");
}

static double seconds(const struct rusage *use)
{
	return use->ru_utime.tv_sec + use->ru_stime.tv_sec + (use->ru_utime.tv_usec + use->ru_stime.tv_usec) / 1e6;
}

/* On every processor at once. Half of one is what the manifest has; what all of them got is the kernel's own account. */
static void burns_cpu(void)
{
	time_t end = time(NULL) + ATTACK_SECONDS;
	struct rusage own, theirs;
	pid_t children[BURNERS];
	double used;

	for (int i = 0; i < BURNERS; i++)
		if ((children[i] = fork()) == 0)
			for (;;)
				;
	while (time(NULL) < end)
		;
	for (int i = 0; i < BURNERS; i++)
		if (children[i] > 0 && (kill(children[i], SIGKILL) || waitpid(children[i], NULL, 0) < 0))
			failed();
	if (getrusage(RUSAGE_SELF, &own) || getrusage(RUSAGE_CHILDREN, &theirs))
		failed();
	used = seconds(&own) + seconds(&theirs);
	fprintf(stderr, "hostile: %.2f s of processors in %d s\n", used, ATTACK_SECONDS);
	if (used > 0.8 * ATTACK_SECONDS)
		succeeded();
	refused("end of the burn");
}

static void raises_limits(void)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

	outcome(setrlimit(RLIMIT_NOFILE, &all));
}

static void raises_priority(void)
{
	outcome(setpriority(PRIO_PROCESS, 0, -20));
}

const struct attack resource_attacks[] = {
	{ "fork-bomb", forks_for_ever },
	{ "memory-hog", takes_all_memory },
	{ "disk-filler", fills_disk },
	{ "tmp-filler", fills_memory_disk },
	{ "file-maker", makes_many_files },
	{ "fd-leak", leaks_files },
	{ "log-flood", floods_log },
	{ "cpu-burn", burns_cpu },
	{ "raise-limits", raises_limits },
	{ "raise-priority", raises_priority },
	{ 0 },
};
