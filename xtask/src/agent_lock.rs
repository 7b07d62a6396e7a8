//! The agent's own workspace, `recipes/osagent`: its manifest agrees with the project's, its lock is the part
//! of the project's lock that the agent needs.
//!
//! Invariant: the device gets the versions that the project's tests ran with.

use crate::read;
use std::path::Path;
use std::process::Command;

const MEMBERS: [&str; 6] = ["format", "sys", "tuf", "http", "update", "agent"];
const MANIFEST: &str = "recipes/osagent/Cargo.toml";
const LOCK: &str = "recipes/osagent/Cargo.lock";

/// What is wrong with the two files, one line each.
pub fn check(root: &Path) -> Vec<String> {
    let mut problems = manifest_differs(root);
    match lock(root) {
        Ok(lock) if lock == read(&root.join(LOCK)) => {}
        Ok(_) => problems.push(format!("{LOCK}: out of date: run `cargo run -p xtask -- agent-lock`")),
        Err(error) => problems.push(error),
    }
    problems
}

/// Writes the lock.
#[allow(clippy::disallowed_methods)]
pub fn write(root: &Path) -> Vec<String> {
    let written = lock(root).and_then(|lock| std::fs::write(root.join(LOCK), lock).map_err(|e| e.to_string()));
    written.err().into_iter().chain(manifest_differs(root)).collect()
}

/// Members inherit from the workspace, so both workspaces must say the same.
fn manifest_differs(root: &Path) -> Vec<String> {
    let (project, agent) = (read(&root.join("Cargo.toml")), read(&root.join(MANIFEST)));
    let shared = project.split_once("[workspace.package]").and_then(|(_, rest)| rest.split_once("\n[package]"));
    match shared {
        Some((shared, _)) if agent.contains(shared.trim()) => Vec::new(),
        _ => vec![format!("{MANIFEST}: the sections [workspace.*] differ from those of Cargo.toml")],
    }
}

/// The lock of a workspace of the members alone, without what only their tests need.
#[allow(clippy::disallowed_methods)]
fn lock(root: &Path) -> Result<String, String> {
    let workspace = root.join("target/agent-workspace");
    let put = |path: &str, text: &str| {
        let path = workspace.join(path);
        let folder = path.parent().unwrap_or(&workspace);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, text))
            .map_err(|e| format!("cannot write {}: {e}", path.display()))
    };
    put("Cargo.toml", &read(&root.join(MANIFEST)))?;
    put("Cargo.lock", &read(&root.join("Cargo.lock")))?;
    for member in MEMBERS {
        let manifest = read(&root.join(format!("crates/{member}/Cargo.toml")));
        put(&format!("crates/{member}/Cargo.toml"), &without_test_dependencies(&manifest))?;
        put(&format!("crates/{member}/src/lib.rs"), "")?;
        put(&format!("crates/{member}/src/main.rs"), "fn main() {}\n")?;
    }
    // Any command that resolves drops what is not needed from the lock; this one needs no crate of other systems.
    let target = ["tree", "--quiet", "--offline", "--workspace", "--target", "x86_64-unknown-linux-gnu"];
    let mut command = Command::new(env!("CARGO"));
    let output = command.args(target).current_dir(&workspace).output().map_err(|e| format!("cannot run cargo: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo cannot resolve the agent: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(read(&workspace.join("Cargo.lock")))
}

/// As the recipe does with sed.
fn without_test_dependencies(manifest: &str) -> String {
    let mut kept = String::new();
    let mut skipping = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            skipping = line.starts_with("[dev-dependencies");
        }
        if !skipping {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_built_from_the_versions_that_are_tested() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the project");
        assert_eq!(check(root), Vec::<String>::new());
    }

    #[test]
    fn only_test_dependencies_are_dropped() {
        let manifest = "[package]\nname = \"a\"\n[dev-dependencies]\nb = \"1\"\n[dependencies]\nc = \"1\"\n";
        assert_eq!(without_test_dependencies(manifest), "[package]\nname = \"a\"\n[dependencies]\nc = \"1\"\n");
    }
}
