//! The kernel's command line, as the firmware verifies it with the kernel, to what it says of the root; and back.
//!
//! Invariant: the root hash is 64 lower-case hexadecimal digits, and both it and the number of blocks that it is the
//! hash of are given exactly once. Without that number a tree could pass for the data it was made of: dm-verity hashes
//! a block of the tree as it hashes one of the data.

/// `/proc/cmdline` has at most this many bytes on the architectures we support.
pub const LIMIT_BYTES: usize = 4096;

const ROOT_HASH: &str = "roothash";
const ROOT_BLOCKS: &str = "osbuild.root-blocks";
const SLOT: &str = "osbuild.slot";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// `roothash=`: 64 hexadecimal digits.
    pub root_hash: String,
    /// `osbuild.root-blocks=`: how many blocks of [`crate::verity::BLOCK_BYTES`] the root has.
    pub root_blocks: u64,
    /// `osbuild.slot=a`: for boards whose firmware does not say which slot it started.
    pub slot: Option<Slot>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    #[error("the kernel command line has no `{0}=`")]
    Missing(&'static str),
    #[error("the kernel command line has `{0}` twice")]
    Twice(&'static str),
    #[error("the kernel command line has an unusable `{key}`: `{value}`")]
    Unusable { key: &'static str, value: String },
}

impl CommandLine {
    pub fn parse(text: &str) -> Result<Self, CommandLineError> {
        let root_hash = needed(text, ROOT_HASH)?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if root_hash.len() != 64 || !root_hash.bytes().all(hex) {
            return Err(unusable(ROOT_HASH, root_hash));
        }
        let blocks = needed(text, ROOT_BLOCKS)?;
        // One spelling for each number, so that every reader reads the same one.
        let root_blocks = blocks.parse().ok().filter(|number: &u64| *number > 0 && number.to_string() == blocks);
        let root_blocks = root_blocks.ok_or_else(|| unusable(ROOT_BLOCKS, blocks))?;
        let slot = match only(text, SLOT)? {
            None => None,
            Some(letter) => Some(Slot::from_letter(letter).ok_or_else(|| unusable(SLOT, letter))?),
        };
        Ok(CommandLine { root_hash: root_hash.to_owned(), root_blocks, slot })
    }
}

/// `words` with what they say of the root added. Not checked: read it back with [`CommandLine::parse`].
pub fn with_root(words: &str, root_hash: &str, root_blocks: u64) -> String {
    format!("{words} {ROOT_BLOCKS}={root_blocks} {ROOT_HASH}={root_hash}")
}

fn needed<'a>(text: &'a str, key: &'static str) -> Result<&'a str, CommandLineError> {
    only(text, key)?.ok_or(CommandLineError::Missing(key))
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
        let text = with_root("console=ttyS0,115200 systemd.x=y quiet osbuild.slot=b", &hash, 7) + "\n";
        let line = CommandLine { root_hash: hash, root_blocks: 7, slot: Some(Slot::B) };
        assert_eq!(CommandLine::parse(&text), Ok(line));
    }

    #[test]
    fn what_would_be_a_guess_is_an_error() {
        let hash = "0".repeat(64);
        let blocks = "osbuild.root-blocks=7";
        for (text, wanted) in [
            (String::new(), CommandLineError::Missing(ROOT_HASH)),
            (format!("x=\"roothash={hash}\" {blocks}"), CommandLineError::Missing(ROOT_HASH)),
            (format!("a=\" roothash={hash} \""), CommandLineError::Missing(ROOT_HASH)),
            (format!("roothash={hash} roothash={hash} {blocks}"), CommandLineError::Twice(ROOT_HASH)),
            (format!("roothash={hash} {blocks} {blocks}"), CommandLineError::Twice(ROOT_BLOCKS)),
            (format!("roothash={hash}"), CommandLineError::Missing(ROOT_BLOCKS)),
            (format!("roothash={hash} osbuild.root-blocks=0"), unusable(ROOT_BLOCKS, "0")),
            (format!("roothash={hash} osbuild.root-blocks=07"), unusable(ROOT_BLOCKS, "07")),
            (format!("roothash={hash} osbuild.root-blocks=+7"), unusable(ROOT_BLOCKS, "+7")),
            (format!("roothash=12 {blocks}"), unusable(ROOT_HASH, "12")),
            (format!("roothash={} {blocks}", "A".repeat(64)), unusable(ROOT_HASH, &"A".repeat(64))),
            (format!("roothash={hash} {blocks} osbuild.slot=c"), unusable(SLOT, "c")),
        ] {
            assert_eq!(CommandLine::parse(&text), Err(wanted), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(roothash=|osbuild.(slot|root-blocks)=|\"| |[0-9a-f]{64}|\\PC){0,20}") {
            if let Ok(line) = CommandLine::parse(&text) {
                prop_assert_eq!(line.root_hash.len(), 64);
            }
        }
    }
}
