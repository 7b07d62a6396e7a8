//! A target's description in, its bytes out, checked on the way.
//!
//! Source: The Update Framework 1.0.34, section 5.7. Invariant: when [`Updater::download`] comes back without an error, what
//! the sink has got is what was signed; before that, nothing in the sink is to be trusted.

use super::Updater;
use crate::check::{Check, Mismatch};
use crate::error::UpdateError;
use crate::fetch::Fetcher;
use crate::metadata::TargetFile;
use crate::percent::url_path;
use crate::store::Store;
use std::io::{self, Write};

impl<F: Fetcher, S: Store> Updater<F, S> {
    /// Writes the target to `sink`.
    pub fn download(&mut self, path: &str, target: &TargetFile, sink: &mut dyn Write) -> Result<(), UpdateError> {
        let mismatch = |source| UpdateError::Mismatch { file: path.to_owned(), source };
        let mut checked = Checked { check: Check::target(target).map_err(mismatch)?, sink, mismatch: None };
        let url = self.target_path(path, target);
        let fetched = self.fetcher.target(&url, target.length, &mut checked);
        if let Some(source) = checked.mismatch {
            return Err(mismatch(source));
        }
        fetched.map_err(|source| UpdateError::Fetch { file: path.to_owned(), source })?;
        checked.check.finish().map_err(mismatch)
    }

    /// Where a target lies in the repository, below the folder of targets, as part of a URL.
    pub fn target_path(&self, path: &str, target: &TargetFile) -> String {
        let known = ["sha256", "sha512"].into_iter().find_map(|name| target.hashes.get(name));
        let digest = known.or_else(|| target.hashes.values().next()).filter(|_| self.root.consistent_snapshot);
        let path = match (digest, path.rsplit_once('/')) {
            (None, _) => path.to_owned(),
            (Some(digest), None) => format!("{digest}.{path}"),
            (Some(digest), Some((folder, name))) => format!("{folder}/{digest}.{name}"),
        };
        url_path(&path)
    }
}

/// Checks what goes through it.
struct Checked<'a> {
    check: Check,
    sink: &'a mut dyn Write,
    mismatch: Option<Mismatch>,
}

impl Write for Checked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(mismatch) = self.check.update(bytes) {
            self.mismatch = Some(mismatch);
            return Err(io::Error::other("not the file that was signed"));
        }
        self.sink.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
