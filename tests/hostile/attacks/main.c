/*
 * An app that attacks the system in the one way that its first argument names. It says so before and what came of it after,
 * a line each; what the kernel ends in between says the rest by the way it ended.
 */
#include "hostile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *name;

static void say(const char *what, const char *reason)
{
	printf("attack %s: %s%s\n", name, what, reason);
	fflush(stdout);
}

void refused(const char *reason)
{
	say("refused: ", reason);
	/* Whatever it has started goes with its namespace. */
	_Exit(REFUSED);
}

void failed(void)
{
	static const struct {
		int number;
		const char *name;
	} known[] = {
		{ EPERM, "EPERM" }, { ENOENT, "ENOENT" }, { ESRCH, "ESRCH" }, { EACCES, "EACCES" }, { EAGAIN, "EAGAIN" },
		{ EINVAL, "EINVAL" }, { EMFILE, "EMFILE" }, { ENOTTY, "ENOTTY" }, { ENOSPC, "ENOSPC" }, { EROFS, "EROFS" },
		{ ENOSYS, "ENOSYS" }, { EDQUOT, "EDQUOT" }, { EOPNOTSUPP, "EOPNOTSUPP" }, { EAFNOSUPPORT, "EAFNOSUPPORT" },
		{ ECONNREFUSED, "ECONNREFUSED" }, { EHOSTUNREACH, "EHOSTUNREACH" }, { ENETUNREACH, "ENETUNREACH" },
		{ ETIMEDOUT, "ETIMEDOUT" }, { EADDRNOTAVAIL, "EADDRNOTAVAIL" }, { ENOTDIR, "ENOTDIR" }, { ENXIO, "ENXIO" },
		{ EIO, "EIO" }, { ENODEV, "ENODEV" },
	};
	static char other[32];
	int number = errno;

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (known[i].number == number)
			refused(known[i].name);
	snprintf(other, sizeof other, "errno %d", number);
	refused(other);
}

void succeeded(void)
{
	say("SUCCEEDED", "");
	_Exit(SUCCEEDED);
}

void outcome(long result)
{
	if (result < 0)
		failed();
	succeeded();
}

int main(int argc, char **argv)
{
	const struct attack *lists[] = { kernel_attacks, file_attacks, process_attacks, resource_attacks, network_attacks };

	if (argc != 2)
		return USAGE;
	name = argv[1];
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		for (const struct attack *attack = lists[i]; attack->name; attack++)
			if (strcmp(attack->name, name) == 0) {
				say("begins", "");
				attack->run();
				succeeded();
			}
	fprintf(stderr, "hostile: there is no attack `%s`\n", name);
	return USAGE;
}
