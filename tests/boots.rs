//! Real boots: each product on the virtual board, with the checks of `tests/board/`, and disks that were changed.
//!
//! Invariant: what passes here booted through Secure Boot in QEMU; nothing is simulated.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A build that fails names its reason at the end; before that comes every task.
const LAST_LINES: usize = 40;
/// What the report says of every product, whatever its suites are.
const LIFE: [&str; 3] =
    ["the firmware hands over to the image", "it becomes ready", "the power button switches it off"];

/// Runs `osbuild test`, which builds what is missing, prints the timings, and returns the report.
#[allow(clippy::disallowed_methods)]
fn board_test(product: &str, options: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_osbuild"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["test", product, "--json"])
        .args(options)
        .output()
        .expect("the binary under test can be started");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{product}: {}\n{out}\n{}", output.status, last_lines(&err));
    let report = serde_json::from_str(&out).expect("a report in JSON");
    // Straight to standard error: what a passed test prints otherwise, the test harness keeps to itself.
    std::io::stderr().write_all(timings(&report).as_bytes()).expect("said");
    for name in LIFE {
        assert!(passed(&report, name), "`{name}` is not among what passed: {report:#}");
    }
    report
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

fn timings(report: &Value) -> String {
    let text = |field: &Value| field.as_str().expect("text").to_owned();
    let (product, accelerator) = (text(&report["product"]), text(&report["accelerator"]));
    let ms = |name: &str| report["timings"][name].as_u64().expect("a time in milliseconds");
    let (firmware, ready, off) = (ms("firmware_ms"), ms("hand_over_to_ready_ms"), ms("power_off_ms"));
    let boot = format!("firmware {firmware} ms, hand-over to ready {ready} ms, power button to off {off} ms");
    let others =
        suite(report, REFUSALS).map(|check| format!("  {}: {} ms\n", text(&check["name"]), check["milliseconds"]));
    format!("{product} on {accelerator}: {boot}\n{}", others.collect::<String>())
}

const REFUSALS: &str = "changed bytes are refused";

fn suite<'a>(report: &'a Value, name: &'a str) -> impl Iterator<Item = &'a Value> {
    report["checks"].as_array().expect("checks").iter().filter(move |check| check["suite"] == name)
}

fn passed(report: &Value, name: &str) -> bool {
    let checks = report["checks"].as_array().expect("checks");
    checks.iter().any(|check| check["name"] == name && check["passed"] == true)
}

#[test]
fn the_production_image_boots_keeps_its_promises_and_a_changed_one_is_refused() {
    let report = board_test("gateway", &["--tampered"]);
    let refused: Vec<&Value> = suite(&report, REFUSALS).collect();
    assert_eq!(refused.len(), 3, "{report:#}");
    assert!(refused.iter().all(|check| check["passed"] == true), "{report:#}");
}

#[test]
fn the_developer_image_lets_its_developer_in() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (images, tested) = (project.join("out/images/gateway-dev"), project.join("out/test/gateway-dev/images"));
    let before = listed(&images);
    let report = board_test("gateway-dev", &[]);
    assert!(passed(&report, "ssh by key logs in"), "{report:#}");
    assert_eq!(listed(&images), before, "an image with the test's key lies where people take images from");
    let kept = listed(&tested);
    assert!(kept.len() == 2 && kept.contains_key("latest"), "{kept:?}");
}

/// Names in a folder, and where links among them lead.
fn listed(folder: &Path) -> BTreeMap<String, Option<PathBuf>> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("listed"));
    entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read_link(entry.path()).ok()))
        .collect()
}

#[test]
fn a_long_log_is_cut_to_its_end() {
    let log: String = (0..100).map(|number| format!("line {number}\n")).collect();
    let shown = last_lines(&log);
    assert!(shown.starts_with("line 60\n") && shown.ends_with("line 99"), "{shown}");
    assert_eq!(last_lines("one"), "one");
}
