//! Why no lock could be made: the line of the configuration that is behind it, and what to do.
//!
//! Invariant: an error that a line of a recipe or a tool tree causes has that line.

use super::CargoLockError;
use crate::io::file::FileError;
use crate::model::lock::InvalidLocked;
use crate::model::{Origin, ProductName, RelPath, ToolTreeName};
use crate::tools::debian::archive::DebianError;
use crate::tools::debian::mirror::MirrorError;
use crate::tools::debian::resolve::ResolveError;
use crate::tools::fetch::{another_mirror, FetchError};

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    #[error("`{mirror}` cannot be used as a mirror of Debian's archive")]
    Debian {
        mirror: String,
        #[source]
        source: Box<DebianError>,
    },
    #[error("Debian's archive cannot be used")]
    Index(#[source] DebianError),
    #[error("tool tree `{tree}` cannot be resolved")]
    Resolve {
        tree: ToolTreeName,
        origin: Origin,
        #[source]
        source: ResolveError,
    },
    #[error(
        "tool tree `{tree}` asks for other packages in product `{second}` than in product `{first}`; \
         one lock serves every product, so give one of them a tree of another name"
    )]
    Differs { tree: ToolTreeName, first: ProductName, second: ProductName, origin: Origin },
    #[error("package `{0}` has no valid size and SHA-256 in the archive's index")]
    Package(String),
    #[error("the archive's index has a package that cannot be locked")]
    Locked(#[from] InvalidLocked),
    #[error("a source cannot be locked")]
    Fetch {
        origin: Origin,
        #[source]
        source: Box<FetchError>,
    },
    #[error("`{0}` is not a SHA-256: it must have 64 hex digits")]
    Sha256(String),
    #[error("a Cargo.lock cannot be read")]
    File {
        origin: Origin,
        #[source]
        source: FileError,
    },
    #[error("`{path}` cannot be used")]
    CargoLock {
        path: RelPath,
        origin: Origin,
        #[source]
        source: CargoLockError,
    },
}

impl LockError {
    /// The line that asked for what could not be had.
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            LockError::Resolve { origin, .. }
            | LockError::Differs { origin, .. }
            | LockError::Fetch { origin, .. }
            | LockError::File { origin, .. }
            | LockError::CargoLock { origin, .. } => Some(origin),
            _ => None,
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            LockError::Fetch { source, .. } => source.help(),
            LockError::Debian { source, .. } => Some(help_for(source)),
            LockError::Index(_) => Some(another_mirror()),
            LockError::File { .. } => Some("`crates` names a Cargo.lock by its path in the project".to_owned()),
            LockError::CargoLock { .. } => Some("let cargo write that file anew: `cargo generate-lockfile`".to_owned()),
            LockError::Resolve { .. } => {
                Some("correct the name, or leave what is not needed out with `exclude`".to_owned())
            }
            _ => None,
        }
    }
}

fn help_for(error: &DebianError) -> String {
    let other = another_mirror();
    match error {
        DebianError::Http(_) => format!("{other}; or check the network and the proxy (`https_proxy`, `http_proxy`)"),
        DebianError::Release { .. } => format!("wait until the mirror has been updated, or {other}"),
        _ => other,
    }
}
