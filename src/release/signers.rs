//! The keys of those who vouch for apps and for what one device may do: of a folder of keys in, to sign and to verify.
//!
//! Invariant: a public key that is here belongs to the private key beside it; what only names a signer, such as an image,
//! needs no private key.

use super::keys::{invalid, private, KeyError, Purpose, PURPOSE_FILE};
use crate::io::file::{self, at};
use der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{SigningKey, VerifyingKey};
use rand_core::OsRng;
use rustix::fs::{flock, FlockOperation};
use std::path::Path;

/// What a signature says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// This app may be installed.
    App,
    /// This device may do more than its image says.
    Capability,
}

impl Signer {
    pub const ALL: [Signer; 2] = [Signer::App, Signer::Capability];

    /// Name of its files, before `.key` and `.pub`.
    pub fn name(self) -> &'static str {
        match self {
            Signer::App => "app",
            Signer::Capability => "capability",
        }
    }

    pub fn load(self, folder: &Path) -> Result<SigningKey, KeyError> {
        let path = folder.join(format!("{}.key", self.name()));
        if !path.exists() {
            return Err(KeyError::NoSigner { path, name: self.name() });
        }
        let key = SigningKey::from_pkcs8_pem(&private(&path)?).map_err(invalid(&path, "Ed25519 key"))?;
        match key.verifying_key() == self.load_public(folder)? {
            true => Ok(key),
            false => Err(KeyError::Mismatch(path.with_extension("pub"))),
        }
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
    let has = |signer: Signer| folder.join(format!("{}.pub", signer.name())).exists();
    if Signer::ALL.into_iter().all(has) {
        return Ok(());
    }
    // Whoever makes keys to ship with has to know of each.
    let purpose = folder.join(PURPOSE_FILE);
    if !purpose.exists() || file::read_text(&purpose)?.trim() != Purpose::Development.word() {
        return Ok(());
    }
    let lock = file::open(folder)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| at("lock", folder)(error.into()))?;
    Signer::ALL.into_iter().filter(|signer| !has(*signer)).try_for_each(|signer| create(folder, signer))
}

/// Makes a signer's key, or what an interruption left out of its pair.
pub(super) fn create(folder: &Path, signer: Signer) -> Result<(), KeyError> {
    let make = |error: &dyn std::fmt::Display| KeyError::Make(error.to_string());
    let path = folder.join(format!("{}.key", signer.name()));
    let key = match path.exists() {
        true => SigningKey::from_pkcs8_pem(&private(&path)?).map_err(invalid(&path, "Ed25519 key"))?,
        false => SigningKey::generate(&mut OsRng),
    };
    if !path.exists() {
        let text = key.to_pkcs8_pem(LineEnding::LF).map_err(|error| make(&error))?;
        file::write_atomic(&path, text.as_bytes(), 0o600)?;
    }
    let text = key.verifying_key().to_public_key_pem(LineEnding::LF).map_err(|error| make(&error))?;
    Ok(file::write_atomic(&path.with_extension("pub"), text.as_bytes(), 0o644)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(purpose: Purpose) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        file::write_atomic(&folder.path().join(PURPOSE_FILE), purpose.word().as_bytes(), 0o644).unwrap();
        folder
    }

    #[test]
    fn what_is_missing_is_made_for_development_only() {
        let field = folder(Purpose::Production);
        add_missing(field.path()).unwrap();
        assert!(matches!(Signer::App.load_public(field.path()), Err(KeyError::NoSigner { .. })));
        let bench = folder(Purpose::Development);
        add_missing(bench.path()).unwrap();
        let [app, capability] = Signer::ALL.map(|signer| signer.load(bench.path()).unwrap());
        assert_ne!(app.to_bytes(), capability.to_bytes());
        add_missing(bench.path()).unwrap();
        assert_eq!(Signer::App.load(bench.path()).unwrap().to_bytes(), app.to_bytes(), "made once");
    }

    #[test]
    fn an_interrupted_pair_is_completed_and_a_foreign_one_refused() {
        let bench = folder(Purpose::Development);
        add_missing(bench.path()).unwrap();
        let key = Signer::App.load(bench.path()).unwrap();
        std::fs::remove_file(bench.path().join("app.pub")).unwrap();
        add_missing(bench.path()).unwrap();
        assert_eq!(Signer::App.load_public(bench.path()).unwrap(), key.verifying_key());
        std::fs::copy(bench.path().join("capability.pub"), bench.path().join("app.pub")).unwrap();
        assert!(matches!(Signer::App.load(bench.path()), Err(KeyError::Mismatch(_))));
    }
}
