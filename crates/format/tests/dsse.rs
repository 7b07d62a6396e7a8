//! DSSE envelopes: what was signed comes out, what nobody signed only for who vouches for it.

use ed25519_dalek::SigningKey;
use osbuild_format::dsse::{key_id, read_vouched, sign, unsigned, verify, DsseError, LIMIT_BYTES};
use proptest::prelude::*;

const TYPE: &str = "application/x";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn checked(envelope: &str, key: &SigningKey) -> Result<Vec<u8>, DsseError> {
    let public = key.verifying_key();
    verify(envelope.as_bytes(), TYPE, &public, &key_id(&public))
}

fn signed(payload: &[u8], key: &SigningKey) -> String {
    sign(TYPE, payload, key, &key_id(&key.verifying_key()))
}

#[test]
fn only_the_trusted_key_counts() {
    let envelope = signed(b"payload", &key(1));
    assert_eq!(checked(&envelope, &key(1)).expect("signed"), b"payload");
    assert!(matches!(checked(&envelope, &key(2)), Err(DsseError::Untrusted)));
    // A signature over another payload, and one over another type.
    let other = signed(b"other", &key(1));
    let (ours, theirs) = (envelope.split('"').nth(3).expect("a payload"), other.split('"').nth(3).expect("a payload"));
    assert!(matches!(checked(&envelope.replace(ours, theirs), &key(1)), Err(DsseError::Untrusted)));
    let retyped = sign("application/y", b"payload", &key(1), &key_id(&key(1).verifying_key()));
    assert!(matches!(checked(&retyped, &key(1)), Err(DsseError::Type(found)) if found == "application/y"));
    assert!(matches!(checked(&retyped.replace("/y", "/x"), &key(1)), Err(DsseError::Untrusted)));
}

#[test]
fn what_nobody_signed_is_read_only_where_somebody_vouches_for_it() {
    let envelope = unsigned(TYPE, b"payload");
    assert!(checked(&envelope, &key(1)).is_err());
    assert_eq!(read_vouched(envelope.as_bytes(), TYPE).expect("vouched for"), b"payload");
    // A signed one says the same there: the same file serves in both places.
    let envelope = signed(b"payload", &key(1));
    assert_eq!(read_vouched(envelope.as_bytes(), TYPE).expect("vouched for"), b"payload");
    assert!(matches!(read_vouched(envelope.as_bytes(), "application/y"), Err(DsseError::Type(_))));
}

#[test]
fn two_signatures_or_bytes_beside_them_are_refused() {
    let envelope = signed(b"payload", &key(1));
    let one = envelope.split_once("[").and_then(|(_, rest)| rest.split_once("]")).expect("a list").0;
    let twice = envelope.replace(one, &format!("{one},{one}"));
    assert!(matches!(checked(&twice, &key(1)), Err(DsseError::Uncovered)));
    for changed in [format!(" {envelope}"), format!("{envelope} "), envelope.replace(':', ": ")] {
        assert!(matches!(checked(&changed, &key(1)), Err(DsseError::Uncovered)), "{changed}");
    }
}

#[test]
fn what_is_too_large_is_not_parsed() {
    let bytes = vec![b' '; LIMIT_BYTES + 1];
    assert!(matches!(read_vouched(&bytes, TYPE), Err(DsseError::TooLarge(_))));
}

proptest! {
    #[test]
    fn what_is_written_is_read(payload in prop::collection::vec(any::<u8>(), 0..300), seed in any::<u8>()) {
        let envelope = signed(&payload, &key(seed));
        prop_assert_eq!(checked(&envelope, &key(seed)).expect("signed"), payload.clone());
        prop_assert_eq!(read_vouched(unsigned(TYPE, &payload).as_bytes(), TYPE).expect("vouched for"), payload);
    }

    #[test]
    fn no_bit_of_a_signed_envelope_is_free(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = signed(b"payload", &key(1)).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let public = key(1).verifying_key();
        prop_assert!(verify(&bytes, TYPE, &public, &key_id(&public)).is_err());
    }
}
