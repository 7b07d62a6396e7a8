//! Overrides that apply to one thing in, the changed tree out.
//!
//! Invariant: applied from the lowest priority to the highest; within one, `set`, `append`, `remove`.

use super::diagnostic::{suggest, Diagnostic};
use super::file::overriding::{Condition, OverrideFile, TargetKind};
use super::merge;
use super::yaml::Node;
use std::collections::{BTreeMap, BTreeSet};

/// What conditions ask about.
#[derive(Clone, Debug, Default)]
pub struct Situation {
    pub features: BTreeMap<String, bool>,
    /// The features of all products: a name that is not here is a mistake.
    pub known_features: BTreeSet<String>,
    /// The product that is built and those it extends.
    pub products: Vec<String>,
    pub machine: String,
}

/// Overrides by what they change; built once, asked for each recipe.
pub struct Overrides<'a> {
    by_target: BTreeMap<(TargetKind, &'a str), Vec<&'a OverrideFile>>,
}

impl<'a> Overrides<'a> {
    /// Reports conditions on features that no product has.
    pub fn new(list: &'a [OverrideFile], situation: Situation, problems: &mut Vec<Diagnostic>) -> Self {
        let mut by_target: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for one in list {
            if one.when.as_ref().is_none_or(|when| situation.holds(when, problems)) {
                by_target.entry((one.target.value.kind, one.target.value.name.as_str())).or_default().push(one);
            }
        }
        Overrides { by_target }
    }

    /// Whether any of them changes the `kind` called `name`.
    pub fn has(&self, kind: TargetKind, name: &str) -> bool {
        self.by_target.contains_key(&(kind, name))
    }

    /// Changes `tree`, the `kind` called `name`.
    pub fn apply(&self, kind: TargetKind, name: &str, tree: &mut Node, problems: &mut Vec<Diagnostic>) {
        for one in self.by_target.get(&(kind, name)).into_iter().flatten() {
            if let Some(new) = &one.set {
                merge::set(tree, &new.0);
            }
            if let Some(new) = &one.append {
                merge::append(tree, &new.0, problems);
            }
            if let Some(gone) = &one.remove {
                merge::remove(tree, &gone.0, problems);
            }
        }
    }
}

impl Situation {
    fn holds(&self, when: &Condition, problems: &mut Vec<Diagnostic>) -> bool {
        let product =
            when.product.as_ref().is_none_or(|product| self.products.iter().any(|p| p == product.value.as_str()));
        let machine = when.machine.as_ref().is_none_or(|machine| self.machine == machine.value.as_str());
        let feature = when.feature.as_ref().is_none_or(|feature| {
            let (name, wanted) = match feature.value.strip_prefix('!') {
                Some(name) => (name, false),
                None => (feature.value.as_str(), true),
            };
            if !self.known_features.contains(name) {
                let help = suggest(name, self.known_features.iter().map(String::as_str));
                let message = format!("no product has a feature `{name}`");
                problems.push(Diagnostic::at(&feature.origin, message).maybe_help(help));
            }
            self.features.get(name).copied().unwrap_or(false) == wanted
        });
        product && machine && feature
    }
}
