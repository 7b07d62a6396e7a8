//! A JSON value to the one sequence of bytes that signatures are over.
//!
//! Source: canonical JSON of OLPC, which The Update Framework 1.0.34, section 4.1, names: no white space, members sorted by
//! the code points of their names, strings as they are but for `"` and `\`, whole numbers only. Invariant: equal values give
//! equal bytes, whatever the order and spelling in which they arrived.

use serde_json::Value;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    #[error("canonical JSON has whole numbers of 64 bits only, not: {0}")]
    Number(String),
}

/// The canonical form of `value`.
pub fn canonical_json(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::new();
    write(value, &mut out)?;
    Ok(out)
}

/// The depth is bounded by the parser that made the value.
fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.extend(b"null"),
        Value::Bool(true) => out.extend(b"true"),
        Value::Bool(false) => out.extend(b"false"),
        Value::Number(number) if number.is_f64() => return Err(CanonicalError::Number(number.to_string())),
        Value::Number(number) => out.extend(number.to_string().bytes()),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                out.extend((at > 0).then_some(b','));
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            // The map may keep the order of arrival: another crate can turn that on.
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            out.push(b'{');
            for (at, (name, value)) in sorted.into_iter().enumerate() {
                out.extend((at > 0).then_some(b','));
                write_string(name, out);
                out.push(b':');
                write(value, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        out.extend(matches!(byte, b'"' | b'\\').then_some(b'\\'));
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> String {
        let value = serde_json::from_str(text).expect("valid JSON");
        String::from_utf8(canonical_json(&value).expect("canonical")).expect("text")
    }

    #[test]
    fn the_form_is_that_of_the_specification() {
        let cases = [
            (r#" { "b" : [ 1, -2, true, null ] , "a" : {} } "#, r#"{"a":{},"b":[1,-2,true,null]}"#),
            (r#"{"\u00e9":"\u00e9\"\\\/"}"#, "{\"é\":\"é\\\"\\\\/\"}"),
            // A line feed stays what it is, which no JSON would allow.
            (r#"["a\nb"]"#, "[\"a\nb\"]"),
            // By code points: `Z` before `a`, and U+FFFF before U+10000.
            (r#"{"a":1,"Z":2,"\ud800\udc00":4,"\uffff":3}"#, "{\"Z\":2,\"a\":1,\"\u{ffff}\":3,\"\u{10000}\":4}"),
            ("18446744073709551615", "18446744073709551615"),
        ];
        for (text, wanted) in cases {
            assert_eq!(canonical(text), wanted, "{text}");
        }
    }

    #[test]
    fn fractions_have_no_canonical_form() {
        for text in ["1.0", "[1e3]", "{\"a\":18446744073709551616}"] {
            let value = serde_json::from_str(text).expect("valid JSON");
            assert!(canonical_json(&value).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn order_of_arrival_does_not_matter(members in proptest::collection::btree_map(".*", any::<i64>(), 0..8)) {
            let forwards: Vec<_> = members.iter().map(|(k, v)| format!("{}:{v}", Value::from(k.as_str()))).collect();
            let backwards: Vec<_> = forwards.iter().rev().cloned().collect();
            let object = |members: &[String]| canonical(&format!("{{{}}}", members.join(",")));
            prop_assert_eq!(object(&forwards), object(&backwards));
        }
    }
}
