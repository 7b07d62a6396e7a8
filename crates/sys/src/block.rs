//! Sizes of block devices and partitions, and growing an ext4 file system that is mounted.
//!
//! Invariant: nothing here moves where a partition starts.
#![allow(unsafe_code)]

use crate::answer::check;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `_IOR(0x12, 114, size_t)`.
const BLKGETSIZE64: u64 = 0x8008_1272;
/// `_IO(0x12, 105)`.
const BLKPG: u64 = 0x1269;
const BLKPG_RESIZE_PARTITION: libc::c_int = 3;
/// `_IOW('f', 16, __u64)`.
const EXT4_IOC_RESIZE_FS: u64 = 0x4008_6610;

/// Linux `struct blkpg_partition`.
#[repr(C)]
struct BlkpgPartition {
    start: libc::c_longlong,
    length: libc::c_longlong,
    number: libc::c_int,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// Linux `struct blkpg_ioctl_arg`.
#[repr(C)]
struct BlkpgRequest {
    operation: libc::c_int,
    flags: libc::c_int,
    data_length: libc::c_int,
    data: *mut BlkpgPartition,
}

/// Bytes of a block device.
pub fn size_bytes(device: &File) -> io::Result<u64> {
    let mut size = 0u64;
    // SAFETY: the kernel writes one u64 to where the pointer shows.
    check(unsafe { libc::ioctl(device.as_raw_fd(), BLKGETSIZE64, &mut size) })?;
    Ok(size)
}

/// Tells the kernel that partition `number` of `disk` is now `length_bytes` long; it may be in use.
pub fn resize_partition(disk: &File, number: u32, start_bytes: u64, length_bytes: u64) -> io::Result<()> {
    let signed = |value: u64| i64::try_from(value).map_err(|_| io::ErrorKind::InvalidInput);
    let mut partition = BlkpgPartition {
        start: signed(start_bytes)?,
        length: signed(length_bytes)?,
        number: i32::try_from(number).map_err(|_| io::ErrorKind::InvalidInput)?,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let mut request = BlkpgRequest {
        operation: BLKPG_RESIZE_PARTITION,
        flags: 0,
        data_length: i32::try_from(size_of::<BlkpgPartition>()).expect("a small constant"),
        data: &mut partition,
    };
    // SAFETY: the request and what it points to outlive the call and have the sizes they state.
    check(unsafe { libc::ioctl(disk.as_raw_fd(), BLKPG, &mut request) })
}

/// Grows the ext4 file system mounted at the folder `mounted` to `blocks` of its own block size.
pub fn grow_ext4(mounted: &File, blocks: u64) -> io::Result<()> {
    // SAFETY: the kernel reads one u64 from where the pointer shows.
    check(unsafe { libc::ioctl(mounted.as_raw_fd(), EXT4_IOC_RESIZE_FS, &blocks) })
}
