//! `osagent`: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    osbuild_agent::run()
}
