//! The metadata of an update repository, what it says of a target, and what comes out of both: any bytes as each of them.

use osbuild_format::target::TargetCustom;
use osbuild_tuf::metadata::{
    matches_pattern, DelegatedRole, Delegations, Key, MetaFile, Metadata, RoleKeys, Root, Signed, Snapshot, TargetFile,
    Targets, Timestamp, TopLevel,
};
use osbuild_tuf::{canonical_json, Check, Time};
use std::collections::BTreeMap;

const LIMIT_BYTES: usize = 1 << 20;

pub fn run(bytes: &[u8]) {
    if let Ok(custom) = TargetCustom::from_json(bytes) {
        assert!(custom.rollout_percent <= 100, "more than all devices");
        let text = serde_json::to_vec(&custom).expect("a description has a JSON form");
        assert_eq!(TargetCustom::from_json(&text).expect("what is written can be read"), custom);
    }
    canonical(bytes);
    if let Some(root) = read::<Root>(bytes) {
        for role in TopLevel::ALL {
            let keys = root.signed.role(role).expect("each of the four roles is there");
            assert!(keys.threshold > 0, "a role that nobody has to sign for");
            let counted = root.count_valid(&root.signed.keys, keys);
            assert!(counted <= keys.keyids.len() && counted <= root.signatures.len(), "a key is counted twice");
        }
    }
    if let Some(timestamp) = read::<Timestamp>(bytes) {
        assert!(timestamp.signed.snapshot().is_some_and(|file| file.version > 0), "it names no snapshot");
    }
    if let Some(snapshot) = read::<Snapshot>(bytes) {
        assert!(snapshot.signed.meta.values().all(|file| file.version > 0), "a version of a file is 0");
    }
    if let Some(targets) = read::<Targets>(bytes) {
        for (path, file) in &targets.signed.targets {
            let _ = Check::target(file).map(|check| check.finish().is_ok());
            let roles = targets.signed.delegations.iter().flat_map(|delegations| &delegations.roles);
            let _ = roles.filter(|role| role.covers(path)).count();
        }
    }
    let text = String::from_utf8_lossy(bytes);
    if let Ok(time) = text.parse::<Time>() {
        assert_eq!(time.to_string(), text, "a time has one text");
    }
    if let Some((pattern, path)) = text.split_once('\n') {
        let _ = matches_pattern(pattern, path);
    }
}

/// What holds of metadata of every kind.
fn read<T: Metadata + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<Signed<T>> {
    let read = Signed::<T>::from_json(bytes, LIMIT_BYTES).ok()?;
    assert!(read.signed.version() > 0, "a version is 0");
    // What was signed in another spelling cannot be written, and says so; what can be written says the same.
    if let Ok(text) = read.to_json() {
        let again = Signed::<T>::from_json(&text, usize::MAX).expect("what is written can be read");
        assert!(again.message() == read.message() && again.signatures == read.signatures, "other bytes are signed");
    }
    Some(read)
}

fn canonical(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice(bytes) else { return };
    let Ok(text) = canonical_json(&value) else { return };
    // Control characters are in it as they are, which no JSON allows.
    if let Ok(again) = serde_json::from_slice::<serde_json::Value>(&text) {
        assert_eq!(canonical_json(&again).expect("it has a canonical form"), text, "equal values differ");
    }
}

fn signed<T: Metadata>(metadata: T) -> Vec<u8> {
    let mut signed = Signed::new(metadata).expect("valid");
    let key = super::signer::app_key();
    let signature = ed25519_dalek::Signer::sign(&key, signed.message());
    signed.attach("a", &signature.to_bytes());
    signed.to_json().expect("it can be written")
}

pub fn seeds() -> Vec<Vec<u8>> {
    let expires = Time::from_seconds(2_000_000_000);
    let key = Key::ed25519(super::signer::app_key().verifying_key().as_bytes());
    let mut root = Root::new(3, expires);
    TopLevel::ALL.into_iter().for_each(|role| root.allow(role, "a".into(), key.clone()));
    let custom = serde_json::json!({
        "format": 1, "product": "p", "machine": "m", "version": "1.0.1", "epoch": 1, "to": "ab".repeat(32),
        "from": "cd".repeat(32), "header": "ef".repeat(32), "memory_bytes": 1 << 24, "rollout_percent": 10
    });
    let mut targets = Targets::new(2, expires);
    targets.targets.insert("p-1.0.1.payload".into(), TargetFile::of(b"target", Some(custom.clone())));
    let delegated = |name: &str, paths: Option<&str>, prefixes: Option<&str>| DelegatedRole {
        name: name.into(),
        keys: RoleKeys::new(vec!["a".into()], 1),
        terminating: true,
        paths: paths.map(|one| vec![one.into()]),
        path_hash_prefixes: prefixes.map(|one| vec![one.into()]),
    };
    let roles = vec![delegated("apps", Some("apps/*-[0-9].app"), None), delegated("rest", None, Some("0a"))];
    let keys = BTreeMap::from([("a".to_owned(), key)]);
    targets.delegations = Some(Delegations { keys, roles, ..Delegations::default() });
    let mut file = MetaFile::version(2);
    file.length = Some(77);
    file.hashes = Some(BTreeMap::from([("sha256".to_owned(), "00".repeat(32))]));
    let meta = BTreeMap::from([("targets.json".to_owned(), file.clone())]);
    vec![
        signed(root),
        signed(Timestamp::new(9, expires, file)),
        signed(Snapshot::new(5, expires, meta)),
        signed(targets),
        custom.to_string().into_bytes(),
        b"2026-02-28T23:59:59Z".to_vec(),
        b"apps/*-[!0-9]?.app\napps/meter-x1.app".to_vec(),
    ]
}
