//! How long `osbuild image` takes when nothing and when one template has changed: `cargo bench --bench image`; with
//! `OSBUILD_BENCH_COLD=1` how long it takes from an empty cache, and nothing else.
//!
//! Works in a copy of this project, with keys of its own, on the user's cache; what is not in there is built
//! first. Invariant: each change is one that no cache has seen, and each leaves another `disk.img`.
#![allow(clippy::disallowed_methods)]

#[path = "../tests/command/copy.rs"]
mod copy;
mod figure;

use figure::{note, Sample, Verdict};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime};

const RUNS: usize = 5;
const LIMIT_UNCHANGED_MS: f64 = 150.0;
const LIMIT_CHANGED_MS: f64 = 3_000.0;
/// From nothing, sources and tools from the network, on two processors.
const LIMIT_COLD_S: f64 = 1_200.0;
const COLD: &str = "OSBUILD_BENCH_COLD";
const COLD_JOBS: &str = "2";
const TEMPLATE: &str = "rootfs/base/etc/motd.tera";

fn main() -> ExitCode {
    let project = project();
    let root = project.path();
    if std::env::var_os(COLD).is_some_and(|value| !value.is_empty() && value != "0") {
        return cold(root);
    }
    let (first, _) = image(root);
    note("first image, from whatever the cache has", &Sample::milliseconds([first]), "ms");

    let mut verdict = Verdict::default();
    let unchanged = (0..RUNS).map(|_| {
        let before = latest(root);
        let (took, errors) = image(root);
        assert!(latest(root) == before && errors.contains("up to date"), "{errors}");
        took
    });
    verdict.at_most("nothing changed", &Sample::milliseconds(unchanged), LIMIT_UNCHANGED_MS, "ms");

    let text = std::fs::read_to_string(root.join(TEMPLATE)).expect("read");
    let changed = (0..RUNS).map(|run| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos();
        std::fs::write(root.join(TEMPLATE), format!("{text}benchmark {now}, run {run}\n")).expect("written");
        let before = latest(root);
        let (took, errors) = image(root);
        let after = latest(root);
        assert!(after != before && after.join("disk.img").is_file(), "{errors}");
        took
    });
    verdict.at_most("one template changed", &Sample::milliseconds(changed), LIMIT_CHANGED_MS, "ms");
    verdict.finish()
}

/// Builds from an empty cache; what it does meanwhile is shown, for it takes many minutes.
fn cold(root: &Path) -> ExitCode {
    let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let mut command = osbuild_image(root);
    command.args(["--jobs", COLD_JOBS]).env("OSBUILD_CACHE", cache.path());
    let start = Instant::now();
    let status = command.status().expect("started");
    let took = start.elapsed();
    assert!(status.success() && latest(root).join("disk.img").is_file(), "no image was built: {status}");
    let mut verdict = Verdict::default();
    verdict.at_most("an empty cache, two jobs", &Sample::new([took.as_secs_f64()]), LIMIT_COLD_S, "s");
    verdict.finish()
}

/// The project without what was built, beside the target folder so that it is on a real disk.
fn project() -> tempfile::TempDir {
    let project = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    copy::project(project.path());
    project
}

/// `osbuild image` as a user types it.
fn osbuild_image(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_osbuild"));
    command.arg("image").current_dir(root).env_remove("OSBUILD_KEYS");
    command
}

/// Its time, start and end of the process included, and what it said.
fn image(root: &Path) -> (Duration, String) {
    let mut command = osbuild_image(root);
    let start = Instant::now();
    let output = command.output().expect("started");
    let took = start.elapsed();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    (took, errors)
}

/// The folder of the newest image.
fn latest(root: &Path) -> PathBuf {
    root.join("out/images/gateway/latest").canonicalize().expect("an image")
}
