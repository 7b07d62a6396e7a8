//! Payloads in a folder, such as that of a stick.
//!
//! Invariant: a target's name never leads out of its folder.

use crate::file;
use osbuild_update::device::Payloads;
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// A segment as it travels, and the head of a payload, are shorter.
const LIMIT_RANGE_BYTES: u64 = 16 << 20;

pub struct Folder {
    path: PathBuf,
    /// Of the last one, which is most often the next one.
    open: Option<(String, File)>,
}

impl Folder {
    pub fn new(path: PathBuf) -> Self {
        Folder { path, open: None }
    }

    fn file(&mut self, target: &str) -> io::Result<&File> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
        if target.is_empty() || target.starts_with('.') || !target.bytes().all(plain) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{target}` is not the name of a file")));
        }
        let open = match self.open.take().filter(|(name, _)| name == target) {
            Some(open) => open,
            None => (target.to_owned(), file::open(self.path.join(target))?),
        };
        Ok(&self.open.insert(open).1)
    }
}

impl Payloads for Folder {
    fn range(&mut self, target: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let bytes = usize::try_from(length).ok().filter(|_| length <= LIMIT_RANGE_BYTES);
        let bytes = bytes.ok_or_else(|| io::Error::other(format!("{length} bytes are no part of a payload")))?;
        file::read_at(self.file(target)?, offset, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_names_do_not_lead_out() {
        let path = std::env::temp_dir().join(format!("osagent-payloads-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("made");
        file::replace(path.join("a.payload"), b"0123456789", 0o600).expect("written");
        let mut folder = Folder::new(path.clone());
        assert_eq!(folder.range("a.payload", 2, 3).expect("read"), b"234");
        assert_eq!(folder.range("a.payload", 0, 10).expect("read"), b"0123456789");
        assert!(folder.range("a.payload", 8, 3).is_err(), "shorter than asked for");
        assert!(folder.range("a.payload", 0, u64::MAX).is_err());
        for name in ["", ".", "..", "../a.payload", "/etc/passwd", "b.payload"] {
            assert!(folder.range(name, 0, 1).is_err(), "{name}");
        }
        std::fs::remove_dir_all(&path).expect("removed");
    }
}
