//! A `.config`: text in, the value of each option out, and what differs between two of them.
//!
//! Invariant: an option that is not set and one that is absent are the same: `n`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What an option is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    No,
    Module,
    Yes,
    /// A number as written, or a string with its quotes.
    Text(String),
}

impl Value {
    /// The value after `CONFIG_X=`; none when it is no such value.
    pub fn parse(text: &str) -> Option<Value> {
        let quoted = || text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).is_some_and(is_string_content);
        let number = || match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()),
            None => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
            }
        };
        match text {
            "n" => Some(Value::No),
            "m" => Some(Value::Module),
            "y" => Some(Value::Yes),
            _ if quoted() || number() => Some(Value::Text(text.to_owned())),
            _ => None,
        }
    }
}

/// Kconfig escapes quotes and backslashes; a line break would end the option.
fn is_string_content(text: &str) -> bool {
    let mut escaped = false;
    for character in text.chars() {
        match character {
            _ if character.is_control() => return false,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return false,
            _ => {}
        }
    }
    !escaped
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Value::No => "n",
            Value::Module => "m",
            Value::Yes => "y",
            Value::Text(text) => text,
        })
    }
}

/// The options of a `.config` by name, without `CONFIG_`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    values: BTreeMap<String, Value>,
}

impl Configuration {
    /// Lines that set nothing are skipped: the file is written by a program, its comments are titles.
    pub fn parse(text: &str) -> Self {
        let mut values = BTreeMap::new();
        for line in text.lines() {
            let set = line.strip_prefix("CONFIG_").and_then(|rest| rest.split_once('='));
            if let Some((name, value)) = set.and_then(|(name, value)| Some((name, Value::parse(value.trim_end())?))) {
                values.insert(name.to_owned(), value);
            }
        }
        values.retain(|_, value| *value != Value::No);
        Configuration { values }
    }

    pub fn get(&self, name: &str) -> &Value {
        self.values.get(name).unwrap_or(&Value::No)
    }
}

/// One option that two configurations have different values for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `CONFIG_X`.
    pub option: String,
    pub old: Value,
    pub new: Value,
}

impl Change {
    /// The option's name without `CONFIG_`.
    pub fn name(&self) -> &str {
        self.option.strip_prefix("CONFIG_").unwrap_or(&self.option)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.option, self.old, self.new)
    }
}

/// What differs, by name.
pub fn diff(old: &Configuration, new: &Configuration) -> Vec<Change> {
    let names: BTreeSet<&String> = old.values.keys().chain(new.values.keys()).collect();
    let change = |name: &String| {
        let (old, new) = (old.get(name).clone(), new.get(name).clone());
        (old != new).then(|| Change { option: format!("CONFIG_{name}"), old, new })
    };
    names.into_iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_kconfig_writes() {
        for (text, value) in [
            ("y", Some(Value::Yes)),
            ("m", Some(Value::Module)),
            ("n", Some(Value::No)),
            ("64", Some(Value::Text("64".into()))),
            ("-1", Some(Value::Text("-1".into()))),
            ("0x10", Some(Value::Text("0x10".into()))),
            ("\"a b\"", Some(Value::Text("\"a b\"".into()))),
            ("\"a \\\" b\"", Some(Value::Text("\"a \\\" b\"".into()))),
            ("\"a\" b\"", None),
            ("\"a\\\"", None),
            ("\"a\nb\"", None),
            ("yes", None),
            ("0x", None),
            ("\"", None),
            ("", None),
        ] {
            assert_eq!(Value::parse(text), value, "{text}");
        }
    }

    #[test]
    fn a_difference_names_each_option_once() {
        let old = Configuration::parse("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"x\"\nCONFIG_D=1\n");
        let new = Configuration::parse("CONFIG_B=y\nCONFIG_C=\"y\"\nCONFIG_D=1\n# CONFIG_A is not set\n");
        let lines: Vec<String> = diff(&old, &new).iter().map(Change::to_string).collect();
        assert_eq!(lines, ["CONFIG_A: y -> n", "CONFIG_B: n -> y", "CONFIG_C: \"x\" -> \"y\""]);
    }
}
