//! Control files: text in, stanzas of fields out, borrowed from the text. deb822(5); Policy, section 5.1.
//!
//! Invariant: nothing is copied, so memory is a small multiple of the text; every field has its name once.

const LIMIT_FIELDS: usize = 256;

/// Fields in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stanza<'a> {
    pub line: usize,
    pub fields: Vec<(&'a str, &'a str)>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct StanzaError {
    pub line: usize,
    pub reason: &'static str,
}

impl<'a> Stanza<'a> {
    /// The value of a field, without surrounding white space; later lines as they stand.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// Reads stanzas one after the other; stops after an error.
pub fn stanzas(text: &str) -> Stanzas<'_> {
    Stanzas { text, position: 0, line: 0, failed: false }
}

pub struct Stanzas<'a> {
    text: &'a str,
    position: usize,
    line: usize,
    failed: bool,
}

impl<'a> Stanzas<'a> {
    /// The next line without its ending, and the offset at which it starts.
    fn next_line(&mut self) -> Option<(usize, &'a str)> {
        let rest = self.text.get(self.position..).filter(|rest| !rest.is_empty())?;
        let start = self.position;
        let length = rest.find('\n').unwrap_or(rest.len());
        self.position = start + length + 1;
        self.line += 1;
        Some((start, rest[..length].trim_end_matches('\r')))
    }

    fn read(&mut self) -> Result<Option<Stanza<'a>>, StanzaError> {
        let mut stanza = Stanza { line: 0, fields: Vec::new() };
        // Where the value of the last field starts.
        let mut value_start = 0;
        while let Some((start, line)) = self.next_line() {
            let error = |reason| StanzaError { line: self.line, reason };
            if line.starts_with('#') {
                continue;
            }
            if line.trim().is_empty() {
                match stanza.fields.is_empty() {
                    true => continue,
                    false => break,
                }
            }
            if line.starts_with([' ', '\t']) {
                let last = stanza.fields.last_mut().ok_or(error("a continuation without a field"))?;
                last.1 = self.text[value_start..start + line.len()].trim();
                continue;
            }
            let (name, value) = line.split_once(':').ok_or(error("a line that is not `Field: value`"))?;
            let valid = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
            if !valid {
                return Err(error("a field name with other than printable ASCII"));
            }
            if stanza.get(name).is_some() {
                return Err(error("a field that occurs twice in its stanza"));
            }
            if stanza.fields.len() == LIMIT_FIELDS {
                return Err(error("more than 256 fields in a stanza"));
            }
            if stanza.fields.is_empty() {
                stanza.line = self.line;
            }
            value_start = start + name.len() + 1;
            stanza.fields.push((name, value.trim()));
        }
        Ok(if stanza.fields.is_empty() { None } else { Some(stanza) })
    }
}

impl<'a> Iterator for Stanzas<'a> {
    type Item = Result<Stanza<'a>, StanzaError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let result = self.read().transpose();
        self.failed = matches!(result, Some(Err(_)));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_comments_and_continuations() {
        let text = "\n# comment\nPackage: a\nDescription: short\n long\n .\n more\n\n\nPackage: b\r\nX:\n";
        let all: Vec<_> = stanzas(text).collect::<Result<_, _>>().expect("valid");
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].line, all[0].get("package")), (3, Some("a")));
        assert_eq!(all[0].get("Description"), Some("short\n long\n .\n more"));
        assert_eq!((all[1].get("Package"), all[1].get("X"), all[1].get("Y")), (Some("b"), Some(""), None));
    }

    #[test]
    fn what_is_not_a_control_file_says_where() {
        for (text, line) in [("A: 1\nB\n", 2), (" x\n", 1), ("A: 1\n\nB: 1\nb: 2\n", 4), ("é: 1\n", 1)] {
            let error = stanzas(text).find_map(Result::err).expect("not valid");
            assert_eq!(error.line, line, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic_and_values_are_from_the_text(text in "([A-Za-z]{1,3}:?[ \t]?[a-zé]{0,3}[\r\n]{0,2}|#| |\n|.){0,40}") {
            for stanza in stanzas(&text).flatten() {
                for (name, value) in stanza.fields {
                    proptest::prop_assert!(text.contains(name) && text.contains(value));
                }
            }
        }
    }
}
