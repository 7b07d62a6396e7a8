//! Images that do not fit.

use crate::command::{osbuild, statement, Project};

const MACHINE: &str = "layers/core/machines/qemu-x86_64.yaml";

#[test]
fn content_that_does_not_fit_its_slot_is_shown_in_a_table_of_sizes() {
    let project = Project::copy();
    project.edit(MACHINE, "root: 48M", "root: 1M");
    let ended = osbuild(&project, &["image"]).fails_with(&[
        "the content does not fit into its partition: `root-a`",
        "partition        size (KiB)     used (KiB)     free (KiB)",
        "<- too small",
        "  esp-a ",
        "  data ",
        "largest packages              KiB\n  osagent ",
        "help: raise its size under `partitions` of machine `qemu-x86_64`",
    ]);
    let row = ended.errors.lines().find(|line| line.trim().starts_with("root-a")).expect("a row").to_owned();
    assert!(row.contains(" 1024 ") && row.contains(" -"), "{row}");
    assert!(!project.root.join("out/images/gateway/latest").exists(), "nothing is left that could be flashed");
    project.edit(MACHINE, "root: 1M", "root: 48M");
    osbuild(&project, &["image"]).succeeds();
}

#[test]
fn a_kernel_that_does_not_fit_its_esp_is_named_too() {
    let project = Project::copy();
    project.edit(MACHINE, "esp: 32M", "esp: 5M");
    osbuild(&project, &["image"]).fails_with(&[
        "the files for the EFI system partition have ",
        "the partition has 5242880",
        "make `partitions.esp` of the machine larger",
    ]);
}

#[test]
fn a_manifest_names_what_its_own_image_was_made_from() {
    let project = Project::copy();
    osbuild(&project, &["image"]).succeeds();
    osbuild(&project, &["image", "gateway-dev"]).succeeds();
    let has = |product: &str, what: &str| {
        let statement = statement(&project.root.join(format!("out/images/{product}/latest")));
        let sources = statement["predicate"]["sources"].as_object().expect("sources").clone();
        sources.values().any(|source| source.as_str().is_some_and(|text| text.starts_with(what)))
    };
    for (product, source, expected) in [
        ("gateway", "curl ", true),
        ("gateway", "crate ", true),
        ("gateway", "dropbear ", false),
        ("gateway", "qemu-system-x86 ", false),
        ("gateway-dev", "dropbear ", true),
    ] {
        assert_eq!(has(product, source), expected, "`{source}` of {product}");
    }
}
