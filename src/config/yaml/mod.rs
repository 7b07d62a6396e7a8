//! YAML text in, a tree whose every value knows its line and column out; and the way back.
//!
//! Invariant: this folder alone knows which YAML libraries we use.

mod emit;
mod node;
mod parse;

pub use emit::{document, scalar};
pub use node::{Entry, Meaning, Node, Style, Value};
pub use parse::{parse, Limits};

#[cfg(test)]
mod tests;
