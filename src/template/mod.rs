//! A Tera template and a context in, text out; strict about undefined names.
//!
//! Invariant: the result depends on the text and the context alone: no environment, clock, file or
//! other template has a way in, and a name that is not in the context is an error even inside an `if`. Time and
//! memory are bounded, whatever the text.

mod bounded;
mod cost;
mod engine;
mod limits;
mod names;
mod path;

use std::fmt;

pub use engine::render;

/// The values that a template may name.
#[derive(Clone, Debug, Default)]
pub struct Context(tera::Context);

impl Context {
    pub fn new() -> Self {
        Context::default()
    }

    /// Sets `name`, replacing what it was.
    pub fn insert(&mut self, name: &str, value: serde_json::Value) {
        self.0.insert(name, &value);
    }

    /// The fields of a JSON object as names; anything but an object gives none.
    pub fn from_json(value: serde_json::Value) -> Self {
        let mut context = Context::new();
        if let serde_json::Value::Object(fields) = value {
            for (name, value) in fields {
                context.insert(&name, value);
            }
        }
        context
    }
}

/// What is wrong with a template, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct TemplateError {
    /// The name given to [`render`], such as a project path.
    pub name: String,
    /// Counts from 1, within the template's text.
    pub line: u32,
    /// Counts from 1, in characters.
    pub column: u32,
    pub message: String,
    pub help: Option<String>,
    /// The line of the template the error is in.
    pub source_line: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n --> {}:{}:{}", self.message, self.name, self.line, self.column)?;
        if !self.source_line.is_empty() {
            let number = self.line.to_string();
            let pad = " ".repeat(number.len());
            let before = " ".repeat(self.column.saturating_sub(1) as usize);
            write!(f, "\n{pad} |\n{number} | {}\n{pad} | {before}^", self.source_line)?;
        }
        match &self.help {
            Some(help) => write!(f, "\nhelp: {help}"),
            None => Ok(()),
        }
    }
}

/// Whether `text` has anything for Tera to do.
pub fn is_template(text: &str) -> bool {
    text.as_bytes().windows(2).any(|pair| pair == b"{{" || pair == b"{%")
}

#[cfg(test)]
mod tests;
