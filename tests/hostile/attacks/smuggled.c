/*
 * Runs in an image whose signer put in what no builder would: a device of the machine's memory, a set-id program of root,
 * and a link that climbs out of the image.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SUCCEEDED = 66, REFUSED = 40 };

static int got(const char *what)
{
	printf("attack image: came through: %s\n", what);
	return SUCCEEDED;
}

int main(int argc, char **argv)
{
	char *const again[] = { "rooted", "who", NULL };
	int status = 0;

	if (argc > 1 && strcmp(argv[1], "who") == 0)
		return geteuid() == 0 || getegid() == 0 ? SUCCEEDED : REFUSED;
	if (open("/usr/lib/memory", O_RDONLY) >= 0)
		return got("the device");
	if (open("/usr/lib/out/etc/device.json", O_RDONLY) >= 0 || open("/usr/lib/out/etc/shadow", O_RDONLY) >= 0)
		return got("the link");
	if (fork() == 0) {
		execv("/usr/bin/rooted", again);
		_exit(REFUSED);
	}
	if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != REFUSED)
		return got("the set-id program");
	puts("attack image: refused: all of it");
	return REFUSED;
}
