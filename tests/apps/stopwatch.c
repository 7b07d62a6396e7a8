/*
 * How long a start takes until `main`, on the device itself, by the clock that all processes share.
 *
 * stopwatch                says when it came to `main`, and waits
 * stopwatch bare N         starts itself N times by fork and exec; says the lower quartile, the median and the longest
 * stopwatch app ID N       has the agent start the app ID, which runs this program, N times; the same
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_RUNS 100

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* One request to the agent, as `osagent app` makes it. */
static void ask(const char *id, const char *action)
{
	struct sockaddr_un place = { .sun_family = AF_UNIX, .sun_path = "/run/osagent.sock" };
	char text[256];
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	if (s < 0 || connect(s, (struct sockaddr *)&place, sizeof place))
		fail("the agent's socket");
	snprintf(text, sizeof text, "{\"command\":\"app\",\"id\":\"%s\",\"action\":\"%s\"}\n", id, action);
	if (write(s, text, strlen(text)) < 0 || read(s, text, sizeof text - 1) <= 0 || !strstr(text, "done"))
		fail("the agent's answer");
	close(s);
}

/* The last number that the app has written to its log after "main ". */
static int64_t said(const char *id)
{
	char path[128], line[4096];
	long long last = 0;
	FILE *log;

	snprintf(path, sizeof path, "/run/log/apps/%s.jsonl", id);
	log = fopen(path, "r");
	while (log && fgets(line, sizeof line, log)) {
		char *place = strstr(line, "main ");

		if (place)
			last = atoll(place + 5);
	}
	if (log)
		fclose(log);
	return last;
}

static int64_t bare(void)
{
	int ends[2];
	char text[64] = { 0 };
	int64_t start;
	pid_t pid;

	if (pipe(ends))
		fail("pipe");
	start = now();
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], 1);
		execl("/usr/bin/stopwatch", "stopwatch", "once", (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	if (pid < 0 || read(ends[0], text, sizeof text - 1) <= 5)
		fail("bare");
	close(ends[0]);
	waitpid(pid, NULL, 0);
	return atoll(text + 5) - start;
}

static int64_t app(const char *id)
{
	struct timespec moment = { 0, 300000000 };
	int64_t start, end;

	ask(id, "stop");
	/* The end of the one before must not be measured. */
	nanosleep(&moment, NULL);
	start = now();
	ask(id, "start");
	moment.tv_nsec = 10000000;
	for (int tries = 0; (end = said(id)) < start; tries++) {
		if (tries > 1000)
			fail("the app does not start");
		nanosleep(&moment, NULL);
	}
	return end - start;
}

int main(int argc, char **argv)
{
	int64_t at = now(), times[LIMIT_RUNS];
	int runs = argc > 2 ? atoi(argv[argc - 1]) : 0;

	if (argc < 3 || runs < 1 || runs > LIMIT_RUNS) {
		printf("main %lld\n", (long long)at);
		fflush(stdout);
		if (argc == 1)
			pause();
		return 0;
	}
	for (int i = 0; i < runs; i++)
		times[i] = strcmp(argv[1], "bare") == 0 ? bare() : app(argv[2]);
	qsort(times, runs, sizeof *times, compare);
	printf("quarter %lld us, median %lld us, longest %lld us of %d\n", (long long)times[runs / 4],
	       (long long)times[runs / 2], (long long)times[runs - 1], runs);
	return 0;
}
