//! A pinned digest and the places it may be had from in, the blob in the store out.
//!
//! Order: the cache, the project's mirror (files named by their SHA-256), the places in the order given.
//! A download that breaks off is taken up where it ended (`Range`), up to three times without progress.
//! A place that does not answer at all is passed over at first, and asked again, with pauses, when no other
//! place did; a host that could not be reached comes last from then on. Offline, only the cache, a mirror in a folder and cargo's own cache are used.
//!
//! Invariant: nothing enters the store that does not have the SHA-256, and the size where known, of its pin.

mod checked;
mod crates;
mod download;
mod error;
mod git;

#[cfg(test)]
pub(in crate::tools) mod tests;

pub use crates::WantedCrate;
pub use error::{another_mirror, Attempt, FetchError, Reason};

use super::debian::mirror::{Mirror, MirrorError, Mirrors};
use crate::io::file::{self, FileError};
use crate::io::http::{without_password, Http, HttpError};
use crate::io::store::{Store, StoreError};
use crate::model::fetch::{Fetch, FetchPlace};
use crate::model::Digest;
use checked::Checked;
use download::Download;
use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
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
    mirrors: OnceLock<Result<Mirrors, MirrorError>>,
    /// One cargo at a time: they would wait for each other's lock anyway.
    cargo: Mutex<()>,
    /// Hosts that could not be reached.
    unreachable: Mutex<BTreeSet<String>>,
}

/// The pin of a blob.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub sha256: [u8; 32],
    /// None while a lock is being made.
    pub size_bytes: Option<u64>,
}

impl Fetcher {
    pub fn new(options: FetchOptions) -> Fetcher {
        let (cargo, unreachable) = (Mutex::default(), Mutex::default());
        Fetcher { options, http: Http::new(), mirrors: OnceLock::new(), cargo, unreachable }
    }

    pub fn http(&self) -> &Http {
        &self.http
    }

    /// What may be a Debian mirror, looked up once.
    pub fn debian_mirrors(&self) -> Result<&Mirrors, MirrorError> {
        let find = || match &self.options.debian_mirror {
            Some(url) => Mirror::new(url).map(Mirrors::from),
            None => Mirrors::of_host(),
        };
        self.mirrors.get_or_init(find).as_ref().map_err(Clone::clone)
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
        let mut places = self.places(fetch);
        let mut attempts = Vec::new();
        // First one look at each place, then, when none has it, patience with those that may yet answer.
        let mut patient = places.len() == 1;
        while !places.is_empty() {
            let mut again = Vec::new();
            for place in places {
                match self.try_place(store, wanted, &place, patient, progress) {
                    Ok(digest) => return Ok(digest),
                    Err(Failure::Store(e)) => return Err(e.into()),
                    Err(Failure::Place(reason)) if !patient && reason.is_transient() => again.push(place),
                    Err(Failure::Place(reason)) => attempts.push(Attempt::new(&place, reason)),
                }
            }
            (places, patient) = (again, true);
        }
        Err(FetchError::Unavailable { name: fetch.name.clone(), wanted: *wanted, attempts })
    }

    /// The project's mirror and the listed places, those on unreachable hosts last.
    fn places<'a>(&'a self, fetch: &'a Fetch) -> Vec<Place<'a>> {
        let mirror = self.options.project_mirror.as_deref().map(Place::Mirror);
        let listed = fetch.places.iter().flat_map(|place| self.at_each_mirror(place));
        let mut places: Vec<Place> = mirror.into_iter().chain(listed).collect();
        let unreachable = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        places.sort_by_key(|place| match place {
            Place::Listed(FetchPlace::Https(url)) => unreachable.contains(host(url)),
            Place::Debian(mirror, path) => unreachable.contains(host(&mirror.url(path))),
            _ => false,
        });
        places
    }

    fn at_each_mirror<'a>(&'a self, place: &'a FetchPlace) -> Vec<Place<'a>> {
        match (place, self.debian_mirrors()) {
            (FetchPlace::Debian(path), Ok(mirrors)) => {
                mirrors.iter().map(|mirror| Place::Debian(mirror, path)).collect()
            }
            _ => vec![Place::Listed(place)],
        }
    }

    fn try_place(
        &self,
        store: &Store,
        wanted: &Wanted,
        place: &Place,
        patient: bool,
        progress: Progress,
    ) -> Result<Digest, Failure> {
        let hex = hex::encode(wanted.sha256);
        match place {
            Place::Mirror(mirror) if mirror.contains("://") => {
                self.via_url(store, wanted, &format!("{}/{hex}", mirror.trim_end_matches('/')), patient, progress)
            }
            Place::Mirror(folder) => from_file(store, wanted, &Path::new(folder).join(hex), progress),
            Place::Listed(FetchPlace::Https(url)) => self.via_url(store, wanted, url, patient, progress),
            Place::Debian(mirror, path) => self.via_url(store, wanted, &mirror.url(path), patient, progress),
            Place::Listed(FetchPlace::Debian(path)) => match self.debian_mirrors() {
                Ok(mirrors) => self.via_url(store, wanted, &mirrors.likeliest.url(path), patient, progress),
                Err(error) => Err(Reason::Mirror(error).into()),
            },
            Place::Listed(FetchPlace::Git { url, commit }) => self.via_git(store, wanted, url, commit, progress),
            Place::Listed(FetchPlace::Crate { name, version }) => {
                let wanted = WantedCrate { name: name.clone(), version: version.clone(), wanted: *wanted };
                self.via_cargo(store, &wanted)
            }
        }
    }

    fn via_url(
        &self,
        store: &Store,
        wanted: &Wanted,
        url: &str,
        patient: bool,
        progress: Progress,
    ) -> Result<Digest, Failure> {
        if self.options.offline {
            return Err(Reason::Offline.into());
        }
        let download = Download::new(&self.http, url, wanted.size_bytes, &self.options.pauses, patient);
        let result = keep(store, wanted, download, progress);
        if let Err(Failure::Place(Reason::Http(HttpError::Transport { .. }))) = &result {
            self.unreachable.lock().unwrap_or_else(PoisonError::into_inner).insert(host(url).to_owned());
        }
        result
    }
}

/// Scheme, host and port of a URL.
fn host(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    &url[..end]
}

enum Place<'a> {
    Mirror(&'a str),
    /// A path of the Debian archive at one mirror.
    Debian(&'a Mirror, &'a str),
    Listed(&'a FetchPlace),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Mirror(mirror) => write!(f, "project mirror {}", without_password(mirror)),
            Place::Debian(mirror, path) => f.write_str(&without_password(&mirror.url(path))),
            Place::Listed(FetchPlace::Https(url)) => f.write_str(&without_password(url)),
            Place::Listed(place) => place.fmt(f),
        }
    }
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
    let found_bytes = file.metadata().map_err(file::at("look at", path)).map_err(Reason::File)?.len();
    match wanted.size_bytes {
        Some(wanted_bytes) if found_bytes != wanted_bytes => {
            Err(Reason::WrongSize { found_bytes, wanted_bytes }.into())
        }
        _ => keep(store, wanted, file, progress),
    }
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
