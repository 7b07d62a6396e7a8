//! Whole projects in, what `load` and `show` make of them out.

mod apps;
mod bad;
mod good;

use super::*;
use crate::io::file;

/// A small project that is valid; each test changes one thing.
const FILES: [(&str, &str); 9] = [
    ("layers/core/layer.yaml", "schema: 1\nlayer: core\npriority: 10\n"),
    (
        "layers/core/machines/board.yaml",
        "schema: 1\nmachine: board\narchitecture: x86_64\npartitions: {esp: 32M, root: 48M, verity: 1M, data: 64M}\n\
         kernel: linux\nefi-stub: stub\nkernel-fragments: [base]\nconsole: \"ttyS0,115200\"\n",
    ),
    (
        "layers/core/products/gateway.yaml",
        "schema: 1\nproduct: gateway\ntitle: Gateway\nversion: \"1.2.3\"\nmachine: board\npackages: [zlib]\n\
         features: {ssh: false}\nvars: {site: lab}\nhostname: \"gw-{{ vars.site }}\"\nproduction: true\n\
         support-until: \"2031-12-31\"\n",
    ),
    (
        "layers/core/products/gateway-dev.yaml",
        "schema: 1\nproduct: gateway-dev\nextends: gateway\nproduction: false\nfeatures: {ssh: true}\n\
         append:\n  packages: [musl]\n",
    ),
    ("layers/core/tools/c.yaml", "schema: 1\ntools: c\npackages: [gcc, make]\nlinks: {/usr/bin/awk: mawk}\n"),
    (
        "recipes/zlib/recipe.yaml",
        "schema: 1\nrecipe: zlib\nversion: \"1.3.1\"\nsummary: compression\nlicense: Zlib\nsources:\n  - places:\n      \
         - https: \"https://example.org/zlib-{{ version }}.tar.gz\"\n    sha256: \
         \"60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb\"\nclass: make\nbuild-depends: [musl]\n\
         packages:\n  - name: zlib\n    files: [\"/**\"]\n    run-depends: [musl]\n",
    ),
    (
        "recipes/musl/recipe.yaml",
        "schema: 1\nrecipe: musl\nversion: \"1.2.5\"\nsummary: C library\nlicense: MIT\nclass: autotools\n\
         configure: [--a, --b]\npackages:\n  - name: musl\n    files: [\"/**\"]\n",
    ),
    (
        "recipes/linux/recipe.yaml",
        "schema: 1\nrecipe: linux\nversion: \"6.12\"\nsummary: kernel\nlicense: GPL-2.0-only\nclass: kernel\nkind: linux\n\
         packages:\n  - name: linux\n    files: [\"/boot/**\"]\n",
    ),
    (
        "recipes/stub/recipe.yaml",
        "schema: 1\nrecipe: stub\nversion: \"1\"\nsummary: stub\nlicense: MIT\nclass: files\n\
         install: [{from: a, to: /a}]\npackages:\n  - name: stub\n    files: [\"/**\"]\n",
    ),
];

struct Project(tempfile::TempDir);

impl Project {
    fn new() -> Self {
        let project = Project(tempfile::tempdir().expect("a folder"));
        for (path, text) in FILES {
            project.write(path, text);
        }
        project.write("kernel-config/base.config", "CONFIG_64BIT=y\n");
        project
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        file::create_dir_all(path.parent().expect("a folder")).expect("made");
        file::write_atomic(&path, text.as_bytes(), 0o644).expect("written");
    }

    /// Replaces `from`, which must be there, in a file.
    fn change(&self, path: &str, from: &str, to: &str) {
        let text = file::read_text(&self.0.path().join(path)).expect("there");
        assert!(text.contains(from), "{path} has no `{from}`");
        self.write(path, &text.replacen(from, to, 1));
    }

    fn load(&self, product: &str) -> Result<Config, Diagnostics> {
        load(self.0.path(), Some(product))
    }

    fn loaded(&self, product: &str) -> Config {
        self.load(product).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// Everything that is wrong, as the user sees it.
    fn problems(&self, product: &str) -> String {
        self.load(product).expect_err("something is wrong").to_string()
    }
}
