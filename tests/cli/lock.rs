//! The lock: when it no longer fits the configuration, when it is damaged, and when a new one cannot be made.
//!
//! Invariant: whatever fails, the old lock stays as it was.

use crate::command::{osbuild, Project};
use crate::server::serve;

const CARGO_LOCK: &str = "recipes/osagent/Cargo.lock";
const LOCK: &str = "osbuild.lock";

fn read(project: &Project, path: &str) -> String {
    std::fs::read_to_string(project.root.join(path)).expect("read")
}

/// The address of a server that is not there.
fn nowhere() -> String {
    let server = serve(|_, _| Ok(()));
    let url = server.url();
    drop(server);
    // Its thread takes a moment to let go of the port.
    std::thread::sleep(std::time::Duration::from_millis(100));
    url
}

#[test]
fn a_tool_tree_that_asks_for_more_than_was_locked_is_named() {
    let project = Project::copy();
    project.edit("layers/core/tools/c.yaml", "packages:\n", "packages:\n  - perl-base\n");
    osbuild(&project, &["plan"]).fails_with(&[
        "tool tree `c` does not ask for what it did when osbuild.lock was made",
        "--> layers/core/tools/c.yaml:",
        "help: run `osbuild lock`",
    ]);
}

#[test]
fn a_cargo_lock_that_changed_since_is_named() {
    let project = Project::copy();
    let text = read(&project, CARGO_LOCK);
    project.write(CARGO_LOCK, &format!("{text}\n"));
    osbuild(&project, &["plan"]).fails_with(&[
        "`recipes/osagent/Cargo.lock` has changed since osbuild.lock was made",
        "--> recipes/osagent/recipe.yaml:",
        "help: run `osbuild lock`",
    ]);
    std::fs::remove_file(project.root.join(CARGO_LOCK)).expect("removed");
    osbuild(&project, &["plan"])
        .fails_with(&["source `recipes/osagent/Cargo.lock` of recipe `osagent` does not exist"]);
}

#[test]
fn a_name_in_the_lock_that_leads_elsewhere_is_refused_with_its_line() {
    let project = Project::copy();
    project.edit(LOCK, "{name: bitflags,", "{name: ../bitflags,");
    osbuild(&project, &["plan"]).fails_with(&[
        "`../bitflags` is not the name of a crate",
        "--> osbuild.lock:",
        "help: `osbuild lock` writes this file anew",
    ]);
}

#[test]
fn a_damaged_lock_counts_as_none() {
    let project = Project::copy().env("OSBUILD_DEBIAN_MIRROR", nowhere());
    project.edit(LOCK, "schema: 1\n", "schema: [1\n");
    osbuild(&project, &["plan"]).fails_with(&["this is not YAML", "--> osbuild.lock:"]);
    osbuild(&project, &["lock"]).fails_with(&["the old osbuild.lock cannot be read, and counts as none", "cannot get"]);
}

#[test]
fn a_project_whose_only_product_has_another_name_can_be_locked() {
    let project = Project::copy().env("OSBUILD_DEBIAN_MIRROR", nowhere());
    let gateway = read(&project, "layers/core/products/gateway.yaml");
    std::fs::remove_dir_all(project.root.join("layers/core/products")).expect("removed");
    project.write("layers/core/products/door.yaml", &gateway.replace("product: gateway", "product: door"));
    let ended = osbuild(&project, &["lock"]).fails_with(&["cannot get"]);
    assert!(!ended.errors.contains("there is no product"), "{}", ended.errors);
}
