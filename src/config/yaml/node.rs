//! The tree: scalars stay text until a type asks for them.
//!
//! Invariant: the keys of a mapping are distinct and in the order they were written.

use crate::model::Origin;

/// A value and the place it was set at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub value: Value,
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Scalar { text: String, style: Style },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a mapping with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    /// Of the key; the value has its own.
    pub origin: Origin,
    pub node: Node,
}

/// How a scalar was written, which decides what it may mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Bare: `1` is a number, `true` a boolean, `~` nothing.
    Plain,
    /// In quotes or folded: always text.
    Quoted,
    /// A literal block (`|`): text whose lines are those of the file, from the origin on.
    Block,
    /// What a template gave: whatever its reader expects.
    Rendered,
}

/// What a bare scalar means in YAML 1.2's core schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    Nothing,
    Boolean,
    Number,
    Text,
}

impl Node {
    /// Looks `key` up in a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node),
            _ => None,
        }
    }

    /// The entries of a mapping; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// `key:` without a value, `~` or `null`.
    pub fn is_nothing(&self) -> bool {
        self.meaning() == Some(Meaning::Nothing)
    }

    /// None for a list or mapping.
    pub fn meaning(&self) -> Option<Meaning> {
        match &self.value {
            Value::Scalar { text, style: Style::Plain } => Some(meaning(text)),
            Value::Scalar { .. } => Some(Meaning::Text),
            _ => None,
        }
    }

    /// What the tree means in YAML's core schema, without the places.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect(),
            Value::Scalar { text, .. } => match self.meaning() {
                Some(Meaning::Nothing) => Json::Null,
                Some(Meaning::Boolean) => Json::Bool(text.eq_ignore_ascii_case("true")),
                // What JSON cannot say as a number, such as 0x10, stays text and is refused where a number belongs.
                Some(Meaning::Number) => serde_json::from_str(text).unwrap_or_else(|_| text.clone().into()),
                _ => text.clone().into(),
            },
        }
    }

    /// For messages: what stands here.
    pub fn describe(&self) -> &'static str {
        match (&self.value, self.meaning()) {
            (Value::List(_), _) => "a list",
            (Value::Map(_), _) => "a mapping",
            (_, Some(Meaning::Nothing)) => "nothing",
            (_, Some(Meaning::Boolean)) => "a boolean",
            (_, Some(Meaning::Number)) => "a number",
            _ => "text",
        }
    }
}

/// YAML 1.2.2, section 10.3.2, without the special floats.
pub fn meaning(text: &str) -> Meaning {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Meaning::Nothing,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => return Meaning::Boolean,
        _ => {}
    }
    let first = text.as_bytes()[0];
    if !(first.is_ascii_digit() || b"+-.".contains(&first)) {
        return Meaning::Text;
    }
    let based = |prefix: &str, base: u32| {
        text.strip_prefix(prefix).is_some_and(|d| !d.is_empty() && d.chars().all(|c| c.is_digit(base)))
    };
    // Rust reads `inf` and `nan` too, but those do not begin with a digit, a sign or a point.
    let sign_then_word = text.bytes().any(|b| b.is_ascii_alphabetic() && b != b'e' && b != b'E');
    if based("0x", 16) || based("0o", 8) || (!sign_then_word && text.parse::<f64>().is_ok()) {
        Meaning::Number
    } else {
        Meaning::Text
    }
}
