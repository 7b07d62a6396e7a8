//! What the plan shows, and names that are not known.

use crate::command::{osbuild, Project};

#[test]
fn the_plan_has_three_forms() {
    let project = Project::of_this_repository();
    let text = osbuild(&project, &["plan"]).succeeds().output;
    assert!(text.contains("image:uki <- ") && text.contains(" tasks; "), "{text}");
    let json = osbuild(&project, &["plan", "--json"]).succeeds().output;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert!(json["tasks"].as_array().is_some_and(|tasks| tasks.len() > 50));
    assert!(osbuild(&project, &["plan", "--dot"]).succeeds().output.starts_with("digraph plan {"));
    let origin = osbuild(&project, &["config", "show", "gateway-dev", "--origin"]).succeeds().output;
    assert!(origin.contains("# layers/core/products/gateway-dev.yaml:"), "{origin}");
}

/// A machine with another processor: its compiler comes as one more tool tree, whatever trees a recipe names.
#[test]
fn a_machine_with_another_processor_is_planned_with_its_cross_compiler() {
    let project = Project::copy();
    let machine = "layers/core/machines/qemu-x86_64.yaml";
    project.edit(machine, "architecture: x86_64", "architecture: aarch64");
    project.edit("recipes/zlib/recipe.yaml", "class: make\n", "class: make\ntools: [c, cmake]\n");
    osbuild(&project, &["plan"])
        .fails_with(&["there is no tool tree `c-aarch64`", "add `layers/LAYER/tools/c-aarch64.yaml`"]);
    project
        .write("layers/core/tools/c-aarch64.yaml", "schema: 1\ntools: c-aarch64\npackages: [gcc-aarch64-linux-gnu]\n");
    let hex = "0".repeat(64);
    let line = format!(
        "tools:\n  c-aarch64:\n    - {{name: gcc, version: \"1\", file: pool/gcc.deb, size: 1, sha256: \"{hex}\"}}\n"
    );
    project.edit("osbuild.lock", "\ntools:\n", &format!("\n{line}"));
    let request = "requests:\n  c-aarch64: {packages: [gcc-aarch64-linux-gnu], exclude: []}\n";
    project.edit("osbuild.lock", "\nrequests:\n", &format!("\n{request}"));
    let json = osbuild(&project, &["plan", "--json"]).succeeds().output;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let task = |name: &str| {
        let found = json["tasks"].as_array().and_then(|tasks| tasks.iter().find(|task| task["name"] == name));
        found.unwrap_or_else(|| panic!("there is no {name}")).to_string()
    };
    assert!(task("zlib:build").contains("tools:c+cmake+c-aarch64"), "{}", task("zlib:build"));
    assert!(
        task("curl:build").contains("tools:c+c-aarch64") && task("curl:build").contains("--host=aarch64-linux-musl")
    );
    assert!(!task("lz4:build").contains("aarch64"), "{}", task("lz4:build"));
    assert!(task("linux:config").contains("ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu-"));
    assert!(task("linux:build").contains("arch/arm64/boot/Image"));
    assert!(task("linux:check").contains("\\\"architecture\\\":\\\"arm64\\\""), "{}", task("linux:check"));
}

#[test]
fn a_misspelt_name_is_answered_with_the_right_one() {
    let project = Project::of_this_repository();
    osbuild(&project, &["build", "busybx"]).fails_with(&["no recipe `busybx`", "help: did you mean `busybox`?\n"]);
    osbuild(&project, &["shell", "zlib:bild"])
        .fails_with(&["no task `zlib:bild`", "help: did you mean `zlib:build`?\n"]);
    osbuild(&project, &["plan", "gatway"]).fails_with(&["gatway", "gateway"]);
    let elsewhere = tempfile::tempdir().expect("a folder");
    let nowhere = elsewhere.path().display().to_string();
    osbuild(&project, &["--project", &nowhere, "plan"]).fails_with(&["no osbuild project here"]);
    assert_eq!(osbuild(&project, &["plan", "--no-such-option"]).status, 2);
}

#[test]
fn a_reader_that_goes_away_is_no_failure_and_a_full_disk_is_one() {
    let project = Project::of_this_repository();
    let mut command = std::process::Command::new(crate::command::PROGRAM);
    project.prepare(command.args(["plan", "--json"]));
    let piped = std::process::Stdio::piped;
    let mut child = command.stdout(piped()).stderr(piped()).spawn().expect("started");
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("ended");
    assert!(ended.status.success() && ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
    let full = std::fs::File::options().write(true).open("/dev/full").expect("every Linux has it");
    let mut command = std::process::Command::new(crate::command::PROGRAM);
    let ended = project.prepare(command.arg("plan")).stdout(full).stderr(piped()).output().expect("started");
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && errors.contains("cannot write to standard output"), "{errors}");
}

#[test]
fn a_long_chain_of_recipes_takes_no_more_per_recipe_than_a_short_one() {
    const LENGTH: usize = 1_500;
    let project = Project::copy();
    for number in 0..LENGTH {
        // From the last name to the first, so that planning the first name finds the whole chain.
        let builds_on = if number + 1 < LENGTH { format!("[musl, link-{:05}]", number + 1) } else { "[musl]".into() };
        let text = format!(
            "schema: 1\nrecipe: link-{number:05}\nversion: \"1\"\nsummary: a test\nlicense: MIT\nsources:\n  \
             - file: rootfs/base\nclass: make\nbuild-depends: {builds_on}\n\
             packages:\n  - name: link-{number:05}\n    files: [\"/**\"]\n"
        );
        project.write(&format!("layers/core/recipes/link-{number:05}.yaml"), &text);
    }
    let json = osbuild(&project, &["plan", "--json"]).succeeds().output;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let uses = |name: &str| {
        let task = json["tasks"].as_array().and_then(|tasks| tasks.iter().find(|task| task["name"] == name));
        task.and_then(|task| task["uses"].as_array()).map_or_else(|| panic!("there is no {name}"), Vec::len)
    };
    // Its source, its tool tree, and the sysroots of musl and of the one before.
    assert_eq!(uses("link-00000:build"), 4);
    assert_eq!(uses("link-01000:build"), 4);
}
