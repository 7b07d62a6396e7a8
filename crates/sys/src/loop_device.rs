//! A part of a file to a read-only block device.
//!
//! Source: Linux `include/uapi/linux/loop.h`, loop(4). Invariant: a device goes by itself when nobody has it open any
//! more, so none is left behind.
#![allow(unsafe_code)]

use crate::answer::check;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;

const CONTROL: &str = "/dev/loop-control";
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// Somebody else may take the device between our asking for a free one and our taking it.
const ATTEMPTS: u32 = 16;

#[derive(Debug)]
pub struct LoopDevice {
    path: String,
    /// Keeps the device until something else has it open.
    _open: File,
}

/// `struct loop_info64`.
#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

impl LoopDevice {
    /// `bytes` of `file` from `offset` on, both multiples of 4096.
    pub fn attach(file: &File, offset: u64, bytes: u64) -> io::Result<LoopDevice> {
        let control = OpenOptions::new().read(true).write(true).open(CONTROL)?;
        let mut taken = io::Error::other("no loop device is free");
        for _ in 0..ATTEMPTS {
            // SAFETY: takes no argument and gives a number.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
            check(number)?;
            match LoopDevice::configure(format!("/dev/loop{number}"), file, offset, bytes) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => taken = error,
                other => return other,
            }
        }
        Err(taken)
    }

    fn configure(path: String, file: &File, offset: u64, bytes: u64) -> io::Result<LoopDevice> {
        let device = OpenOptions::new().read(true).open(&path)?;
        let info = Info {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset,
            size_limit: bytes,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        };
        let fd = u32::try_from(file.as_raw_fd()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let config = Config { fd, block_size: 4096, info, reserved: [0; 8] };
        // SAFETY: the kernel reads one `struct loop_config`, which outlives the call.
        check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &config) })?;
        Ok(LoopDevice { path, _open: device })
    }

    pub fn path(&self) -> &str {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_sizes() {
        assert_eq!((std::mem::size_of::<Info>(), std::mem::size_of::<Config>()), (232, 304));
    }
}
