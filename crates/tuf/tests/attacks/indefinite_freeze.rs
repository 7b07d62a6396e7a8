//! A server serves the same old files for ever, so that nobody hears of a fix.

use crate::simulator::*;
use osbuild_tuf::UpdateError;

/// Sets when a role's file expires.
type Expire = fn(&mut Repository, osbuild_tuf::Time);

#[test]
fn each_file_expires() {
    let soon = "2026-07-01T00:00:00Z";
    let expiring: [(&str, Expire); 4] = [
        ("root", |repository, at| repository.root.expires = at),
        ("timestamp", |repository, at| repository.timestamp.expires = at),
        ("snapshot", |repository, at| repository.snapshot.expires = at),
        ("targets", |repository, at| repository.targets.expires = at),
    ];
    for (role, set) in expiring {
        let mut repository = Repository::new();
        set(&mut repository, time(soon));
        repository.root.version += 1;
        repository.publish_root();
        repository.release();
        assert_eq!(repository.refresh().expect(role).expires(), Some(time(soon)), "{role}");
        repository.refresh_at("2026-06-30T23:59:59Z").expect(role);
        // At that very second it is over; what was kept before does not help.
        let error = repository.refresh_at(soon).err().expect(role);
        assert!(matches!(&error, UpdateError::Expired { file, .. } if file.contains(role)), "{role}: {error}");
    }
}

#[test]
fn an_expired_file_does_not_take_the_place_of_the_one_before_it() {
    let mut repository = Repository::new();
    repository.refresh().expect("signed");
    repository.timestamp.expires = time("2026-05-01T00:00:00Z");
    repository.release();
    assert!(matches!(repository.refresh(), Err(UpdateError::Expired { .. })));
    assert_eq!(repository.trusted("timestamp"), 1);
}

#[test]
fn an_expired_root_on_the_way_to_a_newer_one_is_no_obstacle() {
    let mut repository = Repository::new();
    repository.root.version = 2;
    repository.root.expires = time("2026-05-01T00:00:00Z");
    repository.publish_root();
    repository.root.version = 3;
    repository.root.expires = time(LATER);
    repository.publish_root();
    repository.refresh().expect("signed");
    assert_eq!(repository.trusted("root"), 3);
}
