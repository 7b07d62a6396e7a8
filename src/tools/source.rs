//! The step `source`: archives, project files and crates in, one source tree out.
//!
//! Invariant: each part lies where its recipe says; two parts that disagree about a path are an error.

use super::archive::{self, ArchiveError};
use super::vendor::{self, VendorError};
use crate::io::store::{Node, Store, StoreError, TreeBuilder};
use crate::model::path::InvalidPath;
use crate::model::recipe::InstallFile;
use crate::model::{Digest, RelPath};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    parts: Vec<Part>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Part {
    /// A file or folder of the project.
    Tree {
        input: String,
        name: String,
        into: Option<String>,
    },
    /// A file from outside, kept as it is.
    File {
        input: String,
        name: String,
        into: Option<String>,
    },
    Archive {
        input: String,
        strip: u32,
        inner: Option<String>,
        into: Option<String>,
        /// For a recipe whose files reach the device as they are.
        #[serde(default)]
        installs: Option<Installs>,
    },
    Crates {
        crates: Vec<CratePart>,
        into: Option<String>,
    },
}

/// Where parts of the source tree go on the device, and the paths there whose mode some metadata says, without `usr/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Installs {
    files: Vec<InstalledFile>,
    declared: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InstalledFile {
    from: Option<String>,
    to: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CratePart {
    name: String,
    version: String,
    input: String,
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("the parameters of the step are not valid")]
    Parameters(#[from] serde_json::Error),
    #[error(transparent)]
    Path(#[from] InvalidPath),
    #[error("the step has no input `{0}`")]
    NoInput(String),
    #[error("a source archive cannot be unpacked")]
    Archive(#[from] ArchiveError),
    #[error("the crates cannot be unpacked")]
    Vendor(#[from] VendorError),
    /// Paths of the source tree, where they go on the device, and their modes.
    #[error("{}", set_id_message(.0))]
    SetId(Vec<(RelPath, RelPath, u32)>),
    #[error("two sources have the same path")]
    Conflict(#[source] StoreError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The output `source` is the tree that the parts make together.
pub fn step(store: &Store, inputs: &Digest, parameters: &str) -> Result<BTreeMap<RelPath, Node>, SourceError> {
    Ok(BTreeMap::from([(RelPath::new("source")?, Node::Folder(compose(store, inputs, parameters)?))]))
}

fn compose(store: &Store, inputs: &Digest, parameters: &str) -> Result<Digest, SourceError> {
    let parameters: Parameters = serde_json::from_str(parameters)?;
    let mut builder = TreeBuilder::new();
    let folder = |into: &Option<String>| into.as_deref().map(RelPath::new).transpose();
    for part in &parameters.parts {
        match part {
            Part::Tree { input, name, into } | Part::File { input, name, into } => {
                match lookup(store, inputs, input)? {
                    Node::Folder(tree) => add_tree(&mut builder, folder(into)?, tree)?,
                    node => {
                        let name = RelPath::new(name)?;
                        let path = folder(into)?.map_or(name.clone(), |folder| folder.join(&name));
                        builder.insert(&path, node).map_err(SourceError::Conflict)?;
                    }
                }
            }
            Part::Archive { input, strip, inner, into, installs } => {
                let inner = inner.as_deref().map(RelPath::new).transpose()?;
                let unpacked = archive::unpack(store, &file(store, inputs, input)?, *strip, inner.as_ref())?;
                if let Some(installs) = installs {
                    refuse_set_id(&unpacked.set_id, folder(into)?.as_ref(), installs)?;
                }
                add_tree(&mut builder, folder(into)?, unpacked.tree)?;
            }
            Part::Crates { crates, into } => {
                let mut files = Vec::new();
                for part in crates {
                    files.push((part.name.clone(), part.version.clone(), file(store, inputs, &part.input)?));
                }
                add_tree(&mut builder, folder(into)?, vendor::compose(store, &files)?)?;
            }
        }
    }
    builder.finish(store).map_err(|error| match error {
        StoreError::Conflict { .. } => SourceError::Conflict(error),
        other => SourceError::Store(other),
    })
}

/// A tree keeps no set-id bit: one that would be lost on its way to the device, with nobody deciding so, is an error.
fn refuse_set_id(
    set_id: &BTreeMap<RelPath, u32>,
    into: Option<&RelPath>,
    installs: &Installs,
) -> Result<(), SourceError> {
    let mut undeclared = Vec::new();
    for file in &installs.files {
        let from = file.from.as_deref().map(RelPath::new).transpose()?;
        let file = InstallFile { from, to: RelPath::new(&file.to)?, executable: false };
        for (path, mode) in set_id {
            let source = into.map_or_else(|| path.clone(), |folder| folder.join(path));
            let installed = file.installed(&source).filter(|path| !installs.declared.contains(path.in_merged_usr()));
            undeclared.extend(installed.map(|installed| (source, installed, *mode)));
        }
    }
    match undeclared.is_empty() {
        true => Ok(()),
        false => Err(SourceError::SetId(undeclared)),
    }
}

fn set_id_message(files: &[(RelPath, RelPath, u32)]) -> String {
    const SHOWN: usize = 10;
    let one = |(source, path, mode): &(RelPath, RelPath, u32)| {
        format!("`{source}` has mode {mode:04o} in the archive, but no metadata says the mode of `/{path}`")
    };
    let mut lines: Vec<String> = files.iter().take(SHOWN).map(one).collect();
    if files.len() > SHOWN {
        lines.push(format!("and {} more", files.len() - SHOWN));
    }
    lines.join("\n")
}

fn add_tree(builder: &mut TreeBuilder, into: Option<RelPath>, tree: Digest) -> Result<(), SourceError> {
    builder.insert_tree(into.as_ref(), tree).map_err(SourceError::Conflict)
}

fn lookup(store: &Store, inputs: &Digest, path: &str) -> Result<Node, SourceError> {
    store.lookup(inputs, &RelPath::new(path)?)?.ok_or_else(|| SourceError::NoInput(path.to_owned()))
}

fn file(store: &Store, inputs: &Digest, path: &str) -> Result<Digest, SourceError> {
    match lookup(store, inputs, path)? {
        Node::File { digest, .. } => Ok(digest),
        _ => Err(SourceError::NoInput(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_lies_by_its_name_and_a_folder_by_its_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a store");
        let digest = store.put_bytes(b"text").expect("kept");
        let node = Node::File { digest, executable: true };
        let path = |text: &str| RelPath::new(text).expect("valid");
        let mut inner = TreeBuilder::new();
        inner.insert(&path("a/b"), node.clone()).expect("inserted");
        let tree = inner.finish(&store).expect("kept");
        let mut inputs = TreeBuilder::new();
        inputs.insert(&path("inputs/0"), node.clone()).expect("inserted");
        inputs.insert_tree(Some(&path("inputs/1")), tree).expect("inserted");
        let inputs = inputs.finish(&store).expect("kept");
        let parameters = r#"{"parts":[{"kind":"tree","input":"inputs/0","name":"run.sh","into":"tools"},
            {"kind":"tree","input":"inputs/1","name":"files","into":null}]}"#;
        let source = compose(&store, &inputs, parameters).expect("composed");
        let paths: Vec<_> = store.walk(&source).expect("walked").iter().map(|entry| entry.path.to_string()).collect();
        assert_eq!(paths, ["a", "a/b", "tools", "tools/run.sh"]);
        assert_eq!(store.lookup(&source, &path("tools/run.sh")).expect("read"), Some(node));

        let clash = r#"{"parts":[{"kind":"tree","input":"inputs/0","name":"a","into":null},
            {"kind":"tree","input":"inputs/1","name":"files","into":null}]}"#;
        let error = compose(&store, &inputs, clash).expect_err("`a` is a file and a folder");
        assert!(matches!(error, SourceError::Conflict(_)), "{error:?}");
    }

    #[test]
    fn a_set_id_bit_of_what_is_installed_is_declared_or_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a store");
        let mut tar = tar::Builder::new(Vec::new());
        for (path, mode) in [("x/bin/su", 0o4755), ("x/bin/ls", 0o755), ("x/doc/su", 0o2755), ("x/bin/games/", 0o2775)]
        {
            let mut header = tar::Header::new_gnu();
            header.set_mode(mode);
            header.set_size(0);
            if path.ends_with('/') {
                header.set_entry_type(tar::EntryType::Directory);
            }
            tar.append_data(&mut header, path, &[][..]).expect("in memory");
        }
        let digest = store.put_bytes(&tar.into_inner().expect("in memory")).expect("kept");
        let mut inputs = TreeBuilder::new();
        let archive = RelPath::new("a").expect("valid");
        inputs.insert(&archive, Node::File { digest, executable: false }).expect("inserted");
        let inputs = inputs.finish(&store).expect("kept");
        let composed = |installs: serde_json::Value| {
            let part = serde_json::json!({ "kind": "archive", "input": "a", "strip": 1, "inner": null, "into": "in", "installs": installs });
            compose(&store, &inputs, &serde_json::json!({ "parts": [part] }).to_string()).map_err(|e| e.to_string())
        };
        let files = serde_json::json!([{ "from": "in/bin", "to": "usr/bin" }]);
        let error = composed(serde_json::json!({ "files": files, "declared": ["bin/ls"] })).expect_err("undeclared");
        let expected =
            "`in/bin/games` has mode 2775 in the archive, but no metadata says the mode of `/usr/bin/games`\n\
                        `in/bin/su` has mode 4755 in the archive, but no metadata says the mode of `/usr/bin/su`";
        assert_eq!(error, expected);
        let declared = serde_json::json!({ "files": files, "declared": ["bin/su", "bin/games"] });
        composed(declared).expect("declared");
        composed(serde_json::Value::Null).expect("a build decides on its own modes");
    }
}
