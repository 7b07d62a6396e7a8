//! A product and those it extends in, one tree out.
//!
//! Invariant: from the most general product to the one asked for; overrides of each apply to it
//! before the next is laid over it.

use super::cycle;
use super::diagnostic::{suggest, Diagnostic};
use super::file::overriding::TargetKind;
use super::gaps::Gaps;
use super::index::Index;
use super::merge;
use super::overrides::{Overrides, Situation};
use super::read::{File, Kind};
use super::yaml::{Node, Value};
use std::collections::BTreeSet;

/// Fields that say how a product comes about rather than what it is.
const OPERATIONS: [&str; 3] = ["extends", "append", "remove"];

/// The products from the most general one to `name`; none when one is missing or they go in a circle.
pub fn chain<'a>(index: &'a Index, name: &str, gaps: &Gaps, problems: &mut Vec<Diagnostic>) -> Option<Vec<&'a File>> {
    let mut circles = circles(index);
    let mut missing = unknown_parents(index, gaps);
    let broken = !circles.is_empty() || !missing.is_empty();
    problems.append(&mut circles);
    problems.append(&mut missing);
    if broken {
        return None;
    }
    let Some(mut file) = index.products.get(name) else {
        if !gaps.may_define(Kind::Product, name) {
            let problem = Diagnostic::nowhere(format!("there is no product `{name}`"));
            problems.push(problem.maybe_help(suggest(name, index.products.keys().map(String::as_str))));
        }
        return None;
    };
    let mut chain = vec![file];
    while let Some((parent, _)) = extends(file) {
        // One that is not there has been reported, or could not be read.
        file = index.products.get(parent)?;
        chain.push(file);
    }
    chain.reverse();
    Some(chain)
}

/// The products to build for. One that others extend may leave its machine to them; then it is none by itself.
pub fn buildable(index: &Index) -> Vec<&str> {
    let extended: BTreeSet<&str> = index.products.values().filter_map(extends).map(|(name, _)| name).collect();
    let has_machine = |file: &File| {
        let parent = |file: &&File| extends(file).and_then(|(name, _)| index.products.get(name));
        // A circle is reported elsewhere.
        let mut chain = std::iter::successors(Some(file), parent).take(index.products.len());
        chain.any(|file| file.tree.get("machine").is_some())
    };
    let stands = |(name, file): &(&String, &File)| !extended.contains(name.as_str()) || has_machine(file);
    index.products.iter().filter(stands).map(|(name, _)| name.as_str()).collect()
}

fn extends(file: &File) -> Option<(&str, &Node)> {
    let node = file.tree.get("extends")?;
    Some((node.text()?, node))
}

fn circles(index: &Index) -> Vec<Diagnostic> {
    let graph: cycle::Graph = index
        .products
        .iter()
        .filter_map(|(name, file)| {
            let (parent, node) = extends(file)?;
            Some((name.as_str(), vec![(parent, &node.origin)]))
        })
        .collect();
    cycle::problems(&graph, "products", "extends")
}

fn unknown_parents(index: &Index, gaps: &Gaps) -> Vec<Diagnostic> {
    let unknown = |file: &File| {
        let (parent, node) = extends(file)?;
        let known = index.products.keys().map(String::as_str);
        let is_known = index.products.contains_key(parent) || gaps.may_define(Kind::Product, parent);
        (!is_known).then(|| {
            Diagnostic::at(&node.origin, format!("there is no product `{parent}` to extend"))
                .maybe_help(suggest(parent, known))
        })
    };
    index.products.values().filter_map(unknown).collect()
}

/// Lays the products of `chain` over each other; with `overrides`, applies those of each.
pub fn merged(chain: &[&File], overrides: Option<&Overrides>, problems: &mut Vec<Diagnostic>) -> Node {
    let mut done: Option<Node> = None;
    for file in chain {
        let mut own = file.tree.clone();
        let operations = take_operations(&mut own);
        let mut tree = match done.take() {
            None => {
                for (key, node) in operations.iter().filter(|(key, _)| *key != "extends") {
                    let message = format!("`{key}` needs a product to extend");
                    problems
                        .push(Diagnostic::at(&node.origin, message).help("add `extends:`, or set the field itself"));
                }
                own
            }
            Some(mut base) => {
                merge::set(&mut base, &own);
                base.origin = own.origin;
                for (key, node) in &operations {
                    match *key {
                        "append" => merge::append(&mut base, node, problems),
                        "remove" => merge::remove(&mut base, node, problems),
                        _ => {}
                    }
                }
                base
            }
        };
        if let Some(overrides) = overrides {
            overrides.apply(TargetKind::Product, &file.stem, &mut tree, problems);
        }
        done = Some(tree);
    }
    done.expect("a chain has at least the product itself")
}

fn take_operations(tree: &mut Node) -> Vec<(&'static str, Node)> {
    let mut taken = Vec::new();
    if let Value::Map(entries) = &mut tree.value {
        for key in OPERATIONS {
            if let Some(position) = entries.iter().position(|entry| entry.key == key) {
                taken.push((key, entries.remove(position).node));
            }
        }
    }
    taken
}

/// What conditions may ask about the product of `chain`.
pub fn situation(index: &Index, chain: &[&File], tree: &Node) -> Situation {
    let entries = |tree: &Node| tree.get("features").map(|node| node.entries().to_vec()).unwrap_or_default();
    let features = entries(tree).into_iter().map(|entry| (entry.key, entry.node.text() == Some("true"))).collect();
    let all = index.products.values().flat_map(|file| entries(&file.tree)).map(|entry| entry.key);
    let machine = tree.get("machine").and_then(Node::text).unwrap_or_default().to_owned();
    let products = chain.iter().map(|file| file.stem.clone()).collect();
    Situation { features, known_features: all.collect(), products, machine }
}
