/*
 * An app that answers: each byte comes back. Others ask it while an attack runs, and see how long an answer takes. It also
 * listens at a socket without a file, where another app's attack looks for it.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PORT = 7000, CLIENTS = 8 };

int main(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "\0pinger" };
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct pollfd open[CLIENTS + 1];
	int quiet = socket(AF_UNIX, SOCK_STREAM, 0), server = socket(AF_INET, SOCK_STREAM, 0), count = 1, on = 1;
	char byte;

	setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(quiet, (struct sockaddr *)&name, offsetof(struct sockaddr_un, sun_path) + 7) || listen(quiet, 1) ||
	    bind(server, (struct sockaddr *)&here, sizeof here) || listen(server, CLIENTS)) {
		perror("pinger");
		return 1;
	}
	puts("pinger: ready");
	fflush(stdout);
	open[0] = (struct pollfd){ server, POLLIN, 0 };
	while (poll(open, count, -1) > 0) {
		for (int i = count - 1; i > 0; i--)
			if (open[i].revents && (read(open[i].fd, &byte, 1) != 1 || write(open[i].fd, &byte, 1) != 1)) {
				close(open[i].fd);
				open[i] = open[--count];
			}
		if (open[0].revents) {
			int client = accept(server, NULL, NULL);

			if (client >= 0 && count <= CLIENTS)
				open[count++] = (struct pollfd){ client, POLLIN, 0 };
			else if (client >= 0)
				close(client);
		}
	}
	return 1;
}
