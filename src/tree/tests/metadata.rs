//! Owners, modes, attributes and device nodes, and authors who disagree about them.

use super::{listing, Fixture};
use serde_json::{json, Value};

#[test]
fn metadata_sets_owners_modes_xattrs_and_devices() {
    let mut fixture = Fixture::new();
    fixture.parameters["packages"][1]["metadata"] = json!([
        { "path": "bin/web", "user": "net", "group": "net", "mode": 0o4750, "xattrs": {"security.capability": "0100ff"},
          "device": null, "origin": "w:1:1" },
        { "path": "dev/lp0", "user": null, "group": null, "mode": 0o660, "xattrs": {},
          "device": {"block": false, "major": 6, "minor": 0}, "origin": "w:2:1" },
    ]);
    let lines = listing(&fixture.run().expect("composed")["root.tar"]);
    assert!(lines.contains(&"4750 100:100 usr/bin/webSCHILY.xattr.security.capability".to_owned()), "{lines:#?}");
    assert!(lines.contains(&"0660 0:0 dev/lp0".to_owned()));
}

/// One entry, of `mode` and `user` where they are not null.
fn entry(path: &str, mode: Value, user: Value, origin: &str) -> Value {
    json!({ "path": path, "user": user, "group": null, "mode": mode, "device": null, "origin": origin })
}

#[test]
fn a_skeleton_replaces_a_file_and_the_metadata_of_its_package_stays() {
    let mut fixture = Fixture::new();
    fixture.skeleton(&[("etc/web/conf", "mine")]);
    fixture.parameters["packages"][1]["metadata"] = json!([entry("etc/web/conf", json!(0o600), json!("net"), "w:1:1")]);
    let lines = listing(&fixture.run().expect("composed")["root.tar"]);
    assert!(lines.contains(&"0600 100:0 etc/web/conf".to_owned()), "{lines:#?}");
}

#[test]
fn each_of_two_packages_with_the_same_file_may_say_whose_it_is() {
    let mut fixture = Fixture::new();
    fixture.package("other", &[("etc/web/conf", "x")]);
    for package in [1, 2] {
        let said = json!([entry("etc/web/conf", json!(0o640), Value::Null, "p:1:1")]);
        fixture.parameters["packages"][package]["metadata"] = said;
    }
    let lines = listing(&fixture.run().expect("composed")["root.tar"]);
    assert!(lines.contains(&"0640 0:0 etc/web/conf".to_owned()), "{lines:#?}");
}

#[test]
fn two_packages_that_disagree_about_a_folder_are_both_named_unless_the_product_decides() {
    let mut fixture = Fixture::new();
    fixture.package("other", &[("etc/web/other", "x")]);
    fixture.parameters["packages"][1]["metadata"] = json!([entry("etc/web", json!(0o700), json!("net"), "w:1:1")]);
    fixture.parameters["packages"][2]["metadata"] = json!([entry("etc/web", json!(0o750), json!("root"), "o:2:1")]);
    let (first, second) = ("package `web`, w:1:1", "package `other`, o:2:1");
    let expected = |what: &str| {
        format!("metadata of `/etc/web` ({second}) and metadata of `/etc/web` ({first}) disagree on its {what}")
    };
    let problems = fixture.problems();
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].starts_with(&expected("mode: 0750 and 0700")), "{problems:#?}");
    assert!(problems[1].starts_with(&expected("user: `root` and `net`")), "{problems:#?}");

    fixture.parameters["metadata"] = json!([entry("etc/web", json!(0o710), json!("net"), "p:3:1")]);
    let lines = listing(&fixture.run().expect("composed")["root.tar"]);
    assert!(lines.contains(&"0710 100:0 etc/web/".to_owned()), "{lines:#?}");

    fixture.parameters["metadata"].as_array_mut().expect("a list").push(entry(
        "etc/web",
        json!(0o711),
        Value::Null,
        "p:4:1",
    ));
    let problems = fixture.problems();
    assert!(
        problems[0].contains("(the product, p:3:1)") && problems[0].contains("(the product, p:4:1)"),
        "{problems:#?}"
    );
}
