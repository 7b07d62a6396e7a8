//! Fragments in, what they request together out, or every contradiction.
//!
//! Invariant: an option has one requested value, and the first line that asked for it.

use super::{Place, Value};
use std::collections::BTreeMap;

/// An option's requested value and where it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub value: Value,
    /// The first line that asks for it.
    pub place: Place,
    /// Later lines that ask for the same.
    pub again: Vec<Place>,
}

/// By name, without `CONFIG_`.
pub type Requested = BTreeMap<String, Request>;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    #[error("{place}: {}", self.message())]
    Syntax { place: Place, line: String },
    #[error("{place}: {}", self.message())]
    Conflict { place: Place, option: String, value: Value, first: Place, first_value: Value },
    #[error("{place}: {}", self.message())]
    Module { place: Place, option: String, value: Value },
}

impl FragmentError {
    pub fn place(&self) -> &Place {
        match self {
            FragmentError::Syntax { place, .. }
            | FragmentError::Conflict { place, .. }
            | FragmentError::Module { place, .. } => place,
        }
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> String {
        match self {
            FragmentError::Syntax { line, .. } => {
                format!("`{line}` is neither `CONFIG_NAME=value`, `# CONFIG_NAME is not set` nor a comment")
            }
            FragmentError::Conflict { option, value, first, first_value, .. } => {
                format!("`{option}` is requested as `{value}`, but {first} requests: {first_value}")
            }
            FragmentError::Module { option, value, .. } => {
                format!("`{option}={value}` asks for kernel modules, which no package would bring to the device")
            }
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            FragmentError::Syntax { .. } => {
                "values are y, m, n, a number or a quoted string, without spaces around `=`"
            }
            FragmentError::Conflict { .. } => {
                "a machine and its product can only use fragments that agree: change one of the two"
            }
            FragmentError::Module { value: Value::Module, .. } => "build the option in: `=y`",
            FragmentError::Module { .. } => "leave it out: what a device needs is built in",
        }
    }
}

/// What `fragments` (file name and text) request together. Two that agree are fine.
pub fn requested<'a>(fragments: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Requested, Vec<FragmentError>> {
    let mut requested = Requested::new();
    let mut errors = Vec::new();
    for (file, text) in fragments {
        let file: std::sync::Arc<str> = file.into();
        for (line, number) in text.lines().zip(1..) {
            let place = Place { file: file.clone(), line: number };
            match setting(line) {
                Ok(None) => {}
                Ok(Some((name, value))) => errors.extend(add(&mut requested, name, value, place)),
                Err(()) => errors.push(FragmentError::Syntax { place, line: line.trim().chars().take(80).collect() }),
            }
        }
    }
    if errors.is_empty() {
        Ok(requested)
    } else {
        Err(errors)
    }
}

/// `requested`, unless a line of it makes modules: they would be compiled and left behind.
pub fn without_modules(requested: Requested) -> Result<Requested, Vec<FragmentError>> {
    let makes_modules =
        |name: &str, value: &Value| *value == Value::Module || (name, value) == ("MODULES", &Value::Yes);
    let asking = requested.iter().filter(|(name, request)| makes_modules(name, &request.value));
    let errors: Vec<FragmentError> = asking
        .flat_map(|(name, Request { value, place, again })| {
            let error = |place: &Place| {
                let (place, option) = (place.clone(), format!("CONFIG_{name}"));
                FragmentError::Module { place, option, value: value.clone() }
            };
            std::iter::once(place).chain(again).map(error).collect::<Vec<_>>()
        })
        .collect();
    if errors.is_empty() {
        Ok(requested)
    } else {
        Err(errors)
    }
}

fn add(requested: &mut Requested, name: &str, value: Value, place: Place) -> Option<FragmentError> {
    match requested.get_mut(name) {
        None => {
            requested.insert(name.to_owned(), Request { value, place, again: Vec::new() });
            None
        }
        Some(first) if first.value == value => {
            first.again.push(place);
            None
        }
        Some(first) => Some(FragmentError::Conflict {
            option: format!("CONFIG_{name}"),
            first: first.place.clone(),
            first_value: first.value.clone(),
            place,
            value,
        }),
    }
}

/// The option that a line sets; none for comments and empty lines.
fn setting(line: &str) -> Result<Option<(&str, Value)>, ()> {
    let line = line.trim();
    if let Some(comment) = line.strip_prefix('#') {
        // Almost the line that switches an option off: silence here would leave it on.
        let Some(rest) = comment.trim_start().strip_prefix("CONFIG_") else { return Ok(None) };
        return match rest.strip_suffix(" is not set") {
            Some(name) if is_name(name) && comment.starts_with(" CONFIG_") => Ok(Some((name, Value::No))),
            _ if rest.contains("not set") => Err(()),
            _ => Ok(None),
        };
    }
    if line.is_empty() {
        return Ok(None);
    }
    let (name, value) = line.strip_prefix("CONFIG_").and_then(|rest| rest.split_once('=')).ok_or(())?;
    if !is_name(name) {
        return Err(());
    }
    Ok(Some((name, Value::parse(value).ok_or(())?)))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The file for `KCONFIG_ALLCONFIG`, sorted by name.
pub fn allconfig(requested: &Requested) -> String {
    requested.iter().map(|(name, request)| line(name, &request.value)).collect()
}

/// The line of a fragment, or of a `.config`, that sets an option.
fn line(name: &str, value: &Value) -> String {
    match value {
        Value::No => format!("# CONFIG_{name} is not set\n"),
        _ => format!("CONFIG_{name}={value}\n"),
    }
}

/// What a fragment should request, by name without `CONFIG_`.
pub type Settings = BTreeMap<String, Value>;

/// A fragment's text with `settings`: lines that set one of them are replaced, the others come at the end.
pub fn updated(text: &str, settings: &Settings) -> String {
    let mut left = settings.clone();
    let mut updated = String::new();
    for old in text.lines() {
        match setting(old).ok().flatten().map(|(name, _)| name).filter(|name| settings.contains_key(*name)) {
            // Asked for twice: once is enough.
            Some(name) => updated.extend(left.remove(name).map(|value| line(name, &value))),
            None => updated.extend([old, "\n"]),
        }
    }
    updated.extend(left.iter().map(|(name, value)| line(name, value)));
    updated
}

/// `NAME=VALUE` or `CONFIG_NAME=VALUE`, as on a command line.
pub fn assignment(word: &str) -> Option<(String, Value)> {
    let (name, value) = word.strip_prefix("CONFIG_").unwrap_or(word).split_once('=')?;
    is_name(name).then(|| Some((name.to_owned(), Value::parse(value)?)))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fragments_that_agree_are_merged_and_others_name_both_lines() {
        let one = ("a.config", "# title\nCONFIG_X=y\n\nCONFIG_S=\"a b\"\n");
        let requested_one = requested([one, ("b.config", "CONFIG_X=y\n# CONFIG_Y is not set\n")]).expect("they agree");
        assert_eq!(allconfig(&requested_one), "CONFIG_S=\"a b\"\nCONFIG_X=y\n# CONFIG_Y is not set\n");
        assert_eq!(requested_one["X"].place.to_string(), "a.config:2");

        let errors = requested([one, ("b.config", "# CONFIG_X is not set\n")]).expect_err("they disagree");
        assert_eq!(errors[0].to_string(), "b.config:1: `CONFIG_X` is requested as `n`, but a.config:2 requests: y");
    }

    #[test]
    fn every_line_that_asks_for_modules_is_named() {
        let wrong = [("a.config", "CONFIG_X=y\nCONFIG_V=m\n"), ("b.config", "CONFIG_V=m\nCONFIG_MODULES=y\n")];
        let errors = without_modules(requested(wrong).expect("they agree")).expect_err("modules");
        let lines: Vec<String> = errors.iter().map(FragmentError::to_string).collect();
        let what = "asks for kernel modules, which no package would bring to the device";
        let expected = [
            format!("b.config:2: `CONFIG_MODULES=y` {what}"),
            format!("a.config:2: `CONFIG_V=m` {what}"),
            format!("b.config:1: `CONFIG_V=m` {what}"),
        ];
        assert_eq!(lines, expected);
        let right = requested([("a.config", "CONFIG_X=y\n# CONFIG_MODULES is not set\n")]).expect("valid");
        assert_eq!(without_modules(right.clone()), Ok(right));
    }

    #[test]
    fn lines_that_say_nothing_or_almost_something() {
        for ignored in ["", "  ", "# words", "# CONFIG_X=y", "#"] {
            assert_eq!(setting(ignored), Ok(None), "{ignored}");
        }
        for wrong in ["CONFIG_X", "X=y", "CONFIG_X=yes", "CONFIG_=y", "#CONFIG_X is not set", "CONFIG_X = y"] {
            assert_eq!(setting(wrong), Err(()), "{wrong}");
        }
    }

    #[test]
    fn a_fragment_is_updated_where_it_sets_an_option_and_grows_at_its_end() {
        let settings = Settings::from([
            ("X".into(), Value::No),
            ("Y".into(), Value::Yes),
            ("NEW".into(), Value::Text("3".into())),
        ]);
        let text = "# why\nCONFIG_X=y\n\n# CONFIG_Y is not set\nCONFIG_Z=y\nCONFIG_X=y";
        let expected = "# why\n# CONFIG_X is not set\n\nCONFIG_Y=y\nCONFIG_Z=y\nCONFIG_NEW=3\n";
        assert_eq!(updated(text, &settings), expected);
        assert_eq!(updated(expected, &settings), expected);
    }

    #[test]
    fn words_of_a_command_line_set_an_option_or_nothing() {
        assert_eq!(assignment("CONFIG_A=y"), Some(("A".into(), Value::Yes)));
        assert_eq!(assignment("A=0x10"), Some(("A".into(), Value::Text("0x10".into()))));
        for wrong in ["A", "=y", "A=yes", "A B=y", "A="] {
            assert_eq!(assignment(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn an_updated_fragment_asks_for_the_settings_and_for_all_else_as_before(
            text in "(CONFIG_[A-E]=[ymn0-9]\n|# CONFIG_[A-E] is not set\n|# words\n|\n){0,9}",
            settings in proptest::collection::btree_map("[A-H]", "[ymn0-9]", 0..4),
        ) {
            let parsed = |(name, value): (String, String)| (name, Value::parse(&value).expect("a value"));
            let settings: Settings = settings.into_iter().map(parsed).collect();
            if let Ok(before) = requested([("f", text.as_str())]) {
                let mut expected: Settings = before.into_iter().map(|(name, request)| (name, request.value)).collect();
                expected.extend(settings.clone());
                let after = requested([("f", updated(&text, &settings).as_str())]).expect("it stays valid");
                let after: Settings = after.into_iter().map(|(name, request)| (name, request.value)).collect();
                prop_assert_eq!(after, expected);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*(\nCONFIG_[A-Z]{1,3}=[ymn\"0-9]{0,3}|\n# CONFIG_[A-Z] is not set){0,9}") {
            if let Ok(first) = requested([("f", text.as_str())]) {
                let again = allconfig(&first);
                let second = requested([("f", again.as_str())]).expect("what was written can be read");
                let values = |r: &Requested| r.iter().map(|(n, q)| (n.clone(), q.value.clone())).collect::<Vec<_>>();
                prop_assert_eq!(values(&first), values(&second));
            }
        }
    }
}
