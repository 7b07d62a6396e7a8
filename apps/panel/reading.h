/* What a reading says to a lamp. */
#ifndef PANEL_READING_H
#define PANEL_READING_H

#include <stdbool.h>
#include <stddef.h>

/* The number in `length` bytes without an end; false: it is none. */
bool reading_parse(const void *bytes, size_t length, double *value);

/* Whether the lamp is on after `value`. It goes on at `limit` and off again a twentieth below, so that a value that
 * trembles around the limit does not make it flicker. */
bool reading_lights(double value, double limit, bool on);

#endif
