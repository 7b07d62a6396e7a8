//! Rules of the files, one by one, and signatures of real keys.

use super::*;
use crate::Time;
use proptest::prelude::*;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;

const LIMIT: usize = 1 << 16;

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes")
}

fn public(seed: u8) -> Key {
    Key::ed25519(pair(seed).public_key().as_ref().try_into().expect("32 bytes"))
}

fn later() -> Time {
    "2030-01-01T00:00:00Z".parse().expect("a time")
}

fn root(seeds: &[u8], threshold: u32) -> Root {
    let mut root = Root::new(1, later());
    for seed in seeds {
        root.allow(TopLevel::Root, format!("key{seed}"), public(*seed));
    }
    root.roles.get_mut("root").expect("there").threshold = threshold;
    root
}

fn signed(root: Root, seeds: &[u8]) -> Signed<Root> {
    let mut signed = Signed::new(root).expect("valid");
    for seed in seeds {
        let signature = pair(*seed).sign(signed.message());
        signed.attach(&format!("key{seed}"), signature.as_ref());
    }
    signed
}

fn read(value: &serde_json::Value) -> Result<Signed<Root>, MetadataError> {
    Signed::from_json(value.to_string().as_bytes(), LIMIT)
}

fn is_trusted(signed: &Signed<Root>) -> bool {
    signed.is_trusted(&signed.signed.keys, signed.signed.role(TopLevel::Root).expect("there"))
}

#[test]
fn what_was_signed_is_trusted_after_a_way_through_json_and_a_changed_word_is_not() {
    let bytes = signed(root(&[1, 2], 2), &[1, 2]).to_json().expect("written");
    let back = Signed::<Root>::from_json(&bytes, LIMIT).expect("read");
    assert!(is_trusted(&back));
    assert_eq!(back.to_json().expect("written"), bytes);
    let changed = String::from_utf8(bytes).expect("text").replace("\"version\": 1", "\"version\": 2");
    assert!(!is_trusted(&Signed::from_json(changed.as_bytes(), LIMIT).expect("read")));
}

#[test]
fn a_key_counts_once_whatever_it_is_called() {
    let mut root = root(&[1], 2);
    root.allow(TopLevel::Root, "alias".to_owned(), public(1));
    let mut both = signed(root, &[1]);
    let signature = pair(1).sign(both.message());
    both.attach("alias", signature.as_ref());
    assert_eq!(both.count_valid(&both.signed.keys, both.signed.role(TopLevel::Root).expect("there")), 1);
    assert!(!is_trusted(&both));
}

#[test]
fn unknown_members_are_signed_and_kept() {
    let mut value: serde_json::Value =
        serde_json::from_slice(&signed(root(&[1], 1), &[]).to_json().expect("written")).expect("JSON");
    value["signed"]["new"] = json!({"b": 1, "a": [true]});
    value["signed"]["keys"]["key1"]["note"] = json!("mine");
    let mut read = read(&value).expect("read");
    let signature = pair(1).sign(&crate::canonical_json(&value["signed"]).expect("canonical"));
    read.attach("key1", signature.as_ref());
    assert!(is_trusted(&read));
    let again: serde_json::Value = serde_json::from_slice(&read.to_json().expect("written")).expect("JSON");
    assert_eq!(again["signed"], value["signed"]);
}

#[test]
fn what_would_be_other_bytes_than_those_that_were_signed_is_not_written() {
    let mut value: serde_json::Value =
        serde_json::from_slice(&signed(root(&[1], 1), &[1]).to_json().expect("written")).expect("JSON");
    value["signed"].as_object_mut().expect("an object").remove("consistent_snapshot");
    let left_out = read(&value).expect("it may be left out");
    assert!(left_out.to_json().is_err_and(|error| error.to_string().contains("cannot be written as it was signed")));
}

#[test]
fn a_broken_rule_is_named() {
    let good: serde_json::Value =
        serde_json::from_slice(&signed(root(&[1], 1), &[1]).to_json().expect("written")).expect("JSON");
    let cases: [(&str, serde_json::Value, &str); 9] = [
        ("/signed/_type", json!("snapshot"), "another type"),
        ("/signed/spec_version", json!("2.0.0"), "version of the specification"),
        ("/signed/version", json!(0), "version is 0"),
        ("/signed/version", json!(1.5), "whole numbers"),
        ("/signed/expires", json!("tomorrow"), "not valid JSON"),
        ("/signed/roles/root/threshold", json!(0), "threshold of role `root` is 0"),
        ("/signed/roles/root/keyids", json!(["key1", "key1"]), "names a key twice"),
        ("/signed/roles/root/keyids", json!(["key2"]), "`key2` of role `root` is missing"),
        ("/signed/roles", json!({}), "role `root` is missing"),
    ];
    for (place, value, wanted) in cases {
        let mut wrong = good.clone();
        *wrong.pointer_mut(place).expect("there") = value;
        let error = read(&wrong).expect_err(place).to_string();
        assert!(error.contains(wanted), "{place}: {error}");
    }
    let mut twice = good.clone();
    let signature = twice["signatures"][0].clone();
    twice["signatures"].as_array_mut().expect("a list").push(signature);
    assert!(matches!(read(&twice), Err(MetadataError::DuplicateSignature(_))));
    assert!(matches!(
        Signed::<Root>::from_json(good.to_string().as_bytes(), 10),
        Err(MetadataError::TooLong { limit: 10, .. })
    ));
}

#[test]
fn a_delegation_says_in_one_way_what_it_is_for() {
    let role = |extra: serde_json::Value| {
        let mut role = json!({"name": "apps", "keyids": [], "threshold": 1, "terminating": false});
        role.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        let value = json!({
            "signatures": [],
            "signed": {
                "_type": "targets", "spec_version": "1.0.34", "version": 1, "expires": "2030-01-01T00:00:00Z",
                "targets": {}, "delegations": {"keys": {}, "roles": [role]},
            },
        });
        Signed::<Targets>::from_json(value.to_string().as_bytes(), LIMIT)
    };
    let covers = |extra, path: &str| {
        let read = role(extra).expect("read");
        read.signed.delegations.expect("there").roles[0].covers(path)
    };
    assert!(covers(json!({"paths": ["apps/*"]}), "apps/a"));
    assert!(!covers(json!({"paths": ["apps/*"]}), "other"));
    // SHA-256 of `a` begins with ca97.
    assert!(covers(json!({"path_hash_prefixes": ["00", "CA9"]}), "a"));
    assert!(!covers(json!({"path_hash_prefixes": ["00"]}), "a"));
    assert!(role(json!({})).is_err());
    assert!(role(json!({"paths": [], "path_hash_prefixes": []})).is_err());
    for name in ["", "root", "targets"] {
        assert!(role(json!({"paths": [], "name": name})).is_err(), "{name}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes: Vec<u8>, at: usize, byte: u8) {
        let _ = Signed::<Root>::from_json(&bytes, LIMIT);
        let mut damaged = signed(root(&[1], 1), &[1]).to_json().expect("written");
        let at = at % damaged.len();
        damaged[at] = byte;
        if let Ok(read) = Signed::<Root>::from_json(&damaged, LIMIT) {
            let _ = is_trusted(&read);
        }
        let _ = Signed::<Targets>::from_json(&damaged, LIMIT);
        let _ = Signed::<Snapshot>::from_json(&damaged, LIMIT);
        let _ = Signed::<Timestamp>::from_json(&damaged, LIMIT);
    }
}
