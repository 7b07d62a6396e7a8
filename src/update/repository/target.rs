//! A payload's file in, what the repository's metadata says of it out; and the file at its place.
//!
//! Invariant: a payload gets into a repository only with a header that the release key signed, and with the segments behind it that
//! the header names.

use super::segments::Segments;
use super::{wrong, Repository, RepositoryError};
use crate::io::file::{self, at, FileError};
use crate::model::digest::Digester;
use osbuild_format::dsse::{self, DsseError, VerifyingKey};
use osbuild_format::payload::{self, Header, Release, LIMIT_ENVELOPE_BYTES, PREFIX_BYTES};
use osbuild_format::target::{TargetCustom, FORMAT, LIMIT_MEMORY_BYTES};
use osbuild_tuf::metadata::TargetFile;
use osbuild_update::choose::version;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// Most that has to be read of a payload to know what it is.
pub const HEAD_BYTES: usize = PREFIX_BYTES + LIMIT_ENVELOPE_BYTES;
/// The generator's images have less.
pub const LIMIT_PAYLOAD_BYTES: u64 = u32::MAX as u64;
const NAME_DIGITS: usize = 8;

/// A payload's header, whose signature holds.
#[derive(Clone, Debug)]
pub struct Described {
    pub header: Header,
    /// SHA-256 of its JSON, in hex.
    pub header_sha256: String,
}

impl Described {
    /// `start` is the payload's first [`HEAD_BYTES`], or all of it; `length` that of the whole file.
    pub fn read(start: &[u8], length: u64, release: &VerifyingKey) -> Result<Described, RepositoryError> {
        let failed = |error: &dyn std::error::Error| RepositoryError::Wrong(format!("it is no payload: {error}"));
        let envelope_bytes = payload::envelope_length(start).map_err(|error| failed(&error))?;
        let end = PREFIX_BYTES + envelope_bytes;
        let Some(envelope) = start.get(PREFIX_BYTES..end) else { return wrong("it ends within its header") };
        let json =
            dsse::verify(envelope, payload::PAYLOAD_TYPE, release, &dsse::key_id(release)).map_err(
                |error| match error {
                    DsseError::Untrusted => RepositoryError::OtherKey,
                    other => failed(&other),
                },
            )?;
        let header = Header::from_json(&json).map_err(|error| failed(&error))?;
        let wanted = end as u64 + header.stored_bytes();
        match wanted == length {
            true => Ok(Described { header, header_sha256: hex::encode(Sha256::digest(&json)) }),
            false => wrong(format!("it has {length} bytes, its header speaks of: {wanted}")),
        }
    }

    pub fn custom(&self, rollout_percent: u8) -> TargetCustom {
        let Header { product, machine, from, to, .. } = &self.header;
        TargetCustom {
            format: FORMAT,
            product: product.clone(),
            machine: machine.clone(),
            version: to.version.clone(),
            epoch: to.epoch,
            to: to.esp.sha256.clone(),
            from: from.as_ref().map(|from| from.esp.sha256.clone()),
            header: self.header_sha256.clone(),
            // What the limits of the format let a segment take; no payload needs more.
            memory_bytes: LIMIT_MEMORY_BYTES,
            rollout_percent,
        }
    }

    pub fn name(&self) -> String {
        let Header { product, from, to, .. } = &self.header;
        Self::name_of(product, from.as_ref(), to)
    }

    /// `PRODUCT-VERSION-TO8.full.payload` or `PRODUCT-VERSION-FROM8-TO8.delta.payload`.
    pub fn name_of(product: &str, from: Option<&Release>, to: &Release) -> String {
        let short = |digest: &str| digest.chars().take(NAME_DIGITS).collect::<String>();
        let version = &to.version;
        match from {
            None => format!("{product}-{version}-{}.full.payload", short(&to.esp.sha256)),
            Some(from) => {
                format!("{product}-{version}-{}-{}.delta.payload", short(&from.esp.sha256), short(&to.esp.sha256))
            }
        }
    }

    pub(super) fn target(
        &self,
        length: u64,
        sha256: String,
        rollout_percent: u8,
    ) -> Result<TargetFile, RepositoryError> {
        if version(&self.header.to.version).is_none() {
            let found = &self.header.to.version;
            return wrong(format!("`{}` cannot be published: version `{found}` is not MAJOR.MINOR.PATCH", self.name()));
        }
        let custom = self.custom(rollout_percent);
        if let Err(error) = custom.validate() {
            return wrong(format!("`{}` cannot be published: {error}", self.name()));
        }
        let custom = serde_json::to_value(custom).unwrap_or_default();
        let hashes = BTreeMap::from([("sha256".to_owned(), sha256)]);
        Ok(TargetFile { length, hashes, custom: Some(custom), extra: BTreeMap::new() })
    }
}

/// A payload's file, whose header the release key signed and whose segments are those that the header names.
pub fn read_payload(path: &Path, release: &VerifyingKey) -> Result<(Vec<u8>, Described), RepositoryError> {
    let refused = |error: RepositoryError| match error {
        error @ RepositoryError::File(_) => error,
        error => RepositoryError::Wrong(format!("`{}` cannot be published: {error}", path.display())),
    };
    let bytes = file::read(path, LIMIT_PAYLOAD_BYTES)?;
    let described = Described::read(&bytes, bytes.len() as u64, release).map_err(refused)?;
    let mut segments = Segments::new(&described, bytes.len() as u64);
    segments.write_all(&bytes).map_err(at("read", path))?;
    segments.finish().map_err(refused)?;
    Ok((bytes, described))
}

impl Repository {
    /// Brings a payload to its place, where no metadata names it yet.
    pub fn place_bytes(
        &self,
        bytes: &[u8],
        described: &Described,
        rollout_percent: u8,
    ) -> Result<(String, TargetFile), RepositoryError> {
        let (name, sha256) = (described.name(), hex::encode(Sha256::digest(bytes)));
        let place = self.target_path(&name, &sha256);
        let target = described.target(bytes.len() as u64, sha256.clone(), rollout_percent)?;
        if !is_whole(&place, &sha256)? {
            file::write_atomic(&place, bytes, 0o644)?;
        }
        Ok((name, target))
    }
}

/// Whether the file at `place` is there with the bytes whose SHA-256 its name begins with. A copy that was interrupted, or a
/// medium, may have left others under that name.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn is_whole(place: &Path, sha256: &str) -> Result<bool, FileError> {
    if !place.exists() {
        return Ok(false);
    }
    let mut digester = Digester::default();
    std::io::copy(&mut file::open(place)?, &mut digester).map_err(at("read", place))?;
    Ok(digester.finish().hex() == sha256)
}

/// What a target's metadata says, when it is that of a payload.
pub fn custom_of(target: &TargetFile) -> Result<TargetCustom, RepositoryError> {
    let json = target.custom.as_ref().map(ToString::to_string).unwrap_or_default();
    TargetCustom::from_json(json.as_bytes()).map_err(|error| RepositoryError::Wrong(error.to_string()))
}
