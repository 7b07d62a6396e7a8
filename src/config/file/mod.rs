//! The configuration files as they are written, one type a kind of file.
//!
//! Invariant: these types never leave `config`; what leaves is the model. A field that is not here
//! does not exist, neither in the decoder nor in the schema and the reference.

pub mod app;
pub mod layer;
pub mod machine;
pub mod overriding;
pub mod product;
pub mod recipe;
pub mod scalar;
pub mod tools;
pub mod update;
pub mod xattr;

use super::record::{Decode, Shape};

/// Name of a kind of file, and what describes it.
pub type Kind = (&'static str, fn() -> Shape);

/// The kinds of files.
pub const KINDS: [Kind; 7] = [
    ("recipe", recipe::RecipeFile::shape),
    ("layer", layer::LayerFile::shape),
    ("machine", machine::MachineFile::shape),
    ("product", product::ProductFile::shape),
    ("app", app::AppFile::shape),
    ("tools", tools::ToolsFile::shape),
    ("override", overriding::OverrideFile::shape),
];
