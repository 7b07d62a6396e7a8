//! A server answers so slowly that nothing ever arrives. The line gives up (see `osbuild-http`); here is what follows of that.

use crate::simulator::*;
use osbuild_tuf::{FetchError, UpdateError};

#[test]
fn a_line_that_gave_up_says_why_and_takes_nothing_away() {
    let mut repository = Repository::new();
    repository.refresh().expect("signed");
    let kept = repository.store.files();
    repository.add("app", b"good");
    repository.release();
    repository.served.borrow_mut().broken = Some("the server is too slow");
    let error = repository.install("app").expect_err("given up");
    let UpdateError::Fetch { source: FetchError::Failed(reason), .. } = error else { panic!("{error}") };
    assert_eq!(reason.to_string(), "the server is too slow");
    // A root that could not be fetched is not one that does not exist: nothing else is asked for.
    assert_eq!(repository.requests(), ["2.root.json"]);
    assert_eq!(repository.store.files(), kept);
    repository.served.borrow_mut().broken = None;
    assert_eq!(repository.install("app").expect("signed").as_deref(), Some(&b"good"[..]));
}
