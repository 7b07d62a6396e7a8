//! YAML layers in, a valid [`Config`] out, or every error at once.
//!
//! Invariant: `load` reads only files below the project; it never touches the network or the cache.

pub mod diagnostic;
pub mod lock;
pub mod record;
pub mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics};

use crate::model::machine::Machine;
use crate::model::product::Product;
use crate::model::recipe::Recipe;
use crate::model::tooltree::ToolTree;
use crate::model::{MachineName, ProductName, RecipeName, ToolTreeName};
use std::collections::BTreeMap;

/// Everything the layers define, with one product's overrides and features applied.
#[derive(Clone, Debug)]
pub struct Config {
    pub product: Product,
    pub machine: Machine,
    pub recipes: BTreeMap<RecipeName, Recipe>,
    pub tool_trees: BTreeMap<ToolTreeName, ToolTree>,
    /// Kernel fragments by name, with their text (`kernel-config/NAME.config`).
    pub fragments: BTreeMap<String, Fragment>,
    pub all_products: Vec<ProductName>,
    pub all_machines: Vec<MachineName>,
}

/// A file of `kernel-config/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Project path, for messages.
    pub file: String,
    pub text: String,
}
