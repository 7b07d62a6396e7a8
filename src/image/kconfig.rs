//! The step `kconfig-check`: a source tree, a final `.config` and what was requested in, the checked `.config` out.
//!
//! Invariant: the configuration leaves unchanged, or not at all.

use crate::io::store::{Node, Store, StoreError};
use crate::model::{Digest, RelPath};
use crate::plan::kconfig::{self, Configuration, FragmentError, ReadError, Requested, Symbols, Unmet, Waiver};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A Kconfig file of Linux 6.12 has at most 100 KB; a source file of busybox 400 KB.
const FILE_LIMIT_BYTES: u64 = 4 << 20;
const SOURCE: &str = "source";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    fragments: Vec<FragmentText>,
    waivers: Vec<WaiverText>,
    /// The kernel's `source/Kconfig`; busybox has `source/Config.in`, which is taken when the other is absent.
    root: String,
    /// `SRCARCH` of the kernel's makefiles.
    architecture: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FragmentText {
    file: String,
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WaiverText {
    option: String,
    reason: String,
    origin: String,
}

#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("the parameters of the step are not valid")]
    Parameters(#[from] serde_json::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the step has no input `{0}`")]
    NoInput(&'static str),
    #[error("{}", joined(.0))]
    Fragments(Vec<FragmentError>),
    #[error("the Kconfig files of the source cannot be read")]
    Kconfig(#[from] ReadError),
    #[error("the final configuration is not what was requested\n{}", joined(.0))]
    Unmet(Vec<Unmet>),
}

fn joined<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join("\n")
}

/// What was requested of a configuration, the configuration, and what its source tree defines.
pub struct Contract {
    pub requested: Requested,
    pub waivers: Vec<Waiver>,
    pub symbols: Symbols,
    pub configuration: Configuration,
}

impl Contract {
    /// Reads the input root and the parameters of the step.
    pub fn read(store: &Store, inputs: &Digest, parameters: &str) -> Result<Contract, CheckError> {
        let parameters: Parameters = serde_json::from_str(parameters)?;
        let text = store.read(&configuration(store, inputs)?, FILE_LIMIT_BYTES)?;
        let fragments = parameters.fragments.iter().map(|fragment| (fragment.file.as_str(), fragment.text.as_str()));
        let requested = kconfig::requested(fragments).map_err(CheckError::Fragments)?;
        let source = Source { store, inputs, failure: Default::default() };
        let root = match parameters.root.strip_prefix("source/").unwrap_or(&parameters.root) {
            root if source.text(root).is_some() => root,
            _ => "Config.in",
        };
        let symbols = kconfig::read(root, &parameters.architecture, &|path| source.text(path));
        // A file that the cache lost would otherwise look like one that the source never had.
        if let Some(failure) = source.failure.take() {
            return Err(failure.into());
        }
        let waivers = parameters.waivers.into_iter().map(WaiverText::into_waiver).collect();
        let configuration = Configuration::parse(&String::from_utf8_lossy(&text));
        Ok(Contract { requested, waivers, symbols: symbols?, configuration })
    }
}

/// Runs the step on an input root; the output is `config`.
pub fn check(store: &Store, inputs: &Digest, parameters: &str) -> Result<BTreeMap<RelPath, Node>, CheckError> {
    let Contract { requested, waivers, symbols, configuration: config } = Contract::read(store, inputs, parameters)?;
    kconfig::check(&requested, &config, &waivers, &symbols).map_err(CheckError::Unmet)?;
    let node = Node::File { digest: configuration(store, inputs)?, executable: false };
    Ok(BTreeMap::from([(config_path(), node)]))
}

fn config_path() -> RelPath {
    RelPath::new("config").expect("`config` is a relative path")
}

fn configuration(store: &Store, inputs: &Digest) -> Result<Digest, CheckError> {
    match store.lookup(inputs, &config_path())? {
        Some(Node::File { digest, .. }) => Ok(digest),
        _ => Err(CheckError::NoInput("config")),
    }
}

impl WaiverText {
    fn into_waiver(self) -> Waiver {
        Waiver { option: self.option, reason: self.reason, origin: self.origin }
    }
}

/// The source tree as text files.
struct Source<'a> {
    store: &'a Store,
    inputs: &'a Digest,
    failure: std::cell::Cell<Option<StoreError>>,
}

impl Source<'_> {
    /// A file by its path in the source; for a `Config.in` that is made by the source's own build, what it will be.
    fn text(&self, path: &str) -> Option<String> {
        self.file(path).or_else(|| match path.strip_suffix("/Config.in") {
            Some(folder) => self.assembled(folder),
            None => None,
        })
    }

    fn file(&self, path: &str) -> Option<String> {
        let path = RelPath::new(&format!("{SOURCE}/{path}")).ok()?;
        match self.kept(self.store.lookup(self.inputs, &path))?? {
            Node::File { digest, .. } => {
                let bytes = self.kept(self.store.read(&digest, FILE_LIMIT_BYTES))?;
                Some(String::from_utf8_lossy(&bytes).into_owned())
            }
            Node::Symlink { .. } | Node::Folder(_) => None,
        }
    }

    /// busybox: `Config.src`, in which a line `INSERT` stands for the `//config:` lines of the folder's C files.
    fn assembled(&self, folder: &str) -> Option<String> {
        let template = self.file(&format!("{folder}/Config.src"))?;
        let mut text = String::new();
        for line in template.lines() {
            match line {
                "INSERT" => text.push_str(&self.config_lines(folder)?),
                _ => writeln!(text, "{line}").expect("a string takes every write"),
            }
        }
        Some(text)
    }

    fn config_lines(&self, folder: &str) -> Option<String> {
        let path = RelPath::new(&format!("{SOURCE}/{folder}")).ok()?;
        let Node::Folder(tree) = self.kept(self.store.lookup(self.inputs, &path))?? else { return None };
        let tree = self.kept(self.store.load_tree(&tree))?;
        let names = tree.entries.keys().filter(|name| name.ends_with(".c"));
        let texts = names.filter_map(|name| self.file(&format!("{folder}/{name}")));
        let of_one = |text: String| -> String {
            text.lines().filter_map(|line| line.strip_prefix("//config:")).map(|line| format!("{line}\n")).collect()
        };
        Some(texts.map(of_one).collect())
    }

    fn kept<T>(&self, result: Result<T, StoreError>) -> Option<T> {
        result.map_err(|failure| self.failure.set(Some(failure))).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::store::TreeBuilder;

    fn run(files: &[(&str, &str)], fragment: &str) -> Result<BTreeMap<RelPath, Node>, String> {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let store = Store::open(folder.path()).expect("a store can be made");
        let mut tree = TreeBuilder::new();
        for (path, text) in files {
            let digest = store.put_bytes(text.as_bytes()).expect("a blob can be stored");
            let path = RelPath::new(path).expect("a valid path");
            tree.insert(&path, Node::File { digest, executable: false }).expect("paths differ");
        }
        let inputs = tree.finish(&store).expect("a tree can be stored");
        let parameters = serde_json::json!({
            "fragments": [{ "file": "kernel-config/a.config", "text": fragment }], "waivers": [],
            "root": "source/Kconfig", "architecture": "x86",
        });
        check(&store, &inputs, &parameters.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_checked_configuration_leaves_unchanged() {
        let files = [("source/Kconfig", "config NET\n\tbool \"net\"\n"), ("config", "CONFIG_NET=y\n")];
        let outputs = run(&files, "CONFIG_NET=y\n").expect("the contract is met");
        let digest = Digest::of(b"CONFIG_NET=y\n");
        let path = RelPath::new("config").expect("a valid path");
        assert_eq!(outputs, BTreeMap::from([(path, Node::File { digest, executable: false })]));
    }

    #[test]
    fn an_unmet_request_names_fragment_option_and_cause() {
        let files = [
            ("source/Kconfig", "config NET\n\tbool \"net\"\nconfig VETH\n\tbool \"veth\"\n\tdepends on NET\n"),
            ("config", "# CONFIG_NET is not set\n"),
        ];
        let error = run(&files, "# what for\nCONFIG_VETH=y\n").expect_err("the contract is broken");
        assert!(error.contains("kernel-config/a.config:2: `CONFIG_VETH=y` is not met"), "{error}");
        assert!(error.contains("depends on `NET` (Kconfig:5), and `NET` is: n"), "{error}");
    }

    #[test]
    fn options_in_the_c_files_of_busybox_are_found() {
        let files = [
            ("source/Config.in", "source shell/Config.in\n"),
            ("source/shell/Config.src", "menu \"Shells\"\n\nINSERT\n\nendmenu\n"),
            (
                "source/shell/ash.c",
                "/* x */\n//config:config ASH\n//config:\tbool \"ash\"\n//config:\tdepends on MMU\nint x;\n",
            ),
            ("config", ""),
        ];
        let error = run(&files, "CONFIG_ASH=y\n").expect_err("the contract is broken");
        assert!(error.contains("depends on `MMU` (shell/Config.in:5)"), "{error}");
    }
}
