//! One project in, the time of each stage up to its plan and the peak memory of the process out.
//!
//! Invariant: each measurement has a process of its own, so neither a warm allocator nor the memory of an
//! earlier measurement takes part.
#![allow(clippy::disallowed_methods)]

use osbuild::config;
use osbuild::io::store::Store;
use osbuild::plan::{self, LocalInputs};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Names the project that the child is to plan.
const PROJECT: &str = "OSBUILD_BENCH_PROJECT";

#[derive(Debug, Serialize, Deserialize)]
pub struct Stages {
    /// YAML to a checked configuration: parse, merge, render, resolve.
    pub load: Duration,
    pub lock: Duration,
    /// The project's own files into the store, which has them already.
    pub local: Duration,
    pub plan: Duration,
    pub recipes: usize,
    pub tasks: usize,
    pub peak_mb: f64,
}

impl Stages {
    pub fn total(&self) -> Duration {
        self.load + self.lock + self.local + self.plan
    }
}

/// Measures when this process was started for that; then there is nothing else to do.
pub fn is_child() -> bool {
    let Some(project) = std::env::var_os(PROJECT) else { return false };
    let stages = measure(Path::new(&project));
    println!("{}", serde_json::to_string(&stages).expect("encoded"));
    true
}

/// Plans `project` in a new process.
pub fn in_new_process(project: &Path) -> Stages {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).env(PROJECT, project).output().expect("started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("the child prints its stages")
}

/// What `osbuild plan` does before it prints.
fn measure(project: &Path) -> Stages {
    let start = Instant::now();
    let config = config::load(project, None).unwrap_or_else(|problems| panic!("{problems}"));
    let loaded = Instant::now();
    let text = std::fs::read_to_string(project.join("osbuild.lock")).expect("read");
    let lock = config::lock::parse(&text, "osbuild.lock").unwrap_or_else(|problems| panic!("{problems}"));
    let locked = Instant::now();
    let store = Store::open(&project.join("cache")).expect("opened");
    let mut local = LocalInputs::default();
    for path in plan::local::paths(&config) {
        let node = store.ingest_node(&project.join(path.as_str()), false).expect("kept");
        local.nodes.insert(path, node);
    }
    let ingested = Instant::now();
    let plan = plan::plan(&config, &lock, &local).unwrap_or_else(|problems| panic!("{problems:?}"));
    let planned = Instant::now();
    Stages {
        load: loaded - start,
        lock: locked - loaded,
        local: ingested - locked,
        plan: planned - ingested,
        recipes: config.recipes.len(),
        tasks: plan.tasks.len(),
        peak_mb: peak_mb(),
    }
}

/// The most memory that this process has had, in units of 1,000,000 bytes: `VmHWM` of proc_pid_status(5).
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("read");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024.0 / 1e6
}
