//! What a template gives in, the same text out, up to a limit.
//!
//! Invariant: it holds no more than the limit; one byte more is an error, which ends the rendering.

use std::io::{self, Write};

/// Of one rendered text.
pub(super) const OUTPUT_BYTES: usize = 4 << 20;

/// Collects what is rendered.
#[derive(Default)]
pub(super) struct Bounded {
    pub bytes: Vec<u8>,
    /// The error itself passes through layers that reword it.
    pub overflowed: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > OUTPUT_BYTES {
            self.overflowed = true;
            return Err(io::Error::other("the limit of rendered bytes is exceeded"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
