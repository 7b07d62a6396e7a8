//! What an update costs, told before anything is published: of two real images that differ in their version.

use crate::command::{osbuild, Project};
use std::path::PathBuf;

const PRODUCT: &str = "layers/core/products/gateway.yaml";
/// Of a device, for an update. DESIGN: peak memory of the updater.
const LIMIT_MEMORY_BYTES: u64 = 32 << 20;

/// Its folder.
fn image(project: &Project) -> PathBuf {
    let disk = osbuild(project, &["image"]).succeeds().output;
    let disk = project.root.join(disk.trim()).canonicalize().expect("an image");
    disk.parent().expect("its folder").to_owned()
}

#[test]
fn an_update_is_simulated_before_it_is_published() {
    let project = Project::copy();
    let first = image(&project);
    project.edit(PRODUCT, "version: \"0.1.0\"", "version: \"0.2.0\"");
    let second = image(&project);
    assert_ne!(first, second);
    let (from, to) = (first.display().to_string(), second.display().to_string());
    let simulate = ["update", "simulate", "--from", &from, "--to", &to];

    let table = osbuild(&project, &simulate).succeeds().output;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[0].starts_with("gateway 0.1.0 to 0.2.0, "), "{table}");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let titles = words(lines[1]);
    assert_eq!(titles, ["bytes", "made", "installed", "memory", "written", "requests"], "{table}");
    let bytes = |line: &str, name: &str| {
        let words = words(line);
        assert_eq!(words[0], name, "{table}");
        words[1].parse::<u64>().unwrap_or_else(|_| panic!("no number of bytes: {table}"))
    };

    let json = osbuild(&project, &[&simulate[..], &["--json"]].concat()).succeeds().output;
    let costs: serde_json::Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    for (line, name) in [(lines[2], "delta"), (lines[3], "full")] {
        let of = |field: &str| costs[name][field].as_u64().unwrap_or_else(|| panic!("no {field} of {name}: {json}"));
        // The header's version and digests are those of the images, so equal images make equal payloads.
        assert_eq!(of("payload_bytes"), bytes(line, name), "{table}{json}");
        // All of it but the part of a header that was fetched twice.
        assert!(of("fetched_bytes") >= of("payload_bytes"), "{json}");
        assert!(of("made_in_ms") > 0 && of("installed_in_ms") > 0, "{json}");
        assert!((1..=LIMIT_MEMORY_BYTES).contains(&of("memory_bytes")), "{json}");
        // The root, the ESP, and the tree that the device makes itself.
        assert!(of("written_bytes") > 8 << 20, "{json}");
    }
    let of = |name: &str| costs[name]["payload_bytes"].as_u64().expect("seen above");
    assert!(of("delta") * 100 < of("full"), "a version is a hundredth of a system at most: {json}");
}
