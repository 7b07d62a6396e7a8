//! A pinned digest and the places it may be had from in, the blob in the store out.
//!
//! Order: the cache, the project's mirror (files named by their SHA-256), the places in the order given.
//! A download that breaks off is taken up where it ended (`Range`), up to three times without progress;
//! then the next place is tried. Offline, only the cache, a mirror in a folder and cargo's own cache are used.
//!
//! Invariant: nothing enters the store that does not have the SHA-256, and the size where known, of its pin.

mod checked;
mod crates;
mod download;
mod git;

#[cfg(test)]
mod tests;

pub use crates::WantedCrate;

use super::debian::mirror::{Mirror, MirrorError};
use crate::io::command::CommandError;
use crate::io::file::{self, FileError};
use crate::io::http::{Http, HttpError};
use crate::io::store::{Store, StoreError};
use crate::model::fetch::{Fetch, FetchPlace};
use crate::model::Digest;
use checked::Checked;
use download::Download;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// A source of unknown size may have at most this many bytes.
const LIMIT_BYTES: u64 = 4 << 30;

#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Never touches the network.
    pub offline: bool,
    /// URL or folder that holds files named by their SHA-256.
    pub project_mirror: Option<String>,
    /// URL of a Debian mirror; none: `OSBUILD_DEBIAN_MIRROR`, else the host's apt configuration.
    pub debian_mirror: Option<String>,
    /// Where cargo looks for its configuration.
    pub project: PathBuf,
    /// Cargo's home folder; none: `CARGO_HOME`, else `~/.cargo`.
    pub cargo_home: Option<PathBuf>,
    /// Waits before each retry of one place.
    pub pauses: Vec<Duration>,
}

impl FetchOptions {
    pub fn new(project: &Path) -> FetchOptions {
        let pauses = [250, 1000, 3000].map(Duration::from_millis).to_vec();
        FetchOptions {
            offline: false,
            project_mirror: None,
            debian_mirror: None,
            project: project.to_owned(),
            cargo_home: None,
            pauses,
        }
    }
}

/// Told how many bytes of the blob have arrived.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);

/// Fetches blobs; shared by threads.
pub struct Fetcher {
    options: FetchOptions,
    http: Http,
    mirror: OnceLock<Result<Mirror, MirrorError>>,
    /// One cargo at a time: they would wait for each other's lock anyway.
    cargo: Mutex<()>,
}

/// The pin of a blob.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub sha256: [u8; 32],
    /// None while a lock is being made.
    pub size_bytes: Option<u64>,
}

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

struct Tried<'a>(&'a [Attempt]);

impl fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Attempt { place, reason } in self.0 {
            write!(f, "\n  {place}: {reason}")?;
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
    pub fn help(&self) -> String {
        let FetchError::Unavailable { wanted, attempts, .. } = self else {
            return "make room in the cache, or set OSBUILD_CACHE to a folder that has some".to_owned();
        };
        let any = |test: fn(&Reason) -> bool| attempts.iter().any(|attempt| test(&attempt.reason));
        if any(|reason| matches!(reason, Reason::Offline)) {
            return "run once without `--offline`, or name a project mirror that has the file".to_owned();
        }
        if any(|reason| {
            matches!(reason, Reason::WrongDigest { .. } | Reason::WrongSize { .. } | Reason::TooLarge { .. })
        }) {
            return "the file at that place is not the one that was pinned: find out why before changing the pin; \
                    a project mirror or another place may still have the right one"
                .to_owned();
        }
        let hex = hex::encode(wanted.sha256);
        format!(
            "check the network and the proxy (`https_proxy`, `http_proxy`), add a place to the recipe, \
             or put the file into a project mirror under the name {hex}"
        )
    }
}

impl Fetcher {
    pub fn new(options: FetchOptions) -> Fetcher {
        Fetcher { options, http: Http::new(), mirror: OnceLock::new(), cargo: Mutex::new(()) }
    }

    pub fn http(&self) -> &Http {
        &self.http
    }

    pub fn is_offline(&self) -> bool {
        self.options.offline
    }

    /// The Debian mirror, looked up once.
    pub fn debian_mirror(&self) -> Result<&Mirror, MirrorError> {
        let find = || match &self.options.debian_mirror {
            Some(url) => Mirror::new(url),
            None => Mirror::of_host(),
        };
        self.mirror.get_or_init(find).as_ref().map_err(Clone::clone)
    }

    /// Makes sure that the blob is in the store.
    pub fn fetch(&self, store: &Store, digest: &Digest, fetch: &Fetch, progress: Progress) -> Result<(), FetchError> {
        let wanted = Wanted { sha256: digest.sha256, size_bytes: Some(digest.size_bytes) };
        self.obtain(store, &wanted, fetch, progress).map(|_| ())
    }

    /// [`Fetcher::fetch`] for a blob whose size is not known yet; returns its digest.
    pub fn obtain(
        &self,
        store: &Store,
        wanted: &Wanted,
        fetch: &Fetch,
        progress: Progress,
    ) -> Result<Digest, FetchError> {
        if let Some(digest) = cached(store, wanted) {
            return Ok(digest);
        }
        let mut attempts = Vec::new();
        let mirror = self
            .options
            .project_mirror
            .as_ref()
            .map(|mirror| (format!("project mirror {mirror}"), Place::Mirror(mirror)));
        let places = fetch.places.iter().map(|place| (place.to_string(), Place::Listed(place)));
        for (shown, place) in mirror.into_iter().chain(places) {
            match self.try_place(store, wanted, &place, progress) {
                Ok(digest) => return Ok(digest),
                Err(Failure::Store(e)) => return Err(e.into()),
                Err(Failure::Place(reason)) => attempts.push(Attempt { place: shown, reason }),
            }
        }
        Err(FetchError::Unavailable { name: fetch.name.clone(), wanted: *wanted, attempts })
    }

    fn try_place(&self, store: &Store, wanted: &Wanted, place: &Place, progress: Progress) -> Result<Digest, Failure> {
        let hex = hex::encode(wanted.sha256);
        match place {
            Place::Mirror(mirror) if mirror.contains("://") => {
                self.via_url(store, wanted, &format!("{}/{hex}", mirror.trim_end_matches('/')), progress)
            }
            Place::Mirror(folder) => from_file(store, wanted, &Path::new(folder).join(hex), progress),
            Place::Listed(FetchPlace::Https(url)) => self.via_url(store, wanted, url, progress),
            Place::Listed(FetchPlace::Debian(path)) => {
                let mirror = self.debian_mirror().map_err(Reason::Mirror)?;
                self.via_url(store, wanted, &mirror.url(path), progress)
            }
            Place::Listed(FetchPlace::Git { url, commit }) => self.via_git(store, wanted, url, commit, progress),
            Place::Listed(FetchPlace::Crate { name, version }) => {
                let wanted = WantedCrate { name: name.clone(), version: version.clone(), wanted: *wanted };
                self.via_cargo(store, &wanted)
            }
        }
    }

    fn via_url(&self, store: &Store, wanted: &Wanted, url: &str, progress: Progress) -> Result<Digest, Failure> {
        if self.options.offline {
            return Err(Reason::Offline.into());
        }
        let download = Download::new(&self.http, url, wanted.size_bytes, &self.options.pauses);
        keep(store, wanted, download, progress)
    }
}

enum Place<'a> {
    Mirror(&'a str),
    Listed(&'a FetchPlace),
}

/// The place did not do, or the cache did not.
enum Failure {
    Place(Reason),
    Store(StoreError),
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Failure::Place(reason)
    }
}

fn from_file(store: &Store, wanted: &Wanted, path: &Path, progress: Progress) -> Result<Digest, Failure> {
    let file = file::open(path).map_err(Reason::File)?;
    keep(store, wanted, file, progress)
}

/// Streams into the store; only what matches the pin gets there.
fn keep(store: &Store, wanted: &Wanted, reader: impl Read, progress: Progress) -> Result<Digest, Failure> {
    let mut checked = Checked::new(reader, wanted, progress);
    let limit_bytes = wanted.size_bytes.unwrap_or(LIMIT_BYTES);
    store.put_reader(&mut checked, limit_bytes.saturating_add(1)).map_err(|error| match error {
        StoreError::File(error) => match error.source.downcast::<Reason>() {
            Ok(reason) => Failure::Place(reason),
            Err(source) => Failure::Store(FileError { source, ..error }.into()),
        },
        error => Failure::Store(error),
    })
}

/// The blob, when it is in the store and whole.
fn cached(store: &Store, wanted: &Wanted) -> Option<Digest> {
    let size_bytes = match wanted.size_bytes {
        Some(size_bytes) => size_bytes,
        // A blob's path does not hold its size.
        None => {
            let path = store.blob_path(&Digest { sha256: wanted.sha256, size_bytes: 0 }, false);
            std::fs::metadata(path).ok()?.len()
        }
    };
    let digest = Digest { sha256: wanted.sha256, size_bytes };
    let whole = store.has(&digest) && (wanted.size_bytes.is_some() || store.check(&digest).is_ok());
    whole.then_some(digest)
}
