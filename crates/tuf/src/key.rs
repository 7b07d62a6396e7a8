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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Extra, KeyVal};
    use proptest::prelude::*;

    // Made by OpenSSL, over `a message`.
    const RSA_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAkzcukyniSERwN/fYmsp5\n\
        LMjsEfo3/KbNX/Kh0wLYQk649IzY0smJDa5XIEn/k0Qzmjvi9PHLhT+TNmLtXqxl\n\
        ZUtkRHKQgBfIrQC6RnjwilAYbaUISbvV1gGRGdKYsUdpg/e+EMP+14RE378tRiXh\n\
        i4KEqOoSTJC0mau5SHBu+UYVtYJsNOSNS82c1i7t/cEPkcpX8CPkNp3EQdR2xJY7\n\
        3t32tbZ12zPfyUSKcL/70mE/9uhys95+I9NOQJtdEZo8A9EWOQXx1FultttwxjhN\n\
        0xcNbaJTXSz5jWpB4e4bcd0Mlf1i8zRC3jEwdBrSPsHu9OrZXnmUJpJEeHUvSeW4\n\
        DwIDAQAB\n\
        -----END PUBLIC KEY-----";
    const RSA_SIGNATURE: &str =
        "0e53549a01d09e3be9f57fb6af89924961ebd68b4dbdad3551a34c1da00718af09506ae971087cb2ff15409f127e57ec8bf6815a\
        14a5176adb006a84c141595be1b7256b2e313dcb72889233a005934fcc1c255a4d57d0b28251f50274fb6d64ce425bc8dc3b2ee7\
        e3b17d1553f98ee7d05054c2b8a316851497a18851302abbc9d7cccf8425ad6dd3748e95458c4c05b141f2643dec93bef9a800ae\
        5d2decd87e460d8cfa82b32b88fb38b820de06fb40205799fcb79dc1d3b5a35b9a47e831ac9e9e72b7de1848bb127f43c3bb4d2a\
        6242d43bac49d6c07c483a536363110eb35e7bff440f4811c74a560dd6039b529cf2db1c4260841846fb0864a6328e4e";
    const EC_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEJSw22epfeSfDJSGdi5KmvhMBd4AD\n\
        rut7WqP+wJ/e4cdzCKmt7nXlMYNt6SwrekH6riiFFU758TLQBGYK1SiyeQ==\n\
        -----END PUBLIC KEY-----";
    const EC_POINT: &str =
        "04252c36d9ea5f7927c325219d8b92a6be1301778003aeeb7b5aa3fec09fdee1c77308a9adee75e531836de92c2b7a41faae2885\
        154ef9f132d004660ad528b279";
    const EC_SIGNATURE: &str =
        "304502202d527a742bcf641c1a3cb50a84cc87ba2fc9f56321c744964bc288a122cc1a390221009f2dee4f03ffb6acd21b827f28\
        1e5cf6c7e2e50372cf1a6dc13f3e063f317f17";
    const P384_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEntZXxg5MKVOp0/el4JS0qGW6umv5z9c9\n\
        6WGF/zigHhsw4QROthbE5fhcmUlEq8ZIZ6PVLgctzvx7c8CGwh6EGUGRGJqHPCWW\n\
        Y+vEPRVpYj5rEpPG2cZVYJZAVl7WVc+g\n\
        -----END PUBLIC KEY-----";

    fn key(keytype: &str, scheme: &str, public: &str) -> Option<PublicKey> {
        let keyval = KeyVal { public: public.to_owned(), extra: Extra::new() };
        PublicKey::read(&Key { keytype: keytype.to_owned(), scheme: scheme.to_owned(), keyval, extra: Extra::new() })
    }

    #[test]
    fn signatures_of_another_program_hold_and_hold_for_nothing_else() {
        let cases = [
            ("rsa", "rsassa-pss-sha256", RSA_PUBLIC, RSA_SIGNATURE),
            ("ecdsa", "ecdsa-sha2-nistp256", EC_PUBLIC, EC_SIGNATURE),
            ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", EC_POINT, EC_SIGNATURE),
        ];
        for (keytype, scheme, public, signature) in cases {
            let key = key(keytype, scheme, public).expect(keytype);
            assert!(key.verifies(b"a message", signature), "{keytype}");
            assert!(!key.verifies(b"a massage", signature), "{keytype}");
            for wrong in ["", "00", "zz", &signature[2..], &signature.replace(&signature[40..42], "00")] {
                assert!(!key.verifies(b"a message", wrong), "{keytype} {wrong}");
            }
        }
        let (pem, point) =
            (key("ecdsa", "ecdsa-sha2-nistp256", EC_PUBLIC), key("ecdsa", "ecdsa-sha2-nistp256", EC_POINT));
        assert_eq!(pem.expect("PEM").identity(), point.expect("a point").identity());
    }

    #[test]
    fn keys_of_other_kinds_and_damaged_ones_verify_nothing() {
        let cases = [
            ("ecdsa", "ecdsa-sha2-nistp256", P384_PUBLIC),
            ("ecdsa", "ecdsa-sha2-nistp256", RSA_PUBLIC),
            ("ecdsa", "ecdsa-sha2-nistp384", P384_PUBLIC),
            ("rsa", "rsassa-pss-sha256", EC_PUBLIC),
            ("rsa", "rsassa-pkcs1v15-sha256", RSA_PUBLIC),
            ("ed25519", "ed25519", EC_POINT),
            ("ed25519", "ed25519ph", "00"),
            ("ecdsa", "ecdsa-sha2-nistp256", &EC_POINT[2..]),
            ("ecdsa", "ecdsa-sha2-nistp256", "-----BEGIN PUBLIC KEY-----"),
        ];
        for (keytype, scheme, public) in cases {
            assert!(key(keytype, scheme, public).is_none(), "{keytype} {scheme} {public}");
        }
    }

    proptest! {
        #[test]
        fn no_key_makes_it_panic(at in 0..EC_PUBLIC.len(), letter in "[ -~]", signature in "[0-9a-f]{0,160}") {
            let mut pem = EC_PUBLIC.to_owned();
            pem.replace_range(at..=at, &letter);
            if let Some(key) = key("ecdsa", "ecdsa-sha2-nistp256", &pem) {
                prop_assert!(!key.verifies(b"a message", &signature));
            }
        }
    }
}
