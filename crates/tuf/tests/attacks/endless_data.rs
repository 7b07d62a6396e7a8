//! A server sends more than there is, to fill memory or disk.

use crate::simulator::*;
use osbuild_tuf::{FetchError, UpdateError};

#[test]
fn metadata_ends_at_the_limit_of_its_role() {
    for (name, limit) in [("2.root.json", 512_000), ("timestamp.json", 16_384)] {
        let repository = Repository::new();
        repository.serve(name, vec![b' '; limit + 1]);
        let error = repository.refresh().err().expect(name);
        assert!(matches!(error, UpdateError::Fetch { source: FetchError::TooLong(_), .. }), "{name}: {error}");
    }
}

#[test]
fn metadata_whose_length_was_signed_ends_there() {
    for name in ["1.snapshot.json", "1.targets.json"] {
        let repository = Repository::new();
        let mut bytes = repository.served.borrow().metadata[name].clone();
        bytes.push(b' ');
        repository.serve(name, bytes);
        let error = repository.refresh().err().expect(name);
        assert!(matches!(error, UpdateError::Fetch { source: FetchError::TooLong(_), .. }), "{name}: {error}");
    }
}

#[test]
fn a_target_ends_at_its_length() {
    let mut repository = Repository::new();
    let target = repository.add("app", b"good");
    repository.release();
    repository.serve_target("app", &target, &b"good".repeat(1 << 20));
    let mut client = repository.refresh().expect("signed");
    let mut got = Vec::new();
    client.download("app", &target, &mut got).expect_err("too long");
    assert!(got.len() <= 1000, "{}", got.len());
}

#[test]
fn new_roots_and_delegations_end_somewhere() {
    let mut repository = Repository::new();
    for version in 2..=300 {
        repository.root.version = version;
        repository.publish_root();
    }
    assert_eq!(repository.refresh().expect("signed").root().version, 257);
    let names: Vec<String> = (0..100).map(|number| format!("role{number}")).collect();
    for name in &names {
        repository.delegate(name, 5, &["*"]);
        repository.publish_role(name, &osbuild_tuf::metadata::Targets::new(1, time(LATER)), &[5]);
    }
    repository.release();
    assert_eq!(repository.install("app").expect("signed"), None);
    assert_eq!(repository.requests().iter().filter(|name| name.contains("role")).count(), 32);
}
