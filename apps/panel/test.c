/* Tests of the parts that need no broker: `make test`. */
#include "reading.h"
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

#define CHECK(holds) \
	do { \
		if (!(holds)) { \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #holds); \
			failures++; \
		} \
	} while (0)

static void numbers_are_parsed(void)
{
	static const char *const bad[] = {"", "x", "1x", " 1", "inf", "nan", "0x10", "1e3", "-", "1-", "1.2.3",
		"111111111111111111111111111111111"};
	double value = 0;
	CHECK(reading_parse("2310.5", 6, &value) && value == 2310.5);
	CHECK(reading_parse("-3garbage", 2, &value) && value == -3);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK(!reading_parse(bad[i], strlen(bad[i]), &value));
	CHECK(!reading_parse("1\0" "2", 3, &value));
}

static void the_lamp_does_not_flicker(void)
{
	CHECK(!reading_lights(1999, 2000, false));
	CHECK(reading_lights(2000, 2000, false));
	CHECK(reading_lights(1950, 2000, true));
	CHECK(!reading_lights(1900, 2000, true));
	CHECK(reading_lights(-100, -100, false) && !reading_lights(-106, -100, true));
}

static void wrong_settings_are_named(void)
{
	struct settings settings;
	setenv("PORT", "99999", 1);
	CHECK(strcmp(settings_read(&settings), "PORT") == 0);
	setenv("PORT", "", 1);
	setenv("LIMIT", "high", 1);
	CHECK(strcmp(settings_read(&settings), "LIMIT") == 0);
	setenv("LIMIT", "12.5", 1);
	CHECK(settings_read(&settings) == NULL && settings.limit == 12.5 && settings.port == 1883);
}

int main(void)
{
	numbers_are_parsed();
	the_lamp_does_not_flicker();
	wrong_settings_are_named();
	return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
