//! Targets that others say are there.

use super::*;

#[test]
fn targets_are_delegated_to_others() {
    let folder = made();
    let delegate = |name: &str| {
        let repository = Repository::open(folder.path()).unwrap();
        repository.delegate(name, &spec(&["third"], 1), vec!["apps/*".to_owned()], &keyring(&NAMES), day(1))
    };
    delegate("acme").unwrap();
    let found = checked(folder.path(), day(1)).unwrap();
    assert!(found.lines.iter().any(|line| line.starts_with("targets of acme is good until")), "{found:?}");
    for (name, wanted) in [("acme", "already"), ("root", "no name"), ("../x", "no name")] {
        assert!(delegate(name).unwrap_err().to_string().contains(wanted), "{name}");
    }
}

/// The next version of what `acme` says, by its own key, as its own tool would write it; and a snapshot that names it.
fn publish_as_acme(folder: &Path, name: &str, bytes: &[u8]) {
    let repository = Repository::open(folder).unwrap();
    let mut targets = repository.delegated["acme"].signed.clone();
    targets.version += 1;
    let target = TargetFile::of(bytes, None);
    file::write_atomic(&repository.target_path(name, &target.hashes["sha256"]), bytes, 0o644).unwrap();
    targets.targets.insert(name.to_owned(), target);
    let file = format!("{}.acme.json", targets.version);
    let mut signed = Signed::new(targets).unwrap();
    let signer = Signer::of_ed25519("third", key("third"));
    let id = Key::ed25519(key("third").verifying_key().as_bytes()).id().unwrap();
    signed.attach(&id, &signer.sign("it", signed.message()).unwrap());
    file::write_atomic(&folder.join(METADATA).join(file), &signed.to_json().unwrap(), 0o644).unwrap();
    let mut batch = super::write::Batch::default();
    let (root, next) = (&repository.root.signed, repository.next(&["acme"]));
    super::change::finish(&mut batch, &[root], next, Days::default(), &keyring(&NAMES), day(1)).unwrap();
    batch.commit(folder).unwrap();
}

fn with_a_target_of_acme() -> tempfile::TempDir {
    let folder = made();
    let repository = Repository::open(folder.path()).unwrap();
    repository.delegate("acme", &spec(&["third"], 1), vec!["apps-*".to_owned()], &keyring(&NAMES), day(1)).unwrap();
    drop(repository);
    publish_as_acme(folder.path(), "apps-meter.app", b"no payload");
    folder
}

#[test]
fn what_is_delegated_may_be_anything_but_has_to_be_found_and_whole() {
    let folder = with_a_target_of_acme();
    let found = checked(folder.path(), day(1)).unwrap();
    assert!(found.lines.contains(&"apps-meter.app of acme, 10 bytes".to_owned()), "{found:?}");
    // In the project's own metadata it would be one that no device can take.
    let repository = Repository::open(folder.path()).unwrap();
    let mut targets = repository.targets.signed.clone();
    targets.targets.extend(repository.delegated["acme"].signed.targets.clone());
    repository.replace_targets(targets, &keyring(&NAMES), day(1)).unwrap();
    drop(repository);
    let error = checked(folder.path(), day(1)).unwrap_err().to_string();
    assert!(error.starts_with("target `apps-meter.app`: "), "{error}");
}

#[test]
fn a_delegation_ends_and_may_begin_anew() {
    let folder = made();
    let by = keyring(&NAMES);
    let open = || Repository::open(folder.path()).unwrap();
    let delegate = |key: &str| open().delegate("acme", &spec(&[key], 1), vec!["apps/*".to_owned()], &by, day(1));
    delegate("third").unwrap();
    assert!(open().end_delegation("other", &by, day(1)).unwrap_err().to_string().contains("no delegated role"));
    open().end_delegation("acme", &by, day(1)).unwrap();
    let ended = open();
    assert_eq!((&ended.targets.signed.delegations, ended.delegated.len()), (&None, 0));
    drop(ended);
    checked(folder.path(), day(1)).unwrap();
    delegate("second").unwrap();
    assert_eq!(open().delegated["acme"].signed.version, 2, "clients know the first");
    checked(folder.path(), day(1)).unwrap();
}

#[test]
fn what_a_device_does_not_find_or_finds_damaged_is_told_whoever_published_it() {
    let folder = with_a_target_of_acme();
    let whole = tempfile::tempdir().unwrap();
    file::copy_tree(folder.path(), whole.path()).unwrap();
    for name in file::list(&folder.path().join(TARGETS)).unwrap() {
        file::write_atomic(&folder.path().join(TARGETS).join(name), b"changed it", 0o644).unwrap();
    }
    assert!(matches!(checked(folder.path(), day(1)), Err(RepositoryError::Client(_))));
    publish_as_acme(whole.path(), "meter.app", b"beside its paths");
    let error = checked(whole.path(), day(1)).unwrap_err().to_string();
    assert_eq!(error, "a device does not find target `meter.app`");
}
