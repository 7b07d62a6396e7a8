//! A network namespace for one app: made, hardened, and with the resolver's socket already in it.
//!
//! Invariant: only threads that end right after it enter it; the agent's other threads stay where they are.

use crate::error::{AgentError, Doing};
use crate::{file, thread};
use osbuild_sys::network::{bring_up, leave_network};
use rustix::thread::{move_into_link_name_space, LinkNameSpaceType};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::channel;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
/// Each app gets its own IPv4 network only; port numbers mean nothing where the app is alone.
const SWITCHES: [(&str, &str); 3] = [
    ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
    ("/proc/sys/net/ipv4/ip_forward", "0"),
    ("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1"),
];

pub struct Namespace {
    pub handle: OwnedFd,
    /// 127.0.0.1:53 inside, where the app is to have a resolver.
    pub resolver: Option<UdpSocket>,
}

/// With loopback, and nothing that leads anywhere.
pub fn make(with_resolver: bool) -> Result<Namespace, AgentError> {
    apart(move || {
        leave_network()?;
        bring_up("lo")?;
        for (switch, value) in SWITCHES {
            match file::set(switch, value) {
                // What the kernel was built without needs no switch.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                set => set?,
            }
        }
        let resolver = with_resolver.then(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, 53))).transpose()?;
        if let Some(socket) = &resolver {
            socket.set_nonblocking(true)?;
        }
        Ok(Namespace { handle: own()?, resolver })
    })
    .doing(|| "make a network namespace".to_owned())
}

/// That of this thread.
pub fn own() -> io::Result<OwnedFd> {
    Ok(file::open("/proc/thread-self/ns/net")?.into())
}

/// Does `work` inside the namespace.
pub fn within<T: Send + 'static>(
    handle: &OwnedFd,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let handle = handle.try_clone()?;
    apart(move || {
        move_into_link_name_space(handle.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    })
}

/// In a thread of its own, with an end.
fn apart<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let (sender, receiver) = channel();
    // Nobody listens any more if it took too long.
    thread::start("namespace", move || drop(sender.send(work()))).map_err(io::Error::other)?;
    receiver.recv_timeout(PATIENCE).map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

#[cfg(test)]
pub mod tests {
    use super::super::link;
    use super::*;
    use osbuild_sys::network::{add_default_route, set_address};

    /// Network namespaces are root's to make; elsewhere the virtual board tests them.
    pub fn is_root() -> bool {
        let root = rustix::process::geteuid().is_root();
        if !root {
            eprintln!(
                "SKIPPED: network namespaces are made by root only; `unshare -Urn cargo test` is enough of a root"
            );
        }
        root
    }

    #[test]
    fn a_pair_joins_an_app_to_the_device_and_goes_as_one() {
        if !is_root() {
            return;
        }
        let (device, app) = (make(false).expect("a namespace"), make(true).expect("a namespace"));
        assert!(app.resolver.is_some());
        let (outer, inner) = link::addresses(3).expect("an address");
        let end = app.handle.try_clone().expect("a handle");
        let echo = within(&device.handle, move || {
            link::make(3, end.as_fd())?;
            let twice = link::make(3, end.as_fd()).expect_err("it is there already");
            assert_eq!(twice.kind(), io::ErrorKind::AlreadyExists, "{twice}");
            set_address("app-3", outer, link::PREFIX)?;
            bring_up("app-3")?;
            UdpSocket::bind((outer, 7000))
        })
        .expect("the device's end");
        echo.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        within(&app.handle, move || {
            set_address(link::INNER, inner, link::PREFIX)?;
            bring_up(link::INNER)?;
            add_default_route(link::INNER, outer)?;
            UdpSocket::bind((inner, 0))?.send_to(b"hello", (outer, 7000)).map(drop)
        })
        .expect("the app's end");
        let mut bytes = [0; 8];
        let (count, from) = echo.recv_from(&mut bytes).expect("it arrives");
        assert_eq!((&bytes[..count], from.ip()), (&b"hello"[..], inner.into()));
        within(&device.handle, || link::delete(3)).expect("it goes");
        let gone = within(&app.handle, || bring_up(link::INNER)).expect_err("the other end goes, too");
        assert_eq!(gone.raw_os_error(), Some(19), "{gone}");
    }

    #[test]
    fn what_is_not_given_is_refused_by_name() {
        if !is_root() {
            return;
        }
        let app = make(false).expect("a namespace");
        let end = app.handle.try_clone().expect("a handle");
        let error = within(&app.handle, move || link::give("none0", end.as_fd())).expect_err("no such interface");
        assert_eq!(error.raw_os_error(), Some(19), "{error}");
    }
}
