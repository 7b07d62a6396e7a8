//! A mirror in, the verified `Packages` texts of all suites out.
//!
//! Invariant: a text is returned only when its digest stands in an index that a pinned key has signed.

use super::index::{Index, IndexError};
use super::mirror::Mirror;
use super::release::{self, Release, ReleaseError, ACCEPT_VARIABLE};
use super::signature::{self, SignatureError, SignedPublicKey};
use crate::io::http::{Http, HttpError};
use crate::model::Digest;
use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

const LIMIT_RELEASE_BYTES: u64 = 16 << 20;
const LIMIT_PACKED_BYTES: u64 = 256 << 20;
const LIMIT_PACKAGES_BYTES: u64 = 1 << 30;
/// The architecture that tools run on. Packages of architecture `all` are in the same index.
const PACKAGES: &str = "main/binary-amd64/Packages.xz";

#[derive(Debug, thiserror::Error)]
pub enum DebianError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the index of suite `{suite}` is not trusted")]
    Signature {
        suite: String,
        #[source]
        source: SignatureError,
    },
    #[error(transparent)]
    Keys(SignatureError),
    #[error("suite `{suite}` cannot be used")]
    Release {
        suite: String,
        #[source]
        source: ReleaseError,
    },
    #[error("suite `{suite}` does not list `{PACKAGES}`")]
    NoPackages { suite: String },
    #[error(
        "`{PACKAGES}` of suite `{suite}` is not what the signed index says: its digest is {found}, expected: {wanted}"
    )]
    WrongDigest { suite: String, found: Digest, wanted: Digest },
    #[error("`{PACKAGES}` of suite `{suite}` cannot be unpacked")]
    Unpack {
        suite: String,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Whose indexes are believed.
pub struct Trust {
    pub keys: Vec<SignedPublicKey>,
    /// Whether an index may have run out long ago.
    pub accept_expired: bool,
}

impl Trust {
    /// Debian's archive keys, and what the environment says of its age.
    pub fn of_debian() -> Result<Trust, DebianError> {
        let accept_expired = std::env::var_os(ACCEPT_VARIABLE).is_some_and(|value| value == "1");
        Ok(Trust { keys: signature::archive_keys().map_err(DebianError::Keys)?, accept_expired })
    }
}

/// The texts of every suite, to build an [`Index`] from.
pub struct Archive {
    packages: Vec<(String, String)>,
    /// What the user should know: an index that has run out.
    pub notes: Vec<String>,
}

impl Archive {
    /// Downloads and checks the indexes of `suites`, the one first that packages come from unless told.
    pub fn load(http: &Http, mirror: &Mirror, suites: &[String], trust: &Trust) -> Result<Archive, DebianError> {
        let mut archive = Archive { packages: Vec::new(), notes: Vec::new() };
        for suite in suites {
            let release = load_release(http, mirror, suite, trust)?;
            let age = release.check_age(now(), trust.accept_expired);
            archive.notes.extend(age.map_err(|source| DebianError::Release { suite: suite.clone(), source })?);
            archive.packages.push((suite.clone(), load_packages(http, mirror, &release)?));
        }
        Ok(archive)
    }

    pub fn index(&self) -> Result<Index<'_>, DebianError> {
        let mut index = Index::default();
        for (suite, text) in &self.packages {
            index.add(suite, text)?;
        }
        Ok(index)
    }
}

fn load_release(http: &Http, mirror: &Mirror, suite: &str, trust: &Trust) -> Result<Release, DebianError> {
    let bytes = http.get_bytes(&mirror.url(&format!("dists/{suite}/InRelease")), LIMIT_RELEASE_BYTES)?;
    let untrusted = |source| DebianError::Signature { suite: suite.to_owned(), source };
    let text = signature::verify(&bytes, &trust.keys).map_err(untrusted)?;
    release::parse(&text, suite).map_err(|source| DebianError::Release { suite: suite.to_owned(), source })
}

/// Prefers the address by hash, which stays right while a mirror is being updated.
fn load_packages(http: &Http, mirror: &Mirror, release: &Release) -> Result<String, DebianError> {
    let suite = release.suite.as_str();
    let wanted = *release.indexes.get(PACKAGES).ok_or_else(|| DebianError::NoPackages { suite: suite.to_owned() })?;
    let folder = PACKAGES.rsplit_once('/').map_or("", |(folder, _)| folder);
    let by_hash = mirror.url(&format!("dists/{suite}/{folder}/by-hash/SHA256/{}", wanted.hex()));
    let by_name = mirror.url(&format!("dists/{suite}/{PACKAGES}"));
    let limit_bytes = wanted.size_bytes.min(LIMIT_PACKED_BYTES);
    let packed = match release.by_hash.then(|| http.get_bytes(&by_hash, limit_bytes)) {
        Some(Ok(bytes)) => bytes,
        _ => http.get_bytes(&by_name, limit_bytes)?,
    };
    let found = Digest::of(&packed);
    if found != wanted {
        return Err(DebianError::WrongDigest { suite: suite.to_owned(), found, wanted });
    }
    let mut text = String::new();
    let unpacked =
        liblzma::read::XzDecoder::new(packed.as_slice()).take(LIMIT_PACKAGES_BYTES).read_to_string(&mut text);
    unpacked.map_err(|source| DebianError::Unpack { suite: suite.to_owned(), source })?;
    Ok(text)
}

/// The clock takes part in nothing but the check of an index's age.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
