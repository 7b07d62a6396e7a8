//! Payloads and keys in, a folder out that any web server carries and any device follows.
//!
//! ```text
//! metadata/  N.root.json  N.targets.json  N.NAME.json  N.snapshot.json  timestamp.json
//! targets/   SHA256.NAME
//! ```
//!
//! Source: The Update Framework 1.0.34, with consistent snapshots. Invariant: at every instant, also after a loss of power, a
//! client finds either the whole of what was published before or the whole of what is published now: what has its name is
//! whole, and `timestamp.json` comes last.

pub mod change;
pub mod check;
pub mod expiry;
pub mod keyring;
mod open;
pub mod rehearse;
pub mod rotate;
mod segments;
pub mod target;
#[cfg(test)]
mod tests;
pub mod trust;
pub mod withdraw;
mod write;

pub use keyring::Keyring;
pub use open::Repository;
pub use trust::{Incoming, Pins};

use crate::io::file::FileError;
use crate::release::keys::KeyError;
use crate::release::signer::SignError;
use osbuild_tuf::metadata::{MetadataError, TopLevel};
use osbuild_tuf::UpdateError;
use std::path::PathBuf;
use std::time::Duration;

pub const METADATA: &str = "metadata";
pub const TARGETS: &str = "targets";
pub const SECONDS_PER_DAY: u64 = 86_400;

/// For how many days a role's signature is good, as the root says it to whoever renews it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Days {
    pub root: u64,
    pub targets: u64,
    pub snapshot: u64,
    pub timestamp: u64,
}

impl Default for Days {
    fn default() -> Days {
        Days { root: 365, targets: 180, snapshot: 30, timestamp: 30 }
    }
}

impl Days {
    pub fn of(&self, role: TopLevel) -> u64 {
        match role {
            TopLevel::Root => self.root,
            TopLevel::Targets => self.targets,
            TopLevel::Snapshot => self.snapshot,
            TopLevel::Timestamp => self.timestamp,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("`{}` holds a repository already", .0.display())]
    Exists(PathBuf),
    #[error("`{}` holds a part of a repository: a root, and no timestamp", .0.display())]
    Partly(PathBuf),
    #[error("`{}` holds no repository", .0.display())]
    None(PathBuf),
    #[error("somebody else has had the repository `{}` for {} s: it cannot be used meanwhile", .0.display(), .1.as_secs())]
    Busy(PathBuf, Duration),
    #[error("`{file}` of the repository cannot be used")]
    Metadata {
        file: String,
        #[source]
        source: MetadataError,
    },
    #[error("`{file}` of the repository cannot be trusted: {why}")]
    Distrusted { file: String, why: String },
    #[error("nothing outside of the repository `{}` vouches for its first root", .0.display())]
    Unpinned(PathBuf),
    #[error("{signed} of the {wanted} signatures that role `{role}` needs can be made")]
    Threshold { role: String, signed: usize, wanted: u32 },
    #[error("its header is not signed by the release key: no signature in the envelope is valid for it")]
    OtherKey,
    #[error("target `{0}` is signed by no release key that is given")]
    Unvouched(String),
    #[error("a client does not follow the repository")]
    Client(#[from] UpdateError),
    #[error("{0}")]
    Wrong(String),
}

impl RepositoryError {
    /// Whether others have to sign first.
    pub fn is_wanted(&self) -> bool {
        matches!(self, RepositoryError::Sign(error) if error.is_wanted())
    }
}

fn wrong<T>(text: impl Into<String>) -> Result<T, RepositoryError> {
    Err(RepositoryError::Wrong(text.into()))
}

fn in_file(file: &str) -> impl FnOnce(MetadataError) -> RepositoryError + '_ {
    move |source| RepositoryError::Metadata { file: file.to_owned(), source }
}
