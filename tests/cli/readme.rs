//! The changes that README.md shows, made as they stand there.

use crate::command::{osbuild, statement, Project};

const GATEWAY: &str = "layers/core/products/gateway.yaml";

/// What the page says after `sentence`.
fn after(sentence: &str) -> String {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("read");
    let (_, rest) = readme.split_once(sentence).unwrap_or_else(|| panic!("`{sentence}` is not in README.md"));
    rest.to_owned()
}

/// The indented block after `sentence` and an empty line.
fn block_after(sentence: &str) -> String {
    let rest = after(&format!("{sentence}\n\n"));
    let lines = rest.lines().map_while(|line| line.strip_prefix("    "));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_file_a_user_and_a_package_come_into_the_image() {
    let project = Project::copy();
    let block = block_after("A user: in `layers/core/products/gateway.yaml`");
    assert!(block.starts_with("users:\n") && block.contains("groups:\n"), "{block}");
    project.edit(GATEWAY, "hostname: gateway\n", &format!("hostname: gateway\n{block}"));
    let rest = after("A file: put it below `rootfs/base/`, say `");
    let (file, _) = rest.split_once('`').expect("a path");
    project.write(file, "hello\n");
    let rest = after("A package: add its name under `packages:` there, say `");
    let (line, _) = rest.split_once('`').expect("a line");
    let package = line.strip_prefix("- ").expect("an item of the list");
    project.edit(GATEWAY, "packages:\n", &format!("packages:\n  {line}\n"));
    osbuild(&project, &["image"]).succeeds();
    let statement = statement(&project.root.join("out/images/gateway/latest"));
    let packages = statement["predicate"]["packages"].as_array().expect("packages");
    assert!(packages.iter().any(|there| there["name"] == package), "{packages:?}");

    let without = "home: /data/meter, shell: /nonexistent}";
    project.edit(GATEWAY, "home: /data/meter}", without);
    osbuild(&project, &["image"]).fails_with(&["user `meter` has a login shell", "help: leave `shell` out"]);
}

#[test]
fn the_key_of_a_developer_comes_into_the_developer_product() {
    let project = Project::copy();
    let rest = after("Write `layers/core/overrides/my-key.yaml` with the line of your own `.pub` file:");
    assert!(rest.starts_with("\n\n    schema: 1\n"));
    let block = block_after("with the line of your own `.pub` file:");
    project.write("layers/core/overrides/my-key.yaml", &block);
    let shown = osbuild(&project, &["config", "show", "gateway-dev"]).succeeds().output;
    let (_, keys) = shown.split_once("ssh-keys:\n").expect("keys");
    let key = keys.lines().next().expect("a key");
    assert!(block.contains(key.trim().trim_start_matches("- ")) && key.contains("ssh-ed25519 "), "{key}");
}
