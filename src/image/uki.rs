//! The step `uki`: systemd-stub, kernel, initramfs and command line in, one unsigned EFI program out.
//!
//! Sections after the UAPI Group's "Unified Kernel Image" specification, section "UKI Components". Invariant: the
//! command line ends in the root hash, so what the firmware verifies decides which root the kernel accepts.

use super::pe::{self, Pe, PeError};
use super::step::{input, output, ImageError};
use crate::io::store::{Node, Store};
use crate::model::{Digest, RelPath};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Each part; a kernel without modules has about 10 MB.
const LIMIT_BYTES: u64 = 512 << 20;
/// `COMMAND_LINE_SIZE` of x86 is 2048, with its final zero.
const LIMIT_COMMAND_LINE: usize = 2047;
const ROOT_HASH: &str = "roothash=";

#[derive(Debug, thiserror::Error)]
pub enum UkiError {
    #[error("the kernel's command line has {0} bytes, more than {LIMIT_COMMAND_LINE}")]
    TooLong(usize),
    #[error("the kernel's command line has a character that is not printable ASCII")]
    Unprintable,
    #[error("the root hash is not 64 hex digits")]
    RootHash,
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

/// Inputs `stub linux release initramfs root-hash os-release`, output `uki.efi`.
pub fn step(store: &Store, inputs: &Digest, parameters: &str) -> Result<BTreeMap<RelPath, Node>, ImageError> {
    let parameters: Parameters = serde_json::from_str(parameters)?;
    let read = |name| Ok::<_, ImageError>(store.read(&input(store, inputs, name)?, LIMIT_BYTES)?);
    let root_hash = read("root-hash")?;
    let command_line = command_line(&parameters.command_line, &root_hash)?;
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

fn command_line(words: &str, root_hash: &[u8]) -> Result<String, UkiError> {
    let root_hash = std::str::from_utf8(root_hash).map(str::trim).map_err(|_| UkiError::RootHash)?;
    if root_hash.len() != 64 || !root_hash.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(UkiError::RootHash);
    }
    let line = format!("{words} {ROOT_HASH}{root_hash}");
    if line.len() > LIMIT_COMMAND_LINE {
        return Err(UkiError::TooLong(line.len()));
    }
    match line.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        true => Ok(line),
        false => Err(UkiError::Unprintable),
    }
}

/// What a unified kernel image says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uki {
    pub command_line: String,
    pub os_release: String,
    pub root_hash: [u8; 32],
}

/// Reads a signed or unsigned image.
pub fn read(bytes: &[u8]) -> Result<Uki, UkiError> {
    let pe = Pe::parse(bytes)?;
    let text = |name: &'static str| {
        let section = pe.section(name).ok_or(UkiError::NoSection(name))?;
        let length = section.raw.len().min(section.virtual_size as usize);
        Ok::<_, UkiError>(String::from_utf8_lossy(&bytes[section.raw.start..section.raw.start + length]).into_owned())
    };
    let command_line = text(".cmdline")?;
    let mut hashes = command_line.split_ascii_whitespace().filter_map(|word| word.strip_prefix(ROOT_HASH));
    let root_hash = hashes.next().and_then(|hash| hex::decode(hash).ok()?.try_into().ok());
    // Two could be read differently by different readers.
    match (root_hash, hashes.next()) {
        (Some(root_hash), None) => Ok(Uki { os_release: text(".osrel")?, command_line, root_hash }),
        _ => Err(UkiError::RootHash),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::pe::tests::example;

    #[test]
    fn the_command_line_is_checked_and_ends_in_the_root_hash() {
        let hash = "ab".repeat(32);
        let line = command_line("console=ttyS0 quiet", format!("{hash}\n").as_bytes()).expect("valid");
        assert_eq!(line, format!("console=ttyS0 quiet roothash={hash}"));
        assert!(matches!(command_line(&"x".repeat(2000), hash.as_bytes()), Err(UkiError::TooLong(_))));
        assert!(matches!(command_line("a\nb", hash.as_bytes()), Err(UkiError::Unprintable)));
        assert!(matches!(command_line("a", b"abcd"), Err(UkiError::RootHash)));
        let uki = pe::append(&example(), &[(".osrel", b"ID=x\n"), (".cmdline", line.as_bytes())]).expect("appended");
        assert_eq!(read(&uki).expect("read").root_hash, [0xab; 32]);
        let twice = format!("{line} roothash={hash}");
        let uki = pe::append(&example(), &[(".osrel", b""), (".cmdline", twice.as_bytes())]).expect("appended");
        assert!(matches!(read(&uki), Err(UkiError::RootHash)));
    }
}
