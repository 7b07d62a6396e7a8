/* Panel: readings of the device's own broker to a line on a serial port, where a lamp hangs.
 *
 * Invariant: the lamp is told its state whenever that changes and after each connection, so that a panel which was
 * switched on late is soon right.
 */
#include "reading.h"
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <mosquitto.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

enum { KEEP_ALIVE_SECONDS = 30, LOOK_MILLISECONDS = 1000, PAUSE_LIMIT_SECONDS = 16 };

struct panel {
	struct settings settings;
	int uart;
	bool on;
};

/* What sd_notify(3) does: a datagram to the socket that the system names, if it names one. */
static void notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	if (path == NULL || strlen(path) >= sizeof to.sun_path)
		return;
	strcpy(to.sun_path, path);
	int from = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (from < 0 || sendto(from, state, strlen(state), 0, (struct sockaddr *)&to, sizeof to) < 0)
		fprintf(stderr, "panel: cannot tell the system `%s`: %s\n", state, strerror(errno));
	if (from >= 0)
		close(from);
}

/* 115200 bits a second, eight bits, no parity, every byte as it is. -1: errno says why not. */
static int open_uart(const char *path)
{
	struct termios modes;
	int uart = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (uart < 0 || tcgetattr(uart, &modes) < 0)
		return -1;
	cfmakeraw(&modes);
	cfsetispeed(&modes, B115200);
	cfsetospeed(&modes, B115200);
	return tcsetattr(uart, TCSANOW, &modes) < 0 ? -1 : uart;
}

/* A lamp that cannot be told is worth an end: the system starts the app again and keeps the reason. */
static void show(const struct panel *panel)
{
	const char *line = panel->on ? "LED on\n" : "LED off\n";
	for (size_t left = strlen(line); left > 0;) {
		ssize_t count = write(panel->uart, line, left);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0) {
			fprintf(stderr, "panel: cannot write to `%s`: %s\n", panel->settings.uart, strerror(errno));
			exit(EXIT_FAILURE);
		}
		line += count;
		left -= (size_t)count;
	}
}

static void connected(struct mosquitto *client, void *context, int code)
{
	const struct panel *panel = context;
	if (code != 0) {
		fprintf(stderr, "panel: the broker does not take us: %s\n", mosquitto_connack_string(code));
		return;
	}
	fprintf(stderr, "panel: connected, listening to `%s`\n", panel->settings.topic);
	int result = mosquitto_subscribe(client, NULL, panel->settings.topic, 1);
	if (result != MOSQ_ERR_SUCCESS)
		fprintf(stderr, "panel: cannot subscribe: %s\n", mosquitto_strerror(result));
	show(panel);
}

static void received(struct mosquitto *client, void *context, const struct mosquitto_message *message)
{
	(void)client;
	struct panel *panel = context;
	double value;
	if (!reading_parse(message->payload, (size_t)message->payloadlen, &value))
		return;
	bool on = reading_lights(value, panel->settings.limit, panel->on);
	if (on == panel->on)
		return;
	panel->on = on;
	fprintf(stderr, "panel: %s is %g, the lamp goes %s\n", message->topic, value, on ? "on" : "off");
	show(panel);
}

/* Talks to the broker for as long as the program runs; a broker that is away is tried again and again. */
static void serve(struct mosquitto *client, const struct settings *settings)
{
	unsigned pause = 0;
	int result = MOSQ_ERR_NO_CONN;
	for (;;) {
		notify("WATCHDOG=1");
		if (result != MOSQ_ERR_SUCCESS) {
			sleep(pause);
			pause = pause == 0 ? 1 : pause * 2 > PAUSE_LIMIT_SECONDS ? PAUSE_LIMIT_SECONDS : pause * 2;
			result = mosquitto_connect(client, settings->broker, settings->port, KEEP_ALIVE_SECONDS);
			if (result != MOSQ_ERR_SUCCESS)
				fprintf(stderr, "panel: %s: %s; next try in %u s\n", settings->broker,
					result == MOSQ_ERR_ERRNO ? strerror(errno) : mosquitto_strerror(result), pause);
			continue;
		}
		result = mosquitto_loop(client, LOOK_MILLISECONDS, 1);
		if (result == MOSQ_ERR_SUCCESS)
			pause = 0;
		else
			fprintf(stderr, "panel: the broker is gone: %s\n", mosquitto_strerror(result));
	}
}

int main(void)
{
	struct panel panel = {.uart = -1};
	const char *wrong = settings_read(&panel.settings);
	if (wrong != NULL) {
		fprintf(stderr, "panel: `%s` is not usable: %s\n", wrong, getenv(wrong));
		return EXIT_FAILURE;
	}
	panel.uart = open_uart(panel.settings.uart);
	if (panel.uart < 0) {
		fprintf(stderr, "panel: cannot use `%s`: %s\n", panel.settings.uart, strerror(errno));
		return EXIT_FAILURE;
	}
	mosquitto_lib_init();
	struct mosquitto *client = mosquitto_new("panel", true, &panel);
	if (client == NULL) {
		fprintf(stderr, "panel: cannot make a client: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	mosquitto_connect_callback_set(client, connected);
	mosquitto_message_callback_set(client, received);
	notify("READY=1");
	serve(client, &panel.settings);
}
