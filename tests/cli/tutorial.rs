//! `docs/tutorial.md`, followed to the letter: its files in a project of its own, its commands run there.
//!
//! A block of the page is a file when the paragraph before it ends in `` `PATH`: ``; with `Add to` it goes to the end
//! of that file. Invariant: what a reader of the page gets, and nothing else, is in the project.

use crate::command::{osbuild, statement, Project};

const PRODUCT: &str = "layers/core/products/meter.yaml";

struct Block {
    path: String,
    adds: bool,
    text: String,
}

/// The blocks that are files, in the order of the page.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut paragraph = String::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(first) = line.strip_prefix("    ") else {
            match line.is_empty() {
                // A block stands between empty lines; the paragraph before it still counts.
                true if lines.peek().is_some_and(|next| next.starts_with("    ")) => {}
                true => paragraph.clear(),
                false => paragraph += &format!("{line}\n"),
            }
            continue;
        };
        let mut text = format!("{first}\n");
        while let Some(line) = lines.next_if(|line| line.is_empty() || line.starts_with("    ")) {
            text += &format!("{}\n", line.strip_prefix("    ").unwrap_or_default());
        }
        let before = std::mem::take(&mut paragraph);
        if let Some((sentence, path)) = before.trim_end().strip_suffix("`:").and_then(|rest| rest.rsplit_once('`')) {
            let adds = sentence.trim_end().ends_with("Add to");
            assert!(adds || sentence.trim_end().ends_with("Write"), "{sentence}`{path}`");
            blocks.push(Block { path: path.to_owned(), adds, text: format!("{}\n", text.trim_end()) });
        }
    }
    blocks
}

fn follow(project: &Project, blocks: &[Block]) {
    for block in blocks {
        let before = match block.adds {
            true => std::fs::read_to_string(project.root.join(&block.path)).expect("written before"),
            false => String::new(),
        };
        project.write(&block.path, &(before + &block.text));
    }
}

#[test]
fn the_tutorial_can_be_followed_to_the_letter() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tutorial.md")).expect("read");
    let (image, kernel) = page.split_once("## A kernel option").expect("the part about the kernel");
    let (image, kernel) = (blocks(image), blocks(kernel));
    let paths = |blocks: &[Block]| blocks.iter().map(|block| block.path.clone()).collect::<Vec<_>>();
    let of_image = [
        PRODUCT,
        "rootfs/meter/etc/meter.conf.tera",
        PRODUCT,
        "recipes/hello/src/hello.c",
        "recipes/hello/src/Makefile",
        "recipes/hello/recipe.yaml",
        PRODUCT,
        PRODUCT,
    ];
    assert_eq!(paths(&image), of_image);
    assert_eq!(paths(&kernel), ["kernel-config/meter.config", PRODUCT]);

    let project = Project::copy();
    follow(&project, &image[..1]);
    osbuild(&project, &["config", "show", "meter", "--origin"]).succeeds();
    follow(&project, &image[1..]);
    osbuild(&project, &["build", "hello"]).succeeds();
    assert!(project.root.join("out/recipes/hello/usr/bin/hello").is_file());
    osbuild(&project, &["image", "meter"]).succeeds();
    osbuild(&project, &["verify", "out/images/meter/latest"]).succeeds();
    let folder = project.root.join("out/images/meter/latest");
    let packages = &statement(&folder)["predicate"]["packages"];
    assert!(packages.as_array().is_some_and(|all| all.iter().any(|p| p["name"] == "hello")), "{packages}");
    // Content at rest is plain.
    let root = std::fs::read(folder.join("root.erofs")).expect("read");
    for part in ["name = meter\nversion = 0.1.0\n", "\"/usr/bin/hello\""] {
        assert!(root.windows(part.len()).any(|found| found == part.as_bytes()), "`{part}` is not in the root");
    }

    // Another kernel takes minutes to compile, but seconds to configure.
    follow(&project, &kernel);
    osbuild(&project, &["kernel", "check", "meter"]).succeeds();
    let changes = osbuild(&project, &["kernel", "diff", "gateway", "meter"]).succeeds().output;
    assert!(changes.contains("CONFIG_SERIAL_DEV_BUS: n -> y"), "{changes}");
}
