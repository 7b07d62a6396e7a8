//! Roots of apps, sound and hostile.

use super::step;
use crate::io::store::{Node, Store, TreeBuilder};
use crate::model::RelPath;
use crate::tree::{Problem, TreeError};
use serde_json::{json, Value};
use std::collections::BTreeMap;

/// Text of a file; `*` before it: executable; `-> x`: a symlink.
type Files<'a> = &'a [(&'a str, &'a str)];

/// The app `meter` of one package for this processor.
fn parameters(cpu: &str, metadata: Value) -> Value {
    let product = json!({
        "name": "gateway", "version": "1.2.3", "title": "Gateway", "machine": "qemu", "architecture": cpu,
        "console": "ttyS0", "hostname": "gate", "ntp_servers": [], "production": true, "features": {}, "variables": {},
        "update_channel": "stable", "support_until": "", "groups": {}, "users": {}, "services": {},
    });
    let package = json!({
        "name": "meter", "recipe": "meter", "version": "1", "license": "MIT", "origin": "m.yaml:9:5",
        "metadata": metadata,
    });
    json!({
        "id": "meter", "program": "/usr/bin/meter", "origin": "apps/meter/app.yaml:2:6",
        "root": { "packages": [package], "skeletons": [], "metadata": [], "product": product },
    })
}

/// An app of one package, with `metadata` about its files.
fn run(files: Files, metadata: Value) -> Result<BTreeMap<String, Vec<u8>>, TreeError> {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("a store");
    let mut inputs = TreeBuilder::new();
    for (at, text) in files {
        let node = match text.strip_prefix("-> ") {
            Some(target) => Node::Symlink { target: target.to_owned() },
            None => {
                let digest = store.put_bytes(text.trim_start_matches('*').as_bytes()).expect("kept");
                Node::File { digest, executable: text.starts_with('*') }
            }
        };
        inputs.insert(&RelPath::new(&format!("packages/meter/{at}")).expect("a path"), node).expect("inserted");
    }
    let inputs = inputs.finish(&store).expect("built");
    let parameters = parameters("x86_64", metadata);
    let outputs = step(&store, &inputs, &parameters.to_string())?;
    let read = |(path, node): (RelPath, Node)| {
        let Node::File { digest, .. } = node else { panic!("{path} is a file") };
        (path.to_string(), store.read(&digest, 1 << 30).expect("kept"))
    };
    Ok(outputs.into_iter().map(read).collect())
}

fn problems(files: Files, metadata: Value) -> Vec<String> {
    match run(files, metadata) {
        Err(TreeError::Problems(problems)) => problems.iter().map(Problem::to_string).collect(),
        Err(other) => panic!("{other}"),
        Ok(_) => Vec::new(),
    }
}

const PROGRAM: (&str, &str) = ("usr/bin/meter", "*program");

fn entry(mode: Value, xattrs: Value, device: Value) -> Value {
    json!([{ "path": "usr/bin/extra", "user": null, "group": null, "mode": mode, "xattrs": xattrs, "device": device,
        "origin": "m.yaml:12:7" }])
}

#[test]
fn all_in_a_root_is_roots_and_readable() {
    let metadata = json!([{ "path": "etc/secret", "user": "net", "group": "net", "mode": 0o600, "xattrs": {},
        "device": null, "origin": "m.yaml:12:7" }]);
    let files = [PROGRAM, ("etc/secret", "x"), ("etc/hosts", "127.0.0.1 localhost meter\n"), ("bin/extra", "*x")];
    let outputs = run(&files, metadata).expect("composed");
    let mut archive = tar::Archive::new(outputs["root.tar"].as_slice());
    let mut lines = Vec::new();
    for entry in archive.entries().expect("an archive") {
        let entry = entry.expect("an entry");
        let header = entry.header();
        assert_eq!((header.uid().expect("a number"), header.gid().expect("a number")), (0, 0));
        let path = entry.path().expect("a path").display().to_string();
        lines.push(format!("{:04o} {path}", header.mode().expect("a mode")));
    }
    let expected =
        "0755 ./ 0777 bin 0755 data/ 0755 dev/ 0755 etc/ 0644 etc/group 0644 etc/hosts 0644 etc/nsswitch.conf \
        0644 etc/passwd 0644 etc/resolv.conf 0644 etc/secret 0777 lib 0755 proc/ 0755 run/ 0755 run/app/ 0777 sbin \
        0755 tmp/ 0755 usr/ 0755 usr/bin/ 0755 usr/bin/extra 0755 usr/bin/meter 0755 usr/lib/ 0755 usr/sbin/ 0755 var/ \
        0777 var/run 0777 var/tmp";
    assert_eq!(lines.join(" "), expected);
}

/// Each hostile root by name, and what is said of it.
#[test]
fn hostile_roots_are_refused_and_both_sides_are_named() {
    let extra = ("usr/bin/extra", "*x");
    let (no, none) = (json!(null), json!({}));
    let device = json!({ "block": false, "major": 1, "minor": 1 });
    let table: &[(&str, Files, Value, &str)] = &[
        (
            "device node",
            &[PROGRAM],
            entry(no.clone(), none.clone(), device),
            "metadata of `/usr/bin/extra` (package `meter`, m.yaml:12:7): a device node, which app `meter` \
             (apps/meter/app.yaml:2:6) must not have\n  help: name the device in `devices` of the app's capabilities instead",
        ),
        (
            "setuid file",
            &[PROGRAM, extra],
            entry(json!(0o4755), none.clone(), no.clone()),
            "metadata of `/usr/bin/extra` (package `meter`, m.yaml:12:7): a set-id bit, which app `meter` \
             (apps/meter/app.yaml:2:6) must not have\n  help: an app has one user; leave the bit out",
        ),
        (
            "file capability",
            &[PROGRAM, extra],
            entry(no.clone(), json!({ "security.capability": "0100" }), no.clone()),
            "metadata of `/usr/bin/extra` (package `meter`, m.yaml:12:7): file capabilities, which app `meter` \
             (apps/meter/app.yaml:2:6) must not have\n  help: name what the app may do in its `capabilities` instead",
        ),
        (
            "escaping symlink",
            &[PROGRAM, ("usr/lib/out", "-> ../../../../proc/1/root")],
            json!([]),
            "symlink `/usr/lib/out` of package `meter` leads out of the root of app `meter` (apps/meter/app.yaml:2:6): \
             `../../../../proc/1/root`\n  help: let it lead to a file that the app brings",
        ),
        (
            "link that leads nowhere",
            &[PROGRAM, ("usr/lib/libx.so", "-> libx.so.1")],
            json!([]),
            "symlink `/usr/lib/libx.so` of package `meter` leads nowhere: `libx.so.1`",
        ),
        (
            "missing interpreter",
            &[PROGRAM, ("usr/bin/script", "*#!/usr/bin/python3\n")],
            json!([]),
            "`/usr/bin/script` of package `meter` needs an interpreter that is not in the image: `/usr/bin/python3`",
        ),
        (
            "no program",
            &[("usr/bin/metre", "*program")],
            json!([]),
            "app `meter` (apps/meter/app.yaml:2:6) starts a program that is not in it: `/usr/bin/meter`\n  help: did you \
             mean `/usr/bin/metre`?",
        ),
        (
            "a program that cannot be run",
            &[("usr/bin/meter", "program")],
            json!([]),
            "app `meter` (apps/meter/app.yaml:2:6) starts `/usr/bin/meter`, which is not a program\n  help: install it \
             with an executable mode",
        ),
    ];
    for (name, files, metadata, expected) in table {
        assert_eq!(problems(files, metadata.clone()), [*expected], "{name}");
    }
}

/// The program that runs this test needs the host's interpreter and libraries.
#[test]
fn a_missing_library_and_another_processor_are_errors() {
    #[allow(clippy::disallowed_methods)]
    let own = std::fs::read(std::env::current_exe().expect("a path")).expect("its own program");
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("a store");
    for (cpu, expected) in [("aarch64", "is built for another processor"), ("x86_64", "needs an interpreter")] {
        let digest = store.put_bytes(&own).expect("kept");
        let mut inputs = TreeBuilder::new();
        let place = RelPath::new("packages/meter/usr/bin/meter").expect("a path");
        inputs.insert(&place, Node::File { digest, executable: true }).expect("inserted");
        let inputs = inputs.finish(&store).expect("built");
        let parameters = parameters(cpu, json!([]));
        let Err(error) = step(&store, &inputs, &parameters.to_string()) else { panic!("{cpu}: it was composed") };
        assert!(error.to_string().contains(expected), "{cpu}: {error}");
    }
}
