//! A project with any number of recipes, as people write them: four sources of a template each, dependencies,
//! several packages.
//!
//! Invariant: equal counts give equal files.

use std::fmt::Write;
use std::path::Path;

/// Writes the project of this repository's kind with `recipes` more recipes below `root`.
#[allow(clippy::disallowed_methods)]
pub fn generate(root: &Path, recipes: usize) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["recipes", "layers", "kernel-config"] {
        copy(&repository.join(folder), &root.join(folder));
    }
    let layer = root.join("layers/generated");
    std::fs::create_dir_all(layer.join("recipes")).expect("made");
    std::fs::write(layer.join("layer.yaml"), "schema: 1\nlayer: generated\npriority: 50\n").expect("written");
    for number in 0..recipes {
        std::fs::write(layer.join(format!("recipes/part-{number}.yaml")), recipe(number)).expect("written");
    }
}

#[allow(clippy::disallowed_methods)]
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("copied");
        }
    }
}

/// The text of recipe `part-NUMBER`, which builds on up to three before it.
pub fn recipe(number: usize) -> String {
    let class = ["autotools", "cmake", "meson", "make"][number % 4];
    let digest = format!("{number:064x}");
    let mut text = format!(
        "schema: 1\nrecipe: part-{number}\nversion: \"1.{number}.3\"\nsummary: part {number} of a large system\n\
         license: MIT\nsources:\n  - places:\n      - https: \"https://example.org/part-{number}/part-{{{{ version }}}}.tar.xz\"\n      \
         - debian: \"pool/main/p/part-{number}/part-{number}_{{{{ version }}}}.orig.tar.xz\"\n    sha256: \"{digest}\"\n\
         class: {class}\nprepare: |\n  test -e configure\n  sed -i 's/old/new/' Makefile\n"
    );
    let option = match class {
        "autotools" => "configure: [\"--disable-static\", \"--prefix=/usr\"]\n",
        "make" => "arguments: [\"V=1\"]\n",
        _ => "options: [\"-Dfoo=bar\", \"-Dversion={{ version }}\"]\n",
    };
    text.push_str(option);
    let depended: Vec<String> =
        [1, 7, 31].iter().filter(|back| **back <= number).map(|back| format!("part-{}", number - back)).collect();
    let list = [vec!["musl".to_owned()], depended.clone()].concat().join(", ");
    let run: Vec<String> = depended.iter().map(|name| format!("{name}-run")).collect();
    let _ = write!(
        text,
        "build-depends: [{list}]\npackages:\n  - name: part-{number}-run\n    files: [\"/usr/bin/*\", \"/usr/lib/*.so.*\"]\n    \
         run-depends: [{run}]\n  - name: part-{number}-dev\n    files: [\"/**\"]\n",
        run = run.join(", ")
    );
    text
}
