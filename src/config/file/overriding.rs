//! `overrides/*.yaml`: named changes to what another layer defines.
//!
//! Invariant: an override names fields, never positions in a string or a list.

use super::scalar::Schema;
use crate::config::record::{choices, parsed, record, Decode, Problems, Shape};
use crate::config::yaml::{Node, Value};
use crate::model::{Located, MachineName, ProductName};

record! {
    /// Changes to a recipe, machine, product, app or tool tree of any layer.
    ///
    /// An override stands in `layers/LAYER/overrides/NAME.yaml`. Overrides of a product apply to the products
    /// that extend it too.
    pub struct OverrideFile as "override" {
        /// Version of this format: 1.
        "schema" schema: Schema,
        /// What is changed: `recipe NAME`, `machine NAME`, `product NAME`, `app NAME` or `tools NAME`.
        "override" target: Located<Target>,
        /// New values; mappings are merged key by key.
        "set" set: Option<Tree>,
        /// Items to add at the end of lists.
        "append" append: Option<Tree>,
        /// Items to take from lists, and keys to take from mappings. An item is named by its text, by its `name`, `path`
        /// or `option`, or is written whole.
        "remove" remove: Option<Tree>,
        /// When it applies; always if not given.
        "when" when: Option<Condition>,
    }
}

record! {
    /// All of what is given must hold.
    pub struct Condition as "condition" {
        /// A feature that must be on; `"!NAME"`: off.
        "feature" feature: Option<Located<String>>,
        /// The product that is built, or one that it extends.
        "product" product: Option<Located<ProductName>>,
        /// The machine that is built for.
        "machine" machine: Option<Located<MachineName>>,
    }
}

/// What an override changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub kind: TargetKind,
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetKind {
    Recipe,
    Machine,
    Product,
    App,
    Tools,
}

choices! { TargetKind as "kind of thing to override" {
    "recipe" => Recipe, "a recipe";
    "machine" => Machine, "a machine";
    "product" => Product, "a product";
    "app" => App, "an app";
    "tools" => Tools, "a tool tree";
} }

parsed! {
    Target, "`recipe NAME`, `machine NAME`, `product NAME`, `app NAME` or `tools NAME`",
        Some("^(recipe|machine|product|app|tools) [a-z0-9][a-z0-9+._-]{0,63}$"), target;
}

fn target(text: &str) -> Result<Target, String> {
    let (kind, name) = text.split_once(' ').unwrap_or((text, ""));
    let kind = match kind {
        "recipe" => Some(TargetKind::Recipe),
        "machine" => Some(TargetKind::Machine),
        "product" => Some(TargetKind::Product),
        "app" => Some(TargetKind::App),
        "tools" => Some(TargetKind::Tools),
        _ => None,
    };
    match kind {
        Some(kind) if !name.trim().is_empty() => Ok(Target { kind, name: name.trim().to_owned() }),
        _ => Err(format!(
            "`{text}` names nothing to override: write `recipe NAME`, `machine NAME`, `product NAME` or `app NAME`"
        )),
    }
}

/// Any mapping: fields of the target.
#[derive(Clone, Debug)]
pub struct Tree(pub Node);

impl Decode for Tree {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if matches!(node.value, Value::Map(_)) {
            return Some(Tree(node.clone()));
        }
        problems.wrong_type(node, "a mapping from fields to values");
        None
    }
    fn shape() -> Shape {
        Shape::Anything
    }
}
