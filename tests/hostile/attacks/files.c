/* Files, devices and rights that are not the app's. */
#define _GNU_SOURCE
#include "hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Opens each; one that opens is one too many. The reason is the last one's. */
static void open_all(const char *const *paths, int flags)
{
	for (; *paths; paths++)
		if (open(*paths, flags | O_NONBLOCK) >= 0)
			succeeded();
	failed();
}

static void opens_devices(void)
{
	static const char *const paths[] = { "/dev/vda", "/dev/mem", "/dev/ttyS0", "/dev/watchdog", "/dev/tpm0", "/dev/loop0",
					     "/dev/app/METER_UART", NULL };

	open_all(paths, O_RDWR);
}

static void reads_other_data(void)
{
	static const char *const paths[] = { "/run/apps", "/run/osagent.sock", "/data/osagent", "/data/../../data/osagent",
					     "/data/apps", "/proc/1/root/data", NULL };

	open_all(paths, O_RDONLY);
}

static void turns_kernel_knobs(void)
{
	static const char *const paths[] = { "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/kcore",
					     "/sys/power/state", "/sys/fs/cgroup/cgroup.procs",
					     "/sys/kernel/security/lockdown", NULL };

	open_all(paths, O_WRONLY);
}

static void writes_root(void)
{
	static const char *const paths[] = { "/usr/bin/hostile", "/etc/passwd", NULL };

	open_all(paths, O_WRONLY);
}

/* The pages of a program are not writable, but /proc/self/mem would not mind. */
static void writes_own_program(void)
{
	int memory = open("/proc/self/mem", O_RDWR);

	if (memory < 0)
		failed();
	outcome(pwrite(memory, "\xc3", 1, (off_t)(size_t)&writes_own_program));
}

static void copy_self(const char *to, mode_t mode)
{
	char buffer[4096];
	ssize_t count;
	int from = open("/usr/bin/hostile", O_RDONLY), target = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0700);

	if (from < 0 || target < 0)
		failed();
	while ((count = read(from, buffer, sizeof buffer)) > 0)
		if (write(target, buffer, count) != count)
			failed();
	if (fchmod(target, mode))
		failed();
	close(target);
	close(from);
}

static void runs_what_it_wrote(void)
{
	char *argv[] = { "hostile", "nothing", NULL };

	copy_self("/tmp/program", 0700);
	outcome(execv("/tmp/program", argv));
}

static void makes_setuid_program(void)
{
	char *argv[] = { "hostile", "nothing", NULL };

	copy_self("/data/program", 04755);
	outcome(execv("/data/program", argv));
}

static void gives_file_capabilities(void)
{
	/* VFS_CAP_REVISION_2, effective; CAP_SYS_ADMIN */
	static const unsigned char all[20] = { 1, 0, 0, 2, 0, 0, 0x20, 0 };

	copy_self("/data/program", 0755);
	outcome(setxattr("/data/program", "security.capability", all, sizeof all, 0));
}

static void becomes_root(void)
{
	outcome(setuid(0));
}

static void gives_away_files(void)
{
	int file = open("/data/gift", O_WRONLY | O_CREAT, 0600);

	if (file < 0)
		failed();
	outcome(fchown(file, 0, 0));
}

const struct attack file_attacks[] = {
	{ "device", opens_devices },
	{ "other-data", reads_other_data },
	{ "kernel-knobs", turns_kernel_knobs },
	{ "write-root", writes_root },
	{ "self-mem", writes_own_program },
	{ "exec-written", runs_what_it_wrote },
	{ "setuid-file", makes_setuid_program },
	{ "file-capability", gives_file_capabilities },
	{ "setuid", becomes_root },
	{ "chown", gives_away_files },
	{ 0 },
};
