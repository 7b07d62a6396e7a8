//! How much a user may store on a file system, and how much it does.
//!
//! Source: quotactl(2). Invariant: numbers are bytes; the kernel counts in blocks of 1024.
#![allow(unsafe_code)]

use crate::answer::check;
use std::fs::OpenOptions;
use std::io;
use std::mem::zeroed;
use std::os::fd::AsRawFd;
use std::path::Path;

const BLOCK_BYTES: u64 = 1024;
const USER: libc::c_int = 0;
const Q_GETQUOTA: libc::c_int = 0x80_0007;
const Q_SETQUOTA: libc::c_int = 0x80_0008;
const QIF_LIMITS: u32 = 1 | 4;
/// For each this many bytes a user may have one file or folder; they take room that blocks do not count.
const BYTES_PER_FILE: u64 = 4096;

/// `struct if_dqblk`.
#[repr(C)]
struct Quota {
    block_hard: u64,
    block_soft: u64,
    space: u64,
    inode_hard: u64,
    inode_soft: u64,
    inodes: u64,
    block_time: u64,
    inode_time: u64,
    valid: u32,
}

/// From now on files of `user` on the file system mounted at `folder` take at most this many bytes.
pub fn set_user(folder: &Path, user: u32, most_bytes: u64) -> io::Result<()> {
    let blocks = most_bytes.div_ceil(BLOCK_BYTES);
    let files = (most_bytes / BYTES_PER_FILE).max(16);
    // SAFETY: all-zero is a valid if_dqblk.
    let mut quota: Quota = unsafe { zeroed() };
    (quota.block_hard, quota.block_soft) = (blocks, blocks);
    (quota.inode_hard, quota.inode_soft) = (files, files);
    quota.valid = QIF_LIMITS;
    control(folder, Q_SETQUOTA, user, &mut quota)
}

/// Bytes that the files of `user` take there.
pub fn user_bytes(folder: &Path, user: u32) -> io::Result<u64> {
    // SAFETY: all-zero is a valid if_dqblk.
    let mut quota: Quota = unsafe { zeroed() };
    control(folder, Q_GETQUOTA, user, &mut quota)?;
    Ok(quota.space)
}

fn control(folder: &Path, command: libc::c_int, user: u32, quota: &mut Quota) -> io::Result<()> {
    let folder = OpenOptions::new().read(true).open(folder)?;
    // QCMD(command, USRQUOTA) of <sys/quota.h>.
    let command = command << 8 | USER;
    // SAFETY: an open descriptor, numbers, and a whole if_dqblk that outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_quotactl_fd, folder.as_raw_fd(), command, user, quota) };
    check(if answer < 0 { -1 } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_has_the_kernels_size_and_a_file_system_without_quotas_says_so() {
        assert_eq!(std::mem::size_of::<Quota>(), 72);
        assert!(user_bytes(Path::new("/proc"), 1000).is_err());
    }
}
