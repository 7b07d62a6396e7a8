//! The step `app-root`: the packages and skeletons of an app in; `root.tar`, `packages.json` out.
//!
//! Invariants: everything in the root is root's and readable by all, for the one user of an app owns none of it;
//! what could give a process more than the app's manifest does is refused (see [`check`]).

mod check;

#[cfg(test)]
mod tests;

use super::compose::Composer;
use super::contents;
use super::parameters::AppParameters;
use super::problem::TreeError;
use super::{size, tar};
use crate::io::store::{Node, Store};
use crate::model::{Digest, RelPath};
use osbuild_format::app::INNER_ID;
use std::collections::BTreeMap;

pub const ROOT_TAR: &str = "root.tar";
pub const PACKAGES_JSON: &str = "packages.json";

/// There whatever the packages hold: what the device mounts over, and what programs expect of any Linux.
const FOLDERS: [&str; 11] =
    ["data", "dev", "etc", "proc", "run", "run/app", "tmp", "usr/bin", "usr/lib", "usr/sbin", "var"];

const LINKS: [(&str, &str); 5] =
    [("bin", "usr/bin"), ("lib", "usr/lib"), ("sbin", "usr/sbin"), ("var/run", "../run"), ("var/tmp", "../tmp")];

/// What the device mounts the runtime's resolver over, and the only other name that is known without it.
const RESOLV_CONF: &str = "etc/resolv.conf";
const HOSTS: (&str, &str) = ("etc/hosts", "127.0.0.1 localhost\n");
/// An app that brings its own keeps it.
const NSSWITCH: (&str, &str) = ("etc/nsswitch.conf", "hosts: files dns\n");

/// Outputs `root.tar` and `packages.json`.
pub fn step(store: &Store, inputs: &Digest, parameters: &str) -> Result<BTreeMap<RelPath, Node>, TreeError> {
    let mut parameters: AppParameters = serde_json::from_str(parameters).map_err(TreeError::Parameters)?;
    parameters.root.packages.sort_by(|a, b| a.name.cmp(&b.name));
    let composer = compose(store, inputs, &parameters)?;
    let packages = size::packages_json(&composer.root, &parameters.root, Vec::new());
    let outputs = [(ROOT_TAR, tar::keep(&composer.root, store)?), (PACKAGES_JSON, store.put_bytes(&packages)?)];
    let node = |(path, digest): (&str, Digest)| Ok((RelPath::new(path)?, Node::File { digest, executable: false }));
    outputs.into_iter().map(node).collect()
}

fn compose<'a>(store: &'a Store, inputs: &Digest, parameters: &AppParameters) -> Result<Composer<'a>, TreeError> {
    let mut composer = Composer::new(store);
    contents::add_all(&mut composer, inputs, &parameters.root)?;
    generate(&mut composer)?;
    check::check_all(&mut composer, parameters)?;
    std::mem::take(&mut composer.problems).into_result()?;
    Ok(composer)
}

fn generate(composer: &mut Composer) -> Result<(), TreeError> {
    for path in FOLDERS {
        composer.generate_folder(path, 0o755)?;
    }
    for (path, target) in LINKS {
        composer.generate_link(path, target)?;
    }
    if composer.root.items.contains_key(&RelPath::new("usr/lib64")?) {
        composer.generate_link("lib64", "usr/lib64")?;
    }
    let passwd = format!("root:x:0:0::/:\napp:x:{INNER_ID}:{INNER_ID}::/data:\n");
    composer.generate("etc/passwd", passwd.as_bytes(), 0o644)?;
    composer.generate("etc/group", format!("root:x:0:\napp:x:{INNER_ID}:\n").as_bytes(), 0o644)?;
    composer.generate(RESOLV_CONF, b"", 0o644)?;
    for (path, text) in [HOSTS, NSSWITCH] {
        if !composer.root.items.contains_key(&RelPath::new(path)?) {
            composer.generate(path, text.as_bytes(), 0o644)?;
        }
    }
    Ok(())
}
