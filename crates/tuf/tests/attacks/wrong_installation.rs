//! The software that is served is good, but not the one that was asked for.

use crate::simulator::*;
use osbuild_tuf::metadata::{TargetFile, Targets};
use osbuild_tuf::UpdateError;

#[test]
fn a_good_target_under_the_name_of_another_is_refused() {
    let mut repository = Repository::new();
    let clock = repository.add("clock", b"the clock");
    repository.add("radio", b"the radio");
    repository.release();
    repository.serve_target("clock", &clock, b"the radio");
    assert!(matches!(repository.install("clock"), Err(UpdateError::Mismatch { .. })));
    assert_eq!(repository.install("radio").expect("signed").as_deref(), Some(&b"the radio"[..]));
}

#[test]
fn the_first_role_that_knows_a_target_speaks_for_it() {
    let mut repository = Repository::new();
    for (name, seed) in [("first", 5), ("second", 6)] {
        repository.delegate(name, seed, &["*"]);
        let mut role = Targets::new(1, time(LATER));
        let target = TargetFile::of(name.as_bytes(), None);
        repository.serve_target("app", &target, name.as_bytes());
        role.targets.insert("app".to_owned(), target);
        repository.publish_role(name, &role, &[seed]);
    }
    repository.release();
    assert_eq!(repository.install("app").expect("signed").as_deref(), Some(&b"first"[..]));
    // A terminating role that does not know a target is the last one that is asked.
    let delegations = repository.targets.delegations.as_mut().expect("there");
    delegations.roles[0].terminating = true;
    let mut second = Targets::new(2, time(LATER));
    second.targets.insert("other".to_owned(), TargetFile::of(b"other", None));
    repository.publish_role("second", &second, &[6]);
    repository.release();
    assert_eq!(repository.install("other").expect("signed"), None);
}

#[test]
fn a_role_that_one_delegator_trusts_is_not_trusted_by_another() {
    let mut repository = Repository::new();
    for (parent, seed, child) in [("one", 5, 7), ("two", 6, 8)] {
        let path = format!("{parent}/*");
        repository.delegate(parent, seed, &[&path]);
        // Both delegate to `shared`, each to a key of its own.
        let mut delegating = Repository::new();
        delegating.targets.delegations = None;
        delegating.delegate("shared", child, &[&path]);
        let role = delegating.targets.clone();
        repository.publish_role(parent, &role, &[seed]);
    }
    let mut shared = Targets::new(1, time(LATER));
    for path in ["one/app", "two/app"] {
        let target = TargetFile::of(path.as_bytes(), None);
        repository.serve_target(path, &target, path.as_bytes());
        shared.targets.insert(path.to_owned(), target);
    }
    repository.publish_role("shared", &shared, &[7]);
    repository.release();
    let mut client = repository.refresh().expect("signed");
    assert!(client.target("one/app").expect("signed").is_some());
    assert!(matches!(client.target("two/app"), Err(UpdateError::Untrusted { delegator, .. }) if delegator == "two"));
}

#[test]
fn a_terminating_role_ends_the_search_of_those_above_it_too() {
    for terminating in [false, true] {
        let mut repository = Repository::new();
        repository.delegate("first", 5, &["*"]);
        repository.delegate("second", 6, &["*"]);
        // What `first` says: ask `inner`.
        let mut first = Repository::new();
        first.delegate("inner", 7, &["*"]);
        first.targets.delegations.as_mut().expect("there").roles[0].terminating = terminating;
        repository.publish_role("first", &first.targets, &[5]);
        repository.publish_role("inner", &Targets::new(1, time(LATER)), &[7]);
        let mut second = Targets::new(1, time(LATER));
        let target = TargetFile::of(b"second", None);
        repository.serve_target("app", &target, b"second");
        second.targets.insert("app".to_owned(), target);
        repository.publish_role("second", &second, &[6]);
        repository.release();
        assert_eq!(repository.install("app").expect("signed").is_none(), terminating);
    }
}
