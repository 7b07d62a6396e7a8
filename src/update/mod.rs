//! Releases in, what brings devices from one to the next out: payloads, and the repository that carries them.
//!
//! Invariant: a payload is published when a device's own code has installed it on the release that it starts from; metadata is
//! visible only when everything that it names is.

pub mod delta;
pub mod given;
pub mod guide;
pub mod layout;
pub mod payload;
pub mod publish;
pub mod release;
pub mod repository;
pub mod simulate;
#[cfg(test)]
mod tests;

use crate::io::file::FileError;
use crate::release::signer::SignError;
use osbuild_format::payload::{HeadError, HeaderError};
use osbuild_update::simulate::SimulateError;

#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Delta(#[from] delta::DeltaError),
    #[error(transparent)]
    Release(#[from] release::ReleaseError),
    #[error(transparent)]
    Repository(#[from] repository::RepositoryError),
    #[error("the payload's header cannot be signed")]
    Sign(#[from] SignError),
    #[error("the payload's header is not valid")]
    Header(#[from] HeaderError),
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error("a device could not install the payload")]
    Simulate(#[from] SimulateError),
    #[error(
        "`{name}` is not published: a device could not install it; remove its file from `targets`, if it is there"
    )]
    NotInstallable {
        name: String,
        #[source]
        source: SimulateError,
    },
    #[error("{0}")]
    Wrong(String),
}

impl UpdateError {
    /// Names the payload that did not install.
    fn of_payload(self, name: &str) -> UpdateError {
        match self {
            UpdateError::Simulate(source) => UpdateError::NotInstallable { name: name.to_owned(), source },
            other => other,
        }
    }

    /// On one line.
    pub fn with_causes(&self) -> String {
        let causes = std::iter::successors(std::error::Error::source(self), |error| error.source());
        causes.fold(self.to_string(), |text, cause| format!("{text}: {cause}"))
    }

    /// Whether others have to sign first.
    pub fn is_wanted(&self) -> bool {
        match self {
            UpdateError::Sign(error) => error.is_wanted(),
            UpdateError::Repository(error) => error.is_wanted(),
            _ => false,
        }
    }
}
