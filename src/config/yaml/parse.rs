//! Text to tree, within limits, or everything that is wrong with it.
//!
//! Invariant: memory is bounded by the size of the text: no anchors, so nothing is said once and
//! built twice; nesting is bounded, so no reader of the tree can run out of stack.

use super::node::{Entry, Node, Style, Value};
use crate::config::diagnostic::Diagnostic;
use crate::model::Origin;
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub size_bytes: usize,
    pub depth: usize,
}

impl Limits {
    /// Of a file that people write.
    pub const FILE: Limits = Limits { size_bytes: 1 << 20, depth: 32 };
    /// Of the lock, which a program writes.
    pub const LOCK: Limits = Limits { size_bytes: 16 << 20, depth: 8 };
}

/// The one document of `text`. `file` is its project path.
pub fn parse(text: &str, file: &Arc<str>, limits: Limits) -> Result<Node, Vec<Diagnostic>> {
    let start = Origin { file: file.clone(), line: 1, column: 1 };
    if text.len() > limits.size_bytes {
        let message = format!("the file is too large: {} bytes, at most {}", text.len(), limits.size_bytes);
        return Err(vec![Diagnostic::at(&start, message)]);
    }
    // A YAML 1.2 stream has no NUL, and the scanner takes one for the end of its input.
    if let Some(line) = text.lines().position(|line| line.contains('\0')) {
        let origin = Origin { line: line as u32 + 1, ..start };
        return Err(vec![Diagnostic::at(&origin, "the file holds a NUL character")]);
    }
    let mut builder = Builder { file, limits, open: Vec::new(), root: None, problems: Vec::new() };
    for event in Parser::new_from_str(text) {
        let going = match event {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => {
                let origin = builder.origin(error.marker().line(), error.marker().col());
                let message = format!("this is not YAML: {}", error.info());
                let help = "check the indentation and the quotes on this line and the one before";
                builder.problems.push(Diagnostic::at(&origin, message).help(help));
                false
            }
        };
        if !going {
            break;
        }
    }
    match builder.root {
        _ if !builder.problems.is_empty() => Err(builder.problems),
        Some(root) => Ok(root),
        None => Err(vec![Diagnostic::at(&start, "the file is empty").help("begin with `schema: 1`")]),
    }
}

/// A list or mapping whose end has not come.
struct Open {
    node: Node,
    /// The key whose value comes next.
    key: Option<(String, Origin)>,
    /// Keys of a mapping, and the line of each.
    seen: HashMap<String, u32>,
}

struct Builder<'a> {
    file: &'a Arc<str>,
    limits: Limits,
    open: Vec<Open>,
    root: Option<Node>,
    problems: Vec<Diagnostic>,
}

impl Builder<'_> {
    fn origin(&self, line: usize, column: usize) -> Origin {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Origin { file: self.file.clone(), line: count(line.max(1)), column: count(column + 1) }
    }

    /// Takes one event; false when the rest of the file makes no sense any more.
    fn event(&mut self, event: Event<'_>, span: Span) -> bool {
        let origin = self.origin(span.start.line(), span.start.col());
        match event {
            Event::Alias(_) => self.refuse(&origin, "aliases (`*name`) are not supported"),
            Event::Scalar(_, _, anchor, _) | Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                self.refuse(&origin, "anchors (`&name`) are not supported")
            }
            Event::Scalar(_, _, _, Some(tag))
            | Event::SequenceStart(_, Some(tag))
            | Event::MappingStart(_, Some(tag)) => {
                let help = "write the value in quotes to make it text";
                self.problems.push(Diagnostic::at(&origin, format!("tags are not supported: `{tag}`")).help(help));
                false
            }
            Event::Scalar(text, style, _, None) => {
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::Literal => Style::Block,
                    _ => Style::Quoted,
                };
                self.scalar(text.into_owned(), style, origin);
                true
            }
            Event::SequenceStart(..) => self.open(Value::List(Vec::new()), origin),
            Event::MappingStart(..) => self.open(Value::Map(Vec::new()), origin),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    self.place(open.node);
                }
                true
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                self.problems.push(Diagnostic::at(&origin, "a second document begins here").help("remove the `---`"));
                false
            }
            _ => true,
        }
    }

    fn refuse(&mut self, origin: &Origin, message: &str) -> bool {
        let help = "write the value where it is needed, or use an override";
        self.problems.push(Diagnostic::at(origin, message).help(help));
        false
    }

    fn open(&mut self, value: Value, origin: Origin) -> bool {
        if self.awaits_key() {
            self.problems.push(Diagnostic::at(&origin, "a key must be text, not a list or mapping"));
            return false;
        }
        if self.open.len() >= self.limits.depth {
            let message = format!("nested too deeply: at most {} levels", self.limits.depth);
            self.problems.push(Diagnostic::at(&origin, message));
            return false;
        }
        self.open.push(Open { node: Node { value, origin }, key: None, seen: HashMap::new() });
        true
    }

    fn awaits_key(&self) -> bool {
        self.open.last().is_some_and(|open| matches!(open.node.value, Value::Map(_)) && open.key.is_none())
    }

    fn scalar(&mut self, text: String, style: Style, origin: Origin) {
        if !self.awaits_key() {
            return self.place(Node { value: Value::Scalar { text, style }, origin });
        }
        if style == Style::Plain && text == "<<" {
            self.refuse(&origin, "merge keys (`<<`) are not supported");
        }
        let Some(open) = self.open.last_mut() else { return };
        match open.seen.get(&text) {
            Some(first) => self.problems.push(
                Diagnostic::at(&origin, format!("`{text}` is set twice: on line {first} and on line {}", origin.line))
                    .help("remove one of the two"),
            ),
            None => {
                open.seen.insert(text.clone(), origin.line);
            }
        }
        open.key = Some((text, origin));
    }

    fn place(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut open.node.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => {
                if let Some((key, origin)) = open.key.take() {
                    entries.push(Entry { key, origin, node });
                }
            }
            Value::Scalar { .. } => {}
        }
    }
}
