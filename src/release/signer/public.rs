//! The public half of a key, read from `NAME.pub` or `NAME.crt`: what its signatures are checked with.
//!
//! Invariant: equal keys have equal ids, wherever they were read from.

use crate::io::file;
use crate::release::keys::{invalid, KeyError};
use der::{DecodePem, Encode};
use ed25519_dalek::{Signature, VerifyingKey};
use rsa::{Pkcs1v15Sign, RsaPublicKey};
use sha2::{Digest, Sha256};
use spki::{DecodePublicKey, EncodePublicKey};
use std::path::Path;
use x509_cert::Certificate;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// RFC 8032, pure.
    Ed25519(VerifyingKey),
    /// PKCS #1 v1.5 with SHA-256 (RFC 8017).
    Rsa(Box<RsaPublicKey>),
}

impl PublicKey {
    /// The public half of the key `name`, in whichever form the folder has it.
    pub fn load(folder: &Path, name: &str) -> Result<PublicKey, KeyError> {
        let certificate = folder.join(format!("{name}.crt"));
        if certificate.exists() {
            let found = Certificate::from_pem(file::read_text(&certificate)?);
            let found = found.map_err(invalid(&certificate, "certificate"))?;
            let key = found.tbs_certificate.subject_public_key_info.to_der();
            return PublicKey::from_der(&key.map_err(invalid(&certificate, "certificate"))?)
                .ok_or("neither an RSA nor an Ed25519 key")
                .map_err(invalid(&certificate, "certificate"));
        }
        let path = folder.join(format!("{name}.pub"));
        let text = file::read_text(&path)?;
        let key = RsaPublicKey::from_public_key_pem(&text).map(|key| PublicKey::Rsa(Box::new(key)));
        match key {
            Ok(key) => Ok(key),
            Err(_) => <VerifyingKey as ed25519_dalek::pkcs8::DecodePublicKey>::from_public_key_pem(&text)
                .map(PublicKey::Ed25519)
                .map_err(invalid(&path, "public key")),
        }
    }

    /// From a SubjectPublicKeyInfo.
    pub fn from_der(der: &[u8]) -> Option<PublicKey> {
        let ed25519 = <VerifyingKey as ed25519_dalek::pkcs8::DecodePublicKey>::from_public_key_der(der).ok();
        let rsa = || RsaPublicKey::from_public_key_der(der).ok().map(|key| PublicKey::Rsa(Box::new(key)));
        ed25519.map(PublicKey::Ed25519).or_else(rsa)
    }

    /// SHA-256 of the SubjectPublicKeyInfo (RFC 5280, section 4.1), in hex.
    pub fn id(&self) -> String {
        match self {
            PublicKey::Ed25519(key) => osbuild_format::dsse::key_id(key),
            PublicKey::Rsa(key) => {
                let der = key.to_public_key_der().expect("an RSA key has an encoding");
                hex::encode(Sha256::digest(der.as_bytes()))
            }
        }
    }

    /// How it signs, in the word that a request has for it.
    pub fn algorithm(&self) -> &'static str {
        match self {
            PublicKey::Ed25519(_) => "ed25519",
            PublicKey::Rsa(_) => "rsa-pkcs1v15-sha256",
        }
    }

    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            PublicKey::Ed25519(key) => {
                Signature::from_slice(signature).is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
            }
            PublicKey::Rsa(key) => {
                key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message), signature).is_ok()
            }
        }
    }
}
