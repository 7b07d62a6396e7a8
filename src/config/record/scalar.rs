//! Single values: text, numbers, booleans, and what text is read as.
//!
//! Invariant: a bare `1.10` or `yes` is never silently text; the writer is asked for quotes.

use super::decode::{Decode, Problems};
use super::shape::Shape;
use crate::config::diagnostic::Diagnostic;
use crate::config::yaml::{Node, Style, Value};
use crate::model::{AppName, MachineName, PackageName, ProductName, RecipeName, RelPath, ToolTreeName};

/// The text of `node`, which must be text.
fn text<'a>(node: &'a Node, problems: &mut Problems) -> Option<&'a str> {
    match (node.text(), node.describe()) {
        (Some(text), "text") => Some(text),
        (Some(text), found) if found != "nothing" => {
            let message = format!("expected text, found {found}: {text}");
            problems.add(Diagnostic::at(&node.origin, message).help(format!("put it in quotes: \"{text}\"")));
            None
        }
        _ => {
            problems.wrong_type(node, "text");
            None
        }
    }
}

impl Decode for String {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        text(node, problems).map(str::to_owned)
    }
    fn shape() -> Shape {
        Shape::Text { what: "text", pattern: None }
    }
}

impl Decode for bool {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let quoted = matches!(&node.value, Value::Scalar { style: Style::Quoted | Style::Block, .. });
        match node.text() {
            Some("true") if !quoted => return Some(true),
            Some("false") if !quoted => return Some(false),
            Some(_) if problems.defers(node) => return None,
            _ => {}
        }
        let message = format!("expected `true` or `false`, found {}", node.describe());
        let help = match node.text().map(str::to_ascii_lowercase).as_deref() {
            Some("true" | "yes" | "on" | "y") => Some("write `true`".to_owned()),
            Some("false" | "no" | "off" | "n") => Some("write `false`".to_owned()),
            _ => Some("write `true` or `false`".to_owned()),
        };
        problems.add(Diagnostic::at(&node.origin, message).maybe_help(help));
        None
    }
    fn shape() -> Shape {
        Shape::Boolean
    }
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl Decode for $type {
            fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
                if problems.defers(node) {
                    return None;
                }
                let quoted = matches!(&node.value, Value::Scalar { style: Style::Quoted | Style::Block, .. });
                let digits = node.text().filter(|t| !quoted && t.bytes().all(|b| b.is_ascii_digit()));
                if let Some(value) = digits.and_then(|digits| digits.parse().ok()) {
                    return Some(value);
                }
                let shown = node.text().map(|text| format!(": {text}")).unwrap_or_default();
                let message =
                    format!("expected a whole number from 0 to {}, found {}{shown}", <$type>::MAX, node.describe());
                let help = quoted.then(|| "remove the quotes".to_owned());
                problems.add(Diagnostic::at(&node.origin, message).maybe_help(help));
                None
            }
            fn shape() -> Shape {
                Shape::Integer { minimum: 0, maximum: <$type>::MAX as u64 }
            }
        }
    )*};
}
integers! { u16 u32 u64 }

/// Makes a type decodable that text is checked into by `$check: fn(&str) -> Result<T, impl Display>`.
macro_rules! parsed {
    ($($type:ty, $what:literal, $pattern:expr, $check:expr;)*) => {$(
        impl $crate::config::record::Decode for $type {
            fn decode(
                node: &$crate::config::yaml::Node,
                problems: &mut $crate::config::record::Problems,
            ) -> Option<Self> {
                let text = <String as $crate::config::record::Decode>::decode(node, problems)?;
                if problems.defers(node) {
                    return None;
                }
                match $check(text.as_str()) {
                    Ok(value) => Some(value),
                    Err(error) => {
                        problems.add($crate::config::Diagnostic::at(&node.origin, error.to_string()));
                        None
                    }
                }
            }
            fn shape() -> $crate::config::record::Shape {
                $crate::config::record::Shape::Text { what: $what, pattern: $pattern }
            }
        }
    )*};
}
pub(crate) use parsed;

const NAME: Option<&str> = Some("^[a-z0-9][a-z0-9+._-]{0,63}$|\\{[{%]");

parsed! {
    RecipeName, "the name of a recipe", NAME, RecipeName::new;
    PackageName, "the name of a package", NAME, PackageName::new;
    MachineName, "the name of a machine", NAME, MachineName::new;
    ProductName, "the name of a product", NAME, ProductName::new;
    AppName, "the name of an app", NAME, AppName::new;
    ToolTreeName, "the name of a tool tree", NAME, ToolTreeName::new;
    RelPath, "a path of the project, without `/` in front", None, RelPath::new;
}
