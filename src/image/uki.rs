//! The step `uki`: systemd-stub, kernel, initramfs and command line in, one unsigned EFI program out.
//!
//! Sections after the UAPI Group's "Unified Kernel Image" specification, section "UKI Components". Invariant: the
//! command line ends in the root's size and hash, so what the firmware verifies decides which root the kernel accepts.

use super::pe::{self, Pe, PeError};
use super::step::{input, output, ImageError};
use crate::io::store::{Node, Store};
use crate::model::{Digest, RelPath};
use osbuild_format::command_line::{self, CommandLine, CommandLineError};
use osbuild_format::verity::BLOCK_BYTES;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Each part; a kernel without modules has about 10 MB.
const LIMIT_BYTES: u64 = 512 << 20;
/// `COMMAND_LINE_SIZE` of x86 is 2048, with its final zero.
const LIMIT_COMMAND_LINE: usize = 2047;

#[derive(Debug, thiserror::Error)]
pub enum UkiError {
    #[error("the kernel's command line has {0} bytes, more than {LIMIT_COMMAND_LINE}")]
    TooLong(usize),
    #[error("the kernel's command line has a character that is not printable ASCII")]
    Unprintable,
    #[error(transparent)]
    CommandLine(#[from] CommandLineError),
    #[error("the image has no section `{0}`")]
    NoSection(&'static str),
    #[error(transparent)]
    Pe(#[from] PeError),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    command_line: String,
}

/// Inputs `stub linux release initramfs root root-hash os-release`, output `uki.efi`.
pub fn step(store: &Store, inputs: &Digest, parameters: &str) -> Result<BTreeMap<RelPath, Node>, ImageError> {
    let parameters: Parameters = serde_json::from_str(parameters)?;
    let read = |name| Ok::<_, ImageError>(store.read(&input(store, inputs, name)?, LIMIT_BYTES)?);
    let root_blocks = input(store, inputs, "root")?.size_bytes / u64::from(BLOCK_BYTES);
    let root_hash = String::from_utf8_lossy(&read("root-hash")?).trim().to_owned();
    let command_line = command_line(&parameters.command_line, &root_hash, root_blocks)?;
    let release = read("release")?;
    let (linux, initramfs, os_release) = (read("linux")?, read("initramfs")?, read("os-release")?);
    let sections: [(&str, &[u8]); 5] = [
        (".osrel", &os_release),
        (".cmdline", command_line.as_bytes()),
        (".uname", release.trim_ascii()),
        (".initrd", &initramfs),
        (".linux", &linux),
    ];
    let uki = pe::append(&read("stub")?, &sections)?;
    Ok(BTreeMap::from([output(store, "uki.efi", &uki)?]))
}

fn command_line(words: &str, root_hash: &str, root_blocks: u64) -> Result<String, UkiError> {
    let line = command_line::with_root(words, root_hash, root_blocks);
    if line.len() > LIMIT_COMMAND_LINE {
        return Err(UkiError::TooLong(line.len()));
    }
    if !line.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Err(UkiError::Unprintable);
    }
    // The device reads it in the same way.
    CommandLine::parse(&line)?;
    Ok(line)
}

/// What a unified kernel image says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uki {
    pub command_line: String,
    pub os_release: String,
    pub root_hash: [u8; 32],
    /// How many blocks the root has.
    pub root_blocks: u64,
}

impl Uki {
    /// A value of the image's os-release, without its quotes. os-release(5).
    pub fn os_release_value(&self, name: &str) -> Option<&str> {
        let value = self.os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
    }
}

/// Reads a signed or unsigned image.
pub fn read(bytes: &[u8]) -> Result<Uki, UkiError> {
    let pe = Pe::parse(bytes)?;
    let text = |name: &'static str| {
        let section = pe.section(name).ok_or(UkiError::NoSection(name))?;
        let length = section.raw.len().min(section.virtual_size as usize);
        Ok::<_, UkiError>(String::from_utf8_lossy(&bytes[section.raw.start..section.raw.start + length]).into_owned())
    };
    let (command_line, os_release) = (text(".cmdline")?, text(".osrel")?);
    let CommandLine { root_hash, root_blocks, .. } = CommandLine::parse(&command_line)?;
    let root_hash = hex::decode(root_hash).ok().and_then(|hash| hash.try_into().ok());
    let root_hash = root_hash.expect("64 hex digits are 32 bytes");
    Ok(Uki { command_line, os_release, root_hash, root_blocks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::pe::tests::example;

    #[test]
    fn the_command_line_is_checked_and_ends_in_the_root_hash() {
        let hash = "ab".repeat(32);
        let line = command_line("console=ttyS0 quiet", &hash, 7).expect("valid");
        assert_eq!(line, format!("console=ttyS0 quiet osbuild.root-blocks=7 roothash={hash}"));
        assert!(matches!(command_line(&"x".repeat(2000), &hash, 7), Err(UkiError::TooLong(_))));
        assert!(matches!(command_line("a\nb", &hash, 7), Err(UkiError::Unprintable)));
        for (words, hash, blocks) in [("a", "abcd", 7), ("a", &hash, 0), ("roothash=x", &hash, 7)] {
            assert!(matches!(command_line(words, hash, blocks), Err(UkiError::CommandLine(_))));
        }
        let sections = [(".osrel", &b"ID=x\nNAME=\"A b\"\n"[..]), (".cmdline", line.as_bytes())];
        let uki = read(&pe::append(&example(), &sections).expect("appended")).expect("read");
        assert_eq!((uki.root_hash, uki.root_blocks), ([0xab; 32], 7));
        assert_eq!(["ID", "NAME", "N"].map(|name| uki.os_release_value(name)), [Some("x"), Some("A b"), None]);
        let twice = format!("{line} roothash={hash}");
        let uki = pe::append(&example(), &[(".osrel", b""), (".cmdline", twice.as_bytes())]).expect("appended");
        assert!(matches!(read(&uki), Err(UkiError::CommandLine(CommandLineError::Twice(_)))));
    }
}
