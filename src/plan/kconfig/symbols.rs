//! What the Kconfig files of a source tree define.
//!
//! Invariant: an option exists when it has a definition; one that is only ever selected has none.

use super::expression::Expression;
use super::Place;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every option by name, without `CONFIG_`.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    pub(super) by_name: BTreeMap<String, Symbol>,
    pub(super) choices: Vec<Choice>,
}

/// An option; Kconfig files may define one several times, as each architecture does.
#[derive(Clone, Debug, Default)]
pub(super) struct Symbol {
    pub definitions: Vec<Definition>,
    /// Who sets it, as with `select`.
    pub selected_by: Vec<Selection>,
}

#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub place: Place,
    /// There is something a person, or a fragment, can answer.
    pub prompt: bool,
    /// What must hold for the prompt to be seen: its own condition, `depends on`, and those of all enclosing blocks.
    pub dependencies: Vec<Arc<Dependency>>,
    /// Index in [`Symbols::choices`].
    pub choice: Option<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Dependency {
    pub expression: Expression,
    pub place: Place,
}

#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub by: String,
    pub condition: Option<Expression>,
    pub place: Place,
}

/// Options of which one is set.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub members: Vec<String>,
    pub place: Place,
}

impl Symbols {
    /// How many options there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The option whose name is most like `name`, when one is.
    pub(super) fn nearest(&self, name: &str) -> Option<&str> {
        let defined = self.by_name.iter().filter(|(_, symbol)| !symbol.definitions.is_empty());
        let scored = defined.map(|(known, _)| (strsim::normalized_damerau_levenshtein(name, known), known));
        scored.filter(|(score, _)| *score > 0.7).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known.as_str())
    }
}
