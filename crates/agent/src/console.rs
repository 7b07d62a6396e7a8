//! What a person at the serial console sees of the agent.
//!
//! Invariant: a console that is gone is no reason to fail.

use std::io::Write;

/// One line, after `osagent: `.
pub fn say(text: &str) {
    // In one write, so that lines of the kernel do not cut it apart.
    let line = format!("osagent: {text}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}
