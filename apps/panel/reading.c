#include "reading.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT_BYTES = 32 };

bool reading_parse(const void *bytes, size_t length, double *value)
{
	char text[LIMIT_BYTES + 1];
	if (length == 0 || length > LIMIT_BYTES)
		return false;
	memcpy(text, bytes, length);
	text[length] = '\0';
	/* Digits as a meter writes them: strtod would also take blanks, hexadecimal, `inf` and `nan`. */
	if (strspn(text, "0123456789.-") != length)
		return false;
	char *end;
	*value = strtod(text, &end);
	return end == text + length && isfinite(*value);
}

bool reading_lights(double value, double limit, bool on)
{
	return on ? value > limit - fabs(limit) / 20 : value >= limit;
}
