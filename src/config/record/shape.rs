//! What a value may be, as data: for the schema and the reference.
//!
//! Invariant: built from the same declaration as the decoder, so the two cannot disagree.

/// What may stand in one place.
#[derive(Clone, Debug)]
pub enum Shape {
    /// Text; `pattern` is a regular expression that valid text matches, as JSON Schema has it.
    Text {
        what: &'static str,
        pattern: Option<&'static str>,
    },
    Integer {
        minimum: u64,
        maximum: u64,
    },
    Boolean,
    /// Value and meaning of each choice.
    OneOf(&'static [(&'static str, &'static str)]),
    List(Box<Shape>),
    /// Any keys.
    Map(Box<Shape>),
    Record(&'static Record),
    Either(Box<Shape>, Box<Shape>),
    /// Any YAML.
    Anything,
}

/// A mapping with known keys.
#[derive(Debug)]
pub struct Record {
    pub name: &'static str,
    pub doc: &'static str,
    /// A function, because records may hold themselves.
    pub fields: fn() -> Vec<Field>,
}

#[derive(Clone, Debug)]
pub struct Field {
    pub key: &'static str,
    pub doc: &'static str,
    pub shape: Shape,
    pub required: bool,
    /// As it would be written in the file.
    pub default: Option<&'static str>,
}
