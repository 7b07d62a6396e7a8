//! Real boots: each product on the virtual board, with the checks of `tests/board/`, and disks that were changed.
//!
//! Invariant: what passes here booted through Secure Boot in QEMU; nothing is simulated.

use std::process::Command;

/// Runs `osbuild test`, which builds what is missing, and returns the report it printed.
#[allow(clippy::disallowed_methods)]
fn board_test(product: &str, options: &[&str]) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_osbuild"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["test", product, "--json"])
        .args(options)
        .output()
        .expect("the binary under test can be started");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{product}: {}\n{err}\n{out}", output.status);
    serde_json::from_str(&out).expect("a report in JSON")
}

fn print_timings(report: &serde_json::Value) {
    let (timings, accelerator) = (&report["timings"], &report["accelerator"]);
    let ms = |name: &str| timings[name].as_u64().expect("a time in milliseconds");
    println!("{} on {accelerator}: firmware {} ms", report["product"], ms("firmware_ms"));
    println!("  firmware hand-over to ready {} ms", ms("hand_over_to_ready_ms"));
}

#[test]
fn the_production_image_boots_keeps_its_promises_and_a_changed_one_is_refused() {
    let report = board_test("gateway", &["--tampered"]);
    print_timings(&report);
    let checks = report["checks"].as_array().expect("checks");
    let refused = checks.iter().filter(|check| check["suite"] == "changed bytes are refused").count();
    assert_eq!(refused, 2, "{report:#}");
    assert!(report["timings"]["power_off_ms"].is_u64(), "the power button must switch it off: {report:#}");
}

#[test]
fn the_developer_image_lets_its_developer_in() {
    let report = board_test("gateway-dev", &[]);
    print_timings(&report);
    let checks = report["checks"].as_array().expect("checks");
    assert!(checks.iter().any(|check| check["name"] == "ssh by key logs in"), "{report:#}");
}
