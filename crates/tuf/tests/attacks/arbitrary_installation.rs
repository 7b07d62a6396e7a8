//! Someone on the line serves software of his own.

use crate::simulator::*;
use osbuild_tuf::UpdateError;

#[test]
fn other_bytes_under_the_name_of_a_target_are_refused() {
    let mut repository = Repository::new();
    let target = repository.add("app", b"good");
    repository.release();
    assert_eq!(repository.install("app").expect("signed").as_deref(), Some(&b"good"[..]));
    for evil in [&b"evil"[..], b"goo", b"good and more"] {
        repository.serve_target("app", &target, evil);
        assert!(matches!(repository.install("app"), Err(UpdateError::Mismatch { .. })), "{evil:?}");
    }
}

#[test]
fn metadata_that_a_stranger_signed_is_refused_for_every_role() {
    for role in ["root", "timestamp", "snapshot", "targets"] {
        let mut repository = Repository::new();
        repository.add("app", b"evil");
        repository.signers.insert(role, vec![66]);
        repository.root.version += 1;
        repository.publish_root();
        repository.release();
        let error = repository.install("app").expect_err(role);
        assert!(matches!(error, UpdateError::Untrusted { .. }), "{role}: {error}");
        assert_ne!(repository.trusted(role), 2, "{role}");
    }
}

#[test]
fn a_trusted_root_that_does_not_vouch_for_itself_is_refused() {
    let repository = Repository::new();
    let root = sign(&repository.root, &[66]);
    repository.store.insert("root.json", root);
    let line = Line(repository.served.clone());
    let client = osbuild_tuf::Updater::from_store(repository.store.clone(), line, osbuild_tuf::Limits::default());
    assert!(matches!(client, Err(UpdateError::Untrusted { .. })));
    assert!(repository.requests().is_empty());
}
