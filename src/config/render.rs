//! A tree whose text may hold templates in, the same tree with their results out.
//!
//! Invariant: keys are never templates; a rendered value keeps its place.

use super::diagnostic::Diagnostic;
use super::yaml::{Node, Style, Value};
use crate::model::Origin;
use crate::template::{self, Context, TemplateError};

/// Renders every value below `node`. An item of a list that renders to nothing is left out.
pub fn render(node: &mut Node, context: &Context, problems: &mut Vec<Diagnostic>) {
    match &mut node.value {
        Value::Map(entries) => entries.iter_mut().for_each(|entry| render(&mut entry.node, context, problems)),
        Value::List(items) => {
            items.retain_mut(|item| {
                let was_template = has_template(item);
                render(item, context, problems);
                !(was_template && item.text() == Some(""))
            });
        }
        Value::Scalar { text, style } => {
            if !template::is_template(text) {
                return;
            }
            match template::render(text, "", context) {
                Ok(done) => {
                    *text = if *style == Style::Block { done } else { done.trim().to_owned() };
                    *style = Style::Rendered;
                }
                Err(error) => problems.push(located(error, &node.origin, *style)),
            }
        }
    }
}

/// Whether any value below `node` is a template.
pub fn needs_rendering(node: &Node) -> bool {
    match &node.value {
        Value::Map(entries) => entries.iter().any(|entry| needs_rendering(&entry.node)),
        Value::List(items) => items.iter().any(needs_rendering),
        Value::Scalar { .. } => has_template(node),
    }
}

fn has_template(node: &Node) -> bool {
    node.text().is_some_and(template::is_template)
}

/// Moves a place within a text to the text's place in the file, as far as its style allows.
fn located(error: TemplateError, origin: &Origin, style: Style) -> Diagnostic {
    let right = error.column.saturating_sub(1);
    let (line, column) = match style {
        Style::Block => (origin.line + error.line - 1, origin.column + right),
        Style::Plain if error.line == 1 => (origin.line, origin.column + right),
        Style::Quoted if error.line == 1 => (origin.line, origin.column + 1 + right),
        _ => (origin.line, origin.column),
    };
    Diagnostic::at(&Origin { file: origin.file.clone(), line, column }, error.message).maybe_help(error.help)
}
