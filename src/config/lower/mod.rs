//! Files as they are written in, the model out.
//!
//! Invariant: what a single file can get wrong is found here; what takes two files, in `check`.

mod app;
mod machine;
mod places;
mod product;
mod recipe;
mod update;

pub use app::app;
pub use machine::machine;
pub use product::{check_accounts, product, BUILT_IN};
pub use recipe::recipe;

use super::diagnostic::Diagnostic;
use super::file::recipe::MetadataEntry;
use super::file::scalar::Word;
use super::file::tools::ToolsFile;
use crate::model::recipe::{DeviceNode, FileMetadata};
use crate::model::tooltree::ToolTree;
use crate::model::{Located, RelPath};
use std::collections::BTreeMap;

fn words(map: BTreeMap<String, Word>) -> BTreeMap<String, String> {
    map.into_iter().map(|(key, word)| (key, word.0)).collect()
}

fn values<T>(list: Vec<Located<T>>) -> Vec<T> {
    list.into_iter().map(|item| item.value).collect()
}

fn metadata(entry: MetadataEntry) -> FileMetadata {
    let MetadataEntry { path, user, group, mode, xattrs, device, origin } = entry;
    FileMetadata {
        path: path.0,
        user: user.map(|user| user.value),
        group: group.map(|group| group.value),
        mode: mode.map(|mode| mode.0),
        xattrs: xattrs.0,
        device: device.map(|d| DeviceNode { block: d.block, major: d.major, minor: d.minor }),
        origin,
    }
}

/// A tool tree.
pub fn tool_tree(file: ToolsFile, problems: &mut Vec<Diagnostic>) -> Option<ToolTree> {
    let before = problems.len();
    let mut links = BTreeMap::new();
    for (path, target) in file.links {
        match RelPath::from_absolute(&path) {
            Ok(path) => drop(links.insert(path, target)),
            Err(error) => problems.push(Diagnostic::at(&file.origin, error.to_string())),
        }
    }
    for package in file.packages.iter().chain(&file.exclude) {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
        let (name, suite) = package.value.split_once('/').unwrap_or((&package.value, "any"));
        if name.is_empty() || suite.is_empty() || !name.bytes().all(plain) || !suite.bytes().all(plain) {
            let message = format!("`{}` is not a Debian package: write `NAME` or `NAME/SUITE`", package.value);
            problems.push(Diagnostic::at(&package.origin, message));
        }
    }
    if file.packages.is_empty() {
        problems.push(Diagnostic::at(&file.origin, "a tool tree needs at least one package"));
    }
    (problems.len() == before).then(|| ToolTree {
        name: file.tools.value,
        packages: file.packages,
        exclude: values(file.exclude),
        links,
        origin: file.origin,
    })
}
