//! YAML layers in, a valid [`Config`] out, or every error at once.
//!
//! Invariant: `load` reads only files below the project; it never touches the network or the cache.

mod check;
mod check_apps;
mod cycle;
pub mod diagnostic;
mod file;
mod gaps;
mod index;
mod inherit;
mod load;
pub mod lock;
mod lower;
mod merge;
mod others;
mod overrides;
mod read;
mod record;
pub mod reference;
mod render;
mod resolve;
pub mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics};
pub use load::DEFAULT_PRODUCT;

use crate::model::app::App;
use crate::model::machine::Machine;
use crate::model::product::Product;
use crate::model::recipe::Recipe;
use crate::model::tooltree::ToolTree;
use crate::model::{AppName, MachineName, ProductName, RecipeName, ToolTreeName};
use std::collections::BTreeMap;
use std::path::Path;
use yaml::{Entry, Node, Value};

/// Everything the layers define, with one product's overrides and features applied.
#[derive(Clone, Debug)]
pub struct Config {
    pub product: Product,
    pub machine: Machine,
    pub recipes: BTreeMap<RecipeName, Recipe>,
    /// All of them, whether the product has them or not.
    pub apps: BTreeMap<AppName, App>,
    pub tool_trees: BTreeMap<ToolTreeName, ToolTree>,
    /// Kernel fragments by name, with their text (`kernel-config/NAME.config`).
    pub fragments: BTreeMap<String, Fragment>,
    pub all_products: Vec<ProductName>,
    pub all_machines: Vec<MachineName>,
    /// Of Debian's archive, the default one first; none: those that osbuild knows.
    pub suites: Vec<String>,
}

/// A file of `kernel-config/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Project path, for messages.
    pub file: String,
    pub text: String,
}

/// Everything that `project` defines, with `product` (or the default one) resolved.
pub fn load(project: &Path, product: Option<&str>) -> Result<Config, Diagnostics> {
    load_with(project, product, &BTreeMap::new())
}

/// Like [`load`], with values that replace variables (`vars`) of the product.
pub fn load_with(
    project: &Path,
    product: Option<&str>,
    vars: &BTreeMap<String, String>,
) -> Result<Config, Diagnostics> {
    load::load(project, product, vars).map(|(config, _)| config)
}

/// Like [`load`], as if the product had `app`.
pub fn load_with_app(project: &Path, product: Option<&str>, app: &str) -> Result<Config, Diagnostics> {
    let product = product.unwrap_or(DEFAULT_PRODUCT);
    let wanted = resolve::Wanted { product, vars: &BTreeMap::new(), with_app: Some(app) };
    load::load_wanted(project, wanted).map(|(config, _)| config)
}

/// Everything that `project` defines, once for each product that can be built.
pub fn load_all(project: &Path) -> Result<Vec<Config>, Diagnostics> {
    load::load_all(project)
}

/// Problems that a later stage found, with the lines of `project` that they point at.
pub fn explain(project: &Path, problems: Vec<Diagnostic>) -> Diagnostics {
    let mut sources = diagnostic::Sources::new();
    for origin in problems.iter().filter_map(|problem| problem.origin.as_ref()) {
        if !sources.contains_key(&origin.file) {
            // A file that went away in between leaves the message without its line.
            if let Ok(text) = crate::io::file::read_text(&project.join(&*origin.file)) {
                sources.insert(origin.file.clone(), text.into());
            }
        }
    }
    Diagnostics::new(problems, &sources)
}

/// The effective YAML of a product and its machine: inheritance, overrides and templates applied. With
/// `origin`, each value is followed by `# file:line:column`, where it was set.
pub fn show(project: &Path, product: Option<&str>, origin: bool) -> Result<String, Diagnostics> {
    let (_, effective) = load::load(project, product, &BTreeMap::new())?;
    let at = effective.product.origin.clone();
    let entry = |key: &str, node| Entry { key: key.to_owned(), origin: at.clone(), node };
    let parts = vec![entry("product", effective.product), entry("machine", effective.machine)];
    Ok(yaml::document(&Node { value: Value::Map(parts), origin: at.clone() }, origin))
}

#[cfg(test)]
mod tests;
