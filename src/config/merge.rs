//! Named operations on trees: `set`, `append`, `remove`.
//!
//! Invariant: every value keeps the place it was last set at; an operation that would do nothing is
//! an error, so a renamed field or package cannot silently escape an override.

use super::diagnostic::{suggest, Diagnostic};
use super::yaml::{Entry, Node, Value};
use crate::model::Origin;

/// Lays `new` over `base`: mappings are merged key by key, anything else is replaced.
pub fn set(base: &mut Node, new: &Node) {
    let (Value::Map(entries), Value::Map(new_entries)) = (&mut base.value, &new.value) else {
        *base = new.clone();
        return;
    };
    for entry in new_entries {
        match entries.iter_mut().find(|old| old.key == entry.key) {
            Some(old) => {
                set(&mut old.node, &entry.node);
                old.origin = entry.origin.clone();
            }
            None => entries.push(entry.clone()),
        }
    }
}

/// Adds the items of the lists in `new` to the lists of `base`; a list that is not there is made.
pub fn append(base: &mut Node, new: &Node, problems: &mut Vec<Diagnostic>) {
    if base.is_nothing() && matches!(new.value, Value::List(_)) {
        *base = new.clone();
        return;
    }
    match (&mut base.value, &new.value) {
        (Value::Map(entries), Value::Map(new_entries)) => {
            for entry in new_entries {
                match entries.iter_mut().find(|old| old.key == entry.key) {
                    Some(old) => append(&mut old.node, &entry.node, problems),
                    None if holds_lists(&entry.node) => entries.push(entry.clone()),
                    None => problems.push(only_lists(&entry.node)),
                }
            }
        }
        (Value::List(items), Value::List(new_items)) => items.extend(new_items.iter().cloned()),
        _ => problems.push(only_lists(new)),
    }
}

fn holds_lists(node: &Node) -> bool {
    match &node.value {
        Value::List(_) => true,
        Value::Map(entries) => entries.iter().all(|entry| holds_lists(&entry.node)),
        Value::Scalar { .. } => false,
    }
}

fn only_lists(node: &Node) -> Diagnostic {
    Diagnostic::at(&node.origin, "`append` works on lists").help("use `set` for single values and new mappings")
}

/// Takes the items of the lists in `gone` from the lists of `base`, and keys from its mappings.
pub fn remove(base: &mut Node, gone: &Node, problems: &mut Vec<Diagnostic>) {
    match (&mut base.value, &gone.value) {
        (Value::Map(entries), Value::Map(gone_entries)) => {
            for entry in gone_entries {
                match entries.iter_mut().find(|old| old.key == entry.key) {
                    Some(old) => remove(&mut old.node, &entry.node, problems),
                    None => problems.push(missing(&entry.key, &entry.origin, names(base_keys(entries)))),
                }
            }
        }
        (Value::Map(entries), Value::List(keys)) => {
            for key in keys {
                let position = entries.iter().position(|entry| Some(entry.key.as_str()) == key.text());
                match position {
                    Some(position) => drop(entries.remove(position)),
                    None => {
                        let name = key.text().unwrap_or_default();
                        problems.push(missing(name, &key.origin, names(base_keys(entries))));
                    }
                }
            }
        }
        (Value::List(items), Value::List(gone_items)) => {
            for item in gone_items {
                let before = items.len();
                items.retain(|old| !is_meant(old, item));
                if items.len() == before {
                    problems.push(missing_item(item, items));
                }
            }
        }
        _ => problems.push(
            Diagnostic::at(&gone.origin, "`remove` takes a list: items of a list, or keys of a mapping")
                .help("use `set` to change a single value"),
        ),
    }
}

fn base_keys(entries: &[Entry]) -> impl Iterator<Item = &str> {
    entries.iter().map(|entry| entry.key.as_str())
}

fn names<'a>(list: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    list.collect()
}

/// Fields that tell the items of a list apart; each kind of item has one at most.
const IDENTITIES: [&str; 3] = ["name", "path", "option"];

/// What an item goes by: its text, or the field of a mapping that is its identity.
fn identity(node: &Node) -> Option<&str> {
    let text = || IDENTITIES.iter().find_map(|key| node.get(key)?.text());
    node.text().or_else(text)
}

/// Whether `gone` means the item `old`: by its identity, or word for word where it has none.
fn is_meant(old: &Node, gone: &Node) -> bool {
    match identity(gone) {
        Some(name) => identity(old) == Some(name),
        None => is_same(old, gone),
    }
}

/// The same values, wherever and however they are written; the order of a mapping's keys means nothing.
fn is_same(one: &Node, other: &Node) -> bool {
    match (&one.value, &other.value) {
        (Value::Scalar { text: one, .. }, Value::Scalar { text: other, .. }) => one == other,
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Map(entries), Value::Map(others)) => {
            let has = |entry: &Entry| other.get(&entry.key).is_some_and(|other| is_same(&entry.node, other));
            entries.len() == others.len() && entries.iter().all(has)
        }
        _ => false,
    }
}

fn missing_item(item: &Node, items: &[Node]) -> Diagnostic {
    match identity(item) {
        Some(name) => missing(name, &item.origin, names(items.iter().filter_map(identity))),
        None => Diagnostic::at(&item.origin, "there is no such item to remove").help(format!(
            "write the whole item as it stands there, or its {}",
            IDENTITIES.map(|key| format!("`{key}`")).join(", ")
        )),
    }
}

fn missing(name: &str, origin: &Origin, known: Vec<&str>) -> Diagnostic {
    Diagnostic::at(origin, format!("there is no `{name}` to remove")).maybe_help(suggest(name, known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::{document, parse, Limits};

    fn tree(text: &str) -> Node {
        parse(text, &"a.yaml".into(), Limits::FILE).expect("valid")
    }

    const BASE: &str = "list: [a, b, c]\nmap: {x: 1, y: 2}\nrecords: [{name: n, v: 1}, {name: m}]\none: 1\n";

    #[test]
    fn operations_change_what_they_name_and_nothing_else() {
        let mut base = tree(BASE);
        let mut problems = Vec::new();
        set(&mut base, &tree("one: 2\nmap: {y: 3}\n"));
        append(&mut base, &tree("list: [d]\nnew: [e]\n"), &mut problems);
        remove(&mut base, &tree("list: [b]\nmap: [x]\nrecords: [n]\n"), &mut problems);
        assert_eq!(problems, []);
        assert_eq!(
            document(&base, false),
            "list:\n  - a\n  - c\n  - d\nmap:\n  y: 3\nrecords:\n  - name: m\none: 2\nnew:\n  - e\n"
        );
    }

    #[test]
    fn items_without_a_name_are_told_apart_by_all_they_hold() {
        const SOURCES: &str = "sources: [{places: [{https: a}], into: x}, {places: [{https: b}]}, {file: c}]\n\
            waivers: [{reason: r, option: A}, {reason: r, option: B}]\nmetadata: [{mode: \"1\", path: /a}]\n";
        let removed = |text: &str| {
            let (mut base, mut problems) = (tree(SOURCES), Vec::new());
            remove(&mut base, &tree(text), &mut problems);
            let left = ["sources", "waivers", "metadata"].map(|key| base.get(key).expect("a list").items().len());
            (left, problems.into_iter().map(|p| p.message).collect::<Vec<_>>())
        };
        let gone = |text: &str| {
            let (left, problems) = removed(text);
            assert_eq!(problems, [""; 0], "{text}");
            left
        };
        assert_eq!(gone("sources: [{places: [{https: \"b\"}]}]"), [2, 2, 1]);
        assert_eq!(gone("sources: [{into: x, places: [{https: a}]}]"), [2, 2, 1]);
        assert_eq!(gone("waivers: [B]\nmetadata: [{path: /a}]"), [3, 1, 0]);
        for text in ["sources: [{places: [{https: c}]}]", "sources: [{places: [{https: a}]}]", "sources: [[]]"] {
            assert_eq!(removed(text), ([3, 2, 1], vec!["there is no such item to remove".to_owned()]), "{text}");
        }
        assert_eq!(removed("waivers: [r]"), ([3, 2, 1], vec!["there is no `r` to remove".to_owned()]));
    }

    #[test]
    fn an_operation_that_would_do_nothing_is_an_error() {
        for (operation, text, expected) in [
            ("remove", "list: [aa]", "there is no `aa` to remove"),
            ("remove", "lits: [a]", "there is no `lits` to remove"),
            ("remove", "map: [z]", "there is no `z` to remove"),
            ("remove", "one: [z]", "`remove` takes a list: items of a list, or keys of a mapping"),
            ("append", "one: [z]", "`append` works on lists"),
            ("append", "list: z", "`append` works on lists"),
            ("append", "new: z", "`append` works on lists"),
        ] {
            let (mut base, mut problems) = (tree(BASE), Vec::new());
            match operation {
                "remove" => remove(&mut base, &tree(text), &mut problems),
                _ => append(&mut base, &tree(text), &mut problems),
            }
            assert_eq!(problems.iter().map(|p| p.message.as_str()).collect::<Vec<_>>(), [expected], "{text}");
        }
    }
}
