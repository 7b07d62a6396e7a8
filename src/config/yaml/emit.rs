//! Trees and texts to YAML. The one file that knows `serde_yaml`.
//!
//! Invariant: what is written reads back as the same values, whatever characters they hold.

use super::node::{Node, Style, Value};
use std::fmt::Write;

/// `text` as a scalar on one line, in quotes where it would mean something else without.
pub fn scalar(text: &str) -> String {
    let is_safe = |b: u8| b.is_ascii_alphanumeric() || b"_-./+~%".contains(&b);
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.bytes().all(is_safe)
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if plain {
        return text.to_owned();
    }
    // Bare, this would be a merge key. Line ends of all sorts are escaped: readers disagree on them inside quotes.
    if text == "<<" || text.chars().any(|c| c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}')) {
        return quoted(text);
    }
    let Ok(done) = serde_yaml::to_string(text) else { return quoted(text) };
    let done = done.trim_end_matches('\n');
    let is_bare = !done.starts_with(['"', '\'']);
    // Readers differ on what ends a bare scalar in a flow mapping, but not with words of letters and digits.
    let words = text.split(' ').all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric()));
    // The library leaves numbers bare that are too large for it; other readers see a number.
    let number = is_bare && text.parse::<f64>().is_ok();
    if number || is_bare && !words || done.contains('\n') {
        return quoted(text);
    }
    done.to_owned()
}

/// Double quotes, YAML 1.2.2 section 5.7.
fn quoted(text: &str) -> String {
    let mut done = String::from("\"");
    for c in text.chars() {
        // Writing to a string cannot fail.
        let _ = match c {
            '"' => write!(done, "\\\""),
            '\\' => write!(done, "\\\\"),
            '\n' => write!(done, "\\n"),
            '\t' => write!(done, "\\t"),
            '\r' => write!(done, "\\r"),
            c if c.is_control() || c == '\u{feff}' || c == '\u{2028}' || c == '\u{2029}' => {
                write!(done, "\\U{:08x}", u32::from(c))
            }
            c => write!(done, "{c}"),
        };
    }
    done.push('"');
    done
}

/// The whole tree as a block document; with `origins`, `# file:line:column` after each scalar.
pub fn document(node: &Node, origins: bool) -> String {
    let mut writer = Writer { text: String::new(), origins };
    writer.block(node, 0);
    writer.text.trim_start_matches('\n').to_owned() + "\n"
}

struct Writer {
    text: String,
    origins: bool,
}

impl Writer {
    /// Writes `node` after what is on the line; lists and mappings go on lines of their own.
    fn block(&mut self, node: &Node, indent: usize) {
        match &node.value {
            Value::Scalar { text, style } => self.scalar(text, *style, node, indent),
            Value::List(items) if items.is_empty() => self.inline("[]", node),
            Value::Map(entries) if entries.is_empty() => self.inline("{}", node),
            Value::List(items) => {
                for item in items {
                    self.line(indent, "-");
                    self.item(item, indent + 2);
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    self.line(indent, &format!("{}:", scalar(&entry.key)));
                    self.block(&entry.node, indent + 2);
                }
            }
        }
    }

    /// A mapping in a list begins on the dash's line.
    fn item(&mut self, item: &Node, indent: usize) {
        let begin = self.text.len();
        self.block(item, indent);
        if matches!(&item.value, Value::Map(entries) if !entries.is_empty()) {
            let first = begin..begin + 1 + indent;
            self.text.replace_range(first, " ");
        }
    }

    fn line(&mut self, indent: usize, text: &str) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n(' ', indent));
        self.text.push_str(text);
    }

    fn inline(&mut self, text: &str, node: &Node) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(text);
        self.comment(node);
    }

    fn comment(&mut self, node: &Node) {
        if self.origins {
            let _ = write!(self.text, "  # {}", node.origin);
        }
    }

    fn scalar(&mut self, text: &str, style: Style, node: &Node, indent: usize) {
        // A bare scalar over several lines is text already, and is written like any other text.
        if style == Style::Plain && !text.contains('\n') {
            return self.inline(if text.is_empty() { "null" } else { text }, node);
        }
        // A block keeps scripts readable; it needs a first line that shows the indentation.
        let lines = text.strip_suffix('\n').unwrap_or(text);
        let blockable = text.ends_with('\n')
            && !lines.is_empty()
            && !lines.starts_with([' ', '\n', '\t'])
            && !lines.ends_with('\n')
            && !text.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{feff}'));
        if !blockable || indent == 0 {
            return self.inline(&scalar(text), node);
        }
        self.inline("|", node);
        for line in lines.split('\n') {
            self.line(if line.is_empty() { 0 } else { indent }, line);
        }
    }
}
