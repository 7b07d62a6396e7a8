/* The environment to settings. */
#ifndef PANEL_SETTINGS_H
#define PANEL_SETTINGS_H

struct settings {
	const char *uart;
	const char *broker;
	int port;
	const char *topic;
	/* The lamp goes on at this value. */
	double limit;
};

/* NULL, or the name of the variable whose value is wrong. */
const char *settings_read(struct settings *settings);

#endif
