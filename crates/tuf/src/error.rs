//! Why an update was refused.
//!
//! Invariant: every error names the file that it is about, and tells an attack from a broken line as far as that can be told.

use crate::check::Mismatch;
use crate::fetch::FetchError;
use crate::metadata::MetadataError;
use crate::Time;

#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    #[error("there is no trusted `root.json`: nothing can be checked without it")]
    NoRoot,
    #[error("cannot fetch `{file}`")]
    Fetch {
        file: String,
        #[source]
        source: FetchError,
    },
    #[error("`{file}` cannot be used")]
    Metadata {
        file: String,
        #[source]
        source: MetadataError,
    },
    #[error("`{file}` is not signed by as many keys as `{delegator}` asks for")]
    Untrusted { file: String, delegator: String },
    #[error("`{file}` should be version {wanted}, but is: {found}")]
    Version { file: String, wanted: u64, found: u64 },
    #[error("`{file}` goes back from version {trusted} to: {found}")]
    Rollback { file: String, trusted: u64, found: u64 },
    #[error(
        "`{file}` expired on {expires}, and it is {now}: unless the clock is wrong, its publisher has to renew it"
    )]
    Expired { file: String, expires: Time, now: Time },
    #[error("`{file}` is not the file that was signed")]
    Mismatch {
        file: String,
        #[source]
        source: Mismatch,
    },
    #[error("the new snapshot does not name `{0}` any more, which the old one did")]
    Removed(String),
    #[error("`{0}` is delegated to, but the snapshot does not name it")]
    NotInSnapshot(String),
    #[error("cannot keep `{file}` in the store of trusted metadata")]
    Store {
        file: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the metadata has to be refreshed before a target is asked for")]
    NotRefreshed,
}
