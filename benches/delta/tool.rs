//! Two images in, what each tool makes of them out: bytes that travel, wall time, processor time, peak memory.
//!
//! Where other work takes turns on the processors, wall time says more about that work than about the tool; processor time of
//! two tools that run right after each other can be compared all the same.
//!
//! Invariant: each tool is a process of its own, ours too, started from one that holds next to nothing, for a child's memory counts from what
//! its parent has. A tool that is not there, or fails, is said to, and never gets a figure.
#![allow(clippy::disallowed_methods)]

use osbuild_sys::usage;
use rustix::process::{prlimit, Pid, Resource, Rlimit, Signal};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub const OURS: &str = "ours, 2 threads";
pub const OURS_ALONE: &str = "ours, 1 thread";
pub const OURS_FULL: &str = "ours, full";
pub const XDELTA3: &str = "xdelta3 -9";
pub const ZSTD_FULL: &str = "zstd -19";
pub const HDIFF: [&str; 2] = ["hdiffpatch zstd", "hdiffpatch lzma2"];
const BSDIFF: &str = "bsdiff";
/// What is compared by time runs one after the other.
pub const NAMES: [&str; 11] = [
    OURS,
    XDELTA3,
    OURS_ALONE,
    HDIFF[0],
    HDIFF[1],
    BSDIFF,
    "zstd -19 --patch-from",
    "casync",
    "rdiff",
    OURS_FULL,
    ZSTD_FULL,
];

/// What bsdiff gets of a processor: it takes the square of what an image repeats, and no goal is about it.
const PATIENCE_SECONDS: u64 = 600;

/// HDiffPatch as PyPI has it. Arguments: compressor, old image, new image, where the delta goes.
const HDIFF_SCRIPT: &str = "import hdiffpatch, sys
compressor, old, new, out = sys.argv[1:]
how = {'zstd': lambda: hdiffpatch.ZStdConfig(level=22, window=27), 'lzma2': lambda: hdiffpatch.Lzma2Config(level=9)}[compressor]()
delta = hdiffpatch.diff(open(old, 'rb').read(), open(new, 'rb').read(), how, validate=False)
open(out, 'wb').write(delta)";

#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub bytes: u64,
    pub wall: Duration,
    pub cpu: Duration,
    pub peak_bytes: u64,
    /// Of the file that it left; of no meaning for casync.
    pub sha256: [u8; 32],
}

impl Figures {
    pub fn line(&self) -> String {
        let [wall, cpu] = [self.wall, self.cpu].map(|time| time.as_secs_f64());
        format!("{:>11} bytes {wall:>8.1} s {cpu:>8.1} s {:>6} MiB", self.bytes, self.peak_bytes >> 20)
    }
}

/// Runs the tool `name`; otherwise why there is no figure.
pub fn run(name: &str, [old, new]: &[PathBuf; 2], scratch: &Path) -> Result<Figures, String> {
    let out = scratch.join("delta");
    let _ = std::fs::remove_file(&out);
    let (o, n, d) = (text(old), text(new), text(&out));
    let mut figures = Figures::default();
    let mut run = |argv: &[&str]| measured(argv, &mut figures);
    match name {
        OURS | OURS_ALONE | OURS_FULL => {
            let program = std::env::current_exe().map_err(|e| e.to_string())?;
            let threads = if name == OURS_ALONE { "1" } else { "2" };
            run(&[text(&program), "generate", threads, if name == OURS_FULL { "-" } else { o }, n, d])?;
        }
        XDELTA3 => run(&["xdelta3", "-9", "-e", "-f", "-s", o, n, d])?,
        BSDIFF => run(&[BSDIFF, o, n, d])?,
        ZSTD_FULL => run(&["zstd", "-19", "-T1", "-q", "-f", n, "-o", d])?,
        "zstd -19 --patch-from" => {
            run(&["zstd", "-19", "-T1", "-q", "-f", &format!("--patch-from={o}"), n, "-o", d])?;
        }
        "rdiff" => {
            let signature = scratch.join("signature");
            run(&["rdiff", "-f", "signature", o, text(&signature)])?;
            run(&["rdiff", "-f", "delta", text(&signature), n, d])?;
        }
        "casync" => return casync(o, n, scratch),
        name => {
            let compressor = name.rsplit(' ').next().unwrap_or_default();
            run(&["python3", "-c", HDIFF_SCRIPT, compressor, o, n, d])?;
        }
    }
    let mut left = std::fs::File::open(&out).map_err(|e| format!("failed: it left no file: {e}"))?;
    let mut sha256 = Sha256::new();
    figures.bytes = std::io::copy(&mut left, &mut sha256).map_err(|e| format!("failed: {e}"))?;
    figures.sha256 = sha256.finalize().into();
    Ok(figures)
}

/// What a device with the old image fetches of the new one's store; time and memory of making the new one's.
fn casync(old: &str, new: &str, scratch: &Path) -> Result<Figures, String> {
    let store = scratch.join("chunks");
    let argument = format!("--store={}", text(&store));
    let index = scratch.join("index.caibx");
    measured(&["casync", "make", &argument, text(&index), old], &mut Figures::default())?;
    let before = folder_bytes(&store);
    let mut figures = Figures::default();
    measured(&["casync", "make", &argument, text(&index), new], &mut figures)?;
    figures.bytes = folder_bytes(&store) - before;
    Ok(figures)
}

fn folder_bytes(folder: &Path) -> u64 {
    let files = walkdir::WalkDir::new(folder).into_iter().filter_map(Result::ok).filter(|e| e.file_type().is_file());
    files.filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
}

/// Adds what a run took.
fn measured(argv: &[&str], figures: &mut Figures) -> Result<(), String> {
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("missing: `{}` is not in PATH", argv[0]),
        _ => format!("failed: {error}"),
    })?;
    if argv[0] == BSDIFF {
        let limit = Rlimit { current: Some(PATIENCE_SECONDS), maximum: Some(PATIENCE_SECONDS + 1) };
        prlimit(Some(Pid::from_child(&child)), Resource::Cpu, limit).map_err(|e| format!("failed: {e}"))?;
    }
    let mut said = String::new();
    if let Some(mut errors) = child.stderr.take() {
        let _ = errors.read_to_string(&mut said);
    }
    let (status, used) = usage::wait(child).map_err(|e| format!("failed: {e}"))?;
    figures.wall += start.elapsed();
    figures.cpu += used.cpu;
    figures.peak_bytes = figures.peak_bytes.max(used.peak_bytes);
    if status.signal() == Some(Signal::XCPU.as_raw()) {
        return Err(format!("ended after {PATIENCE_SECONDS} s of processor time"));
    }
    let last = said.trim().lines().last().unwrap_or_default();
    match (status.success(), last.contains("No module named")) {
        (true, _) => Ok(()),
        (false, true) => Err(format!("missing: {last}")),
        (false, false) => Err(format!("failed: {status}: {last}")),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of the benchmark are UTF-8")
}
