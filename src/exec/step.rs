//! Steps of osbuild itself: a task's name in, the function that does it out.
//!
//! Invariant: a step is a pure function of the input root and its parameters; what it leaves is in the store.

use crate::io::store::{Node, Store};
use crate::model::{Digest, RelPath};
use std::collections::BTreeMap;

/// What a step gets.
pub struct StepContext<'a> {
    pub store: &'a Store,
    /// Root `Directory` of the input root.
    pub inputs: &'a Digest,
    /// Canonical JSON.
    pub parameters: &'a str,
}

/// Output path to content that the store has.
pub type Outputs = BTreeMap<RelPath, Node>;
pub type StepError = Box<dyn std::error::Error + Send + Sync>;
pub type StepFn = Box<dyn Fn(&StepContext) -> Result<Outputs, StepError> + Send + Sync>;

/// The steps that this build of osbuild knows, by name.
#[derive(Default)]
pub struct StepRegistry {
    steps: BTreeMap<&'static str, StepFn>,
}

impl StepRegistry {
    /// Adds a step. Its version is part of each task's key and needs no look-up: a program has one of each.
    pub fn add<E>(
        &mut self,
        name: &'static str,
        step: impl Fn(&StepContext) -> Result<Outputs, E> + Send + Sync + 'static,
    ) where
        E: Into<StepError>,
    {
        self.steps.insert(name, Box::new(move |context| step(context).map_err(Into::into)));
    }

    /// Sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.steps.keys().copied()
    }

    pub fn get(&self, name: &str) -> Option<&StepFn> {
        self.steps.get(name)
    }
}
