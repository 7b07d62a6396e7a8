//! Other keys for a role: a root that the old and the new keys sign, and metadata that both kinds of clients take.
//!
//! Invariant: at no instant does a client find a root whose keys have not signed what is beside it: metadata that both the old
//! and the new keys signed appears first, the new root after it. Old keys that are not here cannot sign; then there is such an
//! instant, and clients come again.

use super::change::{finish, set_role, top, until, RoleSpec};
use super::write::Batch;
use super::{in_file, Keyring, Repository, RepositoryError};
use osbuild_tuf::metadata::{Root, Signed, TopLevel};
use osbuild_tuf::Time;
use std::collections::BTreeMap;

impl Repository {
    /// Gives roles the keys of `specs`; without any, the root is renewed. All other metadata is signed anew.
    pub fn rotate(
        &self,
        specs: &BTreeMap<TopLevel, RoleSpec>,
        keyring: &Keyring,
        now: Time,
    ) -> Result<u64, RepositoryError> {
        let (days, old) = (self.days(), &self.root.signed);
        let mut next = old.clone();
        next.version += 1;
        next.expires = until(now, days.root);
        for (role, spec) in specs {
            set_role(&mut next, *role, spec, keyring)?;
        }
        let before = |role: TopLevel| -> Vec<String> {
            let ids = old.role(role).map(|role| role.keyids.clone()).unwrap_or_default();
            ids.into_iter().filter(|id| keyring.by_id(id).is_some_and(|signer| signer.is_here())).collect()
        };
        let mut batch = Batch::default();
        let mut targets = self.targets.signed.clone();
        targets.version += 1;
        targets.expires = until(now, days.targets);
        let name = format!("{}.targets.json", targets.version);
        let signed = Signed::new(targets).map_err(in_file(&name))?;
        batch.sign(&name, signed, &[top(&next, TopLevel::Targets, &before(TopLevel::Targets))?], keyring)?;
        let also = [before(TopLevel::Snapshot), before(TopLevel::Timestamp)].concat();
        finish(&mut batch, &next, self.next(&["targets"]), days, keyring, now, &also)?;
        let name = format!("{}.root.json", next.version);
        let version = next.version;
        let signed = Signed::new(next).map_err(in_file(&name))?;
        let by_both = [top(old, TopLevel::Root, &[])?, top(&signed.signed, TopLevel::Root, &[])?];
        batch.sign(&name, signed.clone(), &by_both, keyring)?;
        batch.commit(&self.folder)?;
        Ok(version)
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
