//! What each step leaves for a small fixed input is pinned: a change of it needs a new version, and a new pin.

use super::*;
use crate::exec::step::StepContext;
use crate::image::erofs::tests::example;
use crate::image::erofs::Layout;
use crate::io::store::{Node, TreeBuilder};
use crate::model::RelPath;
use crate::plan::steps::ALL;
use serde_json::{json, Value};

/// What a step is given: paths and their content below the input root, and its parameters.
struct Fixture {
    files: Vec<(&'static str, Vec<u8>)>,
    parameters: Value,
}

/// Version, input, and SHA-256 of what the step leaves.
type Pin = (StepKind, fn() -> Fixture, &'static str);

/// Does one of these fail? Then whoever has the old output in a cache would never see the new one: raise the
/// version in `plan::steps`, and write it and the new digest here.
const PINS: [Pin; 13] = [
    (
        StepKind { name: "source", version: 1 },
        source_fixture,
        "7159916e819136ce9830ee9fcdddb5c6a878d1dc0a6edbefe402c24b2e7d1719",
    ),
    (
        StepKind { name: "tool-tree", version: 1 },
        tool_tree_fixture,
        "218eeccada523a8764e9107c371ed90ff91316507abe43294635841a2646ad53",
    ),
    (
        StepKind { name: "merge", version: 1 },
        merge_fixture,
        "f6fcc1a018e18f9408f1b9792ebd22d02963c4dc514db227549d926df5bba59d",
    ),
    (
        StepKind { name: "kconfig-check", version: 1 },
        kconfig_fixture,
        "61a191161f81190c7df6a94b4b212eb05552de8643dedc6660c2320441ee1a30",
    ),
    (
        StepKind { name: "sysroot", version: 1 },
        sysroot_fixture,
        "4268b8ef74c988feeeba6c6be80d29ea2af4f36a1eea5b3259180f652cd4bbd2",
    ),
    (
        StepKind { name: "packages", version: 1 },
        packages_fixture,
        "ef28d427b646c49864e38ff56dce8647342d4c1eed288e8aba5b176a5212394c",
    ),
    (
        StepKind { name: "app-root", version: 1 },
        app_root_fixture,
        "c209b8ae789dc319950834c203ebc639a71c37a4d12eb32eec0f032f326ceb6f",
    ),
    (
        StepKind { name: "app-package", version: 1 },
        app_package_fixture,
        "9e7da65b514d77a5f74c1b3d49e54ba61fb3a330ea7768fdf2c6056762c8a0ac",
    ),
    (
        StepKind { name: "rootfs", version: 5 },
        rootfs_fixture,
        "e226f40054b60d8c8fecb2c31a072232d62a20a8a6becb94c3395c9b5ad58eb3",
    ),
    (
        StepKind { name: "place", version: 1 },
        place_fixture,
        "b39ffb7dc15ce31d34204072669bf568a4288694b5e0636438cdbe60cfa7c521",
    ),
    (
        StepKind { name: "verity", version: 2 },
        verity_fixture,
        "5dafad096596d33316480eaa4bcb601a24a60f5c078d3c70aa3ca956fddf0185",
    ),
    (
        StepKind { name: "initramfs", version: 2 },
        initramfs_fixture,
        "1655766f55fba0aa5fcaa38d3f57e068087a2f3703d18af940e965bccaab49b1",
    ),
    (
        StepKind { name: "uki", version: 2 },
        uki_fixture,
        "e5265dbf9d214ab6a1538408327278362a661dc76a96dec4c155f7a1ed8c42a9",
    ),
];

#[test]
fn what_each_step_leaves_is_pinned() {
    let registry = registry();
    let mut changed = String::new();
    for kind in ALL {
        let pin = PINS.iter().find(|(pinned, _, _)| *pinned == kind);
        let (_, fixture, pinned) = pin.unwrap_or_else(|| panic!("{kind:?} has no pin"));
        let left = run(&registry, kind, &fixture());
        let digest = Digest::of(left.as_bytes()).hex();
        if digest != *pinned {
            changed += &format!("{kind:?} leaves {digest}:\n{left}\n");
        }
    }
    assert!(changed.is_empty(), "{changed}");
    assert_eq!(PINS.len(), ALL.len(), "a pin without a step");
}

#[test]
fn a_step_that_is_not_in_the_list_is_not_registered_and_names_differ() {
    let registry = registry();
    let names: std::collections::BTreeSet<&str> = ALL.iter().map(|kind| kind.name).collect();
    assert_eq!(names.len(), ALL.len());
    assert!(registry.names().eq(names), "the registry and `plan::steps::ALL` differ");
}

/// Runs a step and lists all that it leaves, a line each.
fn run(registry: &StepRegistry, kind: StepKind, fixture: &Fixture) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("a store");
    let mut inputs = TreeBuilder::new();
    for (path, content) in &fixture.files {
        let digest = store.put_bytes(content).expect("kept");
        let executable = path.contains("/bin/") || path.ends_with(".sh");
        let path = RelPath::new(path).expect("a valid path");
        inputs.insert(&path, Node::File { digest, executable }).expect("paths differ");
    }
    let inputs = inputs.finish(&store).expect("kept");
    let parameters = fixture.parameters.to_string();
    let step = registry.get(kind.name).unwrap_or_else(|| panic!("{kind:?} is not registered"));
    let context = StepContext { store: &store, inputs: &inputs, parameters: &parameters };
    let outputs = step(&context).unwrap_or_else(|error| panic!("{kind:?}: {error}: {error:?}"));
    let mut lines = String::new();
    for (path, node) in outputs {
        lines += &format!("{path}: {}\n", described(&node));
        if let Node::Folder(tree) = node {
            let entries = store.walk(&tree).expect("walked");
            lines.extend(entries.iter().map(|e| format!("{path}/{}: {}\n", e.path, described(&e.node))));
        }
    }
    lines
}

fn described(node: &Node) -> String {
    match node {
        Node::File { digest, executable } => format!("{digest}{}", if *executable { " executable" } else { "" }),
        Node::Symlink { target } => format!("-> {target}"),
        Node::Folder(digest) => format!("folder {digest}"),
    }
}

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content.as_bytes()).expect("in memory");
    }
    tar.into_inner().expect("in memory")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

/// A .deb (deb(5)) with these files.
fn deb(files: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", b"2.0\n".to_vec()), ("data.tar", tar(files))] {
        bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100644, content.len()).bytes());
        bytes.extend(content);
    }
    bytes
}

fn text(files: &[(&'static str, &str)]) -> Vec<(&'static str, Vec<u8>)> {
    files.iter().map(|(path, content)| (*path, content.as_bytes().to_vec())).collect()
}

/// One part of each kind.
fn source_fixture() -> Fixture {
    let mut files = text(&[("inputs/0/main.c", "int main;"), ("inputs/1.sh", "exit"), ("inputs/2", "notes")]);
    files.push(("inputs/3", gzip(&tar(&[("zlib-1/configure", "exit 0"), ("zlib-1/src/zlib.c", "int z;")]))));
    files.push(("inputs/4/libc-1.crate", tar(&[("libc-1/Cargo.toml", "[package]"), ("libc-1/src/lib.rs", "")])));
    let parts = json!([
        { "kind": "tree", "input": "inputs/0", "name": "own", "into": null },
        { "kind": "tree", "input": "inputs/1.sh", "name": "run.sh", "into": "tools" },
        { "kind": "file", "input": "inputs/2", "name": "NOTES", "into": null },
        { "kind": "archive", "input": "inputs/3", "strip": 1, "inner": null, "into": "zlib" },
        { "kind": "crates", "crates": [{ "name": "libc", "version": "1", "input": "inputs/4/libc-1.crate" }],
          "into": "vendor" },
    ]);
    Fixture { files, parameters: json!({ "parts": parts }) }
}

/// With a folder that is merged into `/usr`, documentation, a certificate and a link.
fn tool_tree_fixture() -> Fixture {
    let one = deb(&[("bin/dash", "shell"), ("usr/share/doc/dash/README", "read"), ("lib64/ld.so", "loader")]);
    let two = deb(&[("usr/bin/mawk", "awk"), ("usr/share/ca-certificates/mozilla/a.crt", "certificate\n")]);
    let parameters = json!({ "debs": ["debs/one.deb", "debs/two.deb"], "links": { "usr/bin/awk": "mawk" } });
    Fixture { files: vec![("debs/one.deb", one), ("debs/two.deb", two)], parameters }
}

fn merge_fixture() -> Fixture {
    let files = text(&[
        ("layers/000/usr/bin/cc", "gcc"),
        ("layers/000/usr/lib/a", "same"),
        ("layers/001/usr/bin/cmake", "cmake"),
        ("layers/001/usr/lib/a", "same"),
    ]);
    Fixture { files, parameters: json!({}) }
}

fn kconfig_fixture() -> Fixture {
    let files = text(&[("source/Kconfig", "config NET\n\tbool \"net\"\n"), ("config", "CONFIG_NET=y\n")]);
    let fragment = json!({ "file": "kernel-config/a.config", "text": "CONFIG_NET=y\n" });
    let parameters = json!({ "fragments": [fragment], "waivers": [], "root": "source/Kconfig", "architecture": "x86" });
    Fixture { files, parameters }
}

fn sysroot_fixture() -> Fixture {
    let files = text(&[
        ("out/usr/include/z.h", "int z;"),
        ("out/usr/lib/libz.a", "archive"),
        ("out/usr/bin/z", "stays behind"),
        ("below/usr/include/c.h", "int c;"),
    ]);
    Fixture { files, parameters: json!({}) }
}

fn packages_fixture() -> Fixture {
    let files = text(&[("out/usr/bin/a", "a"), ("out/usr/bin/b", "b"), ("out/usr/share/b/c", "c")]);
    let parameters = json!({ "packages": [
        { "name": "a", "files": ["/usr/bin/a"], "origin": "a.yaml:1:1" },
        { "name": "rest", "files": ["/**"], "origin": "a.yaml:2:1" },
    ] });
    Fixture { files, parameters }
}

/// A package, a template, an account, a service, and metadata of each kind.
fn rootfs_fixture() -> Fixture {
    let files = text(&[
        ("packages/osagent/usr/bin/osagent", "agent"),
        ("packages/osagent/etc/agent.conf", "x"),
        ("skeletons/000/etc/motd.tera", "{{ title }} {{ version }}\n"),
        ("apps/meter.app", "a whole app"),
        ("apps/meter.digest", "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9\n"),
        ("apps/meter.packages.json", APP_PACKAGES),
        ("update/root.json", r#"{"signed":{"_type":"root"},"signatures":[]}"#),
        ("update/ca.pem", "-----BEGIN CERTIFICATE-----\n"),
    ]);
    let metadata = json!([
        { "path": "etc/agent.conf", "user": "net", "group": "net", "mode": 0o640, "xattrs": { "user.a": "62" },
          "origin": "p.yaml:1:1", "device": null },
        { "path": "etc/null", "user": null, "group": null, "mode": 0o600, "xattrs": {}, "origin": "p.yaml:2:1",
          "device": { "block": false, "major": 1, "minor": 3 } },
    ]);
    let package = json!({
        "name": "osagent", "recipe": "osagent", "version": "1", "license": "MIT", "origin": "a.yaml:1:1",
        "run_depends": [], "metadata": [],
    });
    let service = json!({
        "argv": ["/usr/bin/osagent"], "user": "net", "group": "net", "env": {}, "after": [], "restart": "always",
        "stop_timeout_seconds": 5, "terminal": null, "critical": true, "origin": "p.yaml:9:3",
    });
    let mut product = product();
    product["services"] = json!({ "agent": service });
    product["apps"] = json!({ "meter": { "version": "1.0.0", "critical": true, "third_party": false } });
    product["devices"] = json!({ "METER_UART": "/dev/ttyS1" });
    product["security_epoch"] = json!(2);
    product["update"] = json!({ "url": "https://updates.example/gateway", "signers": ["5f".repeat(32)] });
    let skeleton = json!({ "input": "skeletons/000", "path": "rootfs/base" });
    let parameters =
        json!({ "packages": [package], "skeletons": [skeleton], "metadata": metadata, "product": product });
    Fixture { files, parameters }
}

const APP_PACKAGES: &str =
    r#"{"schema":1,"packages":[],"skeletons":{"files":0,"bytes":0},"generated":{"files":1,"bytes":2}}"#;

fn product() -> Value {
    json!({
        "name": "gateway", "version": "1.2.3", "title": "Gateway", "machine": "qemu", "architecture": "x86_64",
        "console": "ttyS0,115200", "hostname": "gate", "ntp_servers": ["pool.example"], "production": true,
        "features": { "ssh": false }, "variables": {}, "update_channel": "stable", "support_until": "2031-12-31",
        "groups": { "net": { "gid": 100 } },
        "users": { "net": { "uid": 100, "group": "net", "home": "/nonexistent", "shell": null, "ssh_keys": [] } },
        "services": {},
    })
}

/// A program, a template, and the mode of a file, which an app's root has no use for.
fn app_root_fixture() -> Fixture {
    let files = text(&[
        ("packages/meter/usr/bin/meter", "program"),
        ("packages/meter/etc/meter.conf", "x"),
        ("skeletons/000/etc/motd.tera", "{{ title }} {{ version }}\n"),
    ]);
    let metadata = json!([{ "path": "etc/meter.conf", "user": "net", "group": null, "mode": 0o640, "xattrs": {},
        "origin": "m.yaml:1:1", "device": null }]);
    let package = json!({
        "name": "meter", "recipe": "meter", "version": "1", "license": "MIT", "origin": "a.yaml:1:1",
        "run_depends": [], "metadata": metadata,
    });
    let skeleton = json!({ "input": "skeletons/000", "path": "apps/meter/rootfs" });
    let root = json!({ "packages": [package], "skeletons": [skeleton], "metadata": [], "product": product() });
    let parameters =
        json!({ "id": "meter", "program": "/usr/bin/meter", "origin": "apps/meter/app.yaml:2:6", "root": root });
    Fixture { files, parameters }
}

/// Two blocks and their tree.
fn app_package_fixture() -> Fixture {
    let manifest = json!({
        "format": 1, "id": "meter", "version": "1.2.3", "title": "Meter", "architecture": "x86_64",
        "abi": { "runtime": 1 }, "image": { "data_blocks": 1, "root_hash": "0".repeat(64), "salt": "" },
        "argv": ["/usr/bin/meter"], "capabilities": { "storage_bytes": 4096 },
    });
    let mut files = text(&[("root-hash", format!("{}\n", "ab".repeat(32)).as_str())]);
    files.extend([("image.erofs", vec![1; 2 * 4096]), ("verity", vec![2; 2 * 4096])]);
    Fixture { files, parameters: json!({ "manifest": manifest, "salt": "cd".repeat(32) }) }
}

/// 130 blocks: a tree of two levels.
/// Two files change places.
fn place_fixture() -> Fixture {
    let (one, two) = ([1; 5000], [2; 4096]);
    let image = example(&[("etc/one", &one), ("usr/bin/two", &two)]);
    let mut layout = Layout::of(&image).expect("sound");
    let before = layout.clone();
    for (path, other) in [("/etc/one", "/usr/bin/two"), ("/usr/bin/two", "/etc/one")] {
        layout.places.get_mut(path).expect("there").block = before.places[other].block;
    }
    let files = vec![("root.erofs", image), ("layout.json", layout.to_json())];
    Fixture { files, parameters: json!({}) }
}

fn verity_fixture() -> Fixture {
    let root = (0..130 * 4096).map(|i| (i / 7 % 251) as u8).collect();
    Fixture { files: vec![("root.erofs", root)], parameters: json!({ "salt": "ab".repeat(32) }) }
}

fn initramfs_fixture() -> Fixture {
    Fixture { files: text(&[("init", "program")]), parameters: json!({}) }
}

fn uki_fixture() -> Fixture {
    let hash = "ab".repeat(32);
    let mut files = text(&[("linux", "kernel"), ("release", "6.12.0\n"), ("initramfs", "archive")]);
    files.extend(text(&[("root-hash", hash.as_str()), ("os-release", "ID=gateway\n")]));
    files.push(("stub", crate::image::pe::tests::example()));
    files.push(("root", vec![0; 3 * 4096]));
    Fixture { files, parameters: json!({ "command_line": "console=ttyS0" }) }
}
