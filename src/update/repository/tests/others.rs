//! What is delegated, withdrawn, or there in part.

use super::*;

#[test]
fn what_is_good_for_a_day_is_told_after_half_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let days = Days { timestamp: 1, ..Days::default() };
    init(folder.path(), &roles(), days, &keyring(&NAMES), day(0)).unwrap();
    let soon = |hours: u64| checked(folder.path(), Time::from_seconds(day(0).seconds() + hours * 3600)).unwrap().soon;
    assert_eq!(soon(11), [""; 0]);
    assert!(soon(13)[0].starts_with("timestamp expires in 0 days: "), "{:?}", soon(13));
}

#[test]
fn what_is_delegated_is_renewed_by_its_own_key_and_told_when_it_has_expired() {
    let folder = made();
    let repository = Repository::open(folder.path()).unwrap();
    repository.delegate("acme", &spec(&["third"], 1), vec!["apps/*".to_owned()], &keyring(&NAMES), day(0)).unwrap();
    drop(repository);
    let late = day(179);
    let refresh = |delegated: &[&str], names: &[&str], now: Time| {
        Repository::open(folder.path()).unwrap().refresh(delegated, &keyring(names), now)
    };
    let online = ["snapshot", "timestamp"];
    refresh(&[], &online, late).unwrap();
    let soon = checked(folder.path(), late).unwrap().soon;
    assert!(soon.iter().any(|line| line.starts_with("targets of acme expires in 1 days")), "{soon:?}");
    // The project's own would be refused first.
    let repository = Repository::open(folder.path()).unwrap();
    repository.replace_targets(repository.targets.signed.clone(), &keyring(&NAMES), day(181)).unwrap();
    drop(repository);
    let found = checked(folder.path(), day(181)).unwrap();
    assert!(found.soon.iter().any(|line| line.starts_with("targets of acme has expired: ")), "{found:?}");
    assert!(!found.lines.iter().any(|line| line.starts_with("targets of acme is good")), "{found:?}");
    assert!(
        matches!(refresh(&["acme"], &online, day(181)), Err(RepositoryError::Threshold { role, .. }) if role == "acme")
    );
    assert!(refresh(&["nobody"], &NAMES, day(181)).unwrap_err().to_string().contains("no delegated role `nobody`"));
    refresh(&["acme"], &NAMES, day(181)).unwrap();
    assert_eq!(checked(folder.path(), day(181)).unwrap().soon, [""; 0]);
}

#[test]
fn a_part_of_a_repository_is_not_taken_for_an_empty_folder() {
    let begin = |folder: &Path, names: &[&str; 2], now: Time| {
        let mut roles = roles();
        roles.insert(TopLevel::Root, spec(names, 2));
        init(folder, &roles, Days::default(), &keyring(&NAMES), now)
    };
    let folder = made();
    std::fs::remove_file(folder.path().join(METADATA).join("timestamp.json")).unwrap();
    let is_partly = |result: Result<Vec<u8>, RepositoryError>| matches!(result, Err(RepositoryError::Partly(_)));
    assert!(is_partly(begin(folder.path(), &["root", "third"], day(0))), "other keys");
    let bytes = file::read(&folder.path().join(METADATA).join("1.root.json"), 1 << 20).unwrap();
    for other in ["metadata/2.root.json", "metadata/7.snapshot.json", "targets/0123.x.payload"] {
        let other = folder.path().join(other);
        file::write_atomic(&other, &bytes, 0o644).unwrap();
        assert!(is_partly(begin(folder.path(), &["root", "second"], day(0))), "{}", other.display());
        std::fs::remove_file(other).unwrap();
    }
    // An init that was killed before its last file, later once more.
    begin(folder.path(), &["root", "second"], day(1)).unwrap();
    checked(folder.path(), day(1)).unwrap();
}

#[test]
fn what_is_withdrawn_no_device_finds_and_its_file_goes_when_nothing_names_it() {
    let (folder, scratch) = (made(), tempfile::tempdir().unwrap());
    publish(folder.path(), &payload(scratch.path(), "1.1.0", false), day(1));
    publish(folder.path(), &payload(scratch.path(), "1.2.0", false), day(1));
    let repository = Repository::open(folder.path()).unwrap();
    let name = "p-1.1.0-efefefef.full.payload".to_owned();
    let (keyring, names) = (keyring(&NAMES), || file::list(&folder.path().join(TARGETS)).unwrap());
    assert!(repository.withdraw(&["x".to_owned()], &keyring, day(2)).is_err());
    let files = repository.withdraw(std::slice::from_ref(&name), &keyring, day(2)).unwrap();
    drop(repository);
    let lines = checked(folder.path(), day(2)).unwrap().lines;
    assert!(!lines.iter().any(|line| line.starts_with(&name)), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("p-1.2.0-")), "{lines:?}");
    assert_eq!((files.len(), names().len()), (1, 2), "the files stay");
    Repository::open(folder.path()).unwrap().remove_files(&files).unwrap();
    assert!(names().len() == 1 && names()[0].ends_with(".p-1.2.0-efefefef.full.payload"), "{:?}", names());
    checked(folder.path(), day(2)).unwrap();
}
