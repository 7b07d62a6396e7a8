//! How long the configuration takes: `cargo bench --bench config`.
//!
//! Invariant: prints its figures and fails when a limit of the design is missed.

mod layer;

use osbuild::config;
use osbuild::model::lock::{Lock, LockedPackage};
use osbuild::model::{Digest, ToolTreeName};
use std::time::{Duration, Instant};

fn main() {
    let thousand = load(1_000, Duration::from_millis(150));
    let ten_thousand = load(10_000, Duration::from_millis(2_000));
    let growth = ten_thousand.as_secs_f64() / thousand.as_secs_f64();
    println!("growth from 1,000 to 10,000 recipes: {growth:.1} times");
    lock(1_500, Duration::from_millis(60));
}

/// The best of five.
fn best<T>(mut run: impl FnMut() -> T) -> Duration {
    let timed = |_| {
        let start = Instant::now();
        drop(run());
        start.elapsed()
    };
    (0..5).map(timed).min().expect("five runs")
}

fn report(what: &str, took: Duration, limit: Duration) {
    println!("{what}: {:.1} ms (limit {} ms)", took.as_secs_f64() * 1e3, limit.as_millis());
    assert!(took <= limit, "{what}: over the limit");
}

fn load(recipes: usize, limit: Duration) -> Duration {
    let project = tempfile::tempdir().expect("a folder");
    layer::generate(project.path(), recipes);
    let took = best(|| match config::load(project.path(), None) {
        Ok(config) => assert!(config.recipes.len() >= recipes),
        Err(problems) => panic!("{problems}"),
    });
    report(&format!("load {recipes} recipes"), took, limit);
    took
}

fn lock(packages: usize, limit: Duration) {
    let package = |number: usize| LockedPackage {
        name: format!("lib-part-{number}"),
        version: format!("1:{number}.2.1+dfsg-3+deb12u1"),
        pool_path: format!("pool/main/l/lib-part-{number}/lib-part-{number}_{number}.2.1+dfsg-3+deb12u1_amd64.deb"),
        digest: Digest::of(&number.to_le_bytes()),
    };
    let name = ToolTreeName::new("c").expect("a name");
    let lock = Lock { tool_trees: [(name, (0..packages).map(package).collect())].into(), ..Lock::default() };
    let text = config::lock::emit(&lock);
    let took = best(|| assert_eq!(config::lock::parse(&text, "osbuild.lock").as_ref(), Ok(&lock)));
    report(&format!("read a lock of {packages} packages, {} KiB", text.len() >> 10), took, limit);
}
