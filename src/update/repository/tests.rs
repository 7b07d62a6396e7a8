//! Repositories of small payloads, made and changed by the real code, followed by the device's client.

use super::change::{init, RoleSpec};
use super::check::{check, first_root, Checked, Trust};
use super::rehearse::rehearse;
use super::target::{read_payload, Described};
use super::*;
use crate::io::file;
use crate::release::signer::{request, Exchange, Signer};
use ed25519_dalek::SigningKey;
use osbuild_format::payload::{self, Header};
use osbuild_tuf::metadata::{Key, Signed, TargetFile};
use osbuild_tuf::{FolderFetcher, FolderStore, Limits, Time, Updater};
use std::collections::BTreeMap;
use std::path::Path;

mod delegated;
mod others;
mod rotation;
mod trust;

const NAMES: [&str; 6] = ["root", "second", "third", "targets", "snapshot", "timestamp"];

fn key(name: &str) -> SigningKey {
    use sha2::Digest;
    SigningKey::from_bytes(&sha2::Sha256::digest(name).into())
}

fn keyring(names: &[&str]) -> Keyring {
    let folder = tempfile::tempdir().unwrap();
    let mut keyring = Keyring::load(folder.path(), &Exchange::closed()).unwrap();
    names.iter().for_each(|name| keyring.add(Signer::of_ed25519(name, key(name))));
    keyring
}

fn day(day: u64) -> Time {
    Time::from_seconds(1_800_000_000 + day * SECONDS_PER_DAY)
}

fn spec(keys: &[&str], threshold: u32) -> RoleSpec {
    RoleSpec { keys: keys.iter().map(ToString::to_string).collect(), threshold }
}

fn roles() -> BTreeMap<TopLevel, RoleSpec> {
    BTreeMap::from([
        (TopLevel::Root, spec(&["root", "second"], 2)),
        (TopLevel::Targets, spec(&["targets"], 1)),
        (TopLevel::Snapshot, spec(&["snapshot"], 1)),
        (TopLevel::Timestamp, spec(&["timestamp"], 1)),
    ])
}

/// A repository without targets.
fn made() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    init(folder.path(), &roles(), Days::default(), &keyring(&NAMES), day(0)).unwrap();
    folder
}

/// A payload whose segments nobody has to apply here.
fn payload(folder: &Path, version: &str, from: bool) -> std::path::PathBuf {
    let image = |sha256: &str| serde_json::json!({"size_bytes": 4096, "sha256": sha256.repeat(32)});
    let release = |version: &str, esp: &str| {
        serde_json::json!({"version": version, "epoch": 1, "esp": image(esp), "root": image("ab"),
            "root_hash": "cd".repeat(32), "salt": "07"})
    };
    let stored = &version.as_bytes()[..1].repeat(10);
    let stored_sha256 = &hex::encode(<sha2::Sha256 as sha2::Digest>::digest(stored));
    let segment = |image: &str| {
        serde_json::json!({"image": image, "output_bytes": 4096, "output_sha256": "ab".repeat(32),
            "stored_bytes": 10, "stored_sha256": stored_sha256})
    };
    let mut header = serde_json::json!({"format": 1, "product": "p", "machine": "m", "to": release(version, "ef"),
        "segments": [segment("root"), segment("esp")]});
    if from {
        header["from"] = release("1.0.0", "12");
    }
    let header: Header = serde_json::from_value(header).unwrap();
    let signer = Signer::of_ed25519("release", key("release"));
    let envelope = signer.sign_statement("it", payload::PAYLOAD_TYPE, &header.to_json().unwrap()).unwrap();
    let bytes = [payload::head(envelope.as_bytes()).unwrap(), stored.repeat(2)].concat();
    let path = folder.join(format!("{version}.payload"));
    file::write_atomic(&path, &bytes, 0o644).unwrap();
    path
}

/// Looks at the file and brings it to its place.
fn place(repository: &Repository, path: &Path, release: &str) -> Result<(String, TargetFile), RepositoryError> {
    let (bytes, described) = read_payload(path, &key(release).verifying_key())?;
    repository.place_bytes(&bytes, &described, 100)
}

fn publish(folder: &Path, payload: &Path, now: Time) {
    let repository = Repository::open(folder).unwrap();
    let (name, target) = place(&repository, payload, "release").unwrap();
    let mut targets = repository.targets.signed.clone();
    targets.targets.insert(name, target);
    repository.replace_targets(targets, &keyring(&["targets", "snapshot", "timestamp"]), now).unwrap();
}

fn checked(folder: &Path, now: Time) -> Result<Checked, RepositoryError> {
    let trust =
        Trust { root: &first_root(folder)?, releases: &[("release".to_owned(), key("release").verifying_key())] };
    check(folder, &trust, now, 14)
}

#[test]
fn what_is_published_is_what_a_device_finds() {
    let folder = made();
    let scratch = tempfile::tempdir().unwrap();
    publish(folder.path(), &payload(scratch.path(), "1.1.0", false), day(1));
    publish(folder.path(), &payload(scratch.path(), "1.2.0", true), day(2));
    let found = checked(folder.path(), day(3)).unwrap();
    for line in ["p-1.1.0-efefefef.full.payload, ", "p-1.2.0-12121212-efefefef.delta.payload, "] {
        assert!(found.lines.iter().any(|found| found.starts_with(line)), "{found:?}");
    }
    assert_eq!(found.soon, [""; 0]);
    let names = file::list(&folder.path().join(METADATA)).unwrap();
    assert!(names.contains(&"3.targets.json".to_owned()) && names.contains(&"3.snapshot.json".to_owned()), "{names:?}");
}

#[test]
fn what_expires_is_told_before_and_refused_after() {
    let folder = made();
    assert_eq!(checked(folder.path(), day(15)).unwrap().soon, [""; 0]);
    let soon = checked(folder.path(), day(20)).unwrap().soon;
    assert_eq!(soon.len(), 2, "{soon:?}");
    assert!(soon[0].starts_with("snapshot expires in 10 days: "), "{soon:?}");
    assert!(matches!(checked(folder.path(), day(31)), Err(RepositoryError::Client(_))));
    Repository::open(folder.path()).unwrap().refresh(&[], &keyring(&["snapshot", "timestamp"]), day(31)).unwrap();
    assert_eq!(checked(folder.path(), day(31)).unwrap().soon, [""; 0]);
}

#[test]
fn a_payload_that_nobody_signed_or_that_is_cut_short_is_not_placed() {
    let folder = made();
    let scratch = tempfile::tempdir().unwrap();
    let path = payload(scratch.path(), "1.1.0", false);
    let repository = Repository::open(folder.path()).unwrap();
    let refused = |release: &str| place(&repository, &path, release).map(drop).unwrap_err().to_string();
    assert!(refused("stranger").contains("no signature in the envelope is valid"));
    let bytes = file::read(&path, 1 << 20).unwrap();
    file::write_atomic(&path, &bytes[..bytes.len() - 1], 0o644).unwrap();
    assert!(refused("release").contains("its header speaks of"));
    file::write_atomic(&path, &bytes[..9], 0o644).unwrap();
    assert!(refused("release").contains("it is no payload"));
    let path = payload(scratch.path(), "1.1", false);
    assert!(place(&repository, &path, "release")
        .unwrap_err()
        .to_string()
        .contains("version `1.1` is not MAJOR.MINOR.PATCH"));
    assert!(file::list(&folder.path().join(TARGETS)).unwrap().is_empty());
}

#[test]
fn a_payload_with_a_damaged_segment_is_neither_placed_nor_sound() {
    let folder = made();
    let scratch = tempfile::tempdir().unwrap();
    let path = payload(scratch.path(), "1.1.0", false);
    let mut bytes = file::read(&path, 1 << 20).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    file::write_atomic(&path, &bytes, 0o644).unwrap();
    let release = key("release").verifying_key();
    let repository = Repository::open(folder.path()).unwrap();
    let refused = place(&repository, &path, "release").unwrap_err().to_string();
    assert!(refused.ends_with("segment 1 is not the one that the header names"), "{refused}");
    // As somebody with the keys of the repository could publish it.
    let described = Described::read(&bytes, bytes.len() as u64, &release).unwrap();
    let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes));
    file::write_atomic(&repository.target_path(&described.name(), &sha256), &bytes, 0o644).unwrap();
    let mut targets = repository.targets.signed.clone();
    targets.targets.insert(described.name(), described.target(bytes.len() as u64, sha256, 100).unwrap());
    repository.replace_targets(targets, &keyring(&NAMES), day(1)).unwrap();
    drop(repository);
    let unsound = checked(folder.path(), day(1)).unwrap_err().to_string();
    assert!(unsound.contains("segment 1 is not"), "{unsound}");
}

#[test]
fn metadata_that_no_device_would_read_is_not_published() {
    let folder = made();
    let repository = Repository::open(folder.path()).unwrap();
    let mut targets = repository.targets.signed.clone();
    let mut target = osbuild_tuf::metadata::TargetFile::of(b"x", Some("x".repeat(1 << 20).into()));
    file::write_atomic(&repository.target_path("x", &target.hashes["sha256"]), b"x", 0o644).unwrap();
    targets.targets.insert("x".to_owned(), target.clone());
    let error = repository.replace_targets(targets.clone(), &keyring(&NAMES), day(1)).unwrap_err().to_string();
    assert!(error.contains("`2.targets.json` would have ") && error.contains("at most 1048576"), "{error}");
    target.custom = None;
    targets.targets.insert("x".to_owned(), target);
    repository.replace_targets(targets, &keyring(&NAMES), day(1)).unwrap();
}

/// What a publish that was killed leaves behind is not seen, and the next one is as if it had not been.
#[test]
fn each_file_of_a_publish_may_be_the_last_one_written() {
    let scratch = tempfile::tempdir().unwrap();
    let whole = made();
    publish(whole.path(), &payload(scratch.path(), "1.1.0", false), day(1));
    let new: Vec<String> = {
        let old = file::list(&made().path().join(METADATA)).unwrap();
        file::list(&whole.path().join(METADATA)).unwrap().into_iter().filter(|name| !old.contains(name)).collect()
    };
    assert_eq!(new, ["2.snapshot.json", "2.targets.json"]);
    for written in [&[][..], &["2.targets.json"], &["2.targets.json", "2.snapshot.json"]] {
        let folder = made();
        file::copy_tree(&whole.path().join(TARGETS), &folder.path().join(TARGETS)).unwrap();
        for name in written {
            let part = |folder: &Path| folder.join(METADATA).join(name);
            std::fs::copy(part(whole.path()), part(folder.path())).unwrap();
        }
        assert!(checked(folder.path(), day(1)).unwrap().lines.iter().all(|line| !line.contains("payload")));
        publish(folder.path(), &payload(scratch.path(), "1.1.0", false), day(2));
        assert!(checked(folder.path(), day(2)).unwrap().lines.iter().any(|line| line.contains("payload")));
    }
}

/// A command was killed before a file got its name.
#[test]
fn what_was_never_finished_stops_nothing_and_does_not_stay() {
    let folder = tempfile::tempdir().unwrap();
    let begin = || init(folder.path(), &roles(), Days::default(), &keyring(&NAMES), day(0));
    begin().unwrap();
    std::fs::remove_file(folder.path().join(METADATA).join("timestamp.json")).unwrap();
    let left = [METADATA, TARGETS].map(|part| folder.path().join(part).join(".osbuild-x1y2z3"));
    left.iter().for_each(|path| file::write_atomic(path, b"half", 0o644).unwrap());
    begin().unwrap();
    assert!(left.iter().all(|path| !path.exists()));
    assert_eq!(follow(folder.path()).unwrap(), 1);
    for part in [METADATA, TARGETS] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(folder.path().join(part)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755, "a web server reads `{part}`");
    }
}

#[test]
fn two_cannot_change_a_repository_at_once() {
    let folder = made();
    let first = Repository::open(folder.path()).unwrap();
    assert!(matches!(Repository::open(folder.path()), Err(RepositoryError::Busy(..))));
    assert!(matches!(Repository::open_to_read(folder.path()), Err(RepositoryError::Busy(..))));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| Repository::open(folder.path()).is_ok());
        drop(first);
        assert!(waits.join().unwrap(), "it waits for a while");
    });
    let readers = [(); 2].map(|()| Repository::open_to_read(folder.path()).unwrap());
    assert!(matches!(Repository::open(folder.path()), Err(RepositoryError::Busy(..))));
    drop(readers);
    Repository::open(folder.path()).unwrap();
    assert!(matches!(
        init(folder.path(), &roles(), Days::default(), &keyring(&NAMES), day(0)),
        Err(RepositoryError::Exists(_))
    ));
}

#[test]
fn a_root_is_rotated_by_old_and_new_keys_together() {
    let folder = made();
    let rotate = |names: &[&str], add: &[&str], remove: &[&str]| {
        let (repository, keyring) = (Repository::open(folder.path())?, keyring(names));
        let text = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let spec = repository.role_with(TopLevel::Root, &text(add), &text(remove), None, &keyring)?;
        repository.rotate(&BTreeMap::from([(TopLevel::Root, spec)]), &[], &keyring, day(1))
    };
    let fewer = ["second", "third", "targets", "snapshot", "timestamp"];
    // The old root asks for two signatures, and the new key is none of its keys.
    let error = rotate(&fewer, &["third"], &[]).unwrap_err();
    assert!(matches!(&error, RepositoryError::Threshold { role, signed: 1, wanted: 2 } if role == "root"), "{error}");
    assert_eq!(checked(folder.path(), day(1)).unwrap().lines[0], "root 1 of 1 is trusted");
    assert_eq!(rotate(&NAMES, &["third"], &["root"]).unwrap(), 2);
    assert_eq!(checked(folder.path(), day(1)).unwrap().lines[0], "root 2 of 2 is trusted");
    // The key that left is not needed any more.
    assert_eq!(rotate(&fewer, &[], &[]).unwrap(), 3);
    assert_eq!(checked(folder.path(), day(1)).unwrap().lines[0], "root 3 of 3 is trusted");
}

/// A repository as it is the moment before that root appears.
fn before_root(folder: &Path, version: u64) -> tempfile::TempDir {
    let between = tempfile::tempdir().unwrap();
    file::copy_tree(folder, between.path()).unwrap();
    std::fs::remove_file(between.path().join(METADATA).join(format!("{version}.root.json"))).unwrap();
    between
}

/// The version of the root that a new client reaches.
fn follow(place: &Path) -> Result<u64, osbuild_tuf::UpdateError> {
    let (root, store) = (first_root(place).unwrap(), tempfile::tempdir().unwrap());
    let (fetcher, store) = (FolderFetcher::new(place), FolderStore::new(store.path()));
    let mut client = Updater::from_root(&root, store, fetcher, Limits::device()).unwrap();
    client.refresh(day(2)).map(|()| client.root().version)
}

/// Clients that come between the new metadata and the new root, and after both.
#[test]
fn a_client_follows_at_each_instant_of_a_rotation() {
    let folder = made();
    let scratch = tempfile::tempdir().unwrap();
    publish(folder.path(), &payload(scratch.path(), "1.1.0", false), day(1));
    for (count, role) in TopLevel::ALL.into_iter().enumerate() {
        let keyring = keyring(&NAMES);
        let repository = Repository::open(folder.path()).unwrap();
        let spec =
            repository.role_with(role, &["third".to_owned()], &[role.name().to_owned()], None, &keyring).unwrap();
        let version = repository.rotate(&BTreeMap::from([(role, spec)]), &[], &keyring, day(2)).unwrap();
        assert_eq!(version, count as u64 + 2);
        drop(repository);
        let between = before_root(folder.path(), version);
        assert_eq!(follow(between.path()).unwrap(), version - 1, "{role}");
        assert_eq!(follow(folder.path()).unwrap(), version, "{role}");
    }
}

#[test]
fn a_rehearsal_goes_through_all_roles_and_changes_nothing() {
    let folder = made();
    let before = file::list(&folder.path().join(METADATA)).unwrap();
    let lines = rehearse(Repository::open(folder.path()).unwrap(), &mut keyring(&NAMES), day(1)).unwrap();
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert_eq!(lines[4], "targets: a key replaced, old and new devices follow to root 5");
    assert_eq!(file::list(&folder.path().join(METADATA)).unwrap(), before);
    let fewer = rehearse(
        Repository::open(folder.path()).unwrap(),
        &mut keyring(&["root", "targets", "snapshot", "timestamp"]),
        day(1),
    );
    assert!(matches!(fewer, Err(RepositoryError::Threshold { .. })), "one key of the root is missing");
}

/// A folder of keys whose private halves are elsewhere.
fn public_halves() -> tempfile::TempDir {
    let keys = tempfile::tempdir().unwrap();
    for name in NAMES {
        use ed25519_dalek::pkcs8::EncodePublicKey;
        let text = key(name).verifying_key().to_public_key_pem(der::pem::LineEnding::LF).unwrap();
        file::write_atomic(&keys.path().join(format!("{name}.pub")), text.as_bytes(), 0o644).unwrap();
    }
    keys
}

/// What those who have the keys `names` sign of a request.
fn answer(request: &request::Request, names: &[&str]) -> request::Signatures {
    let sign = |entry: &request::Entry| {
        let signature = Signer::of_ed25519("any", key(&entry.key)).sign("it", &entry.bytes().unwrap()).unwrap();
        let signature = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, signature);
        request::Detached { key_id: entry.key_id.clone(), sha256: entry.sha256.clone(), signature }
    };
    let signatures = request.entries.iter().filter(|entry| names.contains(&&entry.key[..])).map(sign).collect();
    request::Signatures { format: request::FORMAT, seconds: request.seconds, signatures }
}

#[test]
fn others_sign_all_of_a_change_in_one_round() {
    let folder = made();
    let keys = public_halves();
    let publish = |exchange: &Exchange| {
        let keyring = Keyring::load(keys.path(), exchange).unwrap();
        let repository = Repository::open(folder.path()).unwrap();
        repository.replace_targets(repository.targets.signed.clone(), &keyring, day(1))
    };
    assert!(matches!(publish(&Exchange::closed()), Err(RepositoryError::Threshold { signed: 0, wanted: 1, .. })));
    let exchange = Exchange::open(&[], 7).unwrap();
    assert!(publish(&exchange).unwrap_err().is_wanted());
    let request = exchange.request();
    assert_eq!(
        request.entries.iter().map(|entry| &entry.key[..]).collect::<Vec<_>>(),
        ["snapshot", "targets", "timestamp"]
    );
    let signatures = answer(&request, &NAMES);
    publish(&Exchange::open(&[signatures], 9).unwrap()).unwrap();
    assert_eq!(Repository::open(folder.path()).unwrap().targets.signed.version, 2);
}

#[test]
fn an_answer_does_not_say_how_long_metadata_is_good() {
    let folder = made();
    let keys = tempfile::tempdir().unwrap();
    let refresh = |seconds: u64, now_seconds: u64| {
        let answer = request::Signatures { format: request::FORMAT, seconds, signatures: Vec::new() };
        let exchange = Exchange::open(&[answer], now_seconds).map_err(|error| error.to_string())?;
        let mut keyring = Keyring::load(keys.path(), &exchange).unwrap();
        NAMES.iter().for_each(|name| keyring.add(Signer::of_ed25519(name, key(name))));
        let now = Time::from_seconds(exchange.seconds().unwrap());
        let repository = Repository::open(folder.path()).map_err(|error| error.to_string())?;
        repository.refresh(&[], &keyring, now).map_err(|error| error.to_string())
    };
    let asked = day(0).seconds();
    assert!(refresh(u64::MAX, asked).unwrap_err().contains("and the clock is at"), "good for ever");
    assert!(refresh(asked + 2 * SECONDS_PER_DAY, asked).is_err());
    assert!(refresh(asked, asked + 30 * SECONDS_PER_DAY).unwrap_err().contains("of 30 days ago"), "expired already");
    assert_eq!(Repository::open(folder.path()).unwrap().timestamp.signed.version, 1);
    refresh(asked, asked + 29 * SECONDS_PER_DAY).unwrap();
}
