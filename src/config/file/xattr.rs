//! Extended attributes of a path: names and values as `setfattr` takes them in, names and bytes out.
//!
//! Source: setfattr(1), xattr(7). Invariant: the name is one that the filesystem of the root keeps, and the value
//! fits into an attribute.

use crate::config::record::{Decode, Problems, Shape};
use crate::config::yaml::{Entry, Node, Value};
use crate::config::Diagnostic;
use base64::Engine;
use std::collections::BTreeMap;

/// Namespaces with free names, and the two names of the fourth that EROFS has room for.
const PREFIXES: [&str; 3] = ["security.", "trusted.", "user."];
const SYSTEM: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];
/// `XATTR_NAME_MAX` and `XATTR_SIZE_MAX` of the kernel.
const LIMIT_NAME_BYTES: usize = 255;
const LIMIT_VALUE_BYTES: usize = 64 << 10;

/// Values by name.
#[derive(Clone, Debug, Default)]
pub struct Xattrs(pub BTreeMap<String, Vec<u8>>);

impl Decode for Xattrs {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            problems.wrong_type(node, "a mapping");
            return None;
        }
        let all: Vec<Option<(String, Vec<u8>)>> =
            node.entries().iter().map(|entry| attribute(entry, problems)).collect();
        all.into_iter().collect::<Option<_>>().map(Xattrs)
    }
    fn shape() -> Shape {
        let what = "text, `0x` and hex digits, or `0s` and base64";
        Shape::Map(Box::new(Shape::Text { what, pattern: None }))
    }
    fn absent() -> Option<Self> {
        Some(Xattrs::default())
    }
}

fn attribute(entry: &Entry, problems: &mut Problems) -> Option<(String, Vec<u8>)> {
    let name = check_name(entry, problems);
    if problems.defers(&entry.node) {
        return None;
    }
    let Some(text) = entry.node.text().filter(|_| !entry.node.is_nothing()) else {
        problems.wrong_type(&entry.node, "text");
        return None;
    };
    match bytes(text) {
        Ok(value) => name.map(|name| (name, value)),
        Err(reason) => {
            let problem =
                Diagnostic::at(&entry.node.origin, format!("`{text}` is not the value of an attribute: {reason}"));
            problems.add(problem.help(
                "text, `0x` and pairs of hex digits, or `0s` and base64; text that begins so goes in \"double quotes\"",
            ));
            None
        }
    }
}

fn check_name(entry: &Entry, problems: &mut Problems) -> Option<String> {
    let name = entry.key.as_str();
    let prefixed = PREFIXES.iter().any(|prefix| name.len() > prefix.len() && name.starts_with(prefix));
    if (prefixed || SYSTEM.contains(&name)) && name.len() <= LIMIT_NAME_BYTES && !name.contains('\0') {
        return Some(name.to_owned());
    }
    let problem = Diagnostic::at(&entry.origin, format!("`{name}` is not the name of an extended attribute"));
    let help = format!("it begins with `{}`, or is one of `{}`", PREFIXES.join("`, `"), SYSTEM.join("`, `"));
    problems.add(problem.help(help));
    None
}

/// What `setfattr -v` would store.
fn bytes(text: &str) -> Result<Vec<u8>, &'static str> {
    let rest_of = |lower: &str, upper: &str| text.strip_prefix(lower).or_else(|| text.strip_prefix(upper));
    let quoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let value = match (rest_of("0x", "0X"), rest_of("0s", "0S"), quoted) {
        (Some(digits), ..) => hex::decode(digits).map_err(|_| "hex digits come in pairs of 0-9 and a-f")?,
        (_, Some(letters), _) => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(letters);
            decoded.map_err(|_| "it is not base64 with its padding")?
        }
        (_, _, Some(inner)) => inner.as_bytes().to_vec(),
        _ => text.as_bytes().to_vec(),
    };
    if value.len() > LIMIT_VALUE_BYTES {
        return Err("it is longer than 64 KiB");
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn values_are_what_setfattr_makes_of_them() {
        for (text, expected) in [
            ("plain", Some(&b"plain"[..])),
            ("0x0100ff", Some(&[1, 0, 255])),
            ("0X0A", Some(&[10])),
            ("0sAAH/", Some(&[0, 1, 255])),
            ("0S", Some(&[])),
            ("\"0x01\"", Some(b"0x01")),
            ("\"", Some(b"\"")),
            ("0", Some(b"0")),
            ("0x1", None),
            ("0xzz", None),
            ("0sAAH", None),
            ("0s!", None),
        ] {
            assert_eq!(bytes(text).ok().as_deref(), expected, "{text}");
        }
        assert!(bytes(&"x".repeat((64 << 10) + 1)).is_err());
    }
}
