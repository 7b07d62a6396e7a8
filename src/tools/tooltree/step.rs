//! The steps `tool-tree` and `merge`: Debian packages, or trees below `layers/`, in; one output `tree` out.
//!
//! Invariant: the inputs that the parameters name are the only ones that are read.

use super::ToolTreeError;
use crate::io::store::{Node, Store, StoreError};
use crate::model::path::InvalidPath;
use crate::model::{Digest, RelPath};
use serde::Deserialize;
use std::collections::BTreeMap;

const TREE: &str = "tree";
const LAYERS: &str = "layers";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// Where each package is in the input root.
    debs: Vec<String>,
    /// Path to target.
    links: BTreeMap<String, String>,
}

#[derive(Debug, thiserror::Error)]
pub enum TreeStepError {
    #[error("the parameters of the step are not valid")]
    Parameters(#[from] serde_json::Error),
    #[error("the step has no input `{0}`")]
    NoInput(String),
    #[error(transparent)]
    Path(#[from] InvalidPath),
    #[error("the tool tree cannot be composed")]
    Compose(#[from] ToolTreeError),
    #[error("two of the trees that are merged differ")]
    Merge(#[source] StoreError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Composes the tree of the packages and links that `parameters` name.
pub fn compose(store: &Store, inputs: &Digest, parameters: &str) -> Result<BTreeMap<RelPath, Node>, TreeStepError> {
    let parameters: Parameters = serde_json::from_str(parameters)?;
    let mut debs = Vec::new();
    for input in parameters.debs {
        match store.lookup(inputs, &RelPath::new(&input)?)? {
            Some(Node::File { digest, .. }) => debs.push((input, digest)),
            _ => return Err(TreeStepError::NoInput(input)),
        }
    }
    let links = parameters.links.iter().map(|(path, target)| Ok((RelPath::new(path)?, target.clone())));
    let links = links.collect::<Result<_, TreeStepError>>()?;
    Ok(BTreeMap::from([(RelPath::new(TREE)?, Node::Folder(super::compose(store, &debs, &links)?))]))
}

/// Lays the trees below `layers/` over each other.
pub fn merge(store: &Store, inputs: &Digest, _parameters: &str) -> Result<BTreeMap<RelPath, Node>, TreeStepError> {
    let merged = store.merge(&layers(store, inputs)?).map_err(|error| match error {
        StoreError::Conflict { .. } => TreeStepError::Merge(error),
        other => TreeStepError::Store(other),
    })?;
    Ok(BTreeMap::from([(RelPath::new(TREE)?, Node::Folder(merged))]))
}

fn layers(store: &Store, inputs: &Digest) -> Result<Vec<Digest>, TreeStepError> {
    let missing = || TreeStepError::NoInput(LAYERS.to_owned());
    let Some(Node::Folder(layers)) = store.load_tree(inputs)?.entries.remove(LAYERS) else { return Err(missing()) };
    let nodes = store.load_tree(&layers)?.entries.into_values();
    nodes.map(|node| if let Node::Folder(tree) = node { Ok(tree) } else { Err(missing()) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::store::TreeBuilder;

    #[test]
    fn layers_that_disagree_and_inputs_that_are_missing_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a store");
        let mut inputs = TreeBuilder::new();
        for (path, text) in [("layers/0/usr/bin/cc", "gcc"), ("layers/1/usr/bin/cc", "clang")] {
            let node = Node::File { digest: store.put_bytes(text.as_bytes()).expect("kept"), executable: true };
            inputs.insert(&RelPath::new(path).expect("valid"), node).expect("inserted");
        }
        let inputs = inputs.finish(&store).expect("kept");
        assert!(matches!(merge(&store, &inputs, "{}"), Err(TreeStepError::Merge(_))));

        let empty = TreeBuilder::new().finish(&store).expect("kept");
        let missing = |error: TreeStepError| error.to_string();
        assert_eq!(merge(&store, &empty, "{}").map_err(missing), Err("the step has no input `layers`".to_owned()));
        let parameters = r#"{"debs":["debs/a.deb"],"links":{}}"#;
        let composed = compose(&store, &empty, parameters).map_err(missing);
        assert_eq!(composed, Err("the step has no input `debs/a.deb`".to_owned()));
    }
}
