#![allow(clippy::disallowed_methods)]

use super::*;
use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::Command;

/// What `work` finds in a domain, on a thread that ends with it; none, said loudly, where the kernel lacks `version`.
fn inside<T: Send + 'static>(rules: &Rules, needed: u32, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if version() < needed {
        eprintln!("SKIPPED: this needs version {needed} of Landlock, the kernel has: {}", version());
        return None;
    }
    let domain = rules.prepare().expect("prepared");
    let confined = std::thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).expect("anyone may");
        domain.enforce().expect("entered");
        work()
    });
    Some(confined.join().expect("no panic"))
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

const DENIED: Option<ErrorKind> = Some(ErrorKind::PermissionDenied);

#[test]
fn files_are_read_written_and_executed_where_a_rule_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for name in ["read", "write", "write/a", "write/b", "other"] {
        fs::create_dir(at(name)).expect("a folder");
        fs::write(at(name).join("file"), "text").expect("a file");
    }
    fs::copy("/bin/true", at("write/true")).expect("a program");
    let rules = Rules {
        read: vec![at("read")],
        read_execute: ["/usr", "/bin", "/lib", "/lib64", "/nowhere", "/etc/passwd/nothing"].map(PathBuf::from).to_vec(),
        write: vec![at("write")],
        device: vec!["/dev/null".into()],
        ..Rules::default()
    };
    let path = folder.path().to_owned();
    inside(&rules, 3, move || {
        let at = |name: &str| path.join(name);
        assert_eq!(kind(fs::read(at("read/file"))), None);
        assert_eq!(kind(fs::write(at("read/file"), "")), DENIED);
        assert_eq!(kind(fs::write(at("read/new"), "")), DENIED);
        assert_eq!(kind(fs::read_dir(at("read"))), None);
        assert_eq!(kind(fs::read(at("other/file"))), DENIED);
        assert_eq!(kind(fs::read_dir(at("other"))), DENIED);
        // A file of a process is a file: this is how code could be changed that cannot be written.
        assert_eq!(kind(fs::OpenOptions::new().write(true).open("/proc/self/mem")), DENIED);
        assert_eq!(kind(fs::write(at("write/file"), "new")), None);
        assert_eq!(kind(fs::rename(at("write/a/file"), at("write/b/moved"))), None);
        assert_ne!(kind(fs::rename(at("write/b/moved"), at("other/moved"))), None);
        assert_eq!(kind(fs::remove_dir(at("write/a"))), None);
        assert_eq!(kind(fs::write("/dev/null", "x")), None);
        assert_eq!(kind(Command::new("/bin/true").status()), None);
        assert_eq!(kind(Command::new(at("write/true")).status()), DENIED);
    });
}

#[test]
fn a_device_without_a_rule_takes_no_orders() {
    let order = || {
        let node = fs::File::open("/dev/zero").expect("readable");
        rustix::termios::tcgetattr(&node).expect_err("no terminal")
    };
    let rules = Rules { read: vec!["/".into()], ..Rules::default() };
    if let Some(error) = inside(&rules, 5, order) {
        assert_eq!(error, rustix::io::Errno::ACCESS);
    }
    let rules = Rules { device: vec!["/dev".into()], ..rules };
    if let Some(error) = inside(&rules, 5, order) {
        assert_eq!(error, rustix::io::Errno::NOTTY);
    }
}

#[test]
fn tcp_reaches_and_offers_the_ports_of_a_rule_only() {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let [open, closed] = listeners.each_ref().map(|l| l.local_addr().expect("an address"));
    let rules = Rules { connect_tcp: vec![open.port()], ..Rules::default() };
    inside(&rules, 4, move || {
        assert_eq!(kind(TcpStream::connect(open)), None);
        assert_eq!(kind(TcpStream::connect(closed)), DENIED);
        assert_eq!(kind(TcpListener::bind("127.0.0.1:0")), DENIED);
    });
    let rules = Rules { bind_tcp: vec![0], ..Rules::default() };
    inside(&rules, 4, move || {
        assert_eq!(kind(TcpListener::bind("127.0.0.1:0")), None);
        assert_eq!(kind(TcpStream::connect(open)), DENIED);
    });
}

#[test]
fn signals_and_abstract_sockets_stay_within() {
    let address = SocketAddr::from_abstract_name(format!("osbuild-landlock-{}", std::process::id())).expect("a name");
    let listener = UnixListener::bind_addr(&address).expect("bound");
    let mut other = Command::new("/bin/sleep").arg("60").spawn().expect("started");
    let pid = rustix::process::Pid::from_child(&other);
    for (scope, denied) in [(false, false), (true, true)] {
        let address = address.clone();
        let rules = Rules { read_execute: vec!["/".into()], scope, ..Rules::default() };
        inside(&rules, 6, move || {
            assert_eq!(UnixStream::connect_addr(&address).is_err(), denied);
            assert_eq!(rustix::process::kill_process(pid, rustix::process::Signal::CONT).is_err(), denied);
            // Within the domain nothing changes.
            let mut own = Command::new("/bin/sleep").arg("60").spawn().expect("started");
            own.kill().expect("a process of the domain");
            own.wait().expect("ended");
        });
    }
    drop(listener);
    other.kill().expect("ours");
    other.wait().expect("ended");
}

#[test]
fn an_older_kernel_is_asked_for_what_it_knows_and_the_rest_is_named() {
    let rules = Rules {
        read_execute: vec!["/".into()],
        device: vec!["/dev/null".into()],
        bind_tcp: vec![80],
        scope: true,
        ..Rules::default()
    };
    for known in 0..=version() {
        let domain = rules.prepare_for(known).expect("prepared");
        assert_eq!(domain.missing().len(), 6_usize.saturating_sub(known as usize), "{known}");
        let entered = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).expect("anyone may");
            domain.enforce()
        });
        assert_eq!(entered.join().expect("no panic"), Ok(()), "{known}");
    }
    assert_eq!(handled(1, true), Handled { files: 0x1fff, tcp: 0, scopes: 0 });
    assert_eq!(handled(6, true), Handled { files: 0xffff, tcp: 3, scopes: 3 });
    assert_eq!(handled(99, false), Handled { files: 0xffff, tcp: 3, scopes: 0 });
}

#[test]
fn a_path_that_cannot_be_one_is_named() {
    let rules = Rules { read: vec!["/\0".into()], ..Rules::default() };
    assert_eq!(rules.prepare().expect_err("no path").to_string(), "`/\0` has a NUL");
}
