//! Why a blob could not be had: each place that was tried, what was wrong with it, and what to do.
//!
//! Invariant: every place that was asked is in the message, once.

use super::{Place, Wanted};
use crate::io::command::CommandError;
use crate::io::file::FileError;
use crate::io::http::HttpError;
use crate::io::pace::is_too_slow;
use crate::io::store::StoreError;
use crate::tools::debian::mirror::{MirrorError, VARIABLE};
use std::fmt;

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("cannot fetch `{name}` (sha256 {}){}", hex::encode(.wanted.sha256), Tried(.attempts))]
    Unavailable { name: String, wanted: Wanted, attempts: Vec<Attempt> },
    #[error("what was fetched cannot be kept in the cache")]
    Store(#[from] StoreError),
}

/// One place that was tried and why it did not do.
#[derive(Debug)]
pub struct Attempt {
    pub place: String,
    pub reason: Reason,
    /// Whether it was asked for a file of Debian's archive.
    pub is_debian: bool,
}

impl Attempt {
    pub(super) fn new(place: &Place, reason: Reason) -> Attempt {
        let is_debian = matches!(place, Place::Debian(..));
        Attempt { place: place.to_string(), reason, is_debian }
    }
}

/// Why a place did not do.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    #[error(transparent)]
    Http(HttpError),
    #[error("the download ended early: {got_bytes} of {wanted_bytes} bytes arrived")]
    Truncated { got_bytes: u64, wanted_bytes: u64 },
    #[error("the file is larger than it should be: more than {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    #[error("the file is another one: it has {found_bytes} bytes, not {wanted_bytes}")]
    WrongSize { found_bytes: u64, wanted_bytes: u64 },
    #[error("the file is another one: its SHA-256 is {}", hex::encode(.found))]
    WrongDigest { found: [u8; 32] },
    #[error(transparent)]
    Mirror(MirrorError),
    #[error(transparent)]
    File(FileError),
    #[error("the file cannot be read")]
    Read(#[source] std::io::Error),
    #[error(transparent)]
    Command(CommandError),
    #[error("{0}")]
    Other(String),
    #[error("offline: not tried")]
    Offline,
}

impl Reason {
    /// Whether the same place may answer otherwise a moment later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Reason::Http(error) => error.is_transient(),
            Reason::Truncated { .. } => true,
            Reason::Read(error) => !is_too_slow(error),
            _ => false,
        }
    }
}

struct Tried<'a>(&'a [Attempt]);

impl fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Attempt { place, reason, .. } in self.0 {
            let reason_text = reason.to_string();
            match reason_text.contains(place) {
                true => write!(f, "\n  {reason_text}")?,
                false => write!(f, "\n  {place}: {reason_text}")?,
            }
            let mut cause = std::error::Error::source(reason);
            while let Some(error) = cause {
                write!(f, ": {error}")?;
                cause = error.source();
            }
        }
        Ok(())
    }
}

impl FetchError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            FetchError::Unavailable { wanted, attempts, .. } => Some(help_for(wanted, attempts)),
            FetchError::Store(_) => None,
        }
    }
}

fn help_for(wanted: &Wanted, attempts: &[Attempt]) -> String {
    let any = |test: fn(&Reason) -> bool| attempts.iter().any(|attempt| test(&attempt.reason));
    if any(|reason| matches!(reason, Reason::Offline)) {
        return "run once without `--offline`, or name a project mirror that has the file".to_owned();
    }
    if any(|reason| matches!(reason, Reason::WrongDigest { .. } | Reason::WrongSize { .. } | Reason::TooLarge { .. })) {
        return "the file at that place is not the one that was pinned: find out why before changing the pin; \
                a project mirror or another place may still have the right one"
            .to_owned();
    }
    if any(|reason| matches!(reason, Reason::Mirror(_))) {
        return format!(
            "name a mirror: `export {VARIABLE}=http://MIRROR/debian`, the folder that holds `dists` and `pool`; \
             only a Debian host knows one by itself"
        );
    }
    if any(|reason| matches!(reason, Reason::Command(CommandError::Start { .. }))) {
        return "that program of this host fetches such a source: install it, add a place of another kind to the recipe, \
                or put the file into a project mirror under the name of its SHA-256"
            .to_owned();
    }
    let hex = hex::encode(wanted.sha256);
    let is_mirror = |attempt: &Attempt| attempt.is_debian && matches!(attempt.reason, Reason::Http(_));
    let other = attempts.iter().any(is_mirror).then(another_mirror).map(|help| format!("{help}; or "));
    let other = other.unwrap_or_default();
    format!(
        "{other}check the network and the proxy (`https_proxy`, `http_proxy`), add a place to the recipe, \
         or put the file into a project mirror under the name {hex}"
    )
}

/// For a mirror that does not answer, or does not have what Debian's archive has.
pub fn another_mirror() -> String {
    format!("name another mirror of Debian's archive: `export {VARIABLE}=http://MIRROR/debian`")
}
