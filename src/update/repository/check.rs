//! A repository in, what a device would find in it out: followed by the device's own client from the first root.
//!
//! Invariant: nothing is checked in another way than devices do it; the time is the only thing that is given.

use super::segments::Segments;
use super::target::{custom_of, Described, HEAD_BYTES};
use super::{wrong, Repository, RepositoryError, METADATA};
use crate::io::file::{self, at};
use osbuild_format::dsse::VerifyingKey;
use osbuild_tuf::metadata::TargetFile;
use osbuild_tuf::{FolderFetcher, FolderStore, Limits, Time, Updater};
use std::io::Write;
use std::path::Path;

/// What was found sound, a line each, and what expires soon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub lines: Vec<String>,
    pub soon: Vec<String>,
}

/// What a device trusts at first.
pub struct Trust<'a> {
    pub root: &'a [u8],
    /// Names of those that sign payloads, and the keys: after another release key came, older payloads have the old one.
    pub releases: &'a [(String, VerifyingKey)],
}

/// The root that a repository began with.
pub fn first_root(folder: &Path) -> Result<Vec<u8>, RepositoryError> {
    Ok(file::read(&folder.join(METADATA).join("1.root.json"), Limits::device().root_length)?)
}

/// Follows the repository, reads every target whole, and looks at what expires within `warn_days`, or within half of the time
/// that its role's signatures are good.
pub fn check(folder: &Path, trust: &Trust, now: Time, warn_days: u64) -> Result<Checked, RepositoryError> {
    let repository = Repository::open_to_read(folder)?;
    let store = tempfile::tempdir().map_err(at("create a folder in", Path::new("the temporary folder")))?;
    let mut client = client(folder, trust.root, store.path())?;
    client.refresh(now)?;
    let mut checked = Checked::default();
    checked.lines.push(format!("root {} of {} is trusted", client.root().version, repository.root.signed.version));
    for (name, target) in &repository.targets.signed.targets {
        let head = read_whole(&mut client, name, target)?;
        let named = |error| RepositoryError::Wrong(format!("target `{}`: {error}", name.escape_debug()));
        let (by, described) = check_payload(target, &head, trust.releases).map_err(|error| match error {
            RepositoryError::OtherKey => RepositoryError::Unvouched(name.escape_debug().to_string()),
            other => named(other),
        })?;
        // Its digest is that of the metadata; its segments are looked at by the header, which came first.
        let mut segments = Segments::new(&described, head.length);
        client.download(name, target, &mut segments)?;
        segments.finish().map_err(named)?;
        let by = if trust.releases.len() > 1 { format!(", signed by {by}") } else { String::new() };
        checked.lines.push(format!("{name}, {} bytes{by}", target.length));
    }
    // No device takes a payload from those to whom targets are delegated: what they have may be anything.
    for (role, targets) in &repository.delegated {
        for (name, target) in &targets.signed.targets {
            read_whole(&mut client, name, target)?;
            checked.lines.push(format!("{name} of {role}, {} bytes", target.length));
        }
    }
    for expiry in repository.expiries() {
        if now < expiry.expires {
            checked.lines.push(format!("{} is good until {}", expiry.what, expiry.expires));
        }
        checked.soon.extend(expiry.soon(now, warn_days));
    }
    Ok(checked)
}

/// As a device finds it.
fn read_whole(
    client: &mut Updater<FolderFetcher, FolderStore>,
    name: &str,
    target: &TargetFile,
) -> Result<Head, RepositoryError> {
    match client.target(name)? {
        Some(found) if found == *target => {}
        _ => return wrong(format!("a device does not find target `{}`", name.escape_debug())),
    }
    let mut head = Head::default();
    client.download(name, target, &mut head)?;
    Ok(head)
}

fn client(folder: &Path, root: &[u8], store: &Path) -> Result<Updater<FolderFetcher, FolderStore>, RepositoryError> {
    Ok(Updater::from_root(root, FolderStore::new(store), FolderFetcher::new(folder), Limits::device())?)
}

/// Which of the keys signed it, and what it is.
fn check_payload<'a>(
    target: &TargetFile,
    head: &Head,
    releases: &'a [(String, VerifyingKey)],
) -> Result<(&'a str, Described), RepositoryError> {
    let custom = custom_of(target)?;
    for (name, key) in releases {
        match Described::read(&head.bytes, head.length, key) {
            Err(RepositoryError::OtherKey) => {}
            Err(error) => return Err(error),
            Ok(described) if described.custom(custom.rollout_percent) == custom => return Ok((name, described)),
            Ok(_) => return wrong("the payload is not what the metadata says of it"),
        }
    }
    Err(RepositoryError::OtherKey)
}

/// Keeps the first bytes and counts the rest.
#[derive(Default)]
struct Head {
    bytes: Vec<u8>,
    length: u64,
}

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = HEAD_BYTES.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..room]);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
