#![allow(clippy::disallowed_methods)]

use super::*;
use osbuild_http::{Client, Settings};
use osbuild_tuf::{FolderStore, Store};
use rustix::process::{kill_process, prlimit, test_kill_process, Pid, Resource as Limit, Rlimit, Signal};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

/// Names the errand of a process of this test that confines itself; limits are those of a whole process.
const ERRAND: &str = "OSAGENT_TEST_ERRAND";
/// Its folder, and the port that it may connect to.
const FOLDER: &str = "OSAGENT_TEST_FOLDER";
const PORT: &str = "OSAGENT_TEST_PORT";
const SIGSYS: i32 = 31;

/// How a process ends that is confined and then does its errand; none, said loudly, where the kernel lacks TCP in Landlock.
fn confined(errand: &str, folder: &Path, port: u16) -> Option<(ExitStatus, String)> {
    if landlock::version() < 4 {
        eprintln!("SKIPPED: this needs version 4 of Landlock, the kernel has: {}", landlock::version());
        return None;
    }
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "update::confine::tests::an_errand_of_another_test", "--nocapture"]);
    command.env(ERRAND, errand).env(FOLDER, folder).env(PORT, port.to_string());
    let output = command.output().expect("started");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Some((output.status, text))
}

/// What [`confined`] starts; by itself it has nothing to do.
#[test]
fn an_errand_of_another_test() {
    let Ok(errand) = std::env::var(ERRAND) else { return };
    let text = |name: &str| std::env::var(name).expect("given");
    let (folder, port) = (PathBuf::from(text(FOLDER)), text(PORT).parse::<u16>().expect("a port"));
    let stick = folder.join("stick");
    let reach = Reach { folder: Some(stick.clone()), ports: vec![port] };
    // The harness's first thread is not confined.
    let status = crate::file::open("/proc/thread-self/status").expect("opened");
    let confinement = confinement(&reach, &folder.join("metadata")).expect("prepared");
    drop_privileges().expect("anyone may");
    confinement.enforce().expect("the kernel knows how");
    match errand.as_str() {
        "fetch" => fetch(&folder, port, &status),
        "exec" => drop(Command::new("/bin/true").status()),
        "kill" => drop(kill_process(Pid::from_raw(1).expect("a number"), Signal::CONT)),
        "look-for-process" => drop(test_kill_process(Pid::from_raw(1).expect("a number"))),
        "limit-another" => {
            let none = Rlimit { current: Some(0), maximum: Some(0) };
            let _ = prlimit(Pid::from_raw(1), Limit::Nofile, none);
        }
        "mount" => drop(rustix::mount::mount_remount("/", rustix::mount::MountFlags::RDONLY, c"")),
        other => panic!("no errand: {other}"),
    }
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// All that an update does beside writing to what is open; and what it must not.
fn fetch(folder: &Path, port: u16, status: &File) {
    let denied = Some(ErrorKind::PermissionDenied);
    let client = Client::new(&Settings::default()).expect("a client");
    assert_eq!(client.get(&format!("http://127.0.0.1:{port}/a"), 99).expect("fetched"), b"0123456789");
    let mut store = FolderStore::new(&folder.join("metadata"));
    for file in ["timestamp.json", "root_history/1.root.json"] {
        store.save(file, b"{}").expect("saved");
        assert_eq!(store.load(file, 9).expect("loaded").as_deref(), Some(&b"{}"[..]));
    }
    store.remove("timestamp.json").expect("removed");
    assert_eq!(std::fs::read(folder.join("stick/a")).expect("a stick is read"), b"a");
    assert_eq!(kind(std::fs::write(folder.join("stick/b"), "")), denied);
    assert_eq!(kind(std::fs::write(folder.join("device"), "")), denied);
    assert_eq!(kind(std::fs::read(folder.join("device"))), denied);
    assert_eq!(kind(std::fs::read("/etc/passwd")), denied);
    // Who reads a link of the kernel to a file has to be allowed the file.
    assert_eq!(kind(OpenOptions::new().write(true).open("/proc/self/mem")), denied);
    assert_eq!(kind(TcpListener::bind("127.0.0.1:0")), denied);
    assert_eq!(kind(TcpStream::connect(("127.0.0.1", port ^ 1))), denied);
    assert_eq!(UnixStream::connect(folder.join("socket")).expect_err("refused").raw_os_error(), Some(97));
    let never = [folder.join("device").to_string_lossy().into_owned()];
    assert_eq!(is_confined(&text(status).expect("read"), &never), Ok(()));
}

fn one_answer() -> (u16, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let answers = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("asked");
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).expect("read") > 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n0123456789")
            .expect("written");
    });
    (port, answers)
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("osagent-{name}-{}", std::process::id()));
    for part in ["metadata", "stick"] {
        std::fs::create_dir_all(folder.join(part)).expect("made");
    }
    std::fs::write(folder.join("stick/a"), "a").expect("written");
    std::fs::write(folder.join("device"), "slot").expect("written");
    folder
}

#[test]
fn an_update_can_be_fetched_and_nothing_else_is_reached() {
    let folder = folder("confine");
    let (port, answers) = one_answer();
    if let Some((status, text)) = confined("fetch", &folder, port) {
        assert!(status.success(), "{status}: {text}");
        answers.join().expect("asked once");
    }
    assert_eq!(std::fs::read(folder.join("device")).expect("read"), b"slot");
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn what_no_update_does_ends_the_process() {
    let folder = folder("confine-kill");
    for errand in ["exec", "kill", "look-for-process", "limit-another", "mount"] {
        if let Some((status, text)) = confined(errand, &folder, 443) {
            assert_eq!(status.signal(), Some(SIGSYS), "{errand}: {status}: {text}");
        }
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn a_process_that_is_not_confined_goes_no_further() {
    let folder = folder("unconfined");
    let device = folder.join("device").to_string_lossy().into_owned();
    let good = "Name:\tosagent\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
    assert_eq!(is_confined(good, &[]), Ok(()));
    for (from, to) in [("NoNewPrivs:\t1", "NoNewPrivs:\t0"), ("Seccomp:\t2", "Seccomp:\t0"), ("0\nNo", "1\nNo")] {
        assert!(is_confined(&good.replace(from, to), &[]).expect_err("it is not").contains("nothing is fetched"));
    }
    assert!(is_confined("", &[]).expect_err("nothing is known").contains("`NoNewPrivs` is nothing"));
    let can_write = is_confined(good, std::slice::from_ref(&device)).expect_err("nobody keeps it from that");
    assert!(can_write.ends_with(&format!("it can write to `{device}`")), "{can_write}");
    let gone = format!("{device}-gone");
    assert!(is_confined(good, std::slice::from_ref(&gone)).expect_err("not seen to be denied").contains(&gone));
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn each_call_is_one_that_an_app_may_make_and_none_reaches_others() {
    let own = calls();
    for name in CALLS.iter().copied().flatten() {
        let known = policy::of_network("x86_64").iter().any(|call| call.name == *name);
        assert!(known, "`{name}` is no call of an app: it would be left out");
    }
    for name in
        ["execve", "fork", "vfork", "kill", "mount", "ptrace", "unshare", "setns", "bpf", "init_module", "listen"]
    {
        assert!(!own.iter().any(|call| call.name == name), "{name}");
    }
    assert_eq!(own.iter().filter(|call| ["socket", "clone", "prlimit64"].contains(&call.name)).count(), 3);
}

#[test]
fn a_place_makes_its_ports_or_its_folder_necessary() {
    assert_eq!(Reach::of("https://updates.example/meter"), Reach { folder: None, ports: vec![443] });
    assert_eq!(Reach::of("http://10.0.2.2:8080"), Reach { folder: None, ports: vec![8080, 80, 443] });
    assert_eq!(Reach::of("file:///run/media/stick"), Reach { folder: Some("/run/media/stick".into()), ports: vec![] });
}
