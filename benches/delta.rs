//! What an update costs, beside what other tools make of the same images, which are made of real Debian packages:
//! `cargo bench --bench delta`; with `OSBUILD_BENCH_PAIRS=tiny,uki` of these pairs only.
//!
//! Programs: xdelta3, bsdiff, zstd, casync, rdiff and python3 with the module `hdiffpatch`, all from PATH. Invariant: a goal
//! that could not be measured is missed.
#![allow(clippy::disallowed_methods)]

mod figure;
#[path = "delta/kernel.rs"]
mod kernel;
#[path = "delta/pair.rs"]
mod pair;
#[path = "delta/tool.rs"]
mod tool;

use figure::{Sample, Verdict};
use osbuild::cli::chosen_cache;
use osbuild::update::delta::{self, Images};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use tool::{Figures, HDIFF, OURS, OURS_ALONE, OURS_FULL, XDELTA3, ZSTD_FULL};

const PAIRS: &str = "OSBUILD_BENCH_PAIRS";
const LIMIT_OF_XDELTA3: f64 = 0.4;
const LIMIT_MEMORY_MB: f64 = 1_500.0;

type Row = (&'static str, Result<Figures, String>);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["prepare", folder, pair] => pair::prepare(Path::new(folder), pair),
        ["generate", threads, old, new, out] => generate(threads, old, new, out),
        _ => return compare(),
    }
    ExitCode::SUCCESS
}

/// The segments of a payload as they travel, without the header; `old` is `-` for a full one.
fn generate(threads: &str, old: &str, new: &str, out: &str) {
    let threads = threads.parse().expect("a number of threads");
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("threads");
    let read = |path: &str| std::fs::read(path).expect("read");
    let old = (old != "-").then(|| read(old));
    let new = read(new);
    // The signature of a boot sector; an EROFS has zeros there.
    let images = |bytes| match new.get(510..512) {
        Some([0x55, 0xaa]) => Images { root: &[], esp: bytes },
        _ => Images { root: bytes, esp: &[] },
    };
    let generated = delta::generate(old.as_deref().map(images).as_ref(), &images(&new)).expect("generated");
    let segments: Vec<&[u8]> = generated.segments.iter().map(|(_, stored)| &stored[..]).collect();
    std::fs::write(out, segments.concat()).expect("written");
}

fn compare() -> ExitCode {
    let folder = chosen_cache().expect("HOME, XDG_CACHE_HOME or OSBUILD_CACHE says where").join("bench");
    std::fs::create_dir_all(&folder).expect("made");
    let folder = folder.canonicalize().expect("there");
    let measured: Vec<(String, Vec<Row>)> =
        pairs().into_iter().map(|name| (name.clone(), rows(&folder, &name))).collect();
    let mut verdict = Verdict::default();
    for (pair, rows) in &measured {
        goals(pair, rows, &mut verdict);
    }
    let sum = |tool| measured.iter().map(|(_, rows)| of(rows, tool).map(|f| f.bytes as f64)).sum::<Option<f64>>();
    limit(
        &mut verdict,
        "sum of the pairs, bytes of those of xdelta3 -9",
        ratio(sum(OURS), sum(XDELTA3)),
        LIMIT_OF_XDELTA3,
    );
    verdict.finish()
}

fn pairs() -> Vec<String> {
    let chosen = std::env::var(PAIRS).unwrap_or_default();
    let chosen: Vec<&str> = chosen.split([',', ' ']).filter(|name| !name.is_empty()).collect();
    if let Some(unknown) = chosen.iter().find(|name| !pair::NAMES.contains(name)) {
        panic!("{PAIRS} names `{unknown}`; there are: {}", pair::NAMES.join(", "));
    }
    let wanted = pair::NAMES.into_iter().filter(|name| chosen.is_empty() || chosen.contains(name));
    wanted.map(str::to_owned).collect()
}

/// Prints and returns what each tool makes of a pair.
fn rows(folder: &Path, pair: &str) -> Vec<Row> {
    // A process of its own, whose memory is not where the tools' begins.
    let prepared =
        Command::new(std::env::current_exe().expect("a program")).arg("prepare").arg(folder).arg(pair).status();
    assert!(prepared.expect("started").success(), "the images of `{pair}` cannot be made");
    let images: [PathBuf; 2] = pair::images(folder, pair);
    let size = std::fs::metadata(&images[1]).expect("an image").len();
    println!("{pair}, {} MiB{:>26} {:>14} {:>10} {:>9}", size >> 20, "travels", "wall", "processor", "memory");
    let scratch = |_| tempfile::tempdir_in(folder).expect("a folder");
    let row = |name| {
        let scratch = scratch(name);
        let figures = tool::run(name, &images, scratch.path());
        println!("  {name:<22} {}", figures.as_ref().map_or_else(Clone::clone, Figures::line));
        (name, figures)
    };
    tool::NAMES.into_iter().map(row).collect()
}

fn of(rows: &[Row], tool: &str) -> Option<Figures> {
    rows.iter().find(|(name, _)| *name == tool).and_then(|(_, figures)| figures.as_ref().ok().copied())
}

fn ratio(of: Option<f64>, to: Option<f64>) -> Option<f64> {
    Some(of? / to?)
}

fn goals(pair: &str, rows: &[Row], verdict: &mut Verdict) {
    let bytes = |tool| of(rows, tool).map(|figures| figures.bytes as f64);
    let wall = |tool| of(rows, tool).map(|figures| figures.wall.as_secs_f64());
    let processor = |tool| of(rows, tool).map(|figures| figures.cpu.as_secs_f64());
    // The best is known only when both are.
    let hdiff = bytes(HDIFF[0]).zip(bytes(HDIFF[1])).map(|(zstd, lzma2)| zstd.min(lzma2));
    for (what, value) in [
        ("bytes, of those of HDiffPatch's best", ratio(bytes(OURS), hdiff)),
        ("wall time on 2 threads, of that of xdelta3 -9", ratio(wall(OURS), wall(XDELTA3))),
        ("processor time on 1 thread, of that of xdelta3 -9", ratio(processor(OURS_ALONE), processor(XDELTA3))),
        ("bytes, of those of the full payload", ratio(bytes(OURS), bytes(OURS_FULL))),
        ("bytes of the full payload, of those of zstd -19", ratio(bytes(OURS_FULL), bytes(ZSTD_FULL))),
    ] {
        limit(verdict, &format!("{pair}: {what}"), value, 1.0);
    }
    let what = format!("{pair}: same bytes on 1 and 2 threads");
    match of(rows, OURS).zip(of(rows, OURS_ALONE)) {
        Some((two, one)) => verdict.kept(&what, two.sha256 == one.sha256),
        None => verdict.unmeasured(&what),
    }
    let what = format!("{pair}: memory");
    match of(rows, OURS).map(|figures| figures.peak_bytes as f64 / 1e6) {
        Some(value) => verdict.at_most(&what, &Sample::new([value]), LIMIT_MEMORY_MB, "MB"),
        None => verdict.unmeasured(&what),
    }
}

fn limit(verdict: &mut Verdict, what: &str, value: Option<f64>, limit: f64) {
    match value {
        Some(value) => verdict.at_most(what, &Sample::new([value]), limit, "times"),
        None => verdict.unmeasured(what),
    }
}
