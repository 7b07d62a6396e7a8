//! A stolen key signs a version so high that the owner never reaches it again.

use crate::simulator::*;
use osbuild_tuf::metadata::TopLevel;
use osbuild_tuf::UpdateError;

const FAR: u64 = 1 << 40;

/// The thief had the keys of timestamp and snapshot.
fn fast_forwarded() -> Repository {
    let mut repository = Repository::new();
    repository.targets.version = FAR;
    repository.snapshot.version = FAR;
    repository.timestamp.version = FAR;
    repository.publish_all();
    repository.refresh().expect("signed");
    repository.targets.version = 2;
    repository.snapshot.version = 2;
    repository.timestamp.version = 2;
    repository
}

#[test]
fn new_keys_bring_the_old_versions_back() {
    for rotated in [&[TopLevel::Timestamp, TopLevel::Snapshot][..], &[TopLevel::Timestamp], &[TopLevel::Snapshot]] {
        let mut repository = fast_forwarded();
        repository.root.version = 2;
        for (seed, role) in (12..).zip(rotated) {
            repository.rotate(*role, seed);
        }
        repository.publish_root();
        repository.publish_all();
        repository.refresh().expect("signed");
        for role in ["timestamp", "snapshot", "targets"] {
            assert_eq!(repository.trusted(role), 2, "{rotated:?} {role}");
        }
    }
}

#[test]
fn without_new_keys_nothing_goes_back() {
    let mut repository = fast_forwarded();
    repository.root.version = 2;
    repository.root.allow(TopLevel::Timestamp, id(12), public(12));
    repository.publish_root();
    repository.publish_all();
    assert!(matches!(repository.refresh(), Err(UpdateError::Rollback { trusted: FAR, found: 2, .. })));
}

#[test]
fn the_highest_version_of_a_root_is_the_end_and_no_overflow() {
    let mut repository = Repository::new();
    repository.root.version = u64::MAX;
    let root = sign(&repository.root, &[1]);
    repository.store.insert("root.json", root.clone());
    repository.serve(&format!("{}.root.json", u64::MAX), root);
    assert_eq!(repository.refresh().map(|client| client.root().version).ok(), Some(u64::MAX));
    assert_eq!(repository.requests()[0], "timestamp.json");
}
