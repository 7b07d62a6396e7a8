//! Somebody who can write where the repository lies, and has none of its keys.

use super::*;

/// The folder of keys of whoever began the repository in `folder`.
fn pins(folder: &Path) -> Pins {
    let keys = tempfile::tempdir().unwrap();
    Pins::keep(keys.path(), &first_root(folder).unwrap()).unwrap();
    Pins::of_keys(keys.path(), &keyring(&["stranger"])).unwrap()
}

fn id_of(name: &str) -> (String, Key) {
    let key = Key::ed25519(key(name).verifying_key().as_bytes());
    (key.id().unwrap(), key)
}

/// Writes `signed` with the signatures of these keys.
fn write<T: osbuild_tuf::metadata::Metadata>(folder: &Path, name: &str, signed: T, by: &[&str]) {
    let mut signed = Signed::new(signed).unwrap();
    for name in by {
        let signature = Signer::of_ed25519(name, key(name)).sign("it", signed.message()).unwrap();
        signed.attach(&id_of(name).0, &signature);
    }
    file::write_atomic(&folder.join(METADATA).join(name), &signed.to_json().unwrap(), 0o644).unwrap();
}

/// The next root, with the stranger's key for the targets.
fn with_stranger(folder: &Path) -> osbuild_tuf::metadata::Root {
    let mut root = Repository::open(folder).unwrap().root.signed.clone();
    root.version += 1;
    let (id, key) = id_of("stranger");
    root.allow(TopLevel::Targets, id, key);
    root
}

fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let metadata = folder.join(METADATA);
    let names = file::list(&metadata).unwrap();
    names.into_iter().map(|name| (name.clone(), file::read(&metadata.join(name), 1 << 20).unwrap())).collect()
}

/// The file that is at fault, and why.
fn distrusted(folder: &Path, pins: &Pins) -> (String, String) {
    let before = contents(folder);
    let error = Repository::open_pinned(folder, pins, None).map(drop).unwrap_err();
    assert_eq!(contents(folder), before);
    match error {
        RepositoryError::Distrusted { file, why } => (file, why),
        other => panic!("{other}"),
    }
}

#[test]
fn a_root_that_the_one_before_it_did_not_sign_is_refused() {
    for by in [&[][..], &["stranger"], &["root"], &["root", "stranger"]] {
        let folder = made();
        let pins = pins(folder.path());
        let root = with_stranger(folder.path());
        write(folder.path(), "2.root.json", root, by);
        let (file, why) = distrusted(folder.path(), &pins);
        assert_eq!(file, "2.root.json", "{by:?}");
        assert_eq!(why, "it is not signed by as many keys as `1.root.json` asks for", "{by:?}");
    }
    let folder = made();
    let pins = pins(folder.path());
    let root = with_stranger(folder.path());
    write(folder.path(), "2.root.json", root, &["root", "second"]);
    assert_eq!(Repository::open_pinned(folder.path(), &pins, None).unwrap().root.signed.version, 2);
}

#[test]
fn a_root_of_another_version_or_after_a_gap_is_refused() {
    let folder = made();
    let pins = pins(folder.path());
    let root = with_stranger(folder.path());
    write(folder.path(), "3.root.json", root.clone(), &["root", "second"]);
    let missing = Repository::open_pinned(folder.path(), &pins, None).map(drop).unwrap_err();
    assert!(matches!(&missing, RepositoryError::File(error) if error.to_string().contains("2.root.json")), "{missing}");
    write(folder.path(), "2.root.json", root, &["root", "second"]);
    assert_eq!(distrusted(folder.path(), &pins).1, "it should be version 3, but is: 2");
}

/// Sound in itself, by keys of the stranger that have the same names.
#[test]
fn a_repository_that_begins_with_another_root_is_refused() {
    let own = made();
    let pins = pins(own.path());
    let folder = tempfile::tempdir().unwrap();
    let mut other = keyring(&["second", "targets", "snapshot", "timestamp"]);
    other.add(Signer::of_ed25519("root", key("stranger")));
    init(folder.path(), &roles(), Days::default(), &other, day(0)).unwrap();
    let refused = |pins: &Pins| Repository::open_pinned(folder.path(), pins, None).map(drop);
    assert!(matches!(refused(&pins), Err(RepositoryError::Unpinned(_))));
    assert!(matches!(refused(&Pins::default()), Err(RepositoryError::Unpinned(_))));
    let given = |folder: &Path| Pins::of_file(&folder.join(METADATA).join("1.root.json")).unwrap();
    assert!(matches!(refused(&given(own.path())), Err(RepositoryError::Unpinned(_))));
    refused(&given(folder.path())).unwrap();
}

/// Without a copy of the first root, keys that are named as those of a root vouch for it, and no others.
#[test]
fn a_first_root_without_a_copy_needs_the_signatures_of_known_root_keys() {
    let folder = tempfile::tempdir().unwrap();
    let roles = BTreeMap::from_iter(TopLevel::ALL.map(|role| match role {
        TopLevel::Root => (role, spec(&["root", "root-b"], 2)),
        other => (other, spec(&[other.name()], 1)),
    }));
    let all = ["root", "root-b", "targets", "snapshot", "timestamp"];
    init(folder.path(), &roles, Days::default(), &keyring(&all), day(0)).unwrap();
    for (names, is_enough) in [(&all[..], true), (&all[..2], true), (&all[1..], false), (&["snapshot"], false)] {
        let pins = Pins::of_keys(tempfile::tempdir().unwrap().path(), &keyring(names)).unwrap();
        let opened = Repository::open_pinned(folder.path(), &pins, None).map(drop);
        assert_eq!(opened.is_ok(), is_enough, "{names:?}: {opened:?}");
    }
}

#[test]
fn metadata_that_its_role_did_not_sign_is_refused() {
    let folder = made();
    let repository = Repository::open(folder.path()).unwrap();
    repository.delegate("acme", &spec(&["third"], 1), vec!["apps/*".to_owned()], &keyring(&NAMES), day(0)).unwrap();
    drop(repository);
    let pins = pins(folder.path());
    let repository = Repository::open_pinned(folder.path(), &pins, None).unwrap();
    let mut targets = repository.targets.signed.clone();
    targets.targets.insert("x".to_owned(), TargetFile::of(b"x", None));
    let mut acme = repository.delegated["acme"].signed.clone();
    acme.targets.insert("apps/x".to_owned(), TargetFile::of(b"x", None));
    let (mut snapshot, timestamp) = (repository.snapshot.signed.clone(), repository.timestamp.signed.clone());
    snapshot.expires = day(9999);
    drop(repository);
    let tampered = |name: &str, change: &dyn Fn(&Path)| {
        let copy = tempfile::tempdir().unwrap();
        file::copy_tree(folder.path(), copy.path()).unwrap();
        change(copy.path());
        let (file, why) = distrusted(copy.path(), &pins);
        assert_eq!(file, name);
        why
    };
    let by_root = "it is not signed by as many keys as `1.root.json` asks for";
    assert_eq!(tampered("2.targets.json", &|at| write(at, "2.targets.json", targets.clone(), &["third"])), by_root);
    assert_eq!(tampered("2.snapshot.json", &|at| write(at, "2.snapshot.json", snapshot.clone(), &[])), by_root);
    assert_eq!(
        tampered("timestamp.json", &|at| write(at, "timestamp.json", timestamp.clone(), &["snapshot"])),
        by_root
    );
    let by_targets = "it is not signed by as many keys as `targets` asks for";
    assert_eq!(tampered("1.acme.json", &|at| write(at, "1.acme.json", acme.clone(), &["targets"])), by_targets);
    let older = tampered("2.targets.json", &|at| {
        std::fs::copy(at.join(METADATA).join("1.targets.json"), at.join(METADATA).join("2.targets.json")).unwrap();
    });
    assert_eq!(older, "it should be version 2, but is: 1");
}

/// A rotation without a lost key that was killed before its root appeared.
#[test]
fn a_rotation_without_a_lost_key_that_was_killed_is_repeated() {
    let folder = made();
    let pins = pins(folder.path());
    let left = keyring(&["root", "second", "third", "targets", "timestamp"]);
    let rotate = |incoming: Option<&Incoming>| {
        let repository = Repository::open_pinned(folder.path(), &pins, incoming)?;
        let lost = vec![id_of("snapshot").0];
        let spec = repository.role_with(TopLevel::Snapshot, &["third".to_owned()], &lost, None, &left)?;
        repository.rotate(&BTreeMap::from([(TopLevel::Snapshot, spec)]), &lost, &left, day(1))
    };
    rotate(None).unwrap();
    std::fs::remove_file(folder.path().join(METADATA).join("2.root.json")).unwrap();
    assert_eq!(distrusted(folder.path(), &pins).0, "2.snapshot.json");
    let incoming = Incoming { role: TopLevel::Snapshot, keys: BTreeMap::from([id_of("third")]), threshold: None };
    assert_eq!(rotate(Some(&incoming)).unwrap(), 2);
    assert_eq!(follow(folder.path()).unwrap(), 2);
}
