//! A product's name in; its effective tree, its machine's, and what other values may name out.
//!
//! Invariant: overrides apply before templates, so that a template never decides whether an override does.

use super::diagnostic::{suggest, Diagnostic};
use super::file::overriding::TargetKind;
use super::gaps::Gaps;
use super::index::Index;
use super::inherit;
use super::overrides::Overrides;
use super::read::Kind;

use super::render::render;
use super::yaml::{self, Node, Style};
use crate::template::Context;
use serde_json::Value;
use std::collections::BTreeMap;

/// What the user asks for.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    pub product: &'a str,
    pub vars: &'a BTreeMap<String, String>,
    /// An app that the product is to be checked with, as if it named it.
    pub with_app: Option<&'a str>,
}

/// The effective trees of a product and its machine.
pub struct Effective {
    pub product: Node,
    pub machine: Node,
}

/// A product with its overrides and templates applied.
pub struct Resolved<'a> {
    pub overrides: Overrides<'a>,
    /// What the values of recipes and tool trees may name, but for the recipe's own names.
    pub context: Context,
    pub effective: Effective,
}

/// Reports what keeps the product from being whole, and gives none when it or its machine is not there.
pub fn product<'a>(
    index: &'a Index,
    wanted: Wanted,
    gaps: &Gaps,
    problems: &mut Vec<Diagnostic>,
) -> Option<Resolved<'a>> {
    let chain = inherit::chain(index, wanted.product, gaps, problems)?;
    // Conditions ask about features as the product files set them, so those are merged first.
    let plain = inherit::merged(&chain, None, &mut Vec::new());
    let overrides = Overrides::new(&index.overrides, inherit::situation(index, &chain, &plain), problems);
    let mut product = inherit::merged(&chain, Some(&overrides), problems);
    replace_vars(&mut product, wanted.vars, problems);
    let Some(machine_name) = product.get("machine") else {
        let problem = Diagnostic::at(&product.origin, "product lacks the field `machine`");
        problems.push(problem.help("add `machine: NAME`"));
        return None;
    };
    let Some(file) = machine_name.text().and_then(|name| index.machines.get(name)) else {
        let name = machine_name.text().unwrap_or_default();
        if gaps.may_define(Kind::Machine, name) {
            return None;
        }
        let problem = Diagnostic::at(&machine_name.origin, format!("there is no machine `{name}`"));
        problems.push(problem.maybe_help(suggest(name, index.machines.keys().map(String::as_str))));
        return None;
    };
    let mut machine = file.tree.clone();
    overrides.apply(TargetKind::Machine, &file.stem, &mut machine, problems);
    let mut context = context(&mut product, &machine, problems);
    render(&mut product, &context, problems);
    render(&mut machine, &context, problems);
    // A recipe's version is its own.
    context.insert("product_version", scalar(&product, "version"));
    Some(Resolved { overrides, context, effective: Effective { product, machine } })
}

/// Values from outside stand where the product's own were; they are taken as they are.
fn replace_vars(product: &mut Node, vars: &BTreeMap<String, String>, problems: &mut Vec<Diagnostic>) {
    for (name, text) in vars {
        let known = product.get("vars").map(Node::entries).unwrap_or_default().iter().map(|entry| entry.key.as_str());
        let help = suggest(name, known);
        match product.get_mut("vars").and_then(|vars| vars.get_mut(name)) {
            Some(node) => node.value = yaml::Value::Scalar { text: text.clone(), style: Style::Quoted },
            None => problems.push(
                Diagnostic::at(&product.origin, format!("the product has no variable `{name}`")).maybe_help(help),
            ),
        }
    }
}

fn scalar(tree: &Node, key: &str) -> Value {
    Value::String(tree.get(key).and_then(Node::text).unwrap_or_default().to_owned())
}

/// What values may name. Renders `vars` on the way, which may name everything but each other.
fn context(product: &mut Node, machine: &Node, problems: &mut Vec<Diagnostic>) -> Context {
    let mut context = Context::new();
    for (name, tree, key) in [
        ("product", &*product, "product"),
        ("version", &*product, "version"),
        ("machine", machine, "machine"),
        ("architecture", machine, "architecture"),
    ] {
        context.insert(name, scalar(tree, key));
    }
    let features = product.get("features").map(Node::entries).unwrap_or_default();
    let features = features.iter().map(|entry| (entry.key.clone(), Value::Bool(entry.node.text() == Some("true"))));
    context.insert("features", Value::Object(features.collect()));
    context.insert("vars", Value::Object(serde_json::Map::new()));
    if let Some(vars) = product.get_mut("vars") {
        render(vars, &context, problems);
        let text = |node: &Node| Value::String(node.text().unwrap_or_default().to_owned());
        let vars = vars.entries().iter().map(|entry| (entry.key.clone(), text(&entry.node)));
        context.insert("vars", Value::Object(vars.collect()));
    }
    context
}
