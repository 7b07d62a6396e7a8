//! A folder of keys in, those that sign for a repository's roles out, found by their public halves.
//!
//! Invariant: a key signs under the id that the repository's metadata has for it.

use super::RepositoryError;
use crate::io::file;
use crate::release::keys::KeyError;
use crate::release::signer::{Exchange, PublicKey, Signer};
use osbuild_tuf::metadata::{Key, Keys};
use std::collections::BTreeMap;
use std::path::Path;

/// Every Ed25519 key of the folder, by its id in metadata.
pub struct Keyring {
    signers: BTreeMap<String, Signer>,
    exchange: Exchange,
    /// Files of the folder that hold something else than a key of ours.
    left_out: Vec<KeyError>,
}

impl Keyring {
    pub fn load(folder: &Path, exchange: &Exchange) -> Result<Keyring, KeyError> {
        let mut keyring = Keyring { signers: BTreeMap::new(), exchange: exchange.clone(), left_out: Vec::new() };
        // Keys that are not here are looked for when they are needed: a publisher has not all of them.
        let lenient = Exchange::open(&[], 0).unwrap_or_else(|_| Exchange::closed());
        let source = if exchange.is_open() { exchange } else { &lenient };
        for name in file::list(folder)?.iter().filter_map(|file| file.strip_suffix(".pub")) {
            match Signer::load(folder, name, source) {
                Ok(signer) => keyring.add(signer),
                // Somebody's key for something else is no reason to sign nothing.
                Err(error @ KeyError::Invalid { what: "public key", .. }) => keyring.left_out.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(keyring)
    }

    /// Why files of the folder are not used that are named as public keys.
    pub fn left_out(&self) -> &[KeyError] {
        &self.left_out
    }

    /// A key of no folder, as of a rehearsal.
    pub fn add(&mut self, signer: Signer) {
        if let Some(id) = metadata_key(signer.public()).and_then(|key| key.id().ok()) {
            self.signers.insert(id, signer);
        }
    }

    /// The key with that id, when it can sign or be asked for.
    pub fn by_id(&self, id: &str) -> Option<&Signer> {
        self.signers.get(id).filter(|signer| signer.is_here() || self.exchange.is_open())
    }

    /// How long ago others were asked for the signatures that are used.
    pub fn age_seconds(&self) -> u64 {
        self.exchange.age_seconds()
    }

    /// Id and metadata of the key with that file name.
    pub fn by_name(&self, name: &str) -> Result<(String, Key), RepositoryError> {
        let found = self.signers.iter().find(|(_, signer)| signer.name() == name);
        let key = found.and_then(|(id, signer)| Some((id.clone(), metadata_key(signer.public())?)));
        key.ok_or_else(|| RepositoryError::Wrong(format!("there is no Ed25519 key `{name}` in the folder of keys")))
    }

    /// Those named `root` or `root-...`.
    pub fn root_keys(&self) -> Keys {
        let is_root = |signer: &&Signer| signer.name() == "root" || signer.name().starts_with("root-");
        let of = |signer: &Signer| metadata_key(signer.public());
        let found = self.signers.iter().filter(|(_, signer)| is_root(signer));
        found.filter_map(|(id, signer)| Some((id.clone(), of(signer)?))).collect()
    }

    /// What people call the key with that id.
    pub fn name_of(&self, id: &str) -> String {
        self.signers.get(id).map_or_else(|| id.to_owned(), |signer| signer.name().to_owned())
    }
}

fn metadata_key(public: &PublicKey) -> Option<Key> {
    match public {
        PublicKey::Ed25519(key) => Some(Key::ed25519(key.as_bytes())),
        PublicKey::Rsa(_) => None,
    }
}
