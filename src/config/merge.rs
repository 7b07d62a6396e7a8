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
                    None => problems.push(missing(name(key), &key.origin, names(base_keys(entries)))),
                }
            }
        }
        (Value::List(items), Value::List(gone_items)) => {
            for item in gone_items {
                let before = items.len();
                items.retain(|old| name(old) != name(item));
                if items.len() == before {
                    problems.push(missing(name(item), &item.origin, names(items.iter().map(name))));
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

/// What an item goes by: its text, or the first field of a mapping, which is its name.
fn name(node: &Node) -> &str {
    let named = |node: &'_ Node| node.get("name").is_some();
    match &node.value {
        Value::Map(_) if named(node) => node.get("name").and_then(Node::text).unwrap_or_default(),
        Value::Map(entries) => entries.first().and_then(|entry| entry.node.text()).unwrap_or_default(),
        _ => node.text().unwrap_or_default(),
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
