//! Files that never were in the repository together are served together.

use crate::simulator::*;
use osbuild_tuf::{MemoryStore, UpdateError};

/// Serves `old` under the name of `new`.
fn replace(repository: &Repository, new: &str, old: &str) {
    let bytes = repository.served.borrow().metadata[old].clone();
    repository.serve(new, bytes);
}

#[test]
fn a_file_of_another_moment_is_refused() {
    for role in ["snapshot", "targets"] {
        let mut repository = Repository::new();
        repository.release();
        replace(&repository, &format!("2.{role}.json"), &format!("1.{role}.json"));
        let error = repository.refresh().err().expect(role);
        assert!(matches!(error, UpdateError::Mismatch { .. }), "{role}: {error}");
    }
}

#[test]
fn a_file_of_another_moment_is_refused_without_digests_too() {
    for role in ["snapshot", "targets"] {
        let mut repository = Repository::new();
        repository.targets.version = 2;
        repository.publish_targets();
        for file in repository.snapshot.meta.values_mut() {
            (file.length, file.hashes) = (None, None);
        }
        repository.snapshot.version = 2;
        repository.publish_snapshot();
        for file in repository.timestamp.meta.values_mut() {
            (file.length, file.hashes) = (None, None);
        }
        repository.timestamp.version = 2;
        repository.publish_timestamp();
        repository.refresh().expect("signed");
        let root = repository.store.files()["root.json"].clone();
        repository.store = MemoryStore::default();
        repository.store.insert("root.json", root);
        replace(&repository, &format!("2.{role}.json"), &format!("1.{role}.json"));
        let error = repository.refresh().err().expect(role);
        assert!(matches!(error, UpdateError::Version { wanted: 2, found: 1, .. }), "{role}: {error}");
    }
}

#[test]
fn a_snapshot_in_place_of_a_timestamp_is_refused_even_if_one_key_signs_both() {
    let mut repository = Repository::new();
    repository.root.version = 2;
    repository.root.allow(osbuild_tuf::metadata::TopLevel::Timestamp, id(3), public(3));
    repository.publish_root();
    replace(&repository, "timestamp.json", "1.snapshot.json");
    let error = repository.refresh().err().expect("refused");
    assert!(matches!(error, UpdateError::Metadata { .. }), "{error}");
}

#[test]
fn a_delegated_role_that_the_snapshot_does_not_name_is_not_even_fetched() {
    let mut repository = Repository::new();
    repository.delegate("apps", 5, &["*"]);
    repository.publish_role("apps", &osbuild_tuf::metadata::Targets::new(1, time(LATER)), &[5]);
    repository.snapshot.meta.remove("apps.json");
    repository.release();
    let error = repository.install("app").expect_err("refused");
    assert!(matches!(error, UpdateError::NotInSnapshot(_)), "{error}");
    assert_eq!(repository.requests(), ["2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"]);
}
