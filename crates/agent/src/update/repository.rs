//! A repository, on a server or in a folder: what it offers, and parts of its payloads.
//!
//! Invariant: what is offered is in metadata that the trusted root vouches for; parts of payloads are trusted with nothing.

use super::confine::METADATA;
use crate::data::OWN_FOLDER;
use crate::error::chain;
use crate::file;
use osbuild_format::device::update::{CA, ROOT};
use osbuild_format::target::TargetCustom;
use osbuild_http::{Client, HttpError, Settings};
use osbuild_tuf::{FetchError, Fetcher, FolderFetcher, FolderStore, Limits, Time, Updater};
use osbuild_update::choose::Offer;
use osbuild_update::device::Payloads;
use osbuild_update::reason::NotNow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const LIMIT_ROOT_BYTES: usize = 128 << 10;
const LIMIT_CA_BYTES: usize = 1 << 20;

/// Where a repository is.
pub enum Place {
    Folder(PathBuf),
    Server { client: Client, base: String },
}

impl Place {
    /// Of a base, as it is in the device's configuration.
    pub fn of(base: &str) -> Result<Place, String> {
        if let Some(path) = base.strip_prefix("file://") {
            return Ok(Place::Folder(path.into()));
        }
        let authorities = match file::read(CA, LIMIT_CA_BYTES) {
            Ok(pem) => Some(pem),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(format!("cannot read `{CA}`: {error}")),
        };
        let client = Client::new(&Settings { authorities, ..Settings::default() }).map_err(|error| chain(&error))?;
        Ok(Place::Server { client, base: base.trim_end_matches('/').to_owned() })
    }

    fn fetcher(&self) -> Box<dyn Fetcher> {
        match self {
            Place::Folder(path) => Box::new(FolderFetcher::new(path)),
            Place::Server { client, base } => Box::new(Server { client: client.clone(), base: base.clone() }),
        }
    }
}

/// A repository whose metadata was brought up to date.
pub struct Repository {
    place: Place,
    pub offers: Vec<Offer>,
    /// Targets of ours in a format of a later release, or with a value that cannot be.
    not_understood: u64,
    /// Name of a target to its place below `targets`.
    paths: BTreeMap<String, String>,
}

impl Repository {
    /// `now_seconds`: nothing may have expired at that time.
    pub fn open(place: Place, now_seconds: u64) -> Result<Repository, String> {
        let root = file::read(ROOT, LIMIT_ROOT_BYTES)
            .map_err(|error| format!("there is no root metadata to trust at `{ROOT}`: {error}"))?;
        let store = FolderStore::new(&Path::new(OWN_FOLDER).join(METADATA));
        let fetcher = Boxed(place.fetcher());
        let updater = Updater::from_root(&root, store, fetcher, Limits::device());
        let mut updater = updater.map_err(|error| chain(&error))?;
        updater.refresh(Time::from_seconds(now_seconds)).map_err(|error| chain(&error))?;
        let (mut offers, mut paths, mut not_understood) = (Vec::new(), BTreeMap::new(), 0);
        for (name, target) in updater.targets().into_iter().flat_map(|targets| &targets.targets) {
            // What this device does not understand is for others.
            let Some(custom) = target.custom.as_ref().and_then(|custom| serde_json::to_vec(custom).ok()) else {
                continue;
            };
            let Some(custom) = described(&custom, &mut not_understood) else { continue };
            paths.insert(name.clone(), updater.target_path(name, target));
            offers.push(Offer { target: name.clone(), size_bytes: target.length, custom });
        }
        Ok(Repository { place, offers, not_understood, paths })
    }

    /// Why nothing is chosen, with what only this repository knows of it.
    pub fn explain(&self, why: NotNow) -> NotNow {
        match why {
            NotNow::UpToDate if self.not_understood > 0 => NotNow::NotUnderstood { targets: self.not_understood },
            why => why,
        }
    }
}

/// What is said of a target; none: it is of another kind, or cannot be understood though it says that it is of ours, which is counted.
fn described(custom: &[u8], not_understood: &mut u64) -> Option<TargetCustom> {
    #[derive(serde::Deserialize)]
    struct Ours {
        #[serde(rename = "format")]
        _format: u64,
    }
    let described = TargetCustom::from_json(custom);
    let is_ours = || serde_json::from_slice::<Ours>(custom).is_ok();
    *not_understood += u64::from(described.is_err() && is_ours());
    described.ok()
}

impl Payloads for Repository {
    fn range(&mut self, target: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let path = self.paths.get(target).ok_or_else(|| io::Error::other(format!("there is no target `{target}`")))?;
        match &self.place {
            Place::Folder(folder) => {
                let bytes = FolderFetcher::new(folder).range(path, offset, length);
                bytes.map_err(|error| io::Error::other(chain(&error)))
            }
            Place::Server { client, base } => {
                let bytes = client.range(&format!("{base}/targets/{path}"), offset, length);
                bytes.map_err(|error| io::Error::other(chain(&error)))
            }
        }
    }
}

struct Boxed(Box<dyn Fetcher>);

impl Fetcher for Boxed {
    fn metadata(&mut self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, FetchError> {
        self.0.metadata(name, limit_bytes)
    }

    fn target(&mut self, path: &str, length_bytes: u64, sink: &mut dyn Write) -> Result<(), FetchError> {
        self.0.target(path, length_bytes, sink)
    }
}

struct Server {
    client: Client,
    base: String,
}

impl Fetcher for Server {
    fn metadata(&mut self, name: &str, limit_bytes: u64) -> Result<Vec<u8>, FetchError> {
        self.client.get(&format!("{}/metadata/{name}", self.base), limit_bytes).map_err(fetch_error)
    }

    fn target(&mut self, path: &str, length_bytes: u64, sink: &mut dyn Write) -> Result<(), FetchError> {
        let url = format!("{}/targets/{path}", self.base);
        self.client.get_to(&url, length_bytes, sink).map(drop).map_err(fetch_error)
    }
}

/// Only the answers of a server that say that a file is missing count as missing.
fn fetch_error(error: HttpError) -> FetchError {
    match error {
        error if error.is_missing() => FetchError::Missing,
        HttpError::TooLong { limit_bytes, .. } => FetchError::TooLong(limit_bytes),
        error => FetchError::failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stick_gives_what_a_server_would_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("osagent-stick-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("targets/field")).expect("made");
        file::replace(folder.join("targets/field/5e.two words"), b"0123456789", 0o600).expect("written");
        std::os::unix::fs::symlink("/dev/zero", folder.join("targets/link")).expect("linked");
        let paths = [("a", "field/5e.two%20words"), ("link", "link"), ("out", "../../etc/passwd")];
        let paths = paths.map(|(name, path)| (name.to_owned(), path.to_owned())).into();
        let place = Place::Folder(folder.clone());
        let mut repository = Repository { place, offers: Vec::new(), not_understood: 0, paths };
        assert_eq!(repository.range("a", 2, 3).expect("read"), b"234");
        assert!(repository.range("a", 8, 3).is_err(), "shorter than asked for");
        assert!(repository.range("a", 0, u64::MAX).is_err());
        for name in ["b", "link", "out"] {
            assert!(repository.range(name, 0, 1).is_err(), "{name}");
        }
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn targets_that_are_not_understood_are_told() {
        let place = Place::Folder("/nowhere".into());
        let mut repository = Repository { place, offers: Vec::new(), not_understood: 0, paths: BTreeMap::new() };
        let other = br#"{"channel":"stable"}"#;
        assert_eq!(described(other, &mut repository.not_understood), None);
        assert_eq!(repository.explain(NotNow::UpToDate), NotNow::UpToDate, "a target of somebody else");
        assert_eq!(described(br#"{"format":2,"new":[1]}"#, &mut repository.not_understood), None);
        assert_eq!(repository.explain(NotNow::UpToDate), NotNow::NotUnderstood { targets: 1 });
        assert_eq!(described(br#"{"format":1,"version":7}"#, &mut repository.not_understood), None);
        assert_eq!(repository.explain(NotNow::UpToDate), NotNow::NotUnderstood { targets: 2 });
        let denied = NotNow::Denied { version: "2.0.0".into() };
        assert_eq!(repository.explain(denied.clone()), denied, "there is a nearer reason");
    }
}
