//! Older files are served again, with their flaws.

use crate::simulator::*;
use osbuild_tuf::UpdateError;

/// Version 3 of everything, which a client has seen.
fn seen() -> Repository {
    let mut repository = Repository::new();
    repository.release();
    repository.release();
    repository.refresh().expect("signed");
    repository
}

type Change = fn(&mut Repository);

#[test]
fn nothing_goes_back() {
    let back: [(&str, Change); 3] = [
        ("timestamp.json", |repository| repository.timestamp.version = 1),
        ("snapshot.json", |repository| (repository.timestamp.version, repository.snapshot.version) = (4, 2)),
        ("targets.json", |repository| {
            (repository.timestamp.version, repository.snapshot.version, repository.targets.version) = (4, 4, 2);
        }),
    ];
    for (wanted, go_back) in back {
        let mut repository = seen();
        go_back(&mut repository);
        repository.publish_all();
        let error = repository.refresh().err().expect(wanted);
        assert!(matches!(&error, UpdateError::Rollback { file, .. } if file == wanted), "{wanted}: {error}");
        for role in ["timestamp", "snapshot", "targets"] {
            assert!(repository.trusted(role) >= 3, "{wanted} {role}");
        }
    }
}

#[test]
fn a_role_does_not_vanish_from_the_snapshot() {
    let mut repository = Repository::new();
    repository.delegate("apps", 5, &["apps/*"]);
    repository.publish_role("apps", &osbuild_tuf::metadata::Targets::new(1, time(LATER)), &[5]);
    repository.release();
    repository.refresh().expect("signed");
    repository.snapshot.meta.remove("apps.json");
    repository.release();
    assert!(matches!(repository.refresh(), Err(UpdateError::Removed(name)) if name == "apps.json"));
}

#[test]
fn a_root_is_exactly_one_version_later() {
    for version in [1, 3, 200] {
        let mut repository = Repository::new();
        repository.root.version = version;
        repository.serve("2.root.json", sign(&repository.root, &[1]));
        let error = repository.refresh().err().expect("refused");
        assert!(matches!(error, UpdateError::Version { wanted: 2, .. }), "{version}: {error}");
        assert_eq!(repository.trusted("root"), 1);
    }
}

#[test]
fn a_timestamp_of_the_same_version_changes_nothing() {
    let mut repository = seen();
    repository.snapshot.version = 9;
    repository.publish_snapshot();
    repository.publish_timestamp();
    repository.refresh().expect("the old one is still good");
    assert_eq!((repository.trusted("timestamp"), repository.trusted("snapshot")), (3, 3));
    assert_eq!(repository.requests(), ["2.root.json", "timestamp.json"]);
}

#[test]
fn damaged_files_in_the_store_are_fetched_again() {
    let repository = seen();
    for role in ["timestamp", "snapshot", "targets"] {
        repository.store.insert(&format!("{role}.json"), b"{".to_vec());
        repository.refresh().expect("fetched again");
        assert_eq!(repository.trusted(role), 3);
    }
}
