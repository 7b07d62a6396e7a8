//! A mirror withholds what there is.

use crate::simulator::*;
use osbuild_tuf::{FetchError, UpdateError};

#[test]
fn what_a_mirror_withholds_is_an_error_and_another_mirror_still_serves_it() {
    for withheld in ["timestamp.json", "2.snapshot.json", "2.targets.json"] {
        let mut repository = Repository::new();
        repository.refresh().expect("signed");
        repository.add("app", b"good");
        repository.release();
        let bytes = repository.served.borrow_mut().metadata.remove(withheld).expect("there");
        let error = repository.install("app").expect_err(withheld);
        assert!(matches!(error, UpdateError::Fetch { source: FetchError::Missing, .. }), "{withheld}: {error}");
        repository.serve(withheld, bytes);
        assert_eq!(repository.install("app").expect("signed").as_deref(), Some(&b"good"[..]), "{withheld}");
    }
}

#[test]
fn a_mirror_that_gives_no_roots_still_cannot_serve_what_they_took_away() {
    let mut repository = Repository::new();
    repository.root.version = 2;
    repository.root.expires = time("2026-12-01T00:00:00Z");
    repository.publish_root();
    repository.refresh().expect("signed");
    repository.root.version = 3;
    repository.publish_root();
    repository.served.borrow_mut().metadata.remove("3.root.json");
    repository.refresh().expect("the second root is still good");
    assert!(matches!(repository.refresh_at("2026-12-01T00:00:00Z"), Err(UpdateError::Expired { .. })));
}
