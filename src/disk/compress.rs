//! A disk image in, a zstd frame beside it out.
//!
//! Invariant: one thread, one level and the size in the frame, so the bytes depend on the image alone.
//! The level is the one that costs least time for its size: what is sent far is a release payload, not this.

use super::assemble::read_chunks;
use super::DiskError;
use crate::io::file::{at, Pending};
use crate::model::digest::Digester;
use crate::model::Digest;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

const LEVEL: i32 = 3;

/// Writes `path` and returns its digest.
pub(super) fn compress(image: &File, image_bytes: u64, path: &Path) -> Result<Digest, DiskError> {
    let mut pending = Pending::create(path, 0o644)?;
    let write = at("write", path);
    let output = Counted { inner: pending.file(), digester: Digester::default() };
    let mut encoder = zstd::Encoder::new(output, LEVEL).map_err(at("compress", path))?;
    let set = encoder.include_checksum(true).and_then(|()| encoder.set_pledged_src_size(Some(image_bytes)));
    set.map_err(at("compress", path))?;
    let mut result = Ok(());
    read_chunks(image, 0..image_bytes, path, |chunk| {
        if result.is_ok() {
            result = encoder.write_all(chunk);
        }
    })?;
    let output = result.and_then(|()| encoder.finish()).map_err(write)?;
    let digest = output.digester.finish();
    pending.commit()?;
    Ok(digest)
}

/// Digests what passes through.
struct Counted<'a> {
    inner: &'a mut File,
    digester: Digester,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Counted { inner, digester } = self;
        let (written, ()) = rayon::join(|| inner.write_all(bytes), || digester.update(bytes));
        written.map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
