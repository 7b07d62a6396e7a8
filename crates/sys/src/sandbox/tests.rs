#![allow(unsafe_code)]

use super::*;
use std::io::{Read, Seek};
use std::path::Path;

/// Runs `script` on the host's own `/usr` and returns its exit code and output.
fn run(script: &str, mounts: Vec<Mount>) -> (i32, String) {
    let scratch = tempfile::tempdir_in("/var/tmp").expect("a scratch folder");
    let base = scratch.path().join("base");
    std::fs::create_dir_all(base.join("tmp")).expect("folders");
    for name in ["bin", "lib", "lib64", "sbin"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), base.join(name)).expect("a link");
    }
    std::fs::create_dir(base.join("usr")).expect("usr");
    let mut output = tempfile::tempfile().expect("a file");
    let mut all = vec![Mount::ReadOnly { from: "/usr".into(), to: "/usr".into() }, Mount::Proc, Mount::Dev];
    all.push(Mount::Tmpfs { to: "/tmp".into(), size_bytes: 1 << 20 });
    all.extend(mounts);
    let sandbox = Sandbox {
        root: Root::Layers { folders: vec![base], scratch: scratch.path().join("scratch") },
        mounts: all,
        network: Network::None,
        hostname: "osbuild".into(),
        uid: 1000,
        gid: 1000,
        outside: None,
        cwd: "/".into(),
        argv: ["/bin/sh", "-c", script].map(Into::into).to_vec(),
        env: vec![("PATH".into(), "/usr/bin:/usr/sbin".into())],
        stdin: Stdio::Null,
        stdout: Stdio::File(output.try_clone().expect("a copy")),
        stderr: Stdio::File(output.try_clone().expect("a copy")),
        terminal: false,
        group: None,
        confinement: Confinement::default(),
    };
    let status = sandbox.spawn().expect("spawned").wait().expect("waited");
    output.rewind().expect("rewound");
    let mut text = String::new();
    output.read_to_string(&mut text).expect("read");
    (status.code().unwrap_or(-1), text)
}

#[test]
fn a_task_is_one_powerless_user_on_a_host_without_name_or_network() {
    let (code, text) = run("id -u; id -g; hostname 2>/dev/null || cat /proc/sys/kernel/hostname; umask; \
        grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; ls /sys/class/net 2>/dev/null; cat /proc/net/dev | tail -n +3 | cut -d: -f1", vec![]);
    assert_eq!(code, 0, "{text}");
    let words: Vec<_> = text.split_whitespace().collect();
    assert_eq!(
        words,
        [
            "1000",
            "1000",
            "osbuild",
            "0022",
            "CapEff:",
            "0000000000000000",
            "CapBnd:",
            "0000000000000000",
            "NoNewPrivs:",
            "1",
            "lo"
        ]
    );
}

#[test]
fn the_exit_code_comes_back_and_a_signal_is_128_more() {
    assert_eq!(run("exit 7", vec![]).0, 7);
    assert_eq!(run("kill -TERM $$", vec![]).0, 128 + 15);
}

#[test]
fn the_tool_tree_cannot_be_written_and_orphans_end_with_the_task() {
    let (code, text) = run("touch /x 2>&1; touch /usr/x 2>&1; sleep 1000 & exit 3", vec![]);
    assert_eq!(code, 3);
    assert_eq!(text.matches("Read-only file system").count(), 2, "{text}");
}

#[test]
fn the_kernel_of_the_host_takes_no_settings() {
    let set = |path: &str| format!("cat {path} > /tmp/value && cat /tmp/value > {path}; ");
    // Each is written with the value it has, should that succeed after all.
    let script = ["/proc/sys/vm/swappiness", "/proc/sys/kernel/core_pattern", "/proc/self/oom_score_adj"].map(set);
    let (code, text) = run(&format!("exec 2>&1; {}", script.concat()), vec![]);
    assert_eq!(text.matches("Read-only file system").count(), 3, "{text}");
    assert_ne!(code, 0);
}

#[test]
fn what_is_written_to_an_overlay_stays_above() {
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| folder.path().join(name));
    std::fs::create_dir(&lower).expect("lower");
    std::fs::write(lower.join("in"), "input").expect("a file");
    let mount = Mount::Overlay { lower: vec![lower.clone()], upper: upper.clone(), work, to: "/work".into() };
    let (code, text) = run("cd /work && cat in && echo changed > in && echo new > out", vec![mount]);
    assert_eq!((code, text.as_str()), (0, "input"));
    assert_eq!(std::fs::read_to_string(lower.join("in")).expect("read"), "input");
    assert_eq!(std::fs::read_to_string(upper.join("out")).expect("read"), "new\n");
}

/// What cannot run: its program is nowhere.
pub(super) fn without_program(root: &Path, scratch: &Path) -> Sandbox {
    Sandbox {
        root: Root::Layers { folders: vec![root.to_owned()], scratch: scratch.join("scratch") },
        mounts: vec![],
        network: Network::None,
        hostname: "x".into(),
        uid: 0,
        outside: None,
        gid: 0,
        cwd: "/".into(),
        argv: vec!["/bin/missing".into()],
        env: vec![],
        stdin: Stdio::Null,
        stdout: Stdio::Null,
        stderr: Stdio::Null,
        terminal: false,
        group: None,
        confinement: Confinement::default(),
    }
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let scratch = tempfile::tempdir_in("/var/tmp").expect("a scratch folder");
    std::fs::create_dir(scratch.path().join("base")).expect("base");
    let sandbox = without_program(&scratch.path().join("base"), scratch.path());
    let error = sandbox.spawn().expect_err("there is no program");
    assert_eq!(error.to_string(), "cannot execute `/bin/missing` in the sandbox");
    assert!(Path::new("/bin/sh").exists());
}

#[test]
fn this_machine_can_make_sandboxes() {
    probe().expect("user namespaces");
}

/// From now on every mount of this thread and of what it starts is denied, as AppArmor does it on hosts that restrict user
/// namespaces: they can be made, but nothing can be done in them.
fn deny_mounts() {
    let code = |code: u32, k: u32, jt, jf| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        // The number of the system call is the first field of `seccomp_data`.
        code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_mount as u32, 0, 1),
        code(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EACCES as u32, 0, 0),
        code(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: the filter lives until it has been copied; it binds this thread alone.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

#[test]
fn namespaces_in_which_nothing_can_be_mounted_are_none() {
    let denied = std::thread::spawn(|| {
        deny_mounts();
        probe()
    });
    let unavailable = denied.join().expect("no panic").expect_err("no sandbox can be made");
    let error = unavailable.to_string();
    assert!(error.contains("does not let `uid ") && !unavailable.remedy.is_empty(), "{error}");
    // On a host that restricts them by a setting the reason is the setting.
    assert!(error.contains("Permission denied") || error.contains(" is 1"), "{error}");
}

/// The host's `/usr` as an image, with the mount points that an image has.
fn image(folder: &Path) -> std::path::PathBuf {
    let image = folder.join("image");
    for name in ["usr", "proc", "dev", "tmp", "data", "etc"] {
        std::fs::create_dir_all(image.join(name)).expect("folders");
    }
    for name in ["bin", "lib", "lib64", "sbin"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), image.join(name)).expect("a link");
    }
    std::fs::write(image.join("etc/resolv.conf"), "").expect("written");
    image
}

/// Runs `script` in the image and returns what the sandbox's first process ended with, the program's status and output.
fn run_in_image(script: &str, confinement: Confinement) -> (i32, Option<i32>, String) {
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let (image, data) = (image(folder.path()), folder.path().join("data"));
    std::fs::create_dir(&data).expect("data");
    std::fs::write(folder.path().join("resolv.conf"), "nameserver 127.0.0.1").expect("written");
    let mut output = tempfile::tempfile().expect("a file");
    let sandbox = Sandbox {
        root: Root::Image(image),
        mounts: vec![
            Mount::ReadOnly { from: "/usr".into(), to: "/usr".into() },
            Mount::ProcessesOnly,
            Mount::Dev,
            Mount::Device { from: "/dev/null".into(), to: "/dev/app/LED".into() },
            Mount::Tmpfs { to: "/tmp".into(), size_bytes: 1 << 20 },
            Mount::Writable { from: data, to: "/data".into() },
            Mount::ReadOnly { from: folder.path().join("resolv.conf"), to: "/etc/resolv.conf".into() },
        ],
        argv: ["/bin/sh", "-c", script].map(Into::into).to_vec(),
        stdout: Stdio::File(output.try_clone().expect("a copy")),
        stderr: Stdio::File(output.try_clone().expect("a copy")),
        group: None,
        confinement,
        ..without_program(folder.path(), folder.path())
    };
    let started = sandbox.spawn().expect("spawned").leave().expect("it runs");
    let mut end = started.end;
    let mut bytes = Vec::new();
    end.read_to_end(&mut bytes).expect("read");
    let status = bytes.try_into().ok().map(i32::from_ne_bytes);
    let mut code = 0;
    // SAFETY: the child is ours, and nobody else waits for it.
    unsafe { libc::waitpid(started.pid as libc::pid_t, &mut code, 0) };
    output.rewind().expect("rewound");
    let mut text = String::new();
    output.read_to_string(&mut text).expect("read");
    (code, status, text)
}

#[test]
fn an_image_is_a_root_in_which_what_can_be_written_cannot_run() {
    let script = "echo x > /probe || echo root read-only; echo x > /dev/probe || echo dev read-only; \
        for place in /tmp /data /dev/shm; do cp /usr/bin/true $place/true && { $place/true || echo $place does not run; }; done; \
        ls /dev/app; echo x > /dev/app/LED && echo led; cat /etc/resolv.conf; echo; ls /proc | grep -c '^[0-9]'; ls /proc/sys 2>/dev/null || echo no sys";
    let (_, status, text) = run_in_image(script, Confinement::default());
    let wanted = [
        "root read-only",
        "dev read-only",
        "/tmp does not run",
        "/data does not run",
        "/dev/shm does not run",
        "LED",
        "led",
        "nameserver 127.0.0.1",
        "no sys",
    ];
    assert_eq!(status, Some(0), "{text}");
    for line in wanted {
        assert!(text.contains(line), "`{line}` is not in: {text}");
    }
}

#[test]
fn the_end_of_the_program_is_told_as_the_kernel_has_it() {
    for (script, wanted) in [("exit 3", 3 << 8), ("kill -SEGV $$", 11), ("kill -KILL $$", 9)] {
        let (code, status, text) = run_in_image(script, Confinement::default());
        assert_eq!(status.map(|status| status & !0x80), Some(wanted), "{script}: {text}");
        assert!(libc::WIFEXITED(code), "the first process ends by itself");
    }
}

#[test]
fn limits_hold_from_the_first_instruction() {
    // More than the program may have: what enters the domain opens files beside all that this process has open.
    let _open: Vec<File> = (0..40).map(|_| File::open("/dev/null").expect("opened")).collect();
    let rules =
        crate::landlock::Rules { read_execute: vec!["/".into()], device: vec!["/dev".into()], ..Default::default() };
    let confinement = Confinement {
        limits: vec![(Resource::OpenFiles, 17), (Resource::CoreBytes, 0)],
        landlock: Some(rules.prepare().expect("rules")),
        ..Confinement::default()
    };
    let (_, status, text) = run_in_image("ulimit -n; ulimit -c", confinement);
    assert_eq!((status, text.as_str()), (Some(0), "17\n0\n"));
}

#[test]
fn what_the_maker_has_open_does_not_count() {
    let many: Vec<File> = (0..64).map(|_| File::open("/dev/null").expect("opened")).collect();
    let rules = crate::landlock::Rules { read_execute: vec!["/".into()], ..Default::default() };
    let landlock = Some(rules.prepare().expect("prepared"));
    let limits = vec![(Resource::OpenFiles, 17)];
    let (_, status, text) = run_in_image("ulimit -n", Confinement { limits, landlock, ..Confinement::default() });
    assert_eq!((status, text.as_str(), many.len()), (Some(0), "17\n", 64));
}

#[test]
fn sigterm_reaches_the_program_through_the_first_process() {
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let (read, write) = rustix::pipe::pipe().expect("a pipe");
    let script = "trap 'echo ended; exit 7' TERM; echo begun; while :; do /usr/bin/sleep 0.05; done";
    let mut sandbox = without_program(folder.path(), folder.path());
    sandbox.root = Root::Image(image(folder.path()));
    sandbox.mounts = vec![Mount::ReadOnly { from: "/usr".into(), to: "/usr".into() }];
    sandbox.argv = ["/bin/sh", "-c", script].map(Into::into).to_vec();
    sandbox.stdout = Stdio::File(File::from(write));
    let mut child = sandbox.spawn().expect("spawned");
    let mut reader = std::io::BufReader::new(File::from(read));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut reader, &mut line).expect("it begins");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(child.pid() as i32).expect("a pid"),
        rustix::process::Signal::TERM,
    )
    .expect("sent");
    assert_eq!(child.wait().expect("it ends").code(), Some(7));
}
