//! How long it takes from YAML to a plan, and how much memory: `cargo bench --bench config`.
//!
//! Invariant: prints its figures and fails when a limit of the design is missed.

mod figure;
mod layer;
mod stages;

use figure::{note, Sample, Verdict};
use osbuild::config;
use osbuild::model::lock::{Lock, LockedPackage};
use osbuild::model::{Digest, ToolTreeName};
use stages::Stages;
use std::process::ExitCode;
use std::time::Instant;

const RUNS: usize = 5;
const LIMIT_MS: f64 = 300.0;
const LIMIT_MB: f64 = 200.0;
/// Ten times the recipes in ten times the time; the rest is the noise of a shared machine.
const LIMIT_GROWTH: f64 = 10.0 * 1.25;
const LIMIT_LOCK_MS: f64 = 60.0;

fn main() -> ExitCode {
    if stages::is_child() {
        return ExitCode::SUCCESS;
    }
    let mut verdict = Verdict::default();
    let thousand = planned(1_000);
    verdict.at_most("1,000 recipes: parse, resolve and plan", &total(&thousand), LIMIT_MS, "ms");
    verdict.at_most("1,000 recipes: peak memory", &peak(&thousand), LIMIT_MB, "MB");
    let ten_thousand = planned(10_000);
    note("10,000 recipes: parse, resolve and plan", &total(&ten_thousand), "ms");
    note("10,000 recipes: peak memory", &peak(&ten_thousand), "MB");
    // The fastest runs have the least noise of others in them.
    let growth = Sample::new([total(&ten_thousand).min() / total(&thousand).min()]);
    verdict.at_most("growth of time from 1,000 to 10,000 recipes", &growth, LIMIT_GROWTH, "times");
    verdict.at_most("read a lock of 1,500 packages", &lock(1_500), LIMIT_LOCK_MS, "ms");
    verdict.finish()
}

fn total(runs: &[Stages]) -> Sample {
    Sample::milliseconds(runs.iter().map(Stages::total))
}

fn peak(runs: &[Stages]) -> Sample {
    Sample::new(runs.iter().map(|stages| stages.peak_mb))
}

/// Plans a project of `recipes` more recipes several times and prints the stages.
fn planned(recipes: usize) -> Vec<Stages> {
    let project = tempfile::tempdir().expect("a folder");
    layer::generate(project.path(), recipes);
    // The first run fills the store and the page cache.
    stages::in_new_process(project.path());
    let runs: Vec<Stages> = (0..RUNS).map(|_| stages::in_new_process(project.path())).collect();
    let (found, tasks) = (runs[0].recipes, runs[0].tasks);
    assert!(found >= recipes && tasks >= 4 * recipes, "{found} recipes, {tasks} tasks");
    println!("{found} recipes, {tasks} tasks");
    note("  load", &Sample::milliseconds(runs.iter().map(|stages| stages.load)), "ms");
    note("  lock", &Sample::milliseconds(runs.iter().map(|stages| stages.lock)), "ms");
    note("  local files", &Sample::milliseconds(runs.iter().map(|stages| stages.local)), "ms");
    note("  plan", &Sample::milliseconds(runs.iter().map(|stages| stages.plan)), "ms");
    runs
}

fn lock(packages: usize) -> Sample {
    let package = |number: usize| LockedPackage {
        name: format!("lib-part-{number}"),
        version: format!("1:{number}.2.1+dfsg-3+deb12u1"),
        pool_path: format!("pool/main/l/lib-part-{number}/lib-part-{number}_{number}.2.1+dfsg-3+deb12u1_amd64.deb"),
        digest: Digest::of(&number.to_le_bytes()),
    };
    let name = ToolTreeName::new("c").expect("a name");
    let lock = Lock { tool_trees: [(name, (0..packages).map(package).collect())].into(), ..Lock::default() };
    let text = config::lock::emit(&lock);
    Sample::milliseconds((0..RUNS).map(|_| {
        let start = Instant::now();
        let read = config::lock::parse(&text, "osbuild.lock");
        let took = start.elapsed();
        assert_eq!(read.as_ref(), Ok(&lock));
        took
    }))
}
