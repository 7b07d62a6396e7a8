//! Hosts that lack something: user namespaces, a home folder, room for names.

use crate::command::in_namespace;
use crate::tiny::Tiny;

#[test]
fn a_host_without_user_namespaces_is_told_what_to_switch_on() {
    let tiny = Tiny::new();
    tiny.script("one", &[], "mkdir -p $DESTDIR/usr\necho 1 > $DESTDIR/usr/made");
    // In a namespace of our own, root may take the right to make more of them from everybody.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces\nexec \"$OSBUILD\" build one";
    let ended = in_namespace(&tiny.project, script).fails_with(&[
        "this machine does not let",
        "user.max_user_namespaces is 0",
        "ask an administrator to run `sysctl -w user.max_user_namespaces=",
    ]);
    assert!(!ended.errors.contains("free some space"), "{}", ended.errors);
    assert!(!ended.errors.contains("osbuild shell"), "a shell cannot be made either: {}", ended.errors);
    tiny.osbuild(&["build", "one"]).succeeds();
}

#[test]
fn a_host_without_a_home_is_asked_for_a_cache() {
    let tiny = Tiny::new();
    let script = "unset OSBUILD_CACHE XDG_CACHE_HOME HOME\nexec \"$OSBUILD\" plan";
    in_namespace(&tiny.project, script).fails_with(&["no place for the cache", "OSBUILD_CACHE"]);
}
