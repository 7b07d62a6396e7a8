//! Problems in configuration files, shown all at once: message, place, source line, hint.
//!
//! Invariant: sorted by file, line and column, without repetitions, so equal input gives equal text.

use crate::model::Origin;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// None: it belongs to no line, such as a folder that is missing.
    pub origin: Option<Origin>,
    pub message: String,
    pub help: Option<String>,
    /// The text of the origin's line; [`Diagnostics::new`] fills it in.
    pub source_line: Option<String>,
}

impl Diagnostic {
    pub fn at(origin: &Origin, message: impl Into<String>) -> Self {
        Diagnostic { origin: Some(origin.clone()), message: message.into(), help: None, source_line: None }
    }

    pub fn nowhere(message: impl Into<String>) -> Self {
        Diagnostic { origin: None, message: message.into(), help: None, source_line: None }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a hint when there is one.
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }
}

/// The texts of the files that were read, by project path.
pub type Sources = BTreeMap<Arc<str>, Arc<str>>;

/// At least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Sorts the problems and quotes their lines.
    pub fn new(mut list: Vec<Diagnostic>, sources: &Sources) -> Self {
        list.sort();
        list.dedup();
        for problem in &mut list {
            if let (Some(origin), None) = (&problem.origin, &problem.source_line) {
                let line = origin.line.saturating_sub(1) as usize;
                problem.source_line =
                    sources.get(&origin.file).and_then(|text| text.lines().nth(line)).map(str::to_owned);
            }
        }
        Diagnostics(list)
    }
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            problem.fmt(f)?;
        }
        if self.0.len() > 1 {
            write!(f, "\n\n{} errors", self.0.len())?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        if let Some(origin) = &self.origin {
            write!(f, "\n --> {origin}")?;
            if let Some(line) = &self.source_line {
                quote(f, line, origin)?;
            }
        }
        match &self.help {
            Some(help) => write!(f, "\nhelp: {help}"),
            None => Ok(()),
        }
    }
}

/// Characters of a line that are shown; the caret's surroundings matter, not a megabyte of them.
const WIDTH: usize = 120;

fn quote(f: &mut fmt::Formatter<'_>, line: &str, origin: &Origin) -> fmt::Result {
    let number = origin.line.to_string();
    let pad = " ".repeat(number.len());
    let column = origin.column.saturating_sub(1) as usize;
    let skipped = if column > WIDTH - 20 { column - 20 } else { 0 };
    // Control characters could repaint the terminal.
    let shown: String = line.chars().skip(skipped).take(WIDTH).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let dots = if skipped > 0 { "..." } else { "" };
    let caret = " ".repeat(dots.len() + column - skipped);
    write!(f, "\n{pad} |\n{number} | {dots}{shown}\n{pad} | {caret}^")
}

/// `did you mean` for the nearest of `known`, or the whole of a short list.
pub fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut names: Vec<&str> = known.into_iter().collect();
    let near = names.iter().map(|name| (strsim::damerau_levenshtein(word, name), *name)).min();
    match near {
        Some((distance, name)) if distance <= 1 + word.chars().count() / 3 => Some(format!("did you mean `{name}`?")),
        Some(_) if names.len() <= 12 => {
            names.sort_unstable();
            Some(format!("known here: {}", names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_sorted_and_quote_their_lines() {
        let file: Arc<str> = "layers/core/layer.yaml".into();
        let sources = Sources::from([(file.clone(), "schema: 1\nlayr: core\n".into())]);
        let origin = |line, column| Origin { file: file.clone(), line, column };
        let first =
            Diagnostic::at(&origin(2, 1), "unknown field `layr`").maybe_help(suggest("layr", ["layer", "priority"]));
        let list = vec![first.clone(), Diagnostic::at(&origin(1, 9), "bad"), first];
        assert_eq!(
            Diagnostics::new(list, &sources).to_string(),
            "error: bad\n --> layers/core/layer.yaml:1:9\n  |\n1 | schema: 1\n  |         ^\n\n\
             error: unknown field `layr`\n --> layers/core/layer.yaml:2:1\n  |\n2 | layr: core\n  | ^\n\
             help: did you mean `layer`?\n\n2 errors"
        );
    }
}
