//! The steps of osbuild itself, by the names that the plan uses.
//!
//! Invariant: every step that a plan can contain is here.

use crate::exec::step::{Outputs, StepContext, StepRegistry};
use crate::io::store::{Node, Store, StoreError};
use crate::model::{Digest, RelPath};
use crate::plan::steps;
use crate::tools::tooltree;
use crate::{image, tools, tree};
use serde::Deserialize;
use std::collections::BTreeMap;

/// All of them.
pub fn registry() -> StepRegistry {
    let mut registry = StepRegistry::default();
    registry.add(steps::SOURCE.name, |context| {
        tools::source::compose(context.store, context.inputs, context.parameters).map(|tree| folder("source", tree))
    });
    registry.add(steps::TOOL_TREE.name, tool_tree);
    registry.add(steps::MERGE.name, merge);
    registry.add(steps::PACKAGES.name, |c| tree::packages::step(c.store, c.inputs, c.parameters));
    registry.add(steps::SYSROOT.name, |c| tree::sysroot::step(c.store, c.inputs, c.parameters));
    registry.add(steps::ROOTFS.name, |c| tree::rootfs::step(c.store, c.inputs, c.parameters));
    registry.add(steps::KCONFIG_CHECK.name, |c| image::kconfig::check(c.store, c.inputs, c.parameters));
    registry.add(steps::VERITY.name, |c| image::verity::step(c.store, c.inputs, c.parameters));
    registry.add(steps::INITRAMFS.name, |c| image::initramfs_step(c.store, c.inputs, c.parameters));
    registry.add(steps::UKI.name, |c| image::uki::step(c.store, c.inputs, c.parameters));
    registry
}

fn folder(name: &str, tree: Digest) -> Outputs {
    let name = RelPath::new(name).expect("outputs named in this program are valid");
    Outputs::from([(name, Node::Folder(tree))])
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TreeParameters {
    debs: Vec<String>,
    links: BTreeMap<String, String>,
}

#[derive(Debug, thiserror::Error)]
enum TreeStepError {
    #[error("the parameters of the step are not valid")]
    Parameters(#[from] serde_json::Error),
    #[error("the step has no input `{0}`")]
    NoInput(String),
    #[error(transparent)]
    Path(#[from] crate::model::path::InvalidPath),
    #[error("the tool tree cannot be composed")]
    Compose(#[from] tooltree::ToolTreeError),
    #[error("two of the trees that are merged differ")]
    Merge(#[source] StoreError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn tool_tree(context: &StepContext) -> Result<Outputs, TreeStepError> {
    let parameters: TreeParameters = serde_json::from_str(context.parameters)?;
    let mut debs = Vec::new();
    for input in parameters.debs {
        match context.store.lookup(context.inputs, &RelPath::new(&input)?)? {
            Some(Node::File { digest, .. }) => debs.push((input, digest)),
            _ => return Err(TreeStepError::NoInput(input)),
        }
    }
    let links = parameters.links.iter().map(|(path, target)| Ok((RelPath::new(path)?, target.clone())));
    let links = links.collect::<Result<_, TreeStepError>>()?;
    Ok(folder("tree", tooltree::compose(context.store, &debs, &links)?))
}

/// Lays the trees below `layers/` over each other.
fn merge(context: &StepContext) -> Result<Outputs, TreeStepError> {
    let layers = layers(context.store, context.inputs)?;
    let merged = context.store.merge(&layers).map_err(|error| match error {
        StoreError::Conflict { .. } => TreeStepError::Merge(error),
        other => TreeStepError::Store(other),
    })?;
    Ok(folder("tree", merged))
}

fn layers(store: &Store, inputs: &Digest) -> Result<Vec<Digest>, TreeStepError> {
    let missing = || TreeStepError::NoInput("layers".to_owned());
    let Some(Node::Folder(layers)) = store.load_tree(inputs)?.entries.remove("layers") else { return Err(missing()) };
    let nodes = store.load_tree(&layers)?.entries.into_values();
    nodes.map(|node| if let Node::Folder(tree) = node { Ok(tree) } else { Err(missing()) }).collect()
}
