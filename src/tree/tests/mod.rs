mod metadata;
mod programs;

use super::packages::{split, Definition, Parameters as SplitParameters};
use super::parameters::Parameters;
use super::{rootfs, size, Problem, TreeError};
use crate::io::store::{Node, Store, TreeBuilder};
use crate::model::{Digest, RelPath};
use proptest::prelude::*;
use serde_json::{json, Value};
use std::collections::BTreeMap;

/// Text of a file; `*` before it: executable; `-> x`: a symlink; `/`: an empty folder.
type Files<'a> = &'a [(&'a str, &'a str)];

fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a valid path")
}

fn tree(store: &Store, files: Files) -> Digest {
    let mut builder = TreeBuilder::new();
    for (at, text) in files {
        let at = path(at);
        if *text == "/" {
            builder.insert_folder(&at).expect("a folder");
            continue;
        }
        let node = match text.strip_prefix("-> ") {
            Some(target) => Node::Symlink { target: target.to_owned() },
            None => {
                let content = text.strip_prefix('*').unwrap_or(text);
                let digest = store.put_bytes(content.as_bytes()).expect("kept");
                Node::File { digest, executable: text.starts_with('*') }
            }
        };
        builder.insert(&at, node).expect("inserted");
    }
    builder.finish(store).expect("built")
}

/// An input of the step, small and right; tests break one thing in it.
struct Fixture {
    packages: Vec<(String, Vec<(String, String)>)>,
    skeletons: Vec<Vec<(String, String)>>,
    parameters: Value,
}

fn owned(files: Files) -> Vec<(String, String)> {
    files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect()
}

impl Fixture {
    fn new() -> Fixture {
        let product = json!({
            "name": "gateway", "version": "1.2.3", "title": "Gateway", "machine": "qemu", "architecture": "x86_64",
            "console": "ttyS0,115200", "hostname": "gate", "ntp_servers": ["pool.example"], "production": true,
            "features": {"ssh": false}, "variables": {"greeting": "hello"}, "update_channel": "stable",
            "support_until": "2031-12-31", "groups": {"net": {"gid": 100}},
            "users": {"net": {"uid": 100, "group": "net", "home": "/nonexistent", "shell": null, "ssh_keys": []}},
            "services": {"web": {
                "argv": ["/usr/bin/web"], "user": "net", "group": "net", "env": {}, "after": [], "restart": "always",
                "stop_timeout_seconds": 5, "terminal": null, "critical": true, "origin": "p.yaml:9:3",
            }},
        });
        let mut fixture = Fixture {
            packages: Vec::new(),
            skeletons: Vec::new(),
            parameters: json!({ "packages": [], "skeletons": [], "metadata": [], "product": product }),
        };
        fixture.package("osagent", &[("usr/bin/osagent", "*agent")]);
        fixture.package(
            "web",
            &[
                ("bin/web", "*web"),
                ("etc/web/conf", "x"),
                ("lib/libweb.so", "-> libweb.so.1"),
                ("lib/libweb.so.1", "so"),
            ],
        );
        fixture.skeleton(&[("etc/motd.tera", "{{ vars.greeting }} from {{ product }}\n")]);
        fixture
    }

    fn package(&mut self, name: &str, files: Files) {
        self.packages.push((name.to_owned(), owned(files)));
        let list = self.parameters["packages"].as_array_mut().expect("a list");
        list.push(json!({
            "name": name, "recipe": name, "version": "1", "license": "MIT", "origin": format!("{name}.yaml:1:1"),
            "run_depends": [], "metadata": [],
        }));
    }

    fn skeleton(&mut self, files: Files) {
        let index = self.skeletons.len();
        self.skeletons.push(owned(files));
        let list = self.parameters["skeletons"].as_array_mut().expect("a list");
        list.push(json!({ "input": format!("skeletons/{index}"), "path": format!("rootfs/{index}") }));
    }

    fn inputs(&self, store: &Store) -> Digest {
        let mut inputs = TreeBuilder::new();
        let mut add = |at: &str, files: &[(String, String)]| {
            let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
            inputs.insert_tree(Some(&path(at)), tree(store, &files)).expect("inserted");
        };
        for (name, files) in &self.packages {
            add(&format!("packages/{name}"), files);
        }
        for (index, files) in self.skeletons.iter().enumerate() {
            add(&format!("skeletons/{index}"), files);
        }
        inputs.finish(store).expect("built")
    }

    fn run(&self) -> Result<BTreeMap<String, Vec<u8>>, TreeError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(folder.path()).expect("a store");
        let outputs = rootfs::step(&store, &self.inputs(&store), &self.parameters.to_string())?;
        let read = |(path, node): (RelPath, Node)| {
            let Node::File { digest, .. } = node else { panic!("{path} is a file") };
            (path.to_string(), store.read(&digest, 1 << 30).expect("kept"))
        };
        Ok(outputs.into_iter().map(read).collect())
    }

    fn problems(&self) -> Vec<String> {
        match self.run() {
            Err(TreeError::Problems(problems)) => problems.iter().map(Problem::to_string).collect(),
            Err(other) => panic!("{other}"),
            Ok(_) => Vec::new(),
        }
    }
}

/// One line per entry, as `tar tv` would print it.
fn listing(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().expect("an archive");
    entries
        .map(|entry| {
            let mut entry = entry.expect("an entry");
            let xattrs: Vec<String> = match entry.pax_extensions().expect("valid records") {
                Some(records) => {
                    records.map(|r| String::from_utf8_lossy(r.expect("a record").key_bytes()).into_owned()).collect()
                }
                None => Vec::new(),
            };
            let header = entry.header();
            let link =
                entry.link_name_bytes().map(|l| format!(" -> {}", String::from_utf8_lossy(&l))).unwrap_or_default();
            let (mode, uid, gid) =
                (header.mode().expect("a mode"), header.uid().expect("a uid"), header.gid().expect("a gid"));
            assert_eq!(header.mtime().expect("a time"), 1);
            format!("{mode:04o} {uid}:{gid} {}{link}{}", String::from_utf8_lossy(&entry.path_bytes()), xattrs.join(","))
        })
        .collect()
}

fn text_in(archive: &[u8], wanted: &str) -> String {
    use std::io::Read;
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        if entry.path_bytes().as_ref() == wanted.as_bytes() {
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("text");
            return text;
        }
    }
    panic!("no {wanted}");
}

#[test]
fn a_root_has_packages_skeletons_accounts_and_links_in_one_merged_usr() {
    let outputs = Fixture::new().run().expect("composed");
    let expected = "\
0755 0:0 ./
0777 0:0 bin -> usr/bin
0755 0:0 boot/
0755 0:0 data/
0755 0:0 dev/
0755 0:0 efi/
0755 0:0 etc/
0644 0:0 etc/group
0644 0:0 etc/hostname
0644 0:0 etc/motd
0777 0:0 etc/os-release -> ../usr/lib/os-release
0644 0:0 etc/passwd
0600 0:0 etc/shadow
0644 0:0 etc/shells
0755 0:0 etc/web/
0644 0:0 etc/web/conf
0777 0:0 lib -> usr/lib
0555 0:0 proc/
0700 0:0 root/
0755 0:0 run/
0777 0:0 sbin -> usr/sbin
0555 0:0 sys/
1777 0:0 tmp/
0755 0:0 usr/
0755 0:0 usr/bin/
0755 0:0 usr/bin/osagent
0755 0:0 usr/bin/web
0755 0:0 usr/lib/
0777 0:0 usr/lib/libweb.so -> libweb.so.1
0644 0:0 usr/lib/libweb.so.1
0644 0:0 usr/lib/os-release
0755 0:0 usr/lib/osbuild/
0644 0:0 usr/lib/osbuild/device.json
0755 0:0 usr/sbin/
0777 0:0 usr/sbin/init -> ../bin/osagent
0755 0:0 var/
0777 0:0 var/run -> ../run
0777 0:0 var/tmp -> ../tmp";
    let tar = &outputs["root.tar"];
    assert_eq!(listing(tar).join("\n"), expected);
    assert_eq!(text_in(tar, "etc/motd"), "hello from gateway\n");
    assert_eq!(text_in(tar, "etc/group"), "root:x:0:\nnet:x:100:\nnobody:x:65534:\n");
    assert_eq!(text_in(tar, "etc/shadow"), "root:!*:::::::\nnet:!*:::::::\nnobody:!*:::::::\n");
    let device =
        osbuild_format::device::DeviceConfig::from_json(text_in(tar, "usr/lib/osbuild/device.json").as_bytes());
    assert_eq!(device.expect("valid").services[0].uid, 100);
    assert!(String::from_utf8_lossy(&outputs["os-release"]).contains("ID=\"gateway\"\nVERSION_ID=\"1.2.3\"\n"));
    assert_eq!(
        Digest::of(tar).hex(),
        "89d3265e74ad6637672ad2bbfb3f7c05bf8f5eb08447e1dbc0a7af18d971bfb0",
        "a change in the bytes is a new version of the step"
    );
}

#[test]
fn sizes_are_told_by_package_and_slot() {
    let outputs = Fixture::new().run().expect("composed");
    let slots = [size::SlotUse { name: "root-a".into(), size_bytes: 1000, used_bytes: 999 }];
    let report: Value =
        serde_json::from_slice(&size::report(&outputs["packages.json"], &slots).expect("valid")).expect("JSON");
    assert_eq!(report["packages"], json!({ "osagent": 5, "web": 6 }));
    let expected =
        json!([{ "name": "root-a", "size_bytes": 1000, "used_bytes": 999, "free_bytes": 1, "used_percent": 99 }]);
    assert_eq!(report["slots"], expected);
}

#[test]
fn a_path_longer_than_the_header_comes_through() {
    let mut fixture = Fixture::new();
    let long = format!("usr/{}/{}", "d".repeat(120), "f".repeat(200));
    fixture.package("long", &[(&long, "x")]);
    let lines = listing(&fixture.run().expect("composed")["root.tar"]);
    assert!(lines.iter().any(|line| line.contains(&long)), "{lines:#?}");
}

#[test]
fn a_skeleton_replaces_a_package_and_a_later_one_an_earlier() {
    let mut fixture = Fixture::new();
    fixture.skeleton(&[("etc/web/conf", "mine"), ("etc/motd", "later")]);
    let tar = fixture.run().expect("composed").remove("root.tar").expect("a tar");
    assert_eq!((text_in(&tar, "etc/web/conf"), text_in(&tar, "etc/motd")), ("mine".to_owned(), "later".to_owned()));
}

/// Breaks one thing in a fixture.
type Change = fn(&mut Fixture);

#[test]
fn every_problem_names_both_sides() {
    let cases: &[(Change, &str)] = &[
        (
            |f| f.package("other", &[("usr/bin/web", "*different")]),
            "`/usr/bin/web` comes from package `other` and from package `web`, with different content",
        ),
        (
            |f| f.package("other", &[("etc/web", "a file")]),
            "`/etc/web` is not a folder in package `other`, but package `web` puts `/etc/web/conf` below it",
        ),
        (
            |f| f.skeleton(&[("etc/passwd", "root")]),
            "`/etc/passwd` comes from skeleton file `rootfs/1/etc/passwd`, but osbuild generates it",
        ),
        (
            |f| f.parameters["packages"][1]["run_depends"] = json!(["osagen"]),
            "package `web` (web.yaml:1:1) needs package `osagen`, which is not in the image\n  help: did you mean `osagent`?",
        ),
        (
            |f| f.package("dev", &[("usr/lib/liba.so", "-> liba.so.9")]),
            "symlink `/usr/lib/liba.so` of package `dev` leads nowhere: `liba.so.9`",
        ),
        (
            |f| f.package("script", &[("usr/bin/run", "*#!/usr/bin/python3 -E\n")]),
            "`/usr/bin/run` of package `script` needs an interpreter that is not in the image: `/usr/bin/python3`",
        ),
        (
            |f| f.package("script", &[("usr/bin/env", "*env"), ("usr/bin/run", "*#!/usr/bin/env -S lua5\n")]),
            "`/usr/bin/run` of package `script` needs an interpreter that is not in the image: `lua5`",
        ),
        (
            |f| f.package("broken", &[("usr/bin/broken", "*\u{7f}ELF\u{2}\u{1}\u{1}")]),
            "`/usr/bin/broken` of package `broken` is a damaged ELF file: ",
        ),
        (
            |f| f.parameters["metadata"] = json!([{ "path": "etc/web/comf", "user": null, "group": null, "mode": 0o600, "device": null, "origin": "p:1:1" }]),
            "metadata of `/etc/web/comf` (the product, p:1:1): there is no such path in the image\n  help: did you mean `/etc/web/conf`?",
        ),
        (
            |f| f.parameters["metadata"] = json!([{ "path": "etc/web/conf", "user": "nett", "group": null, "mode": null, "device": null, "origin": "p:1:1" }]),
            "metadata of `/etc/web/conf` (the product, p:1:1) names a user that the product does not define: `nett`\n  help: did you mean `net`?",
        ),
        (
            |f| f.parameters["metadata"] = json!([{ "path": "etc/web/conf", "user": null, "group": null, "mode": 0o666, "device": null, "origin": "p:1:1" }]),
            "metadata of `/etc/web/conf` (the product, p:1:1): mode 0666 lets every user write the file",
        ),
        (
            |f| f.parameters["metadata"] = json!([{ "path": "etc/web/conf", "user": null, "group": null, "mode": 0o4644, "device": null, "origin": "p:1:1" }]),
            "metadata of `/etc/web/conf` (the product, p:1:1): mode 4644 sets an id on a file that is not a program",
        ),
        (
            |f| f.parameters["packages"][0]["metadata"] = json!([{ "path": "etc/web/conf", "user": null, "group": null, "mode": 0o600, "device": null, "origin": "p:1:1" }]),
            "metadata of `/etc/web/conf` (package `osagent`, p:1:1): the path belongs to package `web`",
        ),
        (
            |f| f.package("shell", &[("bin/sh", "-> web")]),
            "a production image must not have a shell: `/usr/bin/sh` of package `shell`",
        ),
        (
            |f| f.parameters["product"]["users"]["net"]["shell"] = json!("/bin/web"),
            "a production image must not have a login: user `net` has the shell `/bin/web`",
        ),
        (
            |f| f.parameters["product"]["services"]["web"]["argv"] = json!(["/usr/bin/weeb"]),
            "service `web` (p.yaml:9:3) starts a program that is not in the image: `/usr/bin/weeb`\n  help: did you mean `/usr/bin/web`?",
        ),
        (
            |f| f.parameters["product"]["services"]["web"]["after"] = json!(["nothing"]),
            "the agent could not use the product's settings: service `web` starts after a service that does not exist: `nothing`",
        ),
        (
            |f| f.parameters["product"]["users"]["twin"] = json!({ "uid": 100, "group": "net", "home": "/", "shell": null }),
            "users `net` and `twin` have the same uid: 100",
        ),
        (
            |f| f.skeleton(&[("etc/x.tera", "{{ vars.greting }}")]),
            "`vars.greting` is not defined\n --> rootfs/1/etc/x.tera:1:4",
        ),
    ];
    for (change, expected) in cases {
        let mut fixture = Fixture::new();
        change(&mut fixture);
        let problems = fixture.problems();
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{expected}\nin {problems:#?}");
    }
}

#[test]
fn all_problems_come_at_once() {
    let mut fixture = Fixture::new();
    fixture.package("a", &[("usr/bin/web", "*other"), ("usr/lib/x", "-> y"), ("bin/run", "*#!/bin/sh\n")]);
    fixture.parameters["packages"][2]["run_depends"] = json!(["zzzzzz"]);
    assert_eq!(fixture.problems().len(), 4);
}

#[test]
fn a_real_program_is_judged_by_what_it_is_linked_against() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path()).expect("a store");
    let digest = store.put_file(&std::env::current_exe().expect("a path")).expect("kept");
    let mut builder = TreeBuilder::new();
    builder.insert(&path("packages/p/usr/bin/osagent"), Node::File { digest, executable: true }).expect("inserted");
    let inputs = builder.finish(&store).expect("built");
    let mut parameters = Fixture::new().parameters;
    parameters["packages"] =
        json!([{ "name": "p", "recipe": "p", "version": "1", "license": "MIT", "origin": "p:1:1" }]);
    parameters["skeletons"] = json!([]);
    parameters["product"]["services"] = json!({});
    for (cpu, expected) in [
        (std::env::consts::ARCH, "needs a library that is not in the image: `libc.so"),
        ("aarch64", "is built for another processor"),
    ] {
        if cpu == "aarch64" && std::env::consts::ARCH == cpu {
            continue;
        }
        parameters["product"]["architecture"] = json!(cpu);
        let parsed: Parameters = serde_json::from_value(parameters.clone()).expect("parameters");
        let error = rootfs::compose(&store, &inputs, &parsed).err().expect("problems").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

fn split_names(files: Files, packages: &[(&str, &[&str])]) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path()).expect("a store");
    let definition = |(name, files): &(&str, &[&str])| Definition {
        name: name.to_string(),
        files: files.iter().map(|f| f.to_string()).collect(),
        origin: "r.yaml:3:5".to_owned(),
    };
    let parameters = SplitParameters { packages: packages.iter().map(definition).collect() };
    let trees = split(&store, &tree(&store, files), &parameters).map_err(|error| error.to_string())?;
    let mut lines = Vec::new();
    for (name, tree) in trees {
        let entries = store.walk(&tree).expect("walked");
        let leaves = entries.iter().filter(|e| !matches!(e.node, Node::Folder(_)));
        lines.extend(leaves.map(|entry| format!("{name}: {}", entry.path)));
    }
    Ok(lines)
}

#[test]
fn a_path_goes_to_the_first_package_that_claims_it() {
    let files: Files =
        &[("usr/lib/libz.so.1", "z"), ("usr/lib/libz.a", "z"), ("usr/include/z.h", "z"), ("usr/share/empty", "/")];
    let lines = split_names(files, &[("zlib", &["/usr/lib/*.so*"]), ("zlib-dev", &["/**"])]).expect("split");
    assert_eq!(lines, ["zlib: usr/lib/libz.so.1", "zlib-dev: usr/include/z.h", "zlib-dev: usr/lib/libz.a"]);
}

#[test]
fn unclaimed_paths_and_idle_patterns_are_errors() {
    let files: Files = &[("usr/bin/a", "*a"), ("usr/bin/b", "*b")];
    let error = split_names(files, &[("a", &["/usr/bin/a", "/usr/lib"])]).expect_err("problems");
    assert!(error.contains("no package claims `/usr/bin/b`"), "{error}");
    assert!(error.contains("package `a` (r.yaml:3:5) claims `/usr/lib`, which matches nothing installed"), "{error}");
    let error = split_names(files, &[("a", &["usr/bin/*"]), ("rest", &["/**"])]).expect_err("a problem");
    assert!(error.contains("`usr/bin/*` is not a pattern for paths: it must start with `/`"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn the_order_of_packages_does_not_change_a_byte(order in Just((0..5_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let build = |order: &[usize]| {
            let mut fixture = Fixture::new();
            for n in order {
                let own = format!("usr/share/{n}/file");
                // Every package also has one file in common.
                fixture.package(&format!("p{n}"), &[(&own, "x"), ("usr/share/common", "same"), ("usr/share/z/link", "-> ../common")]);
            }
            fixture.run().expect("composed")
        };
        prop_assert_eq!(build(&order), build(&[0, 1, 2, 3, 4]));
    }
}
