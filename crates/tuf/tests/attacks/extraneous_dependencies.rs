//! Whoever may speak for some targets names others, too, so that they are installed beside the good ones.

use crate::simulator::*;
use osbuild_tuf::metadata::{TargetFile, Targets};

#[test]
fn a_role_speaks_for_the_paths_that_were_delegated_to_it_only() {
    let mut repository = Repository::new();
    repository.delegate("apps", 5, &["apps/*"]);
    let mut apps = Targets::new(1, time(LATER));
    for path in ["apps/clock", "system/kernel", "apps/deep/down"] {
        let target = TargetFile::of(path.as_bytes(), None);
        repository.serve_target(path, &target, path.as_bytes());
        apps.targets.insert(path.to_owned(), target);
    }
    repository.publish_role("apps", &apps, &[5]);
    repository.release();
    assert_eq!(repository.install("apps/clock").expect("signed").as_deref(), Some(&b"apps/clock"[..]));
    assert_eq!(repository.install("system/kernel").expect("signed"), None);
    assert_eq!(repository.install("apps/deep/down").expect("signed"), None);
}
