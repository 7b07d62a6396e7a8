//! Keys that are the same in every run, so that seeds stay valid; whoever reads this knows them.

use der::{DecodePem, Encode};
use osbuild::release::boot_key::BootKey;
use osbuild::release::keys::{Keys, PublicKeys, Purpose};
use osbuild::release::signer::Signer;
use rsa::pkcs8::DecodePrivateKey;

const KEY: &str = include_str!("../../src/release/testdata/signer.key.pem");
const CERTIFICATE: &str = include_str!("../../src/release/testdata/signer.crt.pem");

/// The key of apps and tokens.
pub fn app_key() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[8; 32])
}

pub fn keys() -> Keys {
    let certificate = x509_cert::Certificate::from_pem(CERTIFICATE).and_then(|c| c.to_der()).expect("a certificate");
    let release = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let public = PublicKeys {
        platform_key: certificate.clone(),
        key_exchange_key: certificate.clone(),
        signature_db: certificate.clone(),
        release: release.verifying_key(),
    };
    let key = rsa::RsaPrivateKey::from_pkcs8_pem(KEY).expect("a key");
    let boot = BootKey { certificate_der: certificate, signer: Signer::of_rsa("db", key) };
    Keys { boot, release: Signer::of_ed25519("release", release), public, purpose: Purpose::Development }
}
