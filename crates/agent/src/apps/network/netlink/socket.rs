//! One message out, the kernel's verdict in.
//!
//! Invariant: a verdict is waited for with an end, and never taken for that of another message.

use super::answer;
use rustix::net::{recv, send, socket_with, sockopt, AddressFamily, Protocol, RecvFlags, SendFlags};
use rustix::net::{SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
const LIMIT_BYTES: usize = 8192;
/// Answers to what was sent before, at most so many, are passed over.
const LIMIT_ANSWERS: usize = 64;

pub struct Socket {
    socket: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// `None` is rtnetlink. It speaks of the network namespace of the thread that opens it.
    pub fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
        osbuild_sys::network::explain_errors(&socket)?;
        Ok(Socket { socket, sequence: 0 })
    }

    /// What the kernel has said unasked since, a bounded number of datagrams.
    pub fn waiting(&self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        let mut bytes = [0; LIMIT_BYTES];
        for _ in 0..LIMIT_ANSWERS {
            match recv(&self.socket, &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((count, _)) => all.push(bytes[..count.min(LIMIT_BYTES)].to_vec()),
                // More than the socket holds was thrown away: what comes after is still good.
                Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        all
    }

    pub fn sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Sends a message that asks for an acknowledgement, and waits for it.
    pub fn ask(&self, message: &[u8], sequence: u32) -> io::Result<()> {
        self.ask_all(message, sequence, sequence)
    }

    /// The same for the messages `first` to `last` in one: the kernel does all of it or nothing.
    pub fn ask_all(&self, message: &[u8], first: u32, last: u32) -> io::Result<()> {
        let sent = send(&self.socket, message, SendFlags::empty())?;
        if sent != message.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        for _ in 0..LIMIT_ANSWERS {
            let mut bytes = [0; LIMIT_BYTES];
            let (count, _) = recv(&self.socket, &mut bytes[..], RecvFlags::empty())?;
            if let Some(verdict) = answer::verdict(&bytes[..count], first, last) {
                return verdict;
            }
        }
        Err(io::Error::other("the kernel answers something else"))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
