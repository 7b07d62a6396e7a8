//! What keeps parts from becoming a disk.
//!
//! Invariant: an overflow shows every partition, so that room can be taken from another.

use crate::io::file::FileError;
use crate::model::Digest;
use crate::tree::size::SlotUse;
use osbuild_format::gpt::GptError;
use std::fmt::Write;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the partitions do not make a valid table")]
    Table(#[from] GptError),
    #[error("the size of partition `{label}` must be a multiple of 1 MiB and not zero: {size_bytes}")]
    Size { label: String, size_bytes: u64 },
    #[error("{}", overflow(.0))]
    Overflow(Vec<SlotUse>),
    #[error("`{}` is not what its digest says: {digest}", path.display())]
    Damaged { path: PathBuf, digest: Digest },
}

fn overflow(slots: &[SlotUse]) -> String {
    let full = slots.iter().filter(|slot| slot.used_bytes > slot.size_bytes);
    let names: Vec<String> = full.map(|slot| format!("`{}`", slot.name)).collect();
    let mut text = format!("the content does not fit into its partition: {}\n", names.join(", "));
    // Writing to a string cannot fail.
    let _ = write!(text, "  {:<12} {:>14} {:>14} {:>14}", "partition", "size (KiB)", "used (KiB)", "free (KiB)");
    for SlotUse { name, size_bytes, used_bytes } in slots {
        let free = kib(*size_bytes) - kib(*used_bytes);
        let mark = if free < 0 { "  <- too small" } else { "" };
        let _ = write!(text, "\n  {name:<12} {:>14} {:>14} {free:>14}{mark}", kib(*size_bytes), kib(*used_bytes));
    }
    text
}

/// Rounded up, so that what does not fit shows.
fn kib(bytes: u64) -> i64 {
    i64::try_from(bytes.div_ceil(1024)).unwrap_or(i64::MAX)
}
