use super::*;
use std::collections::BTreeSet;

/// The example of all manifests without its capabilities, then changed.
fn calls(architecture: &str, change: impl FnOnce(&mut Manifest)) -> Vec<SystemCall> {
    let example = crate::app::tests::example().to_string();
    let mut manifest = Manifest::from_json(example.as_bytes()).expect("valid");
    manifest.capabilities = Default::default();
    manifest.architecture = architecture.to_owned();
    change(&mut manifest);
    system_calls(&manifest)
}

fn none(_: &mut Manifest) {}

fn network(manifest: &mut Manifest) {
    manifest.capabilities.listen = vec![crate::app::Listening {
        port: 80,
        protocol: crate::app::Protocol::Tcp,
        from: crate::app::ListenFrom::Apps,
    }];
}

fn devices(manifest: &mut Manifest) {
    manifest.capabilities.devices = vec!["METER_UART".to_owned()];
}

/// What becomes of a call; without a case the app ends.
fn verdict(calls: &[SystemCall], name: &str, arguments: &[u64]) -> Verdict {
    let argument = |index: u8| arguments.get(usize::from(index)).copied().unwrap_or(0);
    let holds = |c: &Condition| argument(c.argument) & c.mask == c.value;
    let cases = calls.iter().find(|call| call.name == name).map(|call| &call.cases[..]).unwrap_or_default();
    cases.iter().find(|case| case.conditions.iter().all(holds)).map_or(Verdict::Kill, |case| case.verdict)
}

const KILL: Verdict = Verdict::Kill;
const ALLOW: Verdict = Verdict::Allow;

#[test]
fn what_reaches_beyond_the_app_is_in_no_policy() {
    let forbidden = "mount umount2 unshare setns pivot_root chroot ptrace process_vm_readv process_vm_writev bpf \
        perf_event_open keyctl add_key request_key userfaultfd io_uring_setup io_uring_enter io_uring_register init_module \
        finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff iopl ioperm memfd_create memfd_secret \
        open_by_handle_at name_to_handle_at fanotify_init fanotify_mark quotactl quotactl_fd acct settimeofday clock_settime \
        clock_adjtime adjtimex sethostname setdomainname pidfd_getfd move_mount open_tree fsopen fsmount fsconfig mount_setattr \
        kcmp syslog vhangup modify_ldt shmat seccomp landlock_restrict_self execveat remap_file_pages";
    for architecture in ["x86_64", "aarch64"] {
        let all = calls(architecture, |manifest| {
            network(manifest);
            devices(manifest);
            manifest.capabilities.set_time = true;
            manifest.capabilities.reboot = true;
        });
        for name in forbidden.split_whitespace() {
            assert!(all.iter().all(|call| call.name != name), "{name}");
        }
    }
}

#[test]
fn arguments_decide() {
    let (bare, network, devices) = (calls("x86_64", none), calls("x86_64", network), calls("x86_64", devices));
    let errno = Verdict::Errno;
    let cloexec = 0o2_000_000;
    let table: &[(&[SystemCall], &str, &[u64], Verdict)] = &[
        (&bare, "socket", &[1, 1 | cloexec, 0], ALLOW),
        (&bare, "socket", &[16, 3, 0], errno(97)),
        (&bare, "socket", &[2, 1, 0], KILL),
        (&bare, "socket", &[10, 2, 17], KILL),
        (&network, "socket", &[2, 1 | cloexec, 0], ALLOW),
        (&network, "socket", &[10, 2 | 0o4000, 17], ALLOW),
        (&network, "socket", &[0xffff_0000_0000_000a, 1, 6], ALLOW),
        (&network, "socket", &[2, 1, 262], errno(93)),
        // Raw, ping, SCTP, packet, vsock, kernel cryptography.
        (&network, "socket", &[2, 3, 255], KILL),
        (&network, "socket", &[2, 3, 0], KILL),
        (&network, "socket", &[2, 2, 1], KILL),
        (&network, "socket", &[2, 1, 132], KILL),
        (&network, "socket", &[17, 3, 768], KILL),
        (&network, "socket", &[17, 2, 768], KILL),
        (&network, "socket", &[40, 1, 0], KILL),
        (&network, "socket", &[38, 5, 0], KILL),
        (&bare, "socketpair", &[1, 1, 0], ALLOW),
        (&bare, "socketpair", &[30, 1, 0], KILL),
        (&network, "sendto", &[3, 0, 0, 0x4000], ALLOW),
        (&network, "sendto", &[3, 0, 0, 0x2000_0000], errno(95)),
        (&network, "sendmsg", &[3, 0, 0x2000_4000], errno(95)),
        (&network, "setsockopt", &[3, 6, 31], errno(92)),
        (&network, "setsockopt", &[3, 6, 1], ALLOW),
        (&bare, "mmap", &[0, 4096, 3], ALLOW),
        (&bare, "mmap", &[0, 4096, 5], ALLOW),
        (&bare, "mmap", &[0, 4096, 6], KILL),
        (&bare, "mmap", &[0, 4096, 7], KILL),
        (&bare, "mprotect", &[0, 4096, 3], ALLOW),
        (&bare, "mprotect", &[0, 4096, 5], KILL),
        (&bare, "mprotect", &[0, 4096, 4], KILL),
        (&bare, "pkey_mprotect", &[0, 4096, 5, 0], KILL),
        // A thread of glibc, a fork; a user, a mount namespace.
        (&bare, "clone", &[0x3d_0f00], ALLOW),
        (&bare, "clone", &[0x0120_0011], ALLOW),
        (&bare, "clone", &[0x1000_0011], KILL),
        (&bare, "clone", &[0x0002_0011], KILL),
        (&bare, "clone3", &[], errno(38)),
        (&bare, "setuid", &[0], errno(1)),
        (&bare, "mknodat", &[0, 0, 0o010_644], ALLOW),
        (&bare, "mknodat", &[0, 0, 0o020_644], KILL),
        (&bare, "mknod", &[0, 0o060_644], KILL),
        (&bare, "personality", &[0xffff_ffff], ALLOW),
        (&bare, "personality", &[0x0040_0000], KILL),
        (&bare, "ioctl", &[0, 0x5401], ALLOW),
        (&bare, "ioctl", &[0, 0x5402], errno(25)),
        (&bare, "ioctl", &[0, 0x8915], errno(25)),
        (&network, "ioctl", &[0, 0x8915], ALLOW),
        (&devices, "ioctl", &[0, 0x5402], ALLOW),
        (&devices, "ioctl", &[0, 0xc250_b407], ALLOW),
        (&devices, "ioctl", &[0, 0x4020_6b00], ALLOW),
        (&devices, "ioctl", &[0, 0x0703], ALLOW),
        (&devices, "ioctl", &[0, 0x0706], errno(1)),
        (&devices, "ioctl", &[0, 0x5412], KILL),
        (&devices, "ioctl", &[0, 0x0000_0001_0000_5412], KILL),
        (&devices, "ioctl", &[0, 0x541c], KILL),
        (&devices, "ioctl", &[0, 0x5423], errno(25)),
        (&bare, "prctl", &[15], ALLOW),
        (&bare, "prctl", &[47, 1], ALLOW),
        (&bare, "prctl", &[47, 2], errno(22)),
        (&bare, "prctl", &[22], errno(22)),
    ];
    for (calls, name, arguments, expected) in table {
        assert_eq!(verdict(calls, name, arguments), *expected, "{name} {arguments:x?}");
    }
}

#[test]
fn each_call_is_there_once_and_a_capability_takes_none_away() {
    for architecture in ["x86_64", "aarch64"] {
        let bare = calls(architecture, none);
        let names: BTreeSet<&str> = bare.iter().map(|call| call.name).collect();
        assert_eq!(names.len(), bare.len());
        for more in [calls(architecture, network), calls(architecture, devices)] {
            assert!(names.iter().eq(more.iter().map(|call| &call.name)));
            for (few, more) in bare.iter().zip(&more) {
                let allowed =
                    |call: &SystemCall| call.cases.iter().filter(|c| c.verdict == ALLOW).cloned().collect::<Vec<_>>();
                let more = allowed(more);
                assert!(allowed(few).iter().all(|case| more.contains(case)), "{}", few.name);
            }
        }
    }
    let old = |calls: Vec<SystemCall>| calls.iter().any(|call| call.name == "open");
    assert!(old(calls("x86_64", none)) && !old(calls("aarch64", none)));
}

#[test]
fn a_condition_can_hold_and_says_what_it_is_about() {
    for call in calls("x86_64", devices).iter().chain(&calls("x86_64", network)) {
        assert!(!call.purpose.is_empty() && !call.cases.is_empty(), "{}", call.name);
        for case in &call.cases {
            assert_eq!(case.conditions.is_empty(), case.what.is_empty(), "{call}");
            assert!(case.conditions.iter().all(|c| c.argument < 6 && c.value & !c.mask == 0), "{call}");
        }
    }
}

#[test]
fn a_person_can_read_it() {
    let all = calls("x86_64", network);
    let text = |name: &str| all.iter().find(|call| call.name == name).map(ToString::to_string).expect("there");
    assert_eq!(text("read"), "read");
    assert_eq!(text("setuid"), "setuid: fails with errno 1");
    assert_eq!(text("mprotect"), "mprotect: allowed for memory that is not to be executable; ends the app otherwise");
    assert_eq!(
        text("socket"),
        "socket: allowed for sockets of this device, TCP, UDP; fails with errno 97 for netlink, by which C libraries ask for \
         addresses; fails with errno 93 for multipath TCP; ends the app otherwise"
    );
    assert_eq!(text("sendto"), "sendto: allowed for all but TCP Fast Open; fails with errno 95 otherwise");
    assert_eq!(text("setsockopt"), "setsockopt: fails with errno 92 for protocols above TCP; allowed otherwise");
}
