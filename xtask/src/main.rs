//! Checks of the house itself: `tidy` (who may use whom, sizes, module headers) and `deps` (licences, duplicates, the
//! locks of the agent and of fuzzing); `agent-lock` writes the lock of the agent's own workspace.
//!
//! Invariant: a rule that is written in ARCHITECTURE.md is checked here, or it is not a rule.

mod agent_lock;
mod dependencies;
mod fuzz_lock;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the project");
    let problems = match std::env::args().nth(1).as_deref() {
        Some("tidy") => tidy::check(root),
        Some("deps") => [dependencies::check(root), agent_lock::check(root), fuzz_lock::check(root)].concat(),
        Some("agent-lock") => agent_lock::write(root),
        _ => {
            eprintln!("usage: cargo run -p xtask -- tidy|deps|agent-lock");
            return ExitCode::from(2);
        }
    };
    for problem in &problems {
        eprintln!("{problem}");
    }
    if problems.is_empty() {
        println!("ok");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A file of the project; without it there is nothing to check.
#[allow(clippy::disallowed_methods)]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}
