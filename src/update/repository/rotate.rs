//! Other keys for a role: a root that the old and the new keys sign, and metadata that both kinds of clients take.
//!
//! Invariant: at no instant does a client find a root whose keys have not signed what is beside it: metadata that as many of
//! the old and of the new keys signed as their roles ask for appears first, the new root after it. Only where too many of the
//! old keys are said to be lost there is such an instant, and clients come again.

use super::change::{by, finish, set_role, until, RoleSpec};
use super::write::Batch;
use super::{in_file, Keyring, Repository, RepositoryError};
use osbuild_tuf::metadata::{Root, Signed, TopLevel};
use osbuild_tuf::Time;
use std::collections::BTreeMap;

impl Repository {
    /// Gives roles the keys of `specs`; without any, the root is renewed. All other metadata is signed anew, by the old keys,
    /// too, but for those whose ids are `lost`.
    pub fn rotate(
        &self,
        specs: &BTreeMap<TopLevel, RoleSpec>,
        lost: &[String],
        keyring: &Keyring,
        now: Time,
    ) -> Result<u64, RepositoryError> {
        let (batch, version) = self.rotation(specs, lost, keyring, now)?;
        batch.commit(&self.folder)?;
        Ok(version)
    }

    /// The same, signed and not written; and the version of the root.
    pub(super) fn rotation(
        &self,
        specs: &BTreeMap<TopLevel, RoleSpec>,
        lost: &[String],
        keyring: &Keyring,
        now: Time,
    ) -> Result<(Batch, u64), RepositoryError> {
        let (days, old) = (self.days(), &self.root.signed);
        let mut next = old.clone();
        next.version += 1;
        next.expires = until(now, days.root);
        for (role, spec) in specs {
            set_role(&mut next, *role, spec, keyring)?;
        }
        let before = without(old, lost);
        let mut batch = Batch::default();
        let mut targets = self.targets.signed.clone();
        targets.version += 1;
        targets.expires = until(now, days.targets);
        let name = format!("{}.targets.json", targets.version);
        let signed = Signed::new(targets).map_err(in_file(&name))?;
        batch.sign(&name, signed, &by(&[&next, &before], TopLevel::Targets)?, keyring)?;
        finish(&mut batch, &[&next, &before], self.next(&["targets"]), days, keyring, now)?;
        let name = format!("{}.root.json", next.version);
        let version = next.version;
        let signed = Signed::new(next).map_err(in_file(&name))?;
        batch.sign(&name, signed.clone(), &by(&[old, &signed.signed], TopLevel::Root)?, keyring)?;
        Ok((batch, version))
    }

    /// Ids of the keys that the root has under these names.
    pub fn ids_of(&self, names: &[String], keyring: &Keyring) -> Result<Vec<String>, RepositoryError> {
        let id_of = |name: &String| {
            let found = self.root.signed.keys.keys().find(|id| keyring.name_of(id) == *name);
            found.cloned().ok_or_else(|| RepositoryError::Wrong(format!("the root has no key `{name}`")))
        };
        names.iter().map(id_of).collect()
    }

    /// The keys of a role with some added and some taken away, by their names.
    pub fn role_with(
        &self,
        role: TopLevel,
        add: &[String],
        remove: &[String],
        threshold: Option<u32>,
        keyring: &Keyring,
    ) -> Result<RoleSpec, RepositoryError> {
        let root: &Root = &self.root.signed;
        let has = root.role(role).ok_or_else(|| RepositoryError::Wrong(format!("the root has no role `{role}`")))?;
        let mut keys: Vec<String> = has.keyids.iter().map(|id| keyring.name_of(id)).collect();
        if let Some(missing) = remove.iter().find(|name| !keys.contains(name)) {
            return super::wrong(format!("key `{missing}` does not sign for role `{role}`"));
        }
        keys.retain(|name| !remove.contains(name));
        keys.extend(add.iter().filter(|name| !keys.contains(name)).cloned().collect::<Vec<_>>());
        Ok(RoleSpec { keys, threshold: threshold.unwrap_or(has.threshold) })
    }
}

/// What of a root's roles can still sign: those of whose keys too many are lost are left out.
fn without(root: &Root, lost: &[String]) -> Root {
    let mut left = root.clone();
    for role in left.roles.values_mut() {
        role.keyids.retain(|id| !lost.contains(id));
    }
    left.roles.retain(|_, role| role.keyids.len() >= role.threshold as usize);
    left
}
