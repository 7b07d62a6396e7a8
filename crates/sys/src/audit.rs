//! The kernel's audit messages to who was ended for which system call.
//!
//! Source: Linux `include/uapi/linux/audit.h`; multicast group AUDIT_NLGRP_READLOG, record AUDIT_SECCOMP. Invariant: any
//! bytes give a record or none; reading never waits.
#![allow(unsafe_code)]

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{bind, recv, socket_with, AddressFamily, RecvFlags, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bit of group 1 in an address.
const READ_LOG: u32 = 1;
const AUDIT: u32 = 9;
const AUDIT_SECCOMP: u16 = 1326;
const HEADER_BYTES: usize = 16;
const LIMIT_BYTES: usize = 8192;
/// Read before others get their turn.
const LIMIT_MESSAGES: usize = 64;

const SIGSYS: &str = "31";
/// AUDIT_ARCH_X86_64 or AUDIT_ARCH_AARCH64.
const NATIVE: &str = if cfg!(target_arch = "x86_64") { "c000003e" } else { "c00000b7" };

/// One process that was ended by its filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// In the first user namespace.
    pub uid: u32,
    /// Name of the system call, or its number where it has none that is known here.
    pub call: String,
}

#[derive(Debug)]
pub struct Audit(OwnedFd);

impl Audit {
    /// Needs CAP_AUDIT_READ.
    pub fn open() -> io::Result<Audit> {
        let flags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);
        let protocol = rustix::net::Protocol::from_raw(std::num::NonZeroU32::new(AUDIT).expect("not zero"));
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(protocol))?;
        bind(&socket, &SocketAddrNetlink::new(0, READ_LOG))?;
        Ok(Audit(socket))
    }

    /// What has come since.
    pub fn take(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        let mut buffer = [0_u8; LIMIT_BYTES];
        for _ in 0..LIMIT_MESSAGES {
            match recv(&self.0, &mut buffer, RecvFlags::empty()) {
                Ok((_, length)) => records.extend(parse(&buffer[..length.min(LIMIT_BYTES)])),
                // More than the socket holds was thrown away: what comes after is still good.
                Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        records
    }
}

impl AsFd for Audit {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One netlink message. Its length field is not looked at: for audit the kernel has counted it in both ways.
pub fn parse(message: &[u8]) -> Option<Record> {
    let (header, text) = message.split_at_checked(HEADER_BYTES)?;
    if u16::from_ne_bytes([header[4], header[5]]) != AUDIT_SECCOMP {
        return None;
    }
    let text = String::from_utf8_lossy(text);
    let field = |name: &str| text.split_ascii_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let uid = field("uid")?.parse().ok()?;
    // A call of another processor's numbering has another name.
    if field("sig")? != SIGSYS || field("arch")? != NATIVE {
        let call = "a system call for another processor".to_owned();
        return (field("sig") == Some(SIGSYS)).then_some(Record { uid, call });
    }
    let number: i64 = field("syscall")?.trim_end_matches('\0').parse().ok()?;
    let call = crate::seccomp::name_of(number).map_or_else(|| format!("number {number}"), str::to_owned);
    Some(Record { uid, call })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, text: &str) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    const TEXT: &str = "audit(1764050000.123:7): auid=4294967295 uid=1048577 gid=1048577 ses=4294967295 pid=99 \
        comm=\"hostile\" exe=\"/usr/bin/hostile\" sig=31 arch=c000003e syscall=165 compat=0 ip=0x7f code=0x80000000";

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_record_names_the_user_and_the_call() {
        let record = Record { uid: 1_048_577, call: "mount".to_owned() };
        assert_eq!(parse(&message(AUDIT_SECCOMP, TEXT)), Some(record));
        assert_eq!(parse(&message(1300, TEXT)), None);
        assert_eq!(parse(&message(AUDIT_SECCOMP, &TEXT.replace("sig=31", "sig=0"))), None);
        let foreign = TEXT.replace("c000003e", "40000003");
        assert_eq!(
            parse(&message(AUDIT_SECCOMP, &foreign)).map(|r| r.call),
            Some("a system call for another processor".into())
        );
        let unknown = TEXT.replace("syscall=165", "syscall=99999");
        assert_eq!(parse(&message(AUDIT_SECCOMP, &unknown)).map(|r| r.call), Some("number 99999".to_owned()));
    }

    #[test]
    fn what_is_cut_short_is_no_record() {
        let whole = message(AUDIT_SECCOMP, TEXT);
        for length in 0..whole.len() {
            if let Some(record) = parse(&whole[..length]) {
                assert!(record.uid <= 1_048_577);
            }
        }
    }
}
