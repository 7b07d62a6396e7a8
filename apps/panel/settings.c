#include "settings.h"

#include "reading.h"

#include <stdlib.h>
#include <string.h>

static const char *variable(const char *name, const char *usual)
{
	const char *value = getenv(name);
	return value != NULL && *value != '\0' ? value : usual;
}

const char *settings_read(struct settings *settings)
{
	settings->uart = variable("PANEL_UART", "/dev/app/PANEL_UART");
	settings->broker = variable("BROKER", "mosquitto.app");
	settings->topic = variable("TOPIC", "meters/power");
	const char *limit = variable("LIMIT", "2000");
	if (!reading_parse(limit, strlen(limit), &settings->limit))
		return "LIMIT";
	char *end;
	const char *port = variable("PORT", "1883");
	long number = strtol(port, &end, 10);
	if (*end != '\0' || number < 1 || number > 65535)
		return "PORT";
	settings->port = (int)number;
	return NULL;
}
