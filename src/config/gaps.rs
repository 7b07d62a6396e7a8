//! Files that could not be understood: what they define is not known to be missing.
//!
//! Invariant: a name is excused only by a file of its own; all other names are checked as ever.

use super::read::Kind;
use std::sync::Arc;

/// A file with its kind, its name, and its text as far as it could be read.
type Gap = (Kind, String, Option<Arc<str>>);

#[derive(Default)]
pub struct Gaps(Vec<Gap>);

impl Gaps {
    pub fn add(&mut self, kind: Kind, name: &str, text: Option<Arc<str>>) {
        self.0.push((kind, name.to_owned(), text));
    }

    /// Whether one of the files would have defined `name`.
    pub fn may_define(&self, kind: Kind, name: &str) -> bool {
        self.0.iter().any(|(own_kind, own_name, _)| *own_kind == kind && own_name == name)
    }

    /// Whether one of the files would have had the package `name`: a recipe or an override that mentions it.
    pub fn may_hold_package(&self, name: &str) -> bool {
        let mentions = |text: &Option<Arc<str>>| text.as_ref().is_none_or(|text| text.contains(name));
        self.0.iter().any(|(kind, own_name, text)| match kind {
            Kind::Recipe => own_name == name || mentions(text),
            Kind::Override => mentions(text),
            _ => false,
        })
    }
}
