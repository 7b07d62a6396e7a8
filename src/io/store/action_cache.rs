//! The action cache: an action's digest in, its `ActionResult` message out.
//!
//! Invariant: an entry is a whole message written after the blobs it names. An entry that does not
//! parse counts as absent: the task runs again.

use super::{Store, StoreError};
use crate::io::file::{self, at};
use crate::model::Digest;
use bazel_remote_apis::build::bazel::remote::execution::v2::ActionResult;
use prost::Message;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const LIMIT_BYTES: u64 = 16 << 20;

impl Store {
    /// The result of the action, if it has run before; it counts as used.
    pub fn action_result(&self, action: &Digest) -> Option<ActionResult> {
        let result = self.unused_action_result(action)?;
        note_use(&self.action_path(action));
        Some(result)
    }

    /// [`Store::action_result`] for who only keeps the cache in order.
    pub(super) fn unused_action_result(&self, action: &Digest) -> Option<ActionResult> {
        // Absent, unreadable and damaged are one case: the task runs.
        let bytes = file::read(&self.action_path(action), LIMIT_BYTES).ok()?;
        let (stored, message) = bytes.split_at_checked(32)?;
        (Digest::of(message).sha256 == stored).then(|| ActionResult::decode(message).ok())?
    }

    /// Records the result of the action. The file is the message's SHA-256 and then the message.
    pub fn put_action_result(&self, action: &Digest, result: &ActionResult) -> Result<(), StoreError> {
        let message = result.encode_to_vec();
        let mut bytes = Digest::of(&message).sha256.to_vec();
        bytes.extend(message);
        let temporary = self.temporary_path()?;
        std::io::Write::write_all(&mut file::create(&temporary)?, &bytes).map_err(at("write", &temporary))?;
        let path = self.action_path(action);
        file::create_dir_all(path.parent().expect("an action path has a parent"))?;
        std::fs::rename(&temporary, &path).map_err(at("store", &path))?;
        let _ = temporary.keep();
        Ok(())
    }

    /// Forgets the result, because a blob it names is gone or damaged.
    pub fn remove_action_result(&self, action: &Digest) {
        let _ = std::fs::remove_file(self.action_path(action));
    }

    fn action_path(&self, action: &Digest) -> PathBuf {
        let hex = action.hex();
        self.root().join("actions").join(&hex[..2]).join(&hex[2..])
    }
}

/// A sweep removes what was not used for long: the entry's time says when it was, to the hour.
fn note_use(path: &Path) {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let Ok(modified) = std::fs::metadata(path).and_then(|metadata| metadata.modified()) else { return };
    if modified.elapsed().is_ok_and(|age| age > HOUR) {
        // In a cache that cannot be written nothing is swept either.
        let _ = file::open(path).map(|file: File| file.set_modified(SystemTime::now()));
    }
}
