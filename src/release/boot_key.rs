//! An EFI program and the key of Secure Boot in, a signed program out.
//!
//! Invariant: equal programs and keys give equal bytes (PKCS #1 v1.5, RFC 8017).

use super::signer::{SignError, Signer};
use crate::image::authenticode::{self, AuthenticodeError};

/// A key that signs, and the certificate that firmware knows it by.
pub struct BootKey {
    pub certificate_der: Vec<u8>,
    pub signer: Signer,
}

#[derive(Debug, thiserror::Error)]
pub enum BootKeyError {
    #[error(transparent)]
    Authenticode(#[from] AuthenticodeError),
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl BootKey {
    /// `program` with this key's signature, which replaces any that it had; `what` it is, for people.
    pub fn sign(&self, what: &str, program: &[u8]) -> Result<Vec<u8>, BootKeyError> {
        let signature = self.signer.sign(what, &authenticode::signed_attributes(program)?)?;
        Ok(authenticode::attach(program, &self.certificate_der, signature)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::authenticode::verify;
    use crate::image::pe::tests::example;
    use crate::image::pe::with_certificates;
    use der::{DecodePem, Encode};
    use proptest::prelude::*;
    use rsa::pkcs8::DecodePrivateKey;
    use rsa::RsaPrivateKey;
    use sha2::{Digest, Sha256};
    use std::sync::OnceLock;
    use x509_cert::Certificate;

    /// Made for these tests with `openssl req -x509 -newkey rsa:2048 -nodes -days 36500 -subj /CN=test`.
    const KEY: &str = include_str!("testdata/signer.key.pem");
    const CERTIFICATE: &str = include_str!("testdata/signer.crt.pem");

    // osslsigncode 2.9 says that the signature is valid.
    const SIGNED: &str = "fac37f2389d5cc8a9669120443bde6cf4ec2fd5cd4a60f4f822731ba35bea887";

    fn key() -> BootKey {
        let key = RsaPrivateKey::from_pkcs8_pem(KEY).expect("a key");
        let certificate = Certificate::from_pem(CERTIFICATE).and_then(|c| c.to_der()).expect("DER");
        BootKey { certificate_der: certificate, signer: Signer::of_rsa("db", key) }
    }

    fn signed() -> &'static (Vec<u8>, Vec<u8>) {
        static SIGNED: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
        SIGNED.get_or_init(|| (key().sign("a program", &example()).expect("signed"), key().certificate_der))
    }

    fn is_sound(program: &[u8]) -> bool {
        verify(program, &[&signed().1]).is_ok()
    }

    #[test]
    fn equal_programs_and_keys_give_equal_signatures() {
        assert_eq!(hex::encode(Sha256::digest(&signed().0)), SIGNED);
        assert!(is_sound(&signed().0));
        assert_eq!(
            key().sign("a program", &signed().0).expect("signed again"),
            signed().0,
            "a signature is replaced, not added to"
        );
    }

    #[test]
    fn each_flipped_bit_is_found() {
        use rayon::prelude::*;
        let missed: Vec<usize> = (0..signed().0.len() * 8)
            .into_par_iter()
            .filter(|bit| {
                let mut program = signed().0.clone();
                program[bit / 8] ^= 1 << (bit % 8);
                is_sound(&program)
            })
            .collect();
        assert_eq!(missed, [0; 0]);
    }

    #[test]
    fn what_is_added_behind_the_signature_is_found() {
        for tail in [&[0_u8; 8][..], b"x", &[1; 4096]] {
            assert!(!is_sound(&[&signed().0, tail].concat()));
        }
        assert!(matches!(verify(&example(), &[&signed().1]), Err(AuthenticodeError::Unsigned)));
        assert!(matches!(verify(&signed().0, &[]), Err(AuthenticodeError::Untrusted)));
    }

    proptest! {
        #[test]
        fn no_table_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0usize..2400, keep: bool) {
            let mut program = signed().0.clone();
            if keep {
                let end = program.len().min(at + bytes.len());
                let start = at.min(end);
                program[start..end].copy_from_slice(&bytes[..end - start]);
            } else {
                program = with_certificates(&example(), &bytes).expect("a program");
            }
            prop_assert_eq!(is_sound(&program), program == signed().0);
        }
    }
}
