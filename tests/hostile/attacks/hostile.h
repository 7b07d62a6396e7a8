/* What every attack has: a way to say what came of it. */
#ifndef HOSTILE_H
#define HOSTILE_H

/* Exit codes; the table in expected.yaml is about them and about what the system says of ends that are not the app's own. */
enum { SUCCEEDED = 66, REFUSED = 40, USAGE = 2 };

/* Says that the system did not let it, and why; ends. */
void refused(const char *reason) __attribute__((noreturn));
/* The same, with errno for the reason. */
void failed(void) __attribute__((noreturn));
/* Says that the attack came through; ends. */
void succeeded(void) __attribute__((noreturn));
/* A result below zero is a failure, anything else is success. */
void outcome(long result) __attribute__((noreturn));

struct attack {
	const char *name;
	void (*run)(void);
};

/* Each list ends with an entry without a name. */
extern const struct attack kernel_attacks[], file_attacks[], process_attacks[], resource_attacks[], network_attacks[];

#endif
