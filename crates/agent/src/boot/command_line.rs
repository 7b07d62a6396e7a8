//! The kernel's command line to what the agent needs of it.
//!
//! Invariant: the root hash is 64 lower-case hexadecimal digits, given exactly once.

/// `/proc/cmdline` has at most this many bytes on the architectures we support.
pub const LIMIT_BYTES: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// `roothash=`: 64 hexadecimal digits.
    pub root_hash: String,
    /// `osbuild.slot=a`: for boards whose firmware does not say which slot it started.
    pub slot: Option<Slot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    A,
    B,
}

impl Slot {
    pub fn letter(self) -> &'static str {
        match self {
            Slot::A => "a",
            Slot::B => "b",
        }
    }

    /// From a partition's name, such as `esp-a`.
    pub fn from_letter(letter: &str) -> Option<Self> {
        match letter {
            "a" => Some(Slot::A),
            "b" => Some(Slot::B),
            _ => None,
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandLineError {
    #[error("the kernel command line has no `roothash=`")]
    NoRootHash,
    #[error("the kernel command line has `{0}` twice")]
    Twice(&'static str),
    #[error("the kernel command line has an unusable `{key}`: `{value}`")]
    Unusable { key: &'static str, value: String },
}

impl CommandLine {
    pub fn parse(text: &str) -> Result<Self, CommandLineError> {
        let root_hash = only(text, "roothash")?.ok_or(CommandLineError::NoRootHash)?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if root_hash.len() != 64 || !root_hash.bytes().all(hex) {
            return Err(unusable("roothash", root_hash));
        }
        let slot = match only(text, "osbuild.slot")? {
            None => None,
            Some(letter) => Some(Slot::from_letter(letter).ok_or_else(|| unusable("osbuild.slot", letter))?),
        };
        Ok(CommandLine { root_hash: root_hash.to_owned(), slot })
    }
}

fn unusable(key: &'static str, value: &str) -> CommandLineError {
    CommandLineError::Unusable { key, value: value.chars().take(80).collect() }
}

fn only<'a>(text: &'a str, key: &'static str) -> Result<Option<&'a str>, CommandLineError> {
    let mut values = words(text).filter_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(CommandLineError::Twice(key)),
        (value, None) => Ok(value),
    }
}

/// Words apart by white space; double quotes keep it, as in the kernel's own reading.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c: char| {
        quoted ^= c == '"';
        c.is_ascii_whitespace() && !quoted
    })
    .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_ours_is_found_among_the_rest() {
        let hash = "0123456789abcdef".repeat(4);
        let text = format!("console=ttyS0,115200 systemd.x=y quiet roothash={hash} osbuild.slot=b\n");
        assert_eq!(CommandLine::parse(&text), Ok(CommandLine { root_hash: hash, slot: Some(Slot::B) }));
    }

    #[test]
    fn what_would_be_a_guess_is_an_error() {
        let hash = "0".repeat(64);
        for (text, wanted) in [
            (String::new(), CommandLineError::NoRootHash),
            (format!("x=\"roothash={hash}\""), CommandLineError::NoRootHash),
            (format!("a=\" roothash={hash} \""), CommandLineError::NoRootHash),
            (format!("roothash={hash} roothash={hash}"), CommandLineError::Twice("roothash")),
            ("roothash=12".into(), unusable("roothash", "12")),
            (format!("roothash={}", "A".repeat(64)), unusable("roothash", &"A".repeat(64))),
            (format!("roothash={hash} osbuild.slot=c"), unusable("osbuild.slot", "c")),
        ] {
            assert_eq!(CommandLine::parse(&text), Err(wanted), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(roothash=|osbuild.slot=|\"| |[0-9a-f]{64}|\\PC){0,20}") {
            if let Ok(line) = CommandLine::parse(&text) {
                prop_assert_eq!(line.root_hash.len(), 64);
            }
        }
    }
}
