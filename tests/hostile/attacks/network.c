/* Hosts, ports and apps that the manifest does not name. It names port 7000 of 192.0.2.1, and nothing else. */
#define _GNU_SOURCE
#include "hostile.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DECLARED_PORT 7000
/* QEMU's user network: the host, and its name server. */
#define HOST 0x0a000202
#define NAME_SERVER 0x0a000203
/* The agent's block of networks for apps: four addresses each, the second of them is the app's. */
#define APPS 0xc6120000
enum { APPS_TRIED = 80, PATIENCE_MS = 3000, SCAN_PATIENCE_MS = 100 };

static struct sockaddr_in at(uint32_t address, uint16_t port)
{
	return (struct sockaddr_in){ AF_INET, htons(port), { htonl(address) }, { 0 } };
}

/* Whether it connects; errno otherwise. */
static int reaches(uint32_t address, uint16_t port, int patience_ms)
{
	struct sockaddr_in there = at(address, port);
	int error = 0, own = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	socklen_t length = sizeof error;
	struct pollfd wait = { own, POLLOUT, 0 };

	if (own < 0)
		failed();
	if (connect(own, (struct sockaddr *)&there, sizeof there) && errno != EINPROGRESS)
		error = errno;
	else if (poll(&wait, 1, patience_ms) == 0)
		error = ETIMEDOUT;
	else
		getsockopt(own, SOL_SOCKET, SO_ERROR, &error, &length);
	close(own);
	errno = error;
	return error == 0;
}

static void connects_to_other_host(void)
{
	outcome(reaches(HOST, DECLARED_PORT, PATIENCE_MS) ? 0 : -1);
}

static void connects_to_other_port(void)
{
	outcome(reaches(0xc0000201, DECLARED_PORT + 1, PATIENCE_MS) ? 0 : -1);
}

static void connects_to_device(void)
{
	/* One of these is its own gateway, and all are the device. Rejections come at a bounded rate, the rest is silence. */
	for (uint32_t app = 0; app < APPS_TRIED; app++)
		if (reaches(APPS + 4 * app + 1, DECLARED_PORT, SCAN_PATIENCE_MS))
			succeeded();
	refused("none");
}

static void connects_to_other_app(void)
{
	/* Its own address refuses, for there nobody listens; any other that answers is one too many. */
	for (uint32_t app = 0; app < APPS_TRIED; app++)
		if (reaches(APPS + 4 * app + 2, DECLARED_PORT, SCAN_PATIENCE_MS))
			succeeded();
	refused("none");
}

static void resolves_other_app(void)
{
	struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *found;
	int error = getaddrinfo("pinger.app", NULL, &hints, &found);

	if (error == 0)
		succeeded();
	refused(error == EAI_NONAME ? "no such name" : "no answer");
}

static void asks_other_name_server(void)
{
	/* A question for the name `a`, sent around the resolver. */
	static const char question[] = "\0\1\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1";
	struct sockaddr_in there = at(NAME_SERVER, 53);
	int own = socket(AF_INET, SOCK_DGRAM, 0);
	struct pollfd wait = { own, POLLIN, 0 };
	char answer[512];

	if (own < 0 || connect(own, (struct sockaddr *)&there, sizeof there))
		failed();
	if (send(own, question, sizeof question - 1, 0) < 0)
		failed();
	if (poll(&wait, 1, PATIENCE_MS) == 0)
		refused("no answer");
	outcome(recv(own, answer, sizeof answer, 0));
}

static void connects_by_ipv6(void)
{
	struct sockaddr_in6 there = { .sin6_family = AF_INET6, .sin6_port = htons(DECLARED_PORT) };
	int own = socket(AF_INET6, SOCK_STREAM, 0);

	if (own < 0)
		failed();
	inet_pton(AF_INET6, "fec0::2", &there.sin6_addr);
	outcome(connect(own, (struct sockaddr *)&there, sizeof there));
}

/* Names that its manifest has, and that their owner lets lead where the app may not go. */
static void rebinds_names(void)
{
	static const char *names[] = { "loopback.rebind.example", "device.rebind.example", "link.rebind.example",
				       "app.rebind.example", "private.rebind.example" };
	struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM }, *found;

	/* Without this nothing would be shown: the name server answers, and a host outside is let through. */
	if (getaddrinfo("good.rebind.example", NULL, &hints, &found) != 0)
		refused("good.rebind.example does not resolve either");
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (getaddrinfo(names[i], NULL, &hints, &found) == 0)
			succeeded();
	/* And not by the bare addresses, which no answer has opened. */
	if (reaches(HOST, DECLARED_PORT, PATIENCE_MS) || reaches(APPS + 2, DECLARED_PORT, PATIENCE_MS))
		succeeded();
	refused("no such host");
}

static void listens(void)
{
	struct sockaddr_in here = at(INADDR_ANY, 8080);
	int own = socket(AF_INET, SOCK_STREAM, 0);

	if (own < 0 || bind(own, (struct sockaddr *)&here, sizeof here))
		failed();
	outcome(listen(own, 1));
}

const struct attack network_attacks[] = {
	{ "other-host", connects_to_other_host },
	{ "other-port", connects_to_other_port },
	{ "the-device", connects_to_device },
	{ "other-app", connects_to_other_app },
	{ "other-app-name", resolves_other_app },
	{ "other-name-server", asks_other_name_server },
	{ "ipv6", connects_by_ipv6 },
	{ "dns-rebinding", rebinds_names },
	{ "undeclared-port", listens },
	{ 0 },
};
