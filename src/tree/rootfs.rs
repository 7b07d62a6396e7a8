//! The step `rootfs`: packages, skeletons and the product in; `root.tar`, `packages.json`, `os-release` out.
//!
//! Invariant: packages are laid down by name, then skeletons in their order, then apps and what osbuild generates,
//! then metadata; the order in which the plan lists packages has no effect.

use super::accounts::Accounts;
use super::check::check_all;
use super::compose::Composer;
use super::device::device_json;
use super::parameters::Parameters;
use super::problem::TreeError;
use super::{apps, contents, metadata, release, size, tar, update};
use crate::io::store::{Node, Store};
use crate::model::{Digest, RelPath};
use osbuild_format::device::AppConfig;
use std::collections::BTreeMap;

pub const ROOT_TAR: &str = "root.tar";
pub const PACKAGES_JSON: &str = "packages.json";
pub const OS_RELEASE: &str = "os-release";

/// Mount points and folders that are there whatever the packages hold, with their modes.
const FOLDERS: [(&str, u32); 14] = [
    ("boot", 0o755),
    ("data", 0o755),
    ("dev", 0o755),
    ("efi", 0o755),
    ("etc", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr/bin", 0o755),
    ("usr/lib", 0o755),
    ("usr/sbin", 0o755),
    ("var", 0o755),
];

const LINKS: [(&str, &str); 6] = [
    ("bin", "usr/bin"),
    ("lib", "usr/lib"),
    ("sbin", "usr/sbin"),
    ("etc/os-release", "../usr/lib/os-release"),
    ("var/run", "../run"),
    ("var/tmp", "../tmp"),
];

/// Homes that are made in the image are below this; the others are the device's own.
const HOMES: [&str; 2] = ["root", "home"];

/// Outputs `root.tar`, `packages.json` and `os-release`.
pub fn step(store: &Store, inputs: &Digest, parameters: &str) -> Result<BTreeMap<RelPath, Node>, TreeError> {
    let mut parameters: Parameters = serde_json::from_str(parameters).map_err(TreeError::Parameters)?;
    parameters.packages.sort_by(|a, b| a.name.cmp(&b.name));
    let composer = compose(store, inputs, &parameters)?;

    let apps = apps::uses(store, inputs, &parameters.product)?;
    let outputs = [
        (ROOT_TAR, tar::keep(&composer.root, store)?),
        (PACKAGES_JSON, store.put_bytes(&size::packages_json(&composer.root, &parameters, apps))?),
        (OS_RELEASE, store.put_bytes(release::os_release(&parameters.product).as_bytes())?),
    ];
    let node = |(path, digest): (&str, Digest)| Ok((RelPath::new(path)?, Node::File { digest, executable: false }));
    outputs.into_iter().map(node).collect()
}

/// The root, composed and checked.
pub fn compose<'a>(store: &'a Store, inputs: &Digest, parameters: &Parameters) -> Result<Composer<'a>, TreeError> {
    let mut composer = Composer::new(store);
    let accounts = Accounts::new(&parameters.product, &mut composer.problems);
    contents::add_all(&mut composer, inputs, parameters)?;
    let apps = apps::add_all(&mut composer, inputs, &parameters.product)?;
    update::add_all(&mut composer, inputs)?;
    generate(&mut composer, parameters, &accounts, apps)?;
    metadata::apply_all(&mut composer, parameters, &accounts)?;
    check_all(&mut composer, parameters, &accounts)?;
    std::mem::take(&mut composer.problems).into_result()?;
    Ok(composer)
}

fn generate(
    composer: &mut Composer,
    parameters: &Parameters,
    accounts: &Accounts,
    apps: Vec<AppConfig>,
) -> Result<(), TreeError> {
    let product = &parameters.product;
    for (path, mode) in FOLDERS {
        composer.generate_folder(path, mode)?;
    }
    for (path, target) in LINKS {
        composer.generate_link(path, target)?;
    }
    if composer.root.items.contains_key(&RelPath::new("usr/lib64")?) {
        composer.generate_link("lib64", "usr/lib64")?;
    }
    if composer.root.items.contains_key(&RelPath::new("usr/bin/osagent")?) {
        composer.generate_link("usr/sbin/init", "../bin/osagent")?;
    }
    composer.generate("etc/passwd", accounts.passwd().as_bytes(), 0o644)?;
    composer.generate("etc/group", accounts.group_file().as_bytes(), 0o644)?;
    composer.generate("etc/shadow", accounts.shadow().as_bytes(), 0o600)?;
    composer.generate("etc/shells", accounts.shells().as_bytes(), 0o644)?;
    composer.generate("etc/hostname", format!("{}\n", product.hostname).as_bytes(), 0o644)?;
    composer.generate("usr/lib/os-release", release::os_release(product).as_bytes(), 0o644)?;
    if let Some(bytes) = device_json(product, accounts, apps, &mut composer.problems) {
        composer.generate(osbuild_format::device::PATH.trim_start_matches('/'), &bytes, 0o644)?;
    }
    homes(composer, accounts)
}

/// The homes of users who can log in, and the keys with which they do.
fn homes(composer: &mut Composer, accounts: &Accounts) -> Result<(), TreeError> {
    for (name, user) in &accounts.users {
        let home = user.home.trim_matches('/');
        let is_here = HOMES.contains(&home.split('/').next().unwrap_or_default());
        if !is_here || user.shell.is_none() && user.ssh_keys.is_empty() {
            if !user.ssh_keys.is_empty() {
                let message = format!("the ssh keys of user `{name}` cannot be put into its home: `{}`", user.home);
                composer.problems.add_with_help(message, "choose a home at `/root` or below `/home`");
            }
            continue;
        }
        composer.generate_folder(home, 0o700)?;
        let mut paths = vec![home.to_owned()];
        if !user.ssh_keys.is_empty() {
            let keys: String = user.ssh_keys.iter().map(|key| format!("{key}\n")).collect();
            composer.generate_folder(&format!("{home}/.ssh"), 0o700)?;
            composer.generate(&format!("{home}/.ssh/authorized_keys"), keys.as_bytes(), 0o600)?;
            paths.extend([format!("{home}/.ssh"), format!("{home}/.ssh/authorized_keys")]);
        }
        for path in paths {
            if let Some(item) = composer.root.items.get_mut(&RelPath::new(&path)?) {
                (item.uid, item.gid) = (user.uid, user.gid);
            }
        }
    }
    Ok(())
}
