//! Where a blob from outside may be had.
//!
//! Invariant: a place never takes part in a key; only the digest of what it yields does.

use super::recipe::Place;
use super::Origin;
use std::fmt;

/// Where a blob may be had, in order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// For messages: `zlib 1.3.1`.
    pub name: String,
    pub places: Vec<FetchPlace>,
    pub origin: Option<Origin>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchPlace {
    Https(String),
    /// Canonical tar of a git commit.
    Git {
        url: String,
        commit: String,
    },
    /// Path below the Debian archive's root.
    Debian(String),
    /// A `.crate` file of the crate registry.
    Crate {
        name: String,
        version: String,
    },
}

impl FetchPlace {
    /// Where the one blob at `place` may be had; crates are many, and files of the project are not fetched.
    pub fn of(place: &Place) -> Option<FetchPlace> {
        match place {
            Place::Https(url) => Some(FetchPlace::Https(url.clone())),
            Place::Git { url, commit } => Some(FetchPlace::Git { url: url.clone(), commit: commit.clone() }),
            Place::Debian(path) => Some(FetchPlace::Debian(path.clone())),
            Place::Crates { .. } | Place::File(_) => None,
        }
    }
}

impl fmt::Display for FetchPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchPlace::Https(url) => f.write_str(url),
            FetchPlace::Git { url, commit } => write!(f, "git {url} at {commit}"),
            FetchPlace::Debian(path) => write!(f, "debian:{path}"),
            FetchPlace::Crate { name, version } => write!(f, "crate {name} {version}"),
        }
    }
}
