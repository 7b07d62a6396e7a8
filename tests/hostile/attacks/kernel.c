/* System calls that change the system, reach into other processes, or open what the kernel guards worst. */
#define _GNU_SOURCE
#include "hostile.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/time.h>
#include <termios.h>
#include <unistd.h>

#define X32_BIT 0x40000000L

static void mounts(void)
{
	outcome(mount("none", "/tmp", "tmpfs", 0, ""));
}

static void unshares(void)
{
	outcome(unshare(CLONE_NEWUSER | CLONE_NEWNS));
}

static void clones_namespace(void)
{
	outcome(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
}

static void sets_namespace(void)
{
	outcome(setns(open("/proc/self/ns/user", O_RDONLY), 0));
}

static void pivots(void)
{
	outcome(syscall(SYS_pivot_root, "/tmp", "/tmp"));
}

static void changes_root(void)
{
	outcome(chroot("/tmp"));
}

static void traces(void)
{
	outcome(ptrace(PTRACE_ATTACH, getppid(), 0, 0));
}

static void writes_memory(void)
{
	char text[] = "mine";
	struct iovec here = { text, sizeof text }, there = { (void *)0x400000, sizeof text };

	outcome(process_vm_writev(1, &here, 1, &there, 1, 0));
}

static void loads_bpf(void)
{
	union bpf_attr attributes;

	memset(&attributes, 0, sizeof attributes);
	outcome(syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes));
}

static void opens_perf(void)
{
	struct perf_event_attr attributes;

	memset(&attributes, 0, sizeof attributes);
	attributes.size = sizeof attributes;
	outcome(syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0));
}

static void reads_keys(void)
{
	outcome(syscall(SYS_keyctl, 0, -3, 0, 0, 0));
}

static void handles_faults(void)
{
	outcome(syscall(SYS_userfaultfd, O_CLOEXEC));
}

static void sets_up_ring(void)
{
	char parameters[128] = { 0 };

	outcome(syscall(SYS_io_uring_setup, 8, parameters));
}

static void loads_module(void)
{
	outcome(syscall(SYS_finit_module, open("/usr/bin/hostile", O_RDONLY), "", 0));
}

static void loads_kernel(void)
{
	outcome(syscall(SYS_kexec_load, 0, 0, NULL, 0));
}

static void reboots(void)
{
	/* LINUX_REBOOT_MAGIC1 and 2, CMD_RESTART */
	outcome(syscall(SYS_reboot, 0xfee1dead, 672274793, 0x01234567, NULL));
}

static void sets_clock(void)
{
	struct timespec then = { 1, 0 };

	outcome(syscall(SYS_clock_settime, 0, &then));
}

static void opens_by_handle(void)
{
	outcome(syscall(SYS_open_by_handle_at, AT_FDCWD, "", O_RDONLY));
}

static void makes_memory_file(void)
{
	outcome(syscall(SYS_memfd_create, "program", 0));
}

static void calls_x32(void)
{
	outcome(syscall(X32_BIT | SYS_getpid));
}

static void types_into_terminal(void)
{
	outcome(ioctl(0, TIOCSTI, "x"));
}

static void makes_device(void)
{
	outcome(syscall(SYS_mknodat, AT_FDCWD, "/tmp/disk", S_IFBLK | 0600, makedev(254, 0)));
}

/* Memory that is written and then run. */
static void makes_memory_executable(void)
{
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		failed();
	memset(memory, 0xc3, 4096);
	outcome(mprotect(memory, 4096, PROT_READ | PROT_EXEC));
}

static void maps_executable(void)
{
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	outcome(memory == MAP_FAILED ? -1 : 0);
}

static void opens_raw_socket(void)
{
	outcome(socket(AF_INET, SOCK_RAW, 1));
}

static void opens_packet_socket(void)
{
	outcome(socket(AF_PACKET, SOCK_RAW, 0));
}

static void opens_netlink_socket(void)
{
	outcome(socket(AF_NETLINK, SOCK_RAW, 0));
}

static void opens_socket_without_network(void)
{
	outcome(socket(AF_INET, SOCK_STREAM, 0));
}

const struct attack kernel_attacks[] = {
	{ "mount", mounts },
	{ "unshare", unshares },
	{ "clone-namespace", clones_namespace },
	{ "setns", sets_namespace },
	{ "pivot-root", pivots },
	{ "chroot", changes_root },
	{ "ptrace", traces },
	{ "process-vm-writev", writes_memory },
	{ "bpf", loads_bpf },
	{ "perf", opens_perf },
	{ "keyctl", reads_keys },
	{ "userfaultfd", handles_faults },
	{ "io-uring", sets_up_ring },
	{ "module", loads_module },
	{ "kexec", loads_kernel },
	{ "reboot", reboots },
	{ "clock", sets_clock },
	{ "handle", opens_by_handle },
	{ "memfd", makes_memory_file },
	{ "x32", calls_x32 },
	{ "tiocsti", types_into_terminal },
	{ "mknod", makes_device },
	{ "mprotect", makes_memory_executable },
	{ "mmap-wx", maps_executable },
	{ "raw-socket", opens_raw_socket },
	{ "packet-socket", opens_packet_socket },
	{ "netlink", opens_netlink_socket },
	{ "no-network", opens_socket_without_network },
	{ 0 },
};
