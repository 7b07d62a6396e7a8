//! A public key of the metadata and a signature in; whether the signature holds out.
//!
//! Source: The Update Framework 1.0.34, section 4.2.1: RSASSA-PSS, Ed25519 and ECDSA over P-256, each with SHA-256 where the
//! scheme asks for a digest. Invariant: a key that cannot be read verifies nothing, and is no reason to fail: other keys may
//! do.

use crate::hex;
use crate::metadata::Key;
use der::oid::ObjectIdentifier;
use der::DecodePem;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use spki::SubjectPublicKeyInfoOwned;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// Of one key; more is no key that is known here.
const LIMIT_TEXT: usize = 8192;

/// A key that can verify.
pub struct PublicKey {
    algorithm: &'static dyn VerificationAlgorithm,
    bytes: Vec<u8>,
}

impl PublicKey {
    /// None: of a kind that is not known here, or damaged.
    pub fn read(key: &Key) -> Option<PublicKey> {
        let text = Some(key.keyval.public.as_str()).filter(|text| text.len() <= LIMIT_TEXT)?;
        let (algorithm, bytes): (&'static dyn VerificationAlgorithm, _) = match (&*key.keytype, &*key.scheme) {
            ("ed25519", "ed25519") => (&signature::ED25519, hex::decode(text).filter(|bytes| bytes.len() == 32)?),
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => {
                (&signature::ECDSA_P256_SHA256_ASN1, point(text)?)
            }
            ("rsa", "rsassa-pss-sha256") => {
                let info = SubjectPublicKeyInfoOwned::from_pem(text).ok().filter(|info| info.algorithm.oid == RSA)?;
                (&signature::RSA_PSS_2048_8192_SHA256, info.subject_public_key.as_bytes()?.to_vec())
            }
            _ => return None,
        };
        Some(PublicKey { algorithm, bytes })
    }

    /// `signature` in hexadecimal digits.
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        let bytes = hex::decode(signature);
        bytes.is_some_and(|bytes| UnparsedPublicKey::new(self.algorithm, &self.bytes).verify(message, &bytes).is_ok())
    }

    /// What makes two keys the same one, whatever they are called.
    pub fn identity(&self) -> &[u8] {
        &self.bytes
    }
}

/// The uncompressed point of a key of P-256: in PEM, or bare in hexadecimal digits.
fn point(text: &str) -> Option<Vec<u8>> {
    let bytes = if text.trim_start().starts_with("-----") {
        let info = SubjectPublicKeyInfoOwned::from_pem(text).ok()?;
        let curve: ObjectIdentifier = info.algorithm.parameters?.decode_as().ok()?;
        (info.algorithm.oid == EC && curve == P256).then_some(())?;
        info.subject_public_key.as_bytes()?.to_vec()
    } else {
        hex::decode(text)?
    };
    Some(bytes).filter(|bytes| bytes.len() == 65 && bytes[0] == 4)
}
