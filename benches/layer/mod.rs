//! A project with any number of recipes, as people write them: four sources of a template each, dependencies,
//! several packages, overrides, conditions.
//!
//! Invariant: equal counts give equal files. Every recipe builds on the one before, so chains are as long and
//! sysroots as wide as they can be: harder than any real layer.

#[path = "../../tests/command/copy.rs"]
mod copy;

use osbuild::config::lock;
use std::fmt::Write;
use std::path::Path;

/// One recipe in that many has an override.
const OVERRIDDEN: usize = 10;
/// One recipe in that many has a package that the product names.
const IN_PRODUCT: usize = 20;

/// Writes the project of this repository's kind with `recipes` more recipes below `root`.
#[allow(clippy::disallowed_methods)]
pub fn generate(root: &Path, recipes: usize) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    copy::project(root);
    let layer = root.join("layers/generated");
    let write = |path: String, text: String| std::fs::write(layer.join(path), text).expect("written");
    for folder in ["recipes", "overrides"] {
        std::fs::create_dir_all(layer.join(folder)).expect("made");
    }
    write("layer.yaml".into(), "schema: 1\nlayer: generated\npriority: 50\n".into());
    for number in 0..recipes {
        write(format!("recipes/part-{number}.yaml"), recipe(number));
    }
    for number in (0..recipes).step_by(OVERRIDDEN) {
        write(format!("overrides/part-{number}.yaml"), override_of(number));
    }
    write("overrides/product.yaml".into(), override_of_product(recipes));
    std::fs::write(root.join("osbuild.lock"), lock_with(&repository.join("osbuild.lock"), recipes)).expect("written");
}

fn sha256(number: usize) -> String {
    format!("{number:064x}")
}

/// This repository's lock and the sizes of the generated sources.
#[allow(clippy::disallowed_methods)]
fn lock_with(path: &Path, recipes: usize) -> String {
    let text = std::fs::read_to_string(path).expect("read");
    let mut lock = lock::parse(&text, "osbuild.lock").unwrap_or_else(|problems| panic!("{problems}"));
    lock.source_sizes.extend((0..recipes).map(|number| (sha256(number), 10_000 + number as u64)));
    lock::emit(&lock)
}

/// The text of recipe `part-NUMBER`, which builds on up to three before it.
fn recipe(number: usize) -> String {
    let class = class(number);
    let digest = sha256(number);
    let mut text = format!(
        "schema: 1\nrecipe: part-{number}\nversion: \"1.{number}.3\"\nsummary: part {number} of a large system\n\
         license: MIT\nsources:\n  - places:\n      - https: \"https://example.org/part-{number}/part-{{{{ version }}}}.tar.xz\"\n      \
         - debian: \"pool/main/p/part-{number}/part-{number}_{{{{ version }}}}.orig.tar.xz\"\n    sha256: \"{digest}\"\n\
         class: {class}\nprepare: |\n  test -e configure\n  sed -i 's/old/new/' Makefile\n"
    );
    let option = match class {
        "autotools" => "configure: [\"--disable-static\", \"{% if features.shell %}--with-cli{% else %}--without-cli{% endif %}\"]\n",
        "make" => "arguments: [\"V=1\", \"HOST={{ architecture }}\"]\n",
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

fn class(number: usize) -> &'static str {
    ["autotools", "cmake", "meson", "make"][number % 4]
}

/// Half of them wait for a feature that is off.
fn override_of(number: usize) -> String {
    let list = match class(number) {
        "autotools" => "configure: [\"--with-name={{ name }}\"]".to_owned(),
        "make" => "arguments: [\"NAME={{ name }}\"]".to_owned(),
        _ => "options: [\"-Dname={{ name }}\"]".to_owned(),
    };
    let when = if number.is_multiple_of(2 * OVERRIDDEN) { "" } else { "when: {feature: shell}\n" };
    format!(
        "schema: 1\noverride: recipe part-{number}\nset:\n  env: {{PART: \"{{{{ product }}}}-{{{{ version }}}}\"}}\n\
         append:\n  {list}\n{when}"
    )
}

fn override_of_product(recipes: usize) -> String {
    let packages: Vec<String> = (0..recipes).step_by(IN_PRODUCT).map(|number| format!("part-{number}-run")).collect();
    format!("schema: 1\noverride: product gateway\nappend:\n  packages: [{}]\n", packages.join(", "))
}
