//! The Ed25519 keys beside the release key, each for one thing that it says: made, and found by name.
//!
//! Invariant: what only names a signer, such as an image, needs no private key; what is missing is made for development only.

use super::{Exchange, Signer};
use crate::io::file::{self, at};
use crate::release::keys::{invalid, private, KeyError, Purpose, PURPOSE_FILE};
use der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{SigningKey, VerifyingKey};
use rand_core::OsRng;
use rustix::fs::{flock, FlockOperation};
use std::path::Path;

/// What a signature says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This app may be installed.
    App,
    /// This device may do more than its image says.
    Capability,
    /// These keys speak for the repository of updates.
    Root,
    /// These payloads are in it.
    Targets,
    /// These versions of its metadata belong together.
    Snapshot,
    /// This is the newest of it.
    Timestamp,
}

impl Role {
    pub const ALL: [Role; 6] =
        [Role::App, Role::Capability, Role::Root, Role::Targets, Role::Snapshot, Role::Timestamp];

    /// Name of its files, before `.key` and `.pub`.
    pub fn name(self) -> &'static str {
        match self {
            Role::App => "app",
            Role::Capability => "capability",
            Role::Root => "root",
            Role::Targets => "targets",
            Role::Snapshot => "snapshot",
            Role::Timestamp => "timestamp",
        }
    }

    /// Where the private half is not in the folder, it is an error, unless `exchange` asks others.
    pub fn load(self, folder: &Path, exchange: &Exchange) -> Result<Signer, KeyError> {
        self.load_public(folder)?;
        let has = |ending: &str| folder.join(format!("{}.{ending}", self.name())).exists();
        if !has("key") && !has("signer") && !exchange.is_open() {
            return Err(KeyError::NoSigner { path: folder.join(format!("{}.key", self.name())), name: self.name() });
        }
        Signer::load(folder, self.name(), exchange)
    }

    pub fn load_public(self, folder: &Path) -> Result<VerifyingKey, KeyError> {
        let path = folder.join(format!("{}.pub", self.name()));
        if !path.exists() {
            return Err(KeyError::NoSigner { path, name: self.name() });
        }
        VerifyingKey::from_public_key_pem(&file::read_text(&path)?).map_err(invalid(&path, "public key"))
    }
}

/// Makes the signers that `folder` does not have, where they may be made without being asked for. Folders of keys from
/// before there were apps have none.
pub fn add_missing(folder: &Path) -> Result<(), KeyError> {
    let has = |role: Role| folder.join(format!("{}.pub", role.name())).exists();
    if Role::ALL.into_iter().all(has) {
        return Ok(());
    }
    // Whoever makes keys to ship with has to know of each.
    let purpose = folder.join(PURPOSE_FILE);
    if !purpose.exists() || file::read_text(&purpose)?.trim() != Purpose::Development.word() {
        return Ok(());
    }
    let lock = file::open(folder)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| at("lock", folder)(error.into()))?;
    Role::ALL.into_iter().filter(|role| !has(*role)).try_for_each(|role| create(folder, role))
}

/// Makes a signer's key, or what an interruption left out of its pair.
pub(in crate::release) fn create(folder: &Path, role: Role) -> Result<(), KeyError> {
    create_named(folder, role.name())
}

/// The same for a key of any name.
pub fn create_named(folder: &Path, name: &str) -> Result<(), KeyError> {
    let make = |error: &dyn std::fmt::Display| KeyError::Make(error.to_string());
    let path = folder.join(format!("{name}.key"));
    let key = match path.exists() {
        true => SigningKey::from_pkcs8_pem(&private(&path)?).map_err(invalid(&path, "Ed25519 key"))?,
        false => SigningKey::generate(&mut OsRng),
    };
    if !path.exists() {
        let text = private_pem(&key)?;
        file::write_atomic(&path, text.as_bytes(), 0o600)?;
    }
    let text = key.verifying_key().to_public_key_pem(LineEnding::LF).map_err(|error| make(&error))?;
    Ok(file::write_atomic(&path.with_extension("pub"), text.as_bytes(), 0o644)?)
}

/// PKCS #8 of version 1, without the public half: OpenSSL 3.0 and what is built upon it read no other.
pub(in crate::release) fn private_pem(key: &SigningKey) -> Result<impl std::ops::Deref<Target = String>, KeyError> {
    let bytes = ed25519_dalek::pkcs8::KeypairBytes { secret_key: key.to_bytes(), public_key: None };
    bytes.to_pkcs8_pem(LineEnding::LF).map_err(|error| KeyError::Make(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(purpose: Purpose) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        file::write_atomic(&folder.path().join(PURPOSE_FILE), purpose.word().as_bytes(), 0o644).unwrap();
        folder
    }

    fn load(folder: &tempfile::TempDir, role: Role) -> Result<String, KeyError> {
        role.load(folder.path(), &Exchange::closed()).map(|signer| signer.public().id())
    }

    #[test]
    fn what_is_missing_is_made_for_development_only() {
        let field = folder(Purpose::Production);
        add_missing(field.path()).unwrap();
        assert!(matches!(Role::App.load_public(field.path()), Err(KeyError::NoSigner { .. })));
        let bench = folder(Purpose::Development);
        add_missing(bench.path()).unwrap();
        let made = Role::ALL.map(|role| load(&bench, role).unwrap());
        assert_eq!(std::collections::BTreeSet::from(made.clone()).len(), Role::ALL.len(), "all differ");
        add_missing(bench.path()).unwrap();
        assert_eq!(Role::ALL.map(|role| load(&bench, role).unwrap()), made, "made once");
    }

    #[test]
    fn an_interrupted_pair_is_completed_and_a_foreign_one_refused() {
        let bench = folder(Purpose::Development);
        add_missing(bench.path()).unwrap();
        let key = load(&bench, Role::App).unwrap();
        std::fs::remove_file(bench.path().join("app.pub")).unwrap();
        add_missing(bench.path()).unwrap();
        assert_eq!(load(&bench, Role::App).unwrap(), key);
        std::fs::copy(bench.path().join("capability.pub"), bench.path().join("app.pub")).unwrap();
        assert!(matches!(load(&bench, Role::App), Err(KeyError::Mismatch(_))));
    }

    #[test]
    fn a_private_half_that_is_not_here_is_asked_for_or_an_error() {
        let bench = folder(Purpose::Development);
        add_missing(bench.path()).unwrap();
        std::fs::remove_file(bench.path().join("root.key")).unwrap();
        assert!(matches!(load(&bench, Role::Root), Err(KeyError::NoSigner { name: "root", .. })));
        let open = Exchange::open(&[], 0).unwrap();
        assert!(!Role::Root.load(bench.path(), &open).unwrap().is_here());
    }
}
