//! Names of roles and targets to parts of URLs and names of files, and back.
//!
//! Source: RFC 3986, section 2.1. Invariant: what [`file_name`] makes has no `/`, so that no role or target leaves its folder.

/// `a/b` as `a%2Fb`: one part of a path, whatever the name.
pub fn file_name(name: &str) -> String {
    encode(name, |byte| matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

/// The path of a target as that of a URL. What is encoded in it already stays so: the specification calls it a URL string.
pub fn url_path(path: &str) -> String {
    encode(path, |byte| b"-._~/%!$&'()*+,;=:@".contains(&byte))
}

fn encode(text: &str, stays: impl Fn(u8) -> bool) -> String {
    let encoded = text.bytes().map(|byte| match byte.is_ascii_alphanumeric() || stays(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    encoded.collect()
}

/// Undoes both. None: a damaged escape, or no text.
pub fn decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2)?;
        bytes.extend(crate::hex::decode(digits)?);
        bytes.extend(part[2..].bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_become_what_other_clients_make_of_them() {
        assert_eq!(file_name("../delegated role?#"), "..%2Fdelegated%20role%3F%23");
        assert_eq!(url_path("a b/c%20d?e#f"), "a%20b/c%20d%3Fe%23f");
        for damaged in ["%", "%4", "%zz", "%é", "%ff"] {
            assert_eq!(decode(damaged), None, "{damaged}");
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back_and_has_no_slash(name in ".*") {
            let encoded = file_name(&name);
            prop_assert!(encoded.is_ascii() && !encoded.contains('/'));
            prop_assert_eq!(decode(&encoded), Some(name));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[%0-9a-fé]{0,16}") {
            let _ = decode(&text);
        }
    }
}
