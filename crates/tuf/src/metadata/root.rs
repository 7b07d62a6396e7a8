//! Who may sign for each role of the repository.
//!
//! Source: The Update Framework 1.0.34, section 4.3. Invariant: of a valid root, each of the four roles is there and names
//! keys that are there.

use super::{members, rule, shown, Extra, Key, KeyId, Keys, Metadata, MetadataError, RoleKeys, TopLevel, SPEC_VERSION};
use crate::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    #[serde(rename = "_type")]
    pub kind: String,
    pub spec_version: String,
    pub version: u64,
    pub expires: Time,
    /// The names of files begin with their version or their digest.
    #[serde(default)]
    pub consistent_snapshot: bool,
    pub keys: Keys,
    /// By name of the role.
    pub roles: BTreeMap<String, RoleKeys>,
    #[serde(flatten)]
    pub extra: Extra,
}

impl Root {
    /// With the four roles, which nobody may sign for yet.
    pub fn new(version: u64, expires: Time) -> Root {
        Root {
            kind: TopLevel::Root.name().to_owned(),
            spec_version: SPEC_VERSION.to_owned(),
            version,
            expires,
            consistent_snapshot: true,
            keys: Keys::new(),
            roles: TopLevel::ALL.iter().map(|role| (role.name().to_owned(), RoleKeys::new(Vec::new(), 1))).collect(),
            extra: Extra::new(),
        }
    }

    /// Lets `key` sign for `role`.
    pub fn allow(&mut self, role: TopLevel, keyid: KeyId, key: Key) {
        let keys = self.roles.entry(role.name().to_owned()).or_insert_with(|| RoleKeys::new(Vec::new(), 1));
        if !keys.keyids.contains(&keyid) {
            keys.keyids.push(keyid.clone());
        }
        self.keys.insert(keyid, key);
    }

    /// None only of a root that is not valid.
    pub fn role(&self, role: TopLevel) -> Option<&RoleKeys> {
        self.roles.get(role.name())
    }

    /// Whether a key that signed for `role` by `older` does so no more: then it may have been stolen.
    pub fn has_rotated(&self, older: &Root, role: TopLevel) -> bool {
        let keys = |root: &Root| {
            let ids = root.role(role).map(|role| role.keyids.clone()).unwrap_or_default();
            ids.iter().filter_map(|id| root.keys.get(id).map(|key| key.keyval.public.clone())).collect::<Vec<_>>()
        };
        let now = keys(self);
        keys(older).iter().any(|key| !now.contains(key))
    }
}

impl Metadata for Root {
    const TYPE: TopLevel = TopLevel::Root;

    members!();

    fn validate(&self) -> Result<(), MetadataError> {
        for role in TopLevel::ALL {
            if self.role(role).is_none() {
                return rule(format!("role `{role}` is missing"));
            }
        }
        for (name, role) in &self.roles {
            role.validate(name)?;
            if let Some(missing) = role.keyids.iter().find(|id| !self.keys.contains_key(*id)) {
                return rule(format!("key `{}` of role `{}` is missing", shown(missing), shown(name)));
            }
        }
        Ok(())
    }
}
