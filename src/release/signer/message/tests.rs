//! Every kind of message as osbuild makes it, and what is only like one.

use super::*;
use crate::image::authenticode::signed_attributes;
use crate::image::pe::tests::example;
use crate::release::signer::Signer;
use ed25519_dalek::SigningKey;
use osbuild_tuf::metadata::{Key, MetaFile};
use osbuild_tuf::Time;
use proptest::prelude::*;
use serde_json::json;

const NAMES: [&str; 9] = ["PK", "db", "release", "app", "capability", "root", "targets", "snapshot", "second"];

fn ed25519() -> PublicKey {
    Signer::of_ed25519("it", SigningKey::from_bytes(&[7; 32])).public().clone()
}

fn rsa() -> PublicKey {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/release/testdata");
    let text = crate::io::file::read_text(&path.join("signer.key.pem")).unwrap();
    let key = <rsa::RsaPrivateKey as rsa::pkcs8::DecodePrivateKey>::from_pkcs8_pem(&text).unwrap();
    Signer::of_rsa("it", key).public().clone()
}

fn token() -> Vec<u8> {
    let token = Token { format: 1, device: "ab".repeat(32), sideload: true, downgrade: false, not_after: None };
    dsse::pre_authentication(token::PAYLOAD_TYPE, &token.to_json())
}

fn header() -> Vec<u8> {
    let image = json!({"size_bytes": 4096, "sha256": "ef".repeat(32)});
    let to = json!({"version": "1.2.3", "epoch": 1, "esp": image, "root": image,
        "root_hash": "cd".repeat(32), "salt": "07"});
    let segment = |image: &str| {
        json!({"image": image, "output_bytes": 4096, "output_sha256": "ab".repeat(32), "stored_bytes": 3,
            "stored_sha256": "ab".repeat(32)})
    };
    let header = json!({"format": 1, "product": "p", "machine": "board", "to": to,
        "segments": [segment("root"), segment("esp")]});
    dsse::pre_authentication(payload::PAYLOAD_TYPE, header.to_string().as_bytes())
}

fn image() -> Vec<u8> {
    let predicate = json!({"product": "p", "version": "1.2.3", "machine": "board", "architecture": "x86_64",
        "keys": "production", "production": true, "root_hash": "cd", "command_line": "", "size_bytes": {},
        "partition_bytes": {}, "packages": [], "sources": {}, "actions": {}});
    let files = [("uki.efi".to_owned(), "4567".to_owned())].into();
    let statement = Statement::new(&files, serde_json::from_value(predicate).unwrap()).to_json();
    dsse::pre_authentication(manifest::PAYLOAD_TYPE, &statement)
}

fn app() -> Vec<u8> {
    let manifest = json!({"format": 1, "id": "meter", "version": "1.0.0", "title": "Meter", "architecture": "x86_64",
        "abi": {"runtime": 1}, "argv": ["/usr/bin/meter"],
        "image": {"data_blocks": 2, "root_hash": "ab".repeat(32), "salt": "cd".repeat(32)}});
    dsse::pre_authentication(app::PAYLOAD_TYPE, manifest.to_string().as_bytes())
}

fn metadata_of<T: Metadata>(signed: T) -> Vec<u8> {
    Signed::new(signed).unwrap().message().to_vec()
}

fn root() -> Vec<u8> {
    let mut root = Root::new(3, Time::from_seconds(1_800_000_000));
    let key = Key::ed25519(SigningKey::from_bytes(&[7; 32]).verifying_key().as_bytes());
    for role in TopLevel::ALL {
        root.allow(role, key.id().unwrap(), key.clone());
    }
    metadata_of(root)
}

fn targets() -> Vec<u8> {
    metadata_of(Targets::new(2, Time::from_seconds(1_800_000_000)))
}

fn snapshot() -> Vec<u8> {
    let meta = [("targets.json".to_owned(), MetaFile::version(7))].into();
    metadata_of(Snapshot::new(4, Time::from_seconds(1_800_000_000), meta))
}

/// Each kind with the keys that sign it.
fn all() -> [(Vec<u8>, &'static [&'static str], &'static str); 8] {
    [
        (signed_attributes(&example()).unwrap(), &["db"], "a program for Secure Boot"),
        (image(), &["release"], "product p, machine board, version 1.2.3, root_hash cd, file uki.efi 4567"),
        (header(), &["release"], "product p, machine board, to version 1.2.3, to epoch 1"),
        (app(), &["app"], "id meter, version 1.0.0"),
        (token(), &["capability"], "a statement of type application/vnd.osbuild.capability+json: device abab"),
        (root(), &["root", "second"], "_type root, version 3, expires 2027-01-15T08:00:00Z, role "),
        (targets(), &["targets", "second"], "metadata of a repository: _type targets, version 2"),
        (snapshot(), &["snapshot", "second"], "version 4, expires 2027-01-15T08:00:00Z, targets.json 7"),
    ]
}

#[test]
fn each_key_signs_its_own_kinds_only() {
    for (bytes, keys, said) in all() {
        let message = Message::parse(&bytes).unwrap();
        assert!(message.describe().contains(said), "`{said}` is not in {}", message.describe());
        let (right, wrong) = if keys == ["db"] { (rsa(), ed25519()) } else { (ed25519(), rsa()) };
        for name in NAMES {
            let found = message.check_key(name, &right);
            assert_eq!(found.is_ok(), keys.contains(&name), "{name}: {found:?}");
            assert!(message.check_key(name, &wrong).is_err(), "{name} of the other kind");
        }
    }
}

#[test]
fn free_text_is_no_message_whatever_it_begins_with() {
    let statement = |kind: &str, payload: &[u8]| dsse::pre_authentication(kind, payload);
    let text = |text: &str| text.as_bytes().to_vec();
    for (bytes, reason) in [
        (text("1 owes you a million"), "not what osbuild has signed of a program"),
        (text("I owe you a million"), "neither the attributes"),
        (text("DSSEv1 I owe you a million"), "its lengths are not those"),
        (text("DSSEv1 1 x 99 {}"), "its lengths are not those"),
        (statement("application/x", b"{}"), "no key signs statements of type `application/x`"),
        (statement(manifest::PAYLOAD_TYPE, b"I owe you"), "no statement of type `application/vnd.in-toto+json`"),
        (statement(payload::PAYLOAD_TYPE, br#"{"format":1}"#), "no statement of type `application/vnd.osbuild.payload"),
        (statement(token::PAYLOAD_TYPE, br#"{"format":2,"device":"ab"}"#), "its format is 2"),
        (text(r#"{"_type":"root","version":1}"#), "no metadata of a repository in canonical form"),
        (text(r#"{"_type":"mirrors","version":1}"#), "it has no `_type` of a repository's"),
        ([root(), text(" ")].concat(), "the canonical form"),
        ([text("{ "), root()[1..].to_vec()].concat(), "the canonical form"),
    ] {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let error = Message::parse(&bytes).unwrap_err().to_string();
        assert!(error.contains(reason), "{shown}: {error}");
        assert!(
            describe(&bytes).starts_with(&format!("{} bytes that osbuild does not know: ", bytes.len())),
            "{shown}"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), which in 0_usize..4) {
        let start = [&b""[..], b"DSSEv1 ", b"1", b"{\"_type\":\"root\""][which];
        prop_assert!(Message::parse(&[start, &bytes].concat()).is_err());
    }

    #[test]
    fn nothing_comes_before_or_behind_a_message(which in 0_usize..8, more in proptest::collection::vec(any::<u8>(), 1..40)) {
        let bytes = all()[which].0.clone();
        prop_assert!(Message::parse(&[&bytes[..], &more].concat()).is_err());
        prop_assert!(Message::parse(&[&more[..], &bytes].concat()).is_err());
        prop_assert!(Message::parse(&bytes[..bytes.len() - more.len()]).is_err());
    }

    /// Of a program only the digest can be another, which is what tells programs apart.
    #[test]
    fn attributes_are_those_of_a_program(at in 0_usize..80, bit in 0_u8..8) {
        let mut bytes = signed_attributes(&example()).unwrap();
        let at = at.min(bytes.len() - 1);
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(Message::parse(&bytes).is_ok(), at >= bytes.len() - 32);
    }
}
