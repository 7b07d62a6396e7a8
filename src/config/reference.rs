//! The types of the configuration files in, their JSON Schema and reference pages out.
//!
//! Invariant: generated from the declarations that the decoders come from; a test compares them with `docs/`.

use super::file::KINDS;
use super::record::{Field, Record, Shape};
use serde_json::{json, Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The kinds of configuration files: `recipe`, `layer`, `machine`, `product`, `app`, `tools`, `override`.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(kind, _)| *kind)
}

fn root(kind: &str) -> Option<&'static Record> {
    let (_, shape) = KINDS.iter().find(|(name, _)| *name == kind)?;
    match shape() {
        Shape::Record(record) => Some(record),
        _ => None,
    }
}

/// JSON Schema (draft 2020-12) of a kind of file, pretty-printed; none for an unknown kind.
pub fn schema(kind: &str) -> Option<String> {
    let record = root(kind)?;
    let mut definitions = BTreeMap::new();
    let mut schema = object(record, &mut definitions);
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!(record.name));
    schema.insert("$defs".to_owned(), json!(definitions));
    let mut text = serde_json::to_string_pretty(&schema).ok()?;
    text.push('\n');
    Some(text)
}

/// Doc comments keep the space after `///`.
fn doc(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    lines.join("\n").trim().to_owned()
}

fn one_line(text: &str) -> String {
    doc(text).replace('\n', " ")
}

fn object(record: &Record, definitions: &mut BTreeMap<String, Value>) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in (record.fields)() {
        let mut value = value(&field.shape, definitions);
        if let Some(fields) = value.as_object_mut() {
            fields.insert("description".to_owned(), json!(one_line(field.doc)));
        }
        properties.insert(field.key.to_owned(), value);
        if field.required {
            required.push(field.key);
        }
    }
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("description".to_owned(), json!(doc(record.doc)));
    schema.insert("properties".to_owned(), Value::Object(properties));
    // A product that extends another may leave out what that one has.
    let inherits = (record.fields)().iter().any(|field| field.key == "extends");
    if inherits {
        let own: Vec<&str> = required.iter().copied().filter(|key| matches!(*key, "schema" | "product")).collect();
        schema.insert("required".to_owned(), json!(own));
        schema.insert("anyOf".to_owned(), json!([{ "required": ["extends"] }, { "required": required }]));
    } else if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema
}

fn value(shape: &Shape, definitions: &mut BTreeMap<String, Value>) -> Value {
    match shape {
        Shape::Text { pattern: None, what } if what.contains("a number") => {
            json!({ "type": ["string", "number", "boolean"] })
        }
        Shape::Text { pattern: None, .. } => json!({ "type": "string" }),
        Shape::Text { pattern: Some(pattern), .. } => json!({ "type": "string", "pattern": pattern }),
        // A template may yield a number or a boolean.
        Shape::Integer { minimum, maximum } => json!({
            "anyOf": [{ "type": "integer", "minimum": minimum, "maximum": maximum }, template()],
        }),
        Shape::Boolean => json!({ "anyOf": [{ "type": "boolean" }, template()] }),
        Shape::OneOf(choices) => {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            json!({ "anyOf": [{ "enum": words }, template()] })
        }
        Shape::List(item) => json!({ "type": "array", "items": value(item, definitions) }),
        Shape::Map(item) => json!({ "type": "object", "additionalProperties": value(item, definitions) }),
        Shape::Either(one, other) => json!({ "anyOf": [value(one, definitions), value(other, definitions)] }),
        Shape::Anything => json!({ "type": "object" }),
        Shape::Record(record) => {
            let name = record.name.replace(' ', "-");
            if !definitions.contains_key(&name) {
                // Held open, so that a record that holds itself ends.
                definitions.insert(name.clone(), Value::Null);
                let schema = object(record, definitions);
                definitions.insert(name.clone(), Value::Object(schema));
            }
            json!({ "$ref": format!("#/$defs/{name}") })
        }
    }
}

fn template() -> Value {
    json!({ "type": "string", "pattern": "\\{[{%]" })
}

/// The reference page of a kind of file; none for an unknown kind.
pub fn markdown(kind: &str) -> Option<String> {
    let record = root(kind)?;
    let mut page = format!("# Reference: {}\n\n<!-- Generated from src/config/file; do not edit. -->\n", record.name);
    let mut waiting = vec![record];
    let mut seen = vec![record.name];
    let mut first = true;
    while !waiting.is_empty() {
        let record = waiting.remove(0);
        // Writing to a string cannot fail.
        if !first {
            let _ = write!(page, "\n## {}\n", record.name);
        }
        first = false;
        let _ = write!(page, "\n{}\n\n| field | value | meaning |\n|---|---|---|\n", doc(record.doc));
        for field in (record.fields)() {
            let _ = writeln!(
                page,
                "| `{}` | {} | {} |",
                field.key,
                describe(&field),
                one_line(field.doc).replace('|', "\\|")
            );
            for below in records(&field.shape) {
                if !seen.contains(&below.name) {
                    seen.push(below.name);
                    waiting.push(below);
                }
            }
        }
        for (key, choices) in (record.fields)().iter().filter_map(|field| Some((field.key, choices(&field.shape)?))) {
            let _ = write!(page, "\n`{key}` is one of:\n\n");
            for (word, meaning) in choices {
                let _ = writeln!(page, "- `{word}`: {meaning}");
            }
        }
    }
    Some(page)
}

fn choices(shape: &Shape) -> Option<&'static [(&'static str, &'static str)]> {
    match shape {
        Shape::OneOf(choices) => Some(choices),
        _ => None,
    }
}

fn records(shape: &Shape) -> Vec<&'static Record> {
    match shape {
        Shape::Record(record) => vec![record],
        Shape::List(item) | Shape::Map(item) => records(item),
        Shape::Either(one, other) => [records(one), records(other)].concat(),
        _ => Vec::new(),
    }
}

fn describe(field: &Field) -> String {
    let mut text = words(&field.shape);
    match (field.required, field.default) {
        (true, _) => text.push_str(", **required**"),
        (_, Some(default)) => text.push_str(&format!(", `{default}` if not given")),
        _ => {}
    }
    text.replace('|', "\\|")
}

fn words(shape: &Shape) -> String {
    match shape {
        Shape::Text { what, .. } => (*what).to_owned(),
        Shape::Integer { minimum, maximum } if minimum == maximum => format!("{minimum}"),
        Shape::Integer { .. } => "a whole number".to_owned(),
        Shape::Boolean => "`true` or `false`".to_owned(),
        Shape::OneOf(_) => "a word, see below".to_owned(),
        Shape::List(item) => format!("list of {}", words(item)),
        Shape::Map(item) => format!("mapping from names to {}", words(item)),
        Shape::Record(record) => format!("[{}](#{})", record.name, record.name.replace(' ', "-")),
        Shape::Either(one, other) => format!("{} or {}", words(one), words(other)),
        Shape::Anything => "mapping from fields to values".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::file;
    use std::path::Path;

    /// `OSBUILD_WRITE_REFERENCE=1 cargo test reference` writes them anew.
    #[test]
    fn the_committed_pages_are_those_of_the_types() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        for kind in kinds() {
            for (path, text) in [
                (docs.join(format!("reference/{kind}.md")), markdown(kind).expect("a known kind")),
                (docs.join(format!("schema/{kind}.schema.json")), schema(kind).expect("a known kind")),
            ] {
                if std::env::var_os("OSBUILD_WRITE_REFERENCE").is_some() {
                    file::create_dir_all(path.parent().expect("a folder")).expect("made");
                    file::write_atomic(&path, text.as_bytes(), 0o644).expect("written");
                }
                let committed = file::read_text(&path).unwrap_or_default();
                let help = "run `OSBUILD_WRITE_REFERENCE=1 cargo test --lib reference` and commit the result";
                assert!(committed == text, "{} is out of date: {help}", path.display());
            }
        }
    }
}
