//! What lies in an area in, its SHA-256 out, a piece at a time.
//!
//! Invariant: memory does not grow with the area.

use crate::device::{Area, Storage};
use sha2::{Digest, Sha256};
use std::io;

const CHUNK_BYTES: u64 = 256 << 10;

/// Of the first `length` bytes of the area.
pub fn of(storage: &dyn Storage, area: Area, length: u64) -> io::Result<[u8; 32]> {
    with_start(storage, area, length, &[])
}

/// The same as if the area began with `start`.
pub fn with_start(storage: &dyn Storage, area: Area, length: u64, start: &[u8]) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new_with_prefix(start);
    let mut done = start.len() as u64;
    let mut chunk = vec![0; CHUNK_BYTES as usize];
    while done < length {
        let part = &mut chunk[..(length - done).min(CHUNK_BYTES) as usize];
        storage.read_at(area, done, part)?;
        hash.update(&*part);
        done += part.len() as u64;
    }
    Ok(hash.finalize().into())
}
