//! A clear-signed index in, its text out once a pinned key of the archive has signed it. RFC 9580, section 7.
//!
//! The keys are in `keys/`: the archive's own, as Debian installs them. Whether a key has since expired is
//! not looked at: suites that no longer move are signed once, and the pin is the trust.
//! Invariant: text is returned only together with a valid signature over exactly that text.

pub use pgp::composed::SignedPublicKey;
use pgp::composed::{CleartextSignedMessage, Deserializable};

const KEYS: [&str; 4] = [
    include_str!("keys/bookworm-automatic.asc"),
    include_str!("keys/bookworm-stable.asc"),
    include_str!("keys/trixie-automatic.asc"),
    include_str!("keys/trixie-stable.asc"),
];
const LIMIT_BYTES: usize = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    #[error("the index is not a clear-signed text")]
    NotSigned(#[source] Box<pgp::errors::Error>),
    #[error("the index is larger than its limit: {LIMIT_BYTES} bytes")]
    TooLarge,
    #[error("the index is not UTF-8")]
    NotText(#[source] std::str::Utf8Error),
    #[error(
        "none of the archive's known keys has signed the index as it is; it was changed on its way, or is not Debian's"
    )]
    Untrusted,
    #[error("a public key of this program cannot be read")]
    Key(#[source] Box<pgp::errors::Error>),
}

/// The keys that Debian's archive signs with.
pub fn archive_keys() -> Result<Vec<SignedPublicKey>, SignatureError> {
    let read = |text| -> Result<SignedPublicKey, pgp::errors::Error> {
        let (key, _) = SignedPublicKey::from_string(text)?;
        // Certifications of the name by other keys are of no interest; the binding of each subkey is.
        key.public_subkeys.iter().try_for_each(|subkey| subkey.verify_bindings(&key.primary_key))?;
        Ok(key)
    };
    KEYS.into_iter().map(|text| read(text).map_err(|e| SignatureError::Key(Box::new(e)))).collect()
}

/// Checks that one of `keys` has signed and returns the signed text, with lines ended by `\n`.
pub fn verify(message: &[u8], keys: &[SignedPublicKey]) -> Result<String, SignatureError> {
    if message.len() > LIMIT_BYTES {
        return Err(SignatureError::TooLarge);
    }
    let message = std::str::from_utf8(message).map_err(SignatureError::NotText)?;
    let (message, _) =
        CleartextSignedMessage::from_string(message).map_err(|e| SignatureError::NotSigned(Box::new(e)))?;
    let signed = keys.iter().any(|key| {
        let by_subkey = || key.public_subkeys.iter().any(|subkey| message.verify(subkey).is_ok());
        message.verify(key).is_ok() || by_subkey()
    });
    if !signed {
        return Err(SignatureError::Untrusted);
    }
    Ok(message.signed_text().replace("\r\n", "\n"))
}

#[cfg(test)]
pub(in crate::tools) mod tests {
    use super::*;
    use pgp::composed::{ArmorOptions, KeyType, SecretKeyParamsBuilder, SignedSecretKey};
    use pgp::types::Password;
    use rand_core::OsRng;

    pub fn new_key() -> SignedSecretKey {
        let mut parameters = SecretKeyParamsBuilder::default();
        parameters.key_type(KeyType::Ed25519Legacy).can_sign(true).primary_user_id("archive <a@example>".into());
        parameters.build().expect("parameters").generate(OsRng).expect("a key")
    }

    pub fn sign(key: &SignedSecretKey, text: &str) -> String {
        let message = CleartextSignedMessage::sign(OsRng, text, &**key, &Password::empty());
        message.expect("signed").to_armored_string(ArmorOptions::default()).expect("armored")
    }

    #[test]
    fn only_what_a_known_key_has_signed_is_returned() {
        let (known, stranger) = (new_key(), new_key());
        let keys = [known.to_public_key()];
        let sign = |key| sign(key, "Suite: x\n- dash\n");
        let good = sign(&known);
        assert_eq!(verify(good.as_bytes(), &keys).expect("valid").trim_end(), "Suite: x\n- dash");
        let error = |message: &str| verify(message.as_bytes(), &keys).expect_err("refused");
        assert!(matches!(error(&good.replace("Suite: x", "Suite: y")), SignatureError::Untrusted));
        assert!(matches!(error(&sign(&stranger)), SignatureError::Untrusted));
        assert!(matches!(error("Suite: x\n"), SignatureError::NotSigned(_)));
        assert!(matches!(error(&format!("Suite: y\n\n{good}")), SignatureError::NotSigned(_)));
    }

    #[test]
    fn the_archives_own_keys_can_be_read() {
        let keys = archive_keys().expect("valid keys");
        assert_eq!(keys.len(), KEYS.len());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut message = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n".to_vec();
            message.extend(&bytes);
            let _ = (verify(&bytes, &[]), verify(&message, &[]));
        }
    }
}
