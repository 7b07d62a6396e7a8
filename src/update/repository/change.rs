//! A repository's state, and what is to be different, in; the next versions of its metadata out.
//!
//! Invariant: each change has one new timestamp, which appears last; equal changes at the same time give equal messages, so
//! that signatures which others made of them are found.

use super::open::{lock, read, Access, DAYS, PATIENCE};
use super::write::{sync, Batch, Signatories};
use super::{in_file, wrong, Days, Keyring, Repository, RepositoryError, METADATA, SECONDS_PER_DAY, TARGETS};
use crate::io::file::{self, at};
use osbuild_tuf::metadata::{
    DelegatedRole, Delegations, MetaFile, RoleKeys, Root, Signed, Snapshot, Targets, Timestamp, TopLevel,
};
use osbuild_tuf::Time;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Names of keys in the keyring, or ids of keys in the root, and how many of them have to sign.
#[derive(Clone, Debug)]
pub struct RoleSpec {
    pub keys: Vec<String>,
    pub threshold: u32,
}

/// Makes a repository without targets. It appears with its timestamp. Gives the bytes of its first root, to be kept elsewhere.
pub fn init(
    folder: &Path,
    roles: &BTreeMap<TopLevel, RoleSpec>,
    days: Days,
    keyring: &Keyring,
    now: Time,
) -> Result<Vec<u8>, RepositoryError> {
    let metadata = folder.join(METADATA);
    for part in [&metadata, &folder.join(TARGETS)] {
        file::create_dir_all(part)?;
        // A web server reads them, whatever the umask of whoever begins them is.
        std::fs::set_permissions(part, std::fs::Permissions::from_mode(0o755)).map_err(at("set the mode of", part))?;
    }
    sync(folder)?;
    let _lock = lock(folder, Access::Change, PATIENCE)?;
    if metadata.join("timestamp.json").exists() {
        return Err(RepositoryError::Exists(folder.to_owned()));
    }
    let mut root = Root::new(1, until(now, days.root));
    for (role, spec) in roles {
        set_role(&mut root, *role, spec, keyring)?;
    }
    // A number and no text: it is for whoever renews, and says nothing to clients.
    root.extra.insert(DAYS.to_owned(), serde_json::to_value(days).unwrap_or_default());
    if !may_begin(folder, &root)? {
        return Err(RepositoryError::Partly(folder.to_owned()));
    }
    let root = Signed::new(root).map_err(in_file("1.root.json"))?;
    let targets = Signed::new(Targets::new(1, until(now, days.targets))).map_err(in_file("1.targets.json"))?;
    let meta = BTreeMap::from([("targets.json".to_owned(), MetaFile::version(1))]);
    let mut batch = Batch::default();
    batch.sign("1.root.json", root.clone(), &by(&[&root.signed], TopLevel::Root)?, keyring)?;
    batch.sign("1.targets.json", targets, &by(&[&root.signed], TopLevel::Targets)?, keyring)?;
    finish(&mut batch, &[&root.signed], Versions { meta, snapshot: 1, timestamp: 1 }, days, keyring, now)?;
    let first = batch.bytes_of("1.root.json");
    batch.commit(folder)?;
    Ok(first)
}

/// Whether a repository without a timestamp has no root, or that of an init as this one that was interrupted: where devices
/// may trust another root, a new first one would cut them off.
fn may_begin(folder: &Path, root: &Root) -> Result<bool, RepositoryError> {
    let finished = |part: &str| -> Result<Vec<String>, RepositoryError> {
        let names = file::list(&folder.join(part))?;
        Ok(names.into_iter().filter(|name| !name.starts_with(file::PENDING)).collect())
    };
    let names = finished(METADATA)?;
    if !names.iter().any(|name| name.ends_with(".root.json")) {
        return Ok(true);
    }
    let own = |name: &String| ["1.root.json", "1.targets.json", "1.snapshot.json"].contains(&&name[..]);
    if !names.iter().all(own) || !finished(TARGETS)?.is_empty() {
        return Ok(false);
    }
    let Ok(there) = read::<Root>(folder, "1.root.json") else { return Ok(false) };
    // Made at another time.
    Ok(Root { expires: root.expires, ..there.signed } == *root)
}

/// Gives `role` these keys in place of those that it has.
pub(super) fn set_role(
    root: &mut Root,
    role: TopLevel,
    spec: &RoleSpec,
    keyring: &Keyring,
) -> Result<(), RepositoryError> {
    // A key that the root has already needs no file here; it goes by its id then.
    let find = |name: &String| match root.keys.get(name) {
        Some(key) => Ok((name.clone(), key.clone())),
        None => keyring.by_name(name),
    };
    let keys = spec.keys.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    let ids: std::collections::BTreeSet<&String> = keys.iter().map(|(id, _)| id).collect();
    if ids.len() != keys.len() || spec.threshold == 0 || spec.threshold as usize > keys.len() {
        return wrong(format!("role `{role}` cannot ask for {} of {} different keys", spec.threshold, ids.len()));
    }
    root.roles.insert(role.name().to_owned(), RoleKeys::new(Vec::new(), spec.threshold));
    keys.into_iter().for_each(|(id, key)| root.allow(role, id, key));
    let used: Vec<String> = root.roles.values().flat_map(|role| role.keyids.clone()).collect();
    root.keys.retain(|id, _| used.contains(id));
    Ok(())
}

/// Who signs for a role by these roots: the first has to have it.
pub(super) fn by<'a>(roots: &[&'a Root], role: TopLevel) -> Result<Vec<Signatories<'a>>, RepositoryError> {
    let of = |root: &&'a Root| Some(Signatories { role: role.name(), keys: &root.keys, wanted: root.role(role)? });
    match roots.first().is_some_and(|root| root.role(role).is_some()) {
        true => Ok(roots.iter().filter_map(of).collect()),
        false => wrong(format!("the root has no role `{role}`")),
    }
}

/// Whole seconds of whole days.
pub(super) fn until(now: Time, days: u64) -> Time {
    Time::from_seconds(now.seconds().saturating_add(days.saturating_mul(SECONDS_PER_DAY)))
}

/// The versions that a new snapshot names, and those of itself and of the timestamp.
pub(super) struct Versions {
    pub meta: BTreeMap<String, MetaFile>,
    pub snapshot: u64,
    pub timestamp: u64,
}

/// Adds the snapshot and, last, the timestamp, signed by the keys of each of `roots`.
pub(super) fn finish(
    batch: &mut Batch,
    roots: &[&Root],
    versions: Versions,
    days: Days,
    keyring: &Keyring,
    now: Time,
) -> Result<(), RepositoryError> {
    let age = keyring.age_seconds() / SECONDS_PER_DAY;
    if age >= days.targets.min(days.snapshot).min(days.timestamp) {
        return wrong(format!(
            "the signatures answer a request of {age} days ago: what they are for has expired; ask for new ones, without \
             `--signatures`"
        ));
    }
    let name = format!("{}.snapshot.json", versions.snapshot);
    let snapshot = Snapshot::new(versions.snapshot, until(now, days.snapshot), versions.meta);
    let snapshot = Signed::new(snapshot).map_err(in_file(&name))?;
    batch.sign(&name, snapshot, &by(roots, TopLevel::Snapshot)?, keyring)?;
    let meta = MetaFile::version(versions.snapshot);
    let timestamp = Timestamp::new(versions.timestamp, until(now, days.timestamp), meta);
    let timestamp = Signed::new(timestamp).map_err(in_file("timestamp.json"))?;
    batch.sign("timestamp.json", timestamp, &by(roots, TopLevel::Timestamp)?, keyring)
}

impl Repository {
    /// What the next snapshot says when `changed` files of targets get their next version.
    pub(super) fn next(&self, changed: &[&str]) -> Versions {
        let mut meta = self.snapshot.signed.meta.clone();
        for name in changed {
            let file = meta.entry(format!("{name}.json")).or_insert_with(|| MetaFile::version(0));
            *file = MetaFile::version(file.version + 1);
        }
        let (snapshot, timestamp) = (self.snapshot.signed.version + 1, self.timestamp.signed.version + 1);
        Versions { meta, snapshot, timestamp }
    }

    /// Publishes `targets` in place of the top-level ones. Their files must be there.
    pub fn replace_targets(&self, targets: Targets, keyring: &Keyring, now: Time) -> Result<(), RepositoryError> {
        for (name, target) in &targets.targets {
            let sha256 = target.hashes.get("sha256").map_or("", String::as_str);
            if !self.target_path(name, sha256).is_file() {
                return wrong(format!("the file of target `{}` is not in the repository", name.escape_debug()));
            }
        }
        sync(&self.folder.join(TARGETS))?;
        self.commit_targets(Batch::default(), targets, &["targets"], keyring, now)
    }

    /// Adds `targets`, as the next version of the top-level ones, to what the batch has, and writes all of it.
    fn commit_targets(
        &self,
        mut batch: Batch,
        mut targets: Targets,
        changed: &[&str],
        keyring: &Keyring,
        now: Time,
    ) -> Result<(), RepositoryError> {
        let (days, root) = (self.days(), &self.root.signed);
        targets.version = self.targets.signed.version + 1;
        targets.expires = until(now, days.targets);
        let name = format!("{}.targets.json", targets.version);
        let signed = Signed::new(targets).map_err(in_file(&name))?;
        batch.sign(&name, signed, &by(&[root], TopLevel::Targets)?, keyring)?;
        finish(&mut batch, &[root], self.next(changed), days, keyring, now)?;
        batch.commit(&self.folder)
    }

    /// Renews snapshot and timestamp, for which an online key is enough, and what the roles `delegated` say, for which their
    /// own keys are.
    pub fn refresh(&self, delegated: &[&str], keyring: &Keyring, now: Time) -> Result<(), RepositoryError> {
        self.renewal(delegated, keyring, now)?.commit(&self.folder)
    }

    /// The same, signed and not written.
    pub(super) fn renewal(&self, delegated: &[&str], keyring: &Keyring, now: Time) -> Result<Batch, RepositoryError> {
        let (mut batch, days) = (Batch::default(), self.days());
        for name in delegated {
            let delegations = self.targets.signed.delegations.as_ref();
            let role = delegations.and_then(|all| Some((all, all.roles.iter().find(|role| role.name == *name)?)));
            let (Some((all, role)), Some(has)) = (role, self.delegated.get(*name)) else {
                return wrong(format!("there is no delegated role `{}`", name.escape_debug()));
            };
            let mut targets = has.signed.clone();
            targets.version += 1;
            targets.expires = until(now, days.targets);
            let file = format!("{}.{name}.json", targets.version);
            let signed = Signed::new(targets).map_err(in_file(&file))?;
            batch.sign(&file, signed, &[Signatories { role: name, keys: &all.keys, wanted: &role.keys }], keyring)?;
        }
        finish(&mut batch, &[&self.root.signed], self.next(delegated), days, keyring, now)?;
        Ok(batch)
    }

    /// Ends what [`Repository::delegate`] began. The snapshot goes on naming the role's last file, since clients refuse one that
    /// names less (section 5.5.5); nobody reads it.
    pub fn end_delegation(&self, name: &str, keyring: &Keyring, now: Time) -> Result<(), RepositoryError> {
        let mut targets = self.targets.signed.clone();
        let Some(delegations) =
            targets.delegations.as_mut().filter(|all| all.roles.iter().any(|role| role.name == name))
        else {
            return wrong(format!("there is no delegated role `{}`", name.escape_debug()));
        };
        delegations.roles.retain(|role| role.name != name);
        let roles = &delegations.roles;
        delegations.keys.retain(|id, _| roles.iter().any(|role| role.keys.keyids.contains(id)));
        if delegations.roles.is_empty() {
            targets.delegations = None;
        }
        self.commit_targets(Batch::default(), targets, &["targets"], keyring, now)
    }

    /// Lets the keys of `spec` say, as role `name`, which targets there are that match `paths`.
    pub fn delegate(
        &self,
        name: &str,
        spec: &RoleSpec,
        paths: Vec<String>,
        keyring: &Keyring,
        now: Time,
    ) -> Result<(), RepositoryError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() || !name.bytes().all(plain) || TopLevel::ALL.iter().any(|role| role.name() == name) {
            return wrong(format!("this is no name for a delegated role: `{}`", name.escape_debug()));
        }
        let keys = spec.keys.iter().map(|name| keyring.by_name(name)).collect::<Result<Vec<_>, _>>()?;
        let mut targets = self.targets.signed.clone();
        let delegations = targets.delegations.get_or_insert_with(Delegations::default);
        let wanted = RoleKeys::new(keys.iter().map(|(id, _)| id.clone()).collect(), spec.threshold);
        if delegations.roles.iter().any(|role| role.name == name) {
            return wrong(format!("there is a delegated role `{name}` already"));
        }
        delegations.keys.extend(keys);
        let role = DelegatedRole {
            name: name.to_owned(),
            keys: wanted.clone(),
            terminating: true,
            paths: Some(paths),
            path_hash_prefixes: None,
        };
        delegations.roles.push(role);
        let delegated_keys = delegations.keys.clone();
        let mut batch = Batch::default();
        // A role of that name may have been there before, and clients know its versions.
        let before = self.snapshot.signed.meta.get(&format!("{name}.json")).map_or(0, |file| file.version);
        let own = format!("{}.{name}.json", before + 1);
        let empty = Targets::new(before + 1, until(now, self.days().targets));
        let empty = Signed::new(empty).map_err(in_file(&own))?;
        let by = Signatories { role: name, keys: &delegated_keys, wanted: &wanted };
        batch.sign(&own, empty, &[by], keyring)?;
        self.commit_targets(batch, targets, &["targets", name], keyring, now)
    }
}
