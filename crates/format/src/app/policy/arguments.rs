//! The calls whose arguments decide.
//!
//! Invariant: a condition looks at numbers only, never at what a pointer leads to, which may change after the look.

use super::{Case, Condition, Grants, SystemCall, Verdict};

const EPERM: u16 = 1;
const EINVAL: u16 = 22;
const ENOTTY: u16 = 25;
const ENOPROTOOPT: u16 = 92;
const EPROTONOSUPPORT: u16 = 93;
const EOPNOTSUPP: u16 = 95;
const EAFNOSUPPORT: u16 = 97;

/// linux/socket.h, linux/net.h, linux/in.h.
const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;
const SOCK_TYPE_MASK: u64 = 0xf;
const SOCK_STREAM: u64 = 1;
const SOCK_DGRAM: u64 = 2;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;
const IPPROTO_MPTCP: u32 = 262;
const TCP_ULP: u32 = 31;
const MSG_FASTOPEN: u64 = 0x2000_0000;

/// asm-generic/mman-common.h.
const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;

/// `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID`, `NEWNET` of linux/sched.h.
const NAMESPACES: u64 = 0x7e02_0000;

const S_IFMT: u64 = 0o170_000;
const S_IFIFO: u64 = 0o010_000;

/// asm-generic/ioctls.h; both put what is typed into a terminal from outside.
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;
/// `FIONREAD`, `FIONBIO`, `FIONCLEX`, `FIOCLEX`, `FIOASYNC`, `TIOCOUTQ`; `TCGETS`, `TIOCGWINSZ`, which programs ask any
/// descriptor to find out whether it is a terminal.
const IOCTL_ANY: &[u32] = &[0x541b, 0x5421, 0x5450, 0x5451, 0x5452, 0x5411, 0x5401, 0x5413];
/// `SIOCATMARK`; `SIOCGIFNAME`, `CONF`, `FLAGS`, `ADDR`, `BRDADDR`, `NETMASK`, `MTU`, `HWADDR`, `INDEX` of linux/sockios.h.
const IOCTL_NETWORK: &[u32] = &[0x8905, 0x8910, 0x8912, 0x8913, 0x8915, 0x8919, 0x891b, 0x8921, 0x8927, 0x8933];
/// `TCSETS`, `TCSETSW`, `TCSETSF`, `TCSBRK`, `TCXONC`, `TCFLSH`, `TIOCEXCL`, `TIOCNXCL`, `TIOCMGET`, `TIOCMBIS`, `TIOCMBIC`,
/// `TIOCMSET`, `TCSBRKP`, `TIOCSBRK`, `TIOCCBRK`, `TIOCGRS485`, `TIOCSRS485`, `TIOCMIWAIT`, `TIOCGICOUNT`; `TCGETS2`,
/// `TCSETS2`, `TCSETSW2`, `TCSETSF2`. Not `TIOCSETD`, which loads drivers, nor `TIOCSCTTY`.
const IOCTL_TERMINAL: &[u32] = &[
    0x5402,
    0x5403,
    0x5404,
    0x5409,
    0x540a,
    0x540b,
    0x540c,
    0x540d,
    0x5415,
    0x5416,
    0x5417,
    0x5418,
    0x5425,
    0x5427,
    0x5428,
    0x542e,
    0x542f,
    0x545c,
    0x545d,
    0x802c_542a,
    0x402c_542b,
    0x402c_542c,
    0x402c_542d,
];
/// The second byte of a request names the driver: linux/gpio.h, linux/spi/spidev.h, linux/i2c-dev.h.
const IOCTL_KIND_MASK: u64 = 0xff00;
const IOCTL_GPIO: u64 = 0xb400;
const IOCTL_SPI: u64 = 0x6b00;
const IOCTL_I2C_MASK: u64 = 0xffff_ff00;
const IOCTL_I2C: u64 = 0x0700;
/// Takes an address that a driver of the kernel uses.
const I2C_SLAVE_FORCE: u32 = 0x0706;

/// linux/prctl.h: pdeathsig, dumpable, name, seccomp (asks), timer slack, child subreaper, no_new_privs, address of the thread
/// id, transparent huge pages, write-xor-execute (tightens), bounding set (asks), names of memory, keepcaps (asks).
const PRCTL: &[u32] = &[1, 2, 3, 4, 15, 16, 21, 29, 30, 36, 37, 38, 39, 40, 41, 42, 65, 66, 23, 0x5356_4d41, 7];
const PR_CAP_AMBIENT: u32 = 47;
const PR_CAP_AMBIENT_IS_SET: u32 = 1;

/// `old`: also those that only x86-64 has.
pub(super) fn calls(grants: Grants, old: bool) -> Vec<SystemCall> {
    let call = |name, purpose, cases| SystemCall { name, purpose, cases };
    let memory = "memory, never written and executed both";
    let sockets = "make and use sockets";
    let mut calls = vec![
        call("clone", "processes and threads", vec![allow("no new namespace", vec![without(0, NAMESPACES)])]),
        call("ioctl", "devices, terminals and sockets", ioctl(grants)),
        call("mknodat", "make pipes with a name", pipe_only(2)),
        call("mmap", memory, mmap()),
        call("mprotect", memory, not_executable()),
        call("personality", "ask how the kernel treats the program", personality()),
        call("pkey_mprotect", memory, not_executable()),
        call("prctl", "the process itself", prctl()),
        call("sendmmsg", sockets, send(3)),
        call("sendmsg", sockets, send(2)),
        call("sendto", sockets, send(3)),
        call("setsockopt", sockets, setsockopt()),
        call("socket", sockets, socket(grants)),
        call("socketpair", sockets, vec![allow("sockets of this device", vec![int(0, AF_UNIX)])]),
    ];
    if old {
        calls.push(call("mknod", "make pipes with a name", pipe_only(1)));
    }
    calls
}

/// Raw and packet sockets, and kinds that Landlock's rules on TCP do not see, end the app.
fn socket(grants: Grants) -> Vec<Case> {
    let netlink = "netlink, by which C libraries ask for addresses";
    let mut cases = vec![
        allow("sockets of this device", vec![int(0, AF_UNIX)]),
        fail(EAFNOSUPPORT, netlink, vec![int(0, AF_NETLINK)]),
    ];
    for domain in [AF_INET, AF_INET6] {
        let internet = |kind, protocol| vec![int(0, domain), masked(1, SOCK_TYPE_MASK, kind), int(2, protocol)];
        if grants.network {
            cases.push(allow("TCP", internet(SOCK_STREAM, 0)));
            cases.push(allow("TCP", internet(SOCK_STREAM, IPPROTO_TCP)));
            cases.push(allow("UDP", internet(SOCK_DGRAM, 0)));
            cases.push(allow("UDP", internet(SOCK_DGRAM, IPPROTO_UDP)));
            // Runtimes try it first and go on with TCP.
            cases.push(fail(EPROTONOSUPPORT, "multipath TCP", internet(SOCK_STREAM, IPPROTO_MPTCP)));
        }
    }
    cases
}

/// TCP Fast Open connects without the check that `connect` makes.
fn send(flags: u8) -> Vec<Case> {
    let plain = allow("all but TCP Fast Open", vec![without(flags, MSG_FASTOPEN)]);
    vec![plain, fail(EOPNOTSUPP, "", vec![])]
}

/// Upper layers turn a TCP socket into another kind.
fn setsockopt() -> Vec<Case> {
    let upper = vec![int(1, IPPROTO_TCP), int(2, TCP_ULP)];
    vec![fail(ENOPROTOOPT, "protocols above TCP", upper), allow("", vec![])]
}

fn mmap() -> Vec<Case> {
    vec![
        allow("memory that is not executable", vec![without(2, PROT_EXEC)]),
        allow("memory that is not writable", vec![without(2, PROT_WRITE)]),
    ]
}

fn not_executable() -> Vec<Case> {
    vec![allow("memory that is not to be executable", vec![without(2, PROT_EXEC)])]
}

fn pipe_only(mode: u8) -> Vec<Case> {
    vec![allow("pipes", vec![masked(mode, S_IFMT, S_IFIFO)])]
}

fn personality() -> Vec<Case> {
    vec![allow("questions", vec![int(0, u32::MAX)]), allow("the one it has", vec![int(0, 0)])]
}

fn prctl() -> Vec<Case> {
    let mut cases: Vec<Case> =
        PRCTL.iter().map(|option| allow("what concerns the process alone", vec![int(0, *option)])).collect();
    let ask = vec![int(0, PR_CAP_AMBIENT), masked(1, u64::MAX, PR_CAP_AMBIENT_IS_SET.into())];
    cases.push(allow("questions about capabilities", ask));
    // As a kernel without the option would.
    cases.push(fail(EINVAL, "", vec![]));
    cases
}

fn ioctl(grants: Grants) -> Vec<Case> {
    let request = |request: &u32| vec![int(1, *request)];
    let mut cases: Vec<Case> = [TIOCSTI, TIOCLINUX]
        .iter()
        .map(|typed| Case { what: "typing into terminals", conditions: request(typed), verdict: Verdict::Kill })
        .collect();
    cases.extend(IOCTL_ANY.iter().map(|any| allow("what any descriptor can be asked", request(any))));
    if grants.network {
        cases.extend(IOCTL_NETWORK.iter().map(|asked| allow("its interfaces' addresses", request(asked))));
    }
    if grants.devices {
        cases.extend(IOCTL_TERMINAL.iter().map(|setting| allow("serial lines", request(setting))));
        cases.push(allow("GPIO", vec![masked(1, IOCTL_KIND_MASK, IOCTL_GPIO)]));
        cases.push(allow("SPI", vec![masked(1, IOCTL_KIND_MASK, IOCTL_SPI)]));
        cases.push(fail(EPERM, "I2C addresses that a driver uses", request(&I2C_SLAVE_FORCE)));
        cases.push(allow("I2C", vec![masked(1, IOCTL_I2C_MASK, IOCTL_I2C)]));
    }
    // What the kernel says of a request that a descriptor does not know: programs try, and go on.
    cases.push(fail(ENOTTY, "", vec![]));
    cases
}

fn allow(what: &'static str, conditions: Vec<Condition>) -> Case {
    Case { what, conditions, verdict: Verdict::Allow }
}

fn fail(errno: u16, what: &'static str, conditions: Vec<Condition>) -> Case {
    Case { what, conditions, verdict: Verdict::Errno(errno) }
}

/// The kernel reads 32 bits of an `int`; the others may hold anything.
fn int(argument: u8, value: u32) -> Condition {
    masked(argument, u32::MAX.into(), value.into())
}

fn without(argument: u8, bits: u64) -> Condition {
    masked(argument, bits, 0)
}

fn masked(argument: u8, mask: u64, value: u64) -> Condition {
    Condition { argument, mask, value }
}
