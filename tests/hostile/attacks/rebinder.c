/*
 * A name server that lies: names of `rebind.example` lead to this device, to another app and into private networks, and
 * `good.example` to a host outside. It is a service of the product, at the address that the product's `dns-servers` names.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { HEADER = 12, FOOT = 4, ANSWER = 16 };

static const struct {
	const char *label;
	uint32_t address;
} lies[] = {
	{ "loopback", 0x7f000001 }, { "device", 0x0a00020f }, { "link", 0xa9fe0101 },
	{ "app", 0xc6120002 },	    { "private", 0x0a000202 }, { "good", 0xc0000207 },
};

int main(void)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(53), .sin_addr = { htonl(0x7f000001) } };
	struct sockaddr_in there;
	int own = socket(AF_INET, SOCK_DGRAM, 0);
	unsigned char packet[512 + ANSWER];

	if (own < 0 || bind(own, (struct sockaddr *)&here, sizeof here)) {
		perror("rebinder");
		return 1;
	}
	for (;;) {
		socklen_t length = sizeof there;
		ssize_t count = recvfrom(own, packet, 512, 0, (struct sockaddr *)&there, &length);
		size_t end = HEADER;
		uint32_t address = 0;

		if (count < HEADER + FOOT + 2)
			continue;
		for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
			if (strlen(lies[i].label) == packet[HEADER] &&
			    memcmp(packet + HEADER + 1, lies[i].label, packet[HEADER]) == 0)
				address = htonl(lies[i].address);
		while (end < (size_t)count - FOOT && packet[end])
			end += packet[end] + 1;
		end += 1 + FOOT;
		if (end > (size_t)count)
			continue;
		/* An answer without error, one question; one address of a minute where there is one. */
		memcpy(packet + 2, "\x81\x80\0\1\0\0\0\0\0\0", 10);
		packet[7] = address != 0;
		if (address) {
			memcpy(packet + end, "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4", 12);
			memcpy(packet + end + 12, &address, 4);
			end += ANSWER;
		}
		sendto(own, packet, end, 0, (struct sockaddr *)&there, length);
	}
}
