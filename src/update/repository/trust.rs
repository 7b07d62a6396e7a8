//! The files of a repository in, whether they are what its own keys signed out.
//!
//! Source: The Update Framework 1.0.34, sections 5.3 to 5.6, without the time: what has expired can be renewed. Invariant:
//! nothing is signed anew that does not follow, signature by signature, from a first root that something outside of the
//! repository vouches for.

use super::{in_file, Keyring, RepositoryError};
use crate::io::file;
use osbuild_tuf::metadata::{Keys, MetaFile, Metadata, RoleKeys, Root, Signed, Targets, TopLevel};
use osbuild_tuf::{Check, Limits};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// In the folder of keys: roots of the repositories that were begun with these keys.
pub const ROOTS: &str = "roots";

/// Roots that are known from elsewhere than the repository, and the keys that may vouch for a first root where none is.
#[derive(Default)]
pub struct Pins {
    roots: Vec<Signed<Root>>,
    keys: Keys,
}

impl Pins {
    /// One root, as devices have it; of any version.
    pub fn of_file(path: &Path) -> Result<Pins, RepositoryError> {
        Ok(Pins { roots: vec![read(path)?], keys: Keys::new() })
    }

    /// What [`Pins::keep`] kept in a folder of keys; and those of its keys that are named `root` or `root-...`. No other key
    /// vouches for a first root: those of the other roles are on machines that are easier to break into.
    pub fn of_keys(folder: &Path, keyring: &Keyring) -> Result<Pins, RepositoryError> {
        let kept = folder.join(ROOTS);
        let names = if kept.is_dir() { file::list(&kept)? } else { Vec::new() };
        let roots = names.iter().filter(|name| name.ends_with(".json")).map(|name| read(&kept.join(name)));
        Ok(Pins { roots: roots.collect::<Result<_, _>>()?, keys: keyring.root_keys() })
    }

    /// Keeps the first root of a repository in the folder of keys.
    pub fn keep(folder: &Path, root: &[u8]) -> Result<PathBuf, RepositoryError> {
        let kept = folder.join(ROOTS);
        file::create_dir_all(&kept)?;
        let path = kept.join(format!("{}.json", &hex::encode(Sha256::digest(root))[..16]));
        file::write_atomic(&path, root, 0o644)?;
        Ok(path)
    }

    /// Whether one of the roots is in the chain, or enough of the keys signed its first one.
    fn hold(&self, chain: &[Signed<Root>]) -> bool {
        let is_pinned = |root: &Signed<Root>| self.roots.iter().any(|pinned| pinned.message() == root.message());
        let Some((first, role)) = chain.first().and_then(|first| Some((first, first.signed.role(TopLevel::Root)?)))
        else {
            return false;
        };
        chain.iter().any(is_pinned) || first.is_trusted(&self.keys, role)
    }
}

fn read(path: &Path) -> Result<Signed<Root>, RepositoryError> {
    let limit = Limits::device().root_length;
    let bytes = file::read(path, limit)?;
    Signed::from_json(&bytes, usize::try_from(limit).unwrap_or(usize::MAX))
        .map_err(in_file(&path.display().to_string()))
}

/// Keys that may have signed for a role already, though the newest root does not name them: a rotation without the lost keys
/// was killed before its root appeared, and is repeated.
pub struct Incoming {
    pub role: TopLevel,
    pub keys: Keys,
    /// What is to be asked for from now on; as many as before when none.
    pub threshold: Option<u32>,
}

/// Roots 1, 2, ... of `folder` as `load` reads them, up to `last`; each signed by the one before it and by itself, and one of
/// them vouched for by `pins`, if any are given.
pub(super) fn chain(
    folder: &Path,
    last: u64,
    pins: Option<&Pins>,
    load: impl Fn(&str) -> Result<Signed<Root>, RepositoryError>,
) -> Result<Signed<Root>, RepositoryError> {
    let mut chain: Vec<Signed<Root>> = Vec::new();
    for version in 1..=last {
        let file = format!("{version}.root.json");
        let next = load(&file)?;
        is_version(&file, next.signed.version, version)?;
        if let Some(before) = chain.last() {
            let role = before.signed.role(TopLevel::Root);
            is_signed(&file, &next, &before.signed.keys, role, &format!("{}.root.json", version - 1))?;
        }
        is_signed(&file, &next, &next.signed.keys, next.signed.role(TopLevel::Root), &file)?;
        chain.push(next);
    }
    match pins {
        Some(pins) if !pins.hold(&chain) => Err(RepositoryError::Unpinned(folder.to_owned())),
        _ => chain.pop().ok_or_else(|| RepositoryError::None(folder.to_owned())),
    }
}

/// A file of the role `role`, by the newest root, or by the keys that come in.
pub(super) fn is_of_role<T: Metadata>(
    file: &str,
    signed: &Signed<T>,
    root: &Root,
    incoming: Option<&Incoming>,
) -> Result<(), RepositoryError> {
    let role = root.role(T::TYPE);
    if let (Some(incoming), Some(role)) = (incoming.filter(|incoming| incoming.role == T::TYPE), role) {
        let ids = role.keyids.iter().chain(incoming.keys.keys()).cloned().collect();
        let mut keys = root.keys.clone();
        keys.extend(incoming.keys.clone());
        if signed.is_trusted(&keys, &RoleKeys::new(ids, incoming.threshold.unwrap_or(role.threshold))) {
            return Ok(());
        }
    }
    is_signed(file, signed, &root.keys, role, &format!("{}.root.json", root.version))
}

fn is_signed<T: Metadata>(
    file: &str,
    signed: &Signed<T>,
    keys: &Keys,
    role: Option<&RoleKeys>,
    by: &str,
) -> Result<(), RepositoryError> {
    match role.is_some_and(|role| signed.is_trusted(keys, role)) {
        true => Ok(()),
        false => distrusted(file, format!("it is not signed by as many keys as `{by}` asks for")),
    }
}

fn is_version(file: &str, found: u64, wanted: u64) -> Result<(), RepositoryError> {
    match found == wanted {
        true => Ok(()),
        false => distrusted(file, format!("it should be version {wanted}, but is: {found}")),
    }
}

/// Whether a file is the one of which other metadata speaks.
pub(super) fn is_described(
    file: &str,
    bytes: &[u8],
    version: u64,
    described: &MetaFile,
) -> Result<(), RepositoryError> {
    is_version(file, version, described.version)?;
    let checked = Check::metadata(described).and_then(|mut check| check.update(bytes).and_then(|()| check.finish()));
    checked.or_else(|mismatch| distrusted(file, mismatch.to_string()))
}

/// Those of `found` to whom somebody delegates, all the way from `targets`. What nobody delegates to is left out: no client
/// reads it.
pub(super) fn delegated(
    targets: &Targets,
    mut found: BTreeMap<String, Signed<Targets>>,
) -> Result<BTreeMap<String, Signed<Targets>>, RepositoryError> {
    let mut trusted: BTreeMap<String, Signed<Targets>> = BTreeMap::new();
    let mut asked = vec![("targets".to_owned(), targets.clone())];
    while let Some((by, delegator)) = asked.pop() {
        let Some(delegations) = delegator.delegations else { continue };
        for role in &delegations.roles {
            // Also one that is trusted by somebody else: what one role vouches for, another may not.
            let Some(signed) = trusted.get(&role.name).cloned().or_else(|| found.remove(&role.name)) else { continue };
            let file = format!("{}.{}.json", signed.signed.version, role.name);
            is_signed(&file, &signed, &delegations.keys, Some(&role.keys), &by)?;
            if !trusted.contains_key(&role.name) {
                asked.push((role.name.clone(), signed.signed.clone()));
                trusted.insert(role.name.clone(), signed);
            }
        }
    }
    Ok(trusted)
}

fn distrusted<T>(file: &str, why: String) -> Result<T, RepositoryError> {
    Err(RepositoryError::Distrusted { file: file.escape_debug().to_string(), why })
}
