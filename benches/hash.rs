//! How fast hashing is, beside what the processor can do, and the assembly of a disk, beside what the disk can
//! do: `cargo bench --bench hash`.
//!
//! Invariant: what is compared runs on the same bytes in the same process, in turns, so that the noise of a
//! shared machine meets both.
#![allow(clippy::disallowed_methods)]

mod figure;

use figure::{note, Sample, Verdict};
use osbuild::disk::{self, Disk, Part, Payload};
use osbuild::image::verity::{self, Extent};
use osbuild::io::file::Pending;
use osbuild::model::Digest;
use osbuild_format::gpt::types;
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

const BYTES: usize = 512 << 20;
const RUNS: usize = 5;
/// A salt in front of each block of 4 KiB costs 1 part in 64, the tree 1 in 128, reading the file more.
const LIMIT_VERITY: f64 = 0.6;
/// Each byte is hashed four times and compressed once, while the disk writes: on a disk of some 1.5 GB/s and more,
/// two processors are what bounds it.
const LIMIT_ASSEMBLY: f64 = 0.4;

fn main() -> ExitCode {
    let mut verdict = Verdict::default();
    let bytes = noise(BYTES);
    println!("{} MiB, {} threads, {}", BYTES >> 20, rayon::current_num_threads(), instructions());
    hashing(&bytes, &mut verdict);
    assembly(&bytes, &mut verdict);
    verdict.finish()
}

fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("sha") {
        return "the processor has SHA instructions (SHA-NI)";
    }
    #[cfg(target_arch = "aarch64")]
    if std::arch::is_aarch64_feature_detected!("sha2") {
        return "the processor has SHA instructions";
    }
    "the processor has no SHA instructions"
}

/// Bytes that neither compress nor are zero: xorshift64 (Marsaglia 2003).
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes
}

/// Seconds that `run` takes.
fn seconds<T>(run: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    std::hint::black_box(run());
    start.elapsed().as_secs_f64()
}

/// GB/s, of 1,000,000,000 bytes.
fn speeds(times: &[f64]) -> Sample {
    Sample::new(times.iter().map(|time| BYTES as f64 / 1e9 / time))
}

fn ratio(of: &[f64], to: &[f64]) -> Sample {
    Sample::new(of.iter().zip(to).map(|(of, to)| to / of))
}

fn hashing(bytes: &[u8], verdict: &mut Verdict) {
    let file = in_memory(bytes);
    let share = BYTES.div_ceil(rayon::current_num_threads());
    let [mut one, mut ours, mut all, mut tree] = [const { Vec::new() }; 4];
    for _ in 0..RUNS {
        one.push(seconds(|| Sha256::digest(bytes)));
        ours.push(seconds(|| Digest::of(bytes)));
        all.push(seconds(|| bytes.par_chunks(share).map(Sha256::digest).collect::<Vec<_>>()));
        let extent = Extent { file: &file, start: 0, bytes: BYTES as u64 };
        tree.push(seconds(|| verity::build(extent, [1; 16], vec![0xab; 32]).expect("built")));
    }
    note("SHA-256, one core", &speeds(&one), "GB/s");
    verdict.at_least("  the store's digest, one core, of that", &ratio(&ours, &one), 0.9, "times");
    note("SHA-256, all cores", &speeds(&all), "GB/s");
    note("verity, all cores", &speeds(&tree), "GB/s");
    verdict.at_least("  of SHA-256 on all cores", &ratio(&tree, &all), LIMIT_VERITY, "times");
}

/// A file that no disk slows down.
fn in_memory(bytes: &[u8]) -> File {
    let memory = rustix::fs::memfd_create("benchmark", rustix::fs::MemfdFlags::CLOEXEC).expect("made");
    let mut file = File::from(memory);
    file.write_all(bytes).expect("written");
    file
}

/// Assembling a disk of one full partition, and writing as many bytes as it writes.
fn assembly(bytes: &[u8], verdict: &mut Verdict) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let source = folder.path().join("root");
    std::fs::write(&source, bytes).expect("written");
    let disk = disk(&source, Digest::of(bytes));
    let [mut plain, mut assembled] = [const { Vec::new() }; 2];
    for _ in 0..RUNS {
        // The image and its compressed form, which noise makes as large.
        plain.push(seconds(|| ["one", "two"].iter().for_each(|name| write(&folder.path().join(name), bytes))));
        assembled.push(seconds(|| disk::assemble(folder.path(), &disk).expect("assembled")));
    }
    let speed = |times: &[f64]| Sample::new(times.iter().map(|time| 2.0 * BYTES as f64 / 1e6 / time));
    note("write and fsync", &speed(&plain), "MB/s");
    note("assemble disk.img, its map and disk.img.zst", &speed(&assembled), "MB/s");
    verdict.at_least("  of write and fsync", &ratio(&assembled, &plain), LIMIT_ASSEMBLY, "times");
}

fn disk(source: &Path, digest: Digest) -> Disk {
    let part = Part {
        label: "root-a".to_owned(),
        type_guid: types::ROOT_X86_64,
        attributes: 0,
        size_bytes: digest.size_bytes,
        content: Some(Payload { path: source.to_owned(), digest }),
    };
    Disk { product: "benchmark".to_owned(), identity: vec![1], parts: vec![part] }
}

/// As the assembly writes: a new file, synced and renamed.
fn write(path: &Path, bytes: &[u8]) {
    let mut file = Pending::create(path, 0o644).expect("made");
    file.file().write_all(bytes).expect("written");
    file.commit().expect("synced");
}
