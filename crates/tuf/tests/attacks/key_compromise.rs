//! Some keys were stolen, but not enough of them.

use crate::simulator::*;
use osbuild_tuf::metadata::{RoleKeys, TopLevel};
use osbuild_tuf::UpdateError;

fn of_three(repository: &mut Repository, role: TopLevel, seeds: [u8; 3], threshold: u32) {
    repository.root.roles.insert(role.name().to_owned(), RoleKeys::new(Vec::new(), threshold));
    for seed in seeds {
        repository.root.allow(role, id(seed), public(seed));
    }
}

#[test]
fn fewer_keys_than_the_threshold_are_worth_nothing() {
    let mut repository = Repository::new();
    repository.root.version = 2;
    of_three(&mut repository, TopLevel::Targets, [21, 22, 23], 2);
    repository.publish_root();
    for (seeds, enough) in [(vec![21], false), (vec![21, 66], false), (vec![21, 23], true), (vec![21, 22, 23], true)] {
        repository.signers.insert("targets", seeds.clone());
        repository.release();
        let refreshed = repository.refresh().map(|_| ());
        match enough {
            true => refreshed.expect("enough keys"),
            false => assert!(matches!(refreshed, Err(UpdateError::Untrusted { .. })), "{seeds:?}"),
        }
    }
}

#[test]
fn a_new_root_needs_the_keys_of_the_old_one_and_its_own() {
    let cases: [(&[u8], bool); 5] =
        [(&[1, 31, 32], true), (&[31, 32, 33], false), (&[1, 31], false), (&[1], false), (&[66, 31, 32], false)];
    for (seeds, enough) in cases {
        let mut repository = Repository::new();
        repository.root.version = 2;
        of_three(&mut repository, TopLevel::Root, [31, 32, 33], 2);
        repository.signers.insert("root", seeds.to_vec());
        repository.publish_root();
        assert_eq!(repository.refresh().is_ok(), enough, "{seeds:?}");
        assert_eq!(repository.trusted("root"), if enough { 2 } else { 1 }, "{seeds:?}");
    }
}

#[test]
fn a_key_that_was_taken_away_signs_no_more() {
    let mut repository = Repository::new();
    repository.refresh().expect("signed");
    repository.root.version = 2;
    repository.rotate(TopLevel::Targets, 14);
    repository.publish_root();
    repository.signers.insert("targets", vec![4]);
    repository.release();
    assert!(matches!(repository.refresh(), Err(UpdateError::Untrusted { .. })));
    repository.signers.insert("targets", vec![14]);
    repository.release();
    repository.refresh().expect("signed by the new key");
}

#[test]
fn the_key_of_one_role_is_none_of_another() {
    let mut repository = Repository::new();
    repository.signers.insert("snapshot", vec![2]);
    repository.release();
    assert!(matches!(repository.refresh(), Err(UpdateError::Untrusted { .. })));
}

#[test]
fn whoever_writes_to_the_store_cannot_put_a_root_there() {
    let repository = Repository::new();
    let given = repository.store.files()["root.json"].clone();
    let mut planted = repository.root.clone();
    planted.version = 2;
    planted.roles.insert("root".to_owned(), RoleKeys::new(Vec::new(), 1));
    planted.allow(TopLevel::Root, id(66), public(66));
    let bytes = sign(&planted, &[66]);
    for file in ["root.json", "root_history/2.root.json"] {
        repository.store.insert(file, bytes.clone());
    }
    let begin = || {
        let line = Line(repository.served.clone());
        osbuild_tuf::Updater::from_root(&given, repository.store.clone(), line, osbuild_tuf::Limits::default())
    };
    assert_eq!(begin().expect("the given root").root().version, 1);
    // The owner's next root is kept, and the way to it is known without the network after that.
    let mut next = repository.root.clone();
    next.version = 2;
    repository.serve("2.root.json", sign(&next, &[1]));
    begin().expect("the given root").refresh(time(NOW)).expect("signed");
    assert_eq!(begin().expect("the given root").root().version, 2);
}
