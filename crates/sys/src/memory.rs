//! What the start of a program needed once, given back.
//!
//! Invariant: only pages that the kernel can read again from the program's file are given back; no byte of the
//! program changes.

// One file of the kernel's, whose name is part of the message already.
#![allow(unsafe_code, clippy::disallowed_methods)]

use std::io;

/// A mapping of a file in this process.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    start: usize,
    bytes: usize,
}

/// Takes the pages of this program's code and constants out of its memory; those that are used come back from the
/// kernel's cache of the file, which may drop the others when memory is short.
pub fn release_program() -> io::Result<()> {
    let smaps = std::fs::read_to_string("/proc/self/smaps")?;
    for mapping in unchanged(&smaps) {
        // SAFETY: the mapping is of a file, nothing may write to it and nothing has (it has no anonymous page), so
        // every page is read again from the file when it is touched, with the same bytes.
        let result = unsafe { libc::madvise(mapping.start as *mut libc::c_void, mapping.bytes, libc::MADV_DONTNEED) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Gives back what the allocator keeps of memory that nobody uses any more.
pub fn release_heap() {
    // SAFETY: it takes the allocator's own locks and moves nothing that is in use. Other C libraries keep less.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// From now on, each block of 256 KiB and more goes back to the kernel as soon as it is freed. Otherwise the C library raises that
/// limit with each block that is freed, and what an updater takes grows with the number of segments.
pub fn give_large_blocks_back() {
    // SAFETY: it only sets a number of the allocator. Other C libraries have no limit that moves.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 256 << 10);
    }
}

/// The private, read-only mappings of files of which no page was ever written to.
fn unchanged(smaps: &str) -> Vec<Mapping> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        if let Some(mapping) = head(line) {
            candidate = mapping;
        } else if let Some(rest) = line.strip_prefix("Anonymous:") {
            let is_unchanged = rest.trim() == "0 kB";
            found.extend(candidate.take().filter(|_| is_unchanged));
        }
    }
    found
}

/// The first line of a mapping; inside: none when it is not one that could be given back.
fn head(line: &str) -> Option<Option<Mapping>> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let rights = words.next()?;
    let inode = words.nth(2)?;
    let is_read_only_file = matches!(rights, "r--p" | "r-xp") && inode != "0";
    Some(end.checked_sub(start).filter(|_| is_read_only_file).map(|bytes| Mapping { start, bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unchanged_pages_of_files_are_given_back() {
        let text = "1000-3000 r--p 00000000 fe:00 12 /usr/bin/a\nRss: 8 kB\nAnonymous:             0 kB\n\
            3000-5000 r-xp 00002000 fe:00 12 /usr/bin/a\nAnonymous:             0 kB\n\
            5000-6000 r--p 00004000 fe:00 12 /usr/bin/a\nAnonymous:             4 kB\n\
            6000-7000 rw-p 00005000 fe:00 12 /usr/bin/a\nAnonymous:             0 kB\n\
            8000-9000 r--p 00000000 00:00 0 [vvar]\nAnonymous:             0 kB\n";
        assert_eq!(
            unchanged(text),
            [Mapping { start: 0x1000, bytes: 0x2000 }, Mapping { start: 0x3000, bytes: 0x2000 }]
        );
    }

    #[test]
    fn a_program_runs_on_with_less_in_memory() {
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/status").expect("a status");
            let line = text.lines().find(|line| line.starts_with("RssFile:")).expect("a line").to_owned();
            line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).expect("a number")
        };
        let before = resident();
        release_program().expect("released");
        let after = resident();
        assert!(after < before, "{after} KiB of {before}");
        assert!(unchanged(&std::fs::read_to_string("/proc/self/smaps").expect("mappings")).len() > 1);
    }
}
