//! Trees to typed values, collecting every problem on the way.
//!
//! Invariant: a value is `None` only when at least one problem was reported for it.

use super::shape::{Record, Shape};
use crate::config::diagnostic::{suggest, Diagnostic};
use crate::config::yaml::{Node, Value};
use crate::model::{Located, Origin};
use std::collections::BTreeMap;

/// Where problems go, and how strict to be.
#[derive(Default)]
pub struct Problems {
    pub list: Vec<Diagnostic>,
    /// A file seen alone, before inheritance and templates: missing fields may come from elsewhere
    /// and text with templates may become anything.
    pub partial: bool,
}

impl Problems {
    pub fn add(&mut self, problem: Diagnostic) {
        self.list.push(problem);
    }

    /// Reports that `node` is not `expected`.
    pub fn wrong_type(&mut self, node: &Node, expected: &str) {
        let problem = Diagnostic::at(&node.origin, format!("expected {expected}, found {}", node.describe()));
        self.add(problem);
    }

    /// Whether `node` is a template that has not been rendered yet.
    pub fn defers(&self, node: &Node) -> bool {
        self.partial && node.text().is_some_and(crate::template::is_template)
    }
}

/// A type that a tree can become.
pub trait Decode: Sized {
    /// Reports what is wrong and gives none, or gives the value.
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self>;

    /// What [`Decode::decode`] accepts.
    fn shape() -> Shape;

    /// The value of a field that is not there; none: the field is required.
    fn absent() -> Option<Self> {
        None
    }
}

/// A whole file's tree; what is wrong with it is added to `problems`.
pub fn read<T: Decode>(tree: &Node, problems: &mut Vec<Diagnostic>) -> Option<T> {
    let mut own = Problems::default();
    let value = T::decode(tree, &mut own);
    problems.append(&mut own.list);
    value
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        T::decode(node, problems).map(Some)
    }
    fn shape() -> Shape {
        T::shape()
    }
    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let Value::List(items) = &node.value else {
            if node.is_nothing() {
                return Some(Vec::new());
            }
            let help = node.text().map(|text| format!("write `[{text}]`"));
            let message = format!("expected a list, found {}", node.describe());
            problems.add(Diagnostic::at(&node.origin, message).maybe_help(help));
            return None;
        };
        // Not short-circuiting: every item is looked at.
        let all: Vec<Option<T>> = items.iter().map(|item| T::decode(item, problems)).collect();
        all.into_iter().collect()
    }
    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }
    fn absent() -> Option<Self> {
        Some(Vec::new())
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            if node.is_nothing() {
                return Some(BTreeMap::new());
            }
            problems.wrong_type(node, "a mapping");
            return None;
        };
        let all: Vec<Option<(String, T)>> = entries
            .iter()
            .map(|entry| T::decode(&entry.node, problems).map(|value| (entry.key.clone(), value)))
            .collect();
        all.into_iter().collect()
    }
    fn shape() -> Shape {
        Shape::Map(Box::new(T::shape()))
    }
    fn absent() -> Option<Self> {
        Some(BTreeMap::new())
    }
}

impl<T: Decode> Decode for Located<T> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        T::decode(node, problems).map(|value| Located { value, origin: node.origin.clone() })
    }
    fn shape() -> Shape {
        T::shape()
    }
}

/// One field of a record that is a mapping; `default` stands for a field that is not there.
pub fn decode_field<T: Decode>(
    node: &Node,
    key: &'static str,
    default: Option<T>,
    record: &Record,
    problems: &mut Problems,
) -> Option<T> {
    if let Some(value) = node.get(key) {
        return T::decode(value, problems);
    }
    let value = default.or_else(T::absent);
    if value.is_none() && !problems.partial {
        let message = format!("{} lacks the field `{key}`", record.name);
        problems.add(Diagnostic::at(&node.origin, message).help(format!("add `{key}: ...`")));
    }
    value
}

/// Reports what keeps `node` from being `record`: it is no mapping, or has fields that are unknown.
pub fn check_fields(node: &Node, record: &Record, keys: &[&'static str], problems: &mut Problems) -> Option<()> {
    let Value::Map(entries) = &node.value else {
        problems.wrong_type(node, &format!("a mapping ({})", record.name));
        return None;
    };
    let mut known = Some(());
    for entry in entries.iter().filter(|entry| !keys.contains(&entry.key.as_str())) {
        let message = format!("unknown field `{}` in {}", entry.key, record.name);
        problems.add(Diagnostic::at(&entry.origin, message).maybe_help(suggest(&entry.key, keys.iter().copied())));
        known = None;
    }
    known
}

/// Where a record was written; declared as a field it costs nothing in the file.
pub fn origin(node: &Node) -> Origin {
    node.origin.clone()
}

/// Declares a struct together with its decoder and its description:
///
/// ```text
/// record! {
///     /// What it is, for the reference.
///     pub struct Group as "group" {
///         /// Number of the group.
///         "gid" gid: u32,
///         /// With a default.
///         "system" system: bool = true => "true",
///     }
/// }
/// ```
///
/// Each struct also has `origin`, the place of its mapping. A field without a default is required
/// unless its type has a value for absence (`Option`, lists, mappings).
macro_rules! record {
    (
        $(#[doc = $doc:literal])*
        pub struct $type:ident as $name:literal {
            $( $(#[doc = $field_doc:literal])* $key:literal $field:ident: $field_type:ty $(= $default:expr => $shown:literal)?, )*
        }
    ) => {
        $(#[doc = $doc])*
        // A field may matter to the reader of the file only, such as `schema`.
        #[allow(dead_code)]
        #[derive(Clone, Debug)]
        pub struct $type {
            $( $(#[doc = $field_doc])* pub $field: $field_type, )*
            /// Of the mapping.
            pub origin: $crate::model::Origin,
        }

        impl $type {
            const RECORD: $crate::config::record::Record = $crate::config::record::Record {
                name: $name,
                doc: concat!($($doc, "\n",)* ""),
                fields: $type::fields,
            };
            const KEYS: &'static [&'static str] = &[$($key,)*];

            fn fields() -> Vec<$crate::config::record::Field> {
                vec![$({
                    let default: Option<&'static str> = [$(Some($shown),)? None][0];
                    $crate::config::record::Field {
                        key: $key,
                        doc: concat!($($field_doc, "\n",)* ""),
                        shape: <$field_type as $crate::config::record::Decode>::shape(),
                        required: default.is_none()
                            && <$field_type as $crate::config::record::Decode>::absent().is_none(),
                        default,
                    }
                },)*]
            }
        }

        impl $crate::config::record::Decode for $type {
            fn decode(
                node: &$crate::config::yaml::Node,
                problems: &mut $crate::config::record::Problems,
            ) -> Option<Self> {
                let known = $crate::config::record::check_fields(node, &$type::RECORD, $type::KEYS, problems);
                if known.is_none() && node.entries().is_empty() {
                    return None;
                }
                $(
                    let default = None::<$field_type>$(.or_else(|| Some($default)))?;
                    let $field =
                        $crate::config::record::decode_field(node, $key, default, &$type::RECORD, problems);
                )*
                known?;
                Some($type { $($field: $field?,)* origin: $crate::config::record::origin(node) })
            }

            fn shape() -> $crate::config::record::Shape {
                $crate::config::record::Shape::Record(&$type::RECORD)
            }
        }
    };
}
pub(crate) use record;
