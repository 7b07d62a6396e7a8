//! Images that do not fit.

use crate::command::{osbuild, statement, Project};
use sha2::Digest;

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

#[test]
fn a_part_that_was_damaged_in_the_cache_is_made_again() {
    let project = Project::copy();
    // Content of its own: other tests use the same cache at this moment.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    project.write("rootfs/base/etc/now", &format!("{now:?} {}\n", std::process::id()));
    osbuild(&project, &["image"]).succeeds();
    let image = project.root.join("out/images/gateway/latest/root.erofs");
    let right = std::fs::read(&image).expect("read");
    let cache = osbuild(&project, &["cache", "stat"]).succeeds().output;
    let hex = hex::encode(sha2::Sha256::digest(&right));
    let blob =
        std::path::Path::new(cache.lines().next().expect("a path")).join(format!("blobs/{}/{}", &hex[..2], &hex[2..]));
    let time = std::fs::metadata(&blob).and_then(|metadata| metadata.modified()).expect("a time");
    let mut wrong = right.clone();
    wrong[4096] ^= 1;
    std::fs::write(&blob, wrong).expect("written");
    std::fs::File::open(&blob).and_then(|file| file.set_modified(time)).expect("set");
    std::fs::remove_dir_all(project.root.join("out/images")).expect("removed");
    osbuild(&project, &["image"]).succeeds();
    assert!(std::fs::read(&image).expect("read") == right, "the damaged root has become an image");
}

#[test]
fn what_a_root_cannot_follow_is_said_before_anything_is_built() {
    let project = Project::copy();
    let disk = osbuild(&project, &["image"]).succeeds().output;
    let image = project.root.join(disk.trim()).parent().expect("a folder").canonicalize().expect("an image");
    let image = image.display().to_string();
    let none = "help: an image folder is `out/images/PRODUCT/latest`, made by `osbuild image PRODUCT`";
    osbuild(&project, &["image", "--previous", "nowhere"]).fails_with(&["there is no image folder `nowhere`", none]);
    osbuild(&project, &["image", "--layout", "README.md"]).fails_with(&["`README.md` is no manifest of an image"]);
    osbuild(&project, &["image", "--layout", "nowhere"]).fails_with(&["`nowhere` is no manifest", "No such file"]);
    let both = osbuild(&project, &["image", "--layout", &image, "--previous", &image]);
    assert!(both.status == 2 && both.errors.contains("cannot be used with"), "{}", both.errors);
    for option in ["--layout", "--previous"] {
        let other = ["is of `gateway` for machine `qemu-x86_64`", "what is built is `gateway-dev`"];
        osbuild(&project, &["image", "gateway-dev", option, &image]).fails_with(&other);
    }
    // Its own files lie where they lie.
    let ended = osbuild(&project, &["image", "--previous", &image]).succeeds();
    assert!(
        ended.errors.contains("files lie where `mkfs.erofs` puts them, which is where gateway"),
        "{}",
        ended.errors
    );

    project.write("rootfs/base/etc/a.conf", "a = 1\n");
    osbuild(&project, &["image", "--previous", &image]).succeeds();
    let latest = project.root.join("out/images/gateway/latest").display().to_string();
    project.write("rootfs/base/etc/b.conf", "b = 1\n");
    osbuild(&project, &["image", "--layout", &latest]).fails_with(&[
        "task `image:place` failed",
        "the layout has no place for `/etc/b.conf`",
        "help: build what `",
    ]);
    std::fs::write(std::path::Path::new(&image).join("size.json"), "{}").expect("written");
    osbuild(&project, &["image", "--previous", &image]).fails_with(&["cannot be followed", "size.json is not sound"]);
}
