//! The project's folders in, every configuration file as a tree out.
//!
//! Invariant: reads `layers/`, `recipes/`, `apps/` and `kernel-config/` only, in an order that does not depend
//! on the file system; one bad file does not hide what is wrong with the others.

use super::diagnostic::{Diagnostic, Sources};
use super::gaps::Gaps;
use super::yaml::{self, Limits, Node};
use super::Fragment;
use crate::io::file::{self, FileError};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Layer,
    Machine,
    Product,
    Tools,
    Override,
    Recipe,
    App,
}

impl Kind {
    /// The field that holds the name.
    pub fn key(self) -> &'static str {
        match self {
            Kind::Layer => "layer",
            Kind::Machine => "machine",
            Kind::Product => "product",
            Kind::Tools => "tools",
            Kind::Override => "override",
            Kind::Recipe => "recipe",
            Kind::App => "app",
        }
    }
}

/// The folders of a layer and what is in them.
const FOLDERS: [(&str, Kind); 6] = [
    ("machines", Kind::Machine),
    ("products", Kind::Product),
    ("tools", Kind::Tools),
    ("overrides", Kind::Override),
    ("recipes", Kind::Recipe),
    ("apps", Kind::App),
];

/// A file that should be read.
struct Found {
    kind: Kind,
    path: String,
    /// Name by its path: the file's or the folder's.
    stem: String,
    /// None: the base recipes.
    layer: Option<Arc<str>>,
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct File {
    pub kind: Kind,
    pub path: Arc<str>,
    pub stem: String,
    pub layer: Option<Arc<str>>,
    pub tree: Node,
}

#[derive(Default)]
pub struct Project {
    pub files: Vec<File>,
    pub sources: Sources,
    pub fragments: BTreeMap<String, Fragment>,
    /// Folders of `layers/`.
    pub layers: Vec<Arc<str>>,
    /// Files that could not be read, or that make no sense.
    pub gaps: Gaps,
}

/// Reads everything. Problems are added to `problems`.
pub fn project(root: &Path, problems: &mut Vec<Diagnostic>) -> Project {
    let mut project = Project::default();
    let found = match find(root, &mut project.layers) {
        Ok(found) => found,
        Err(error) => {
            problems.push(unreadable(&error));
            Vec::new()
        }
    };
    if project.layers.is_empty() && problems.is_empty() {
        let message = format!("`{}` has no layers", root.display());
        problems.push(Diagnostic::nowhere(message).help("a layer is a folder `layers/NAME` with a `layer.yaml`"));
    }
    let read: Vec<_> = found.into_par_iter().map(|found| (found.kind, found.stem.clone(), read(root, found))).collect();
    for (kind, stem, Outcome { file, source, problems: own }) in read {
        problems.extend(own);
        if file.is_none() {
            project.gaps.add(kind, &stem, source.as_ref().map(|(_, text)| text.clone()));
        }
        project.sources.extend(source);
        project.files.extend(file);
    }
    match fragments(root) {
        Ok(fragments) => project.fragments = fragments,
        Err(error) => problems.push(unreadable(&error)),
    }
    project
}

fn unreadable(error: &FileError) -> Diagnostic {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    Diagnostic::nowhere(format!("{error}{cause}"))
}

fn find(root: &Path, layers: &mut Vec<Arc<str>>) -> Result<Vec<Found>, FileError> {
    let mut found = Vec::new();
    recipes(root, "recipes", None, &mut found)?;
    apps(root, "apps", None, &mut found)?;
    for layer in file::list(&root.join("layers"))? {
        let folder = format!("layers/{layer}");
        if layer.starts_with('.') || !root.join(&folder).is_dir() {
            continue;
        }
        let name: Arc<str> = layer.as_str().into();
        layers.push(name.clone());
        let path = format!("{folder}/layer.yaml");
        found.push(Found { kind: Kind::Layer, path, stem: layer, layer: Some(name.clone()) });
        for (below, kind) in FOLDERS {
            let below = format!("{folder}/{below}");
            match kind {
                Kind::Recipe => {
                    recipes(root, &below, Some(&name), &mut found)?;
                    continue;
                }
                Kind::App => {
                    apps(root, &below, Some(&name), &mut found)?;
                    continue;
                }
                _ => {}
            }
            for entry in file::list(&root.join(&below))? {
                if let Some(stem) = yaml_stem(&entry) {
                    let (path, stem) = (format!("{below}/{entry}"), stem.to_owned());
                    found.push(Found { kind, path, stem, layer: Some(name.clone()) });
                }
            }
        }
    }
    Ok(found)
}

/// Recipes of one folder: `NAME.yaml`, or `NAME/recipe.yaml` where patches lie beside it.
fn recipes(root: &Path, folder: &str, layer: Option<&Arc<str>>, found: &mut Vec<Found>) -> Result<(), FileError> {
    for entry in file::list(&root.join(folder))? {
        let (path, stem) = match yaml_stem(&entry) {
            Some(stem) => (format!("{folder}/{entry}"), stem.to_owned()),
            None => (format!("{folder}/{entry}/recipe.yaml"), entry.clone()),
        };
        if yaml_stem(&entry).is_some() || root.join(&path).is_file() {
            found.push(Found { kind: Kind::Recipe, path, stem, layer: layer.cloned() });
        }
    }
    Ok(())
}

/// Apps of one folder: `NAME/app.yaml`, and the recipe that may lie beside it.
fn apps(root: &Path, folder: &str, layer: Option<&Arc<str>>, found: &mut Vec<Found>) -> Result<(), FileError> {
    for stem in file::list(&root.join(folder))? {
        for kind in [Kind::App, Kind::Recipe] {
            let path = format!("{folder}/{stem}/{}.yaml", kind.key());
            if root.join(&path).is_file() {
                found.push(Found { kind, path, stem: stem.clone(), layer: layer.cloned() });
            }
        }
    }
    Ok(())
}

fn yaml_stem(name: &str) -> Option<&str> {
    name.strip_suffix(".yaml").filter(|stem| !stem.is_empty() && !stem.starts_with('.'))
}

struct Outcome {
    file: Option<File>,
    source: Option<(Arc<str>, Arc<str>)>,
    problems: Vec<Diagnostic>,
}

fn read(root: &Path, found: Found) -> Outcome {
    let Found { kind, path, stem, layer } = found;
    let failed = |problem| Outcome { file: None, source: None, problems: vec![problem] };
    let bytes = match file::read(&root.join(&path), Limits::FILE.size_bytes as u64) {
        Ok(bytes) => bytes,
        Err(error) if kind == Kind::Layer && error.source.kind() == std::io::ErrorKind::NotFound => {
            let help = format!("write `schema: 1`, `layer: {stem}` and `priority: 50` into it");
            return failed(Diagnostic::nowhere(format!("layer `{stem}` has no file `{path}`")).help(help));
        }
        Err(error) => return failed(unreadable(&error)),
    };
    let text: Arc<str> = match String::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(error) => {
            let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
            return failed(Diagnostic::nowhere(format!("`{path}` is not UTF-8 text: see line {line}")));
        }
    };
    let path: Arc<str> = path.into();
    let source = Some((path.clone(), text.clone()));
    match yaml::parse(&text, &path, Limits::FILE) {
        Ok(tree) => Outcome { file: Some(File { kind, path, stem, layer, tree }), source, problems: Vec::new() },
        Err(problems) => Outcome { file: None, source, problems },
    }
}

fn fragments(root: &Path) -> Result<BTreeMap<String, Fragment>, FileError> {
    let mut fragments = BTreeMap::new();
    for entry in file::list(&root.join("kernel-config"))? {
        if let Some(name) = entry.strip_suffix(".config") {
            let file = format!("kernel-config/{entry}");
            let text = file::read_text(&root.join(&file))?;
            fragments.insert(name.to_owned(), Fragment { file, text });
        }
    }
    Ok(fragments)
}
