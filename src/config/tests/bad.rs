//! What is wrong is named with file, line, column and remedy.

use super::*;

const PRODUCT: &str = "layers/core/products/gateway.yaml";
const MACHINE: &str = "layers/core/machines/board.yaml";
const ZLIB: &str = "recipes/zlib/recipe.yaml";
const MUSL: &str = "recipes/musl/recipe.yaml";

/// A file, what to change in it, and what the user must then be told.
type Case = (&'static str, &'static str, &'static str, &'static [&'static str]);

const CASES: &[Case] = &[
    // unknown field
    (
        ZLIB,
        "summary:",
        "sumary:",
        &[
            "unknown field `sumary` in recipe",
            "recipes/zlib/recipe.yaml:4:1",
            "did you mean `summary`?",
            "recipe lacks the field `summary`",
        ],
    ),
    (
        PRODUCT,
        "hostname:",
        "hostnam:",
        &["unknown field `hostnam` in product", "gateway.yaml:9:1", "did you mean `hostname`?"],
    ),
    (MACHINE, "esp: 32M", "epsilon: 32M", &["unknown field `epsilon` in partitions", "board.yaml:4:14"]),
    // wrong type
    (
        ZLIB,
        "\"1.3.1\"",
        "1.30",
        &["expected text, found a number: 1.30", "recipe.yaml:3:10", "put it in quotes: \"1.30\""],
    ),
    (ZLIB, "build-depends: [musl]", "build-depends: musl", &["expected a list, found text", "write `[musl]`"]),
    (
        PRODUCT,
        "production: true",
        "production: yes",
        &["expected `true` or `false`, found text", "write `true`", "10:13"],
    ),
    (PRODUCT, "features: {ssh: false}", "features: [ssh]", &["expected a mapping, found a list"]),
    (MACHINE, "root: 48M", "root: 48MB", &["`48MB` is not a size", "4:30"]),
    (MACHINE, "root: 48M", "root: 100K", &["partition `root` must be a whole number of MiB"]),
    (
        MACHINE,
        "esp: 32M",
        "esp: 4M",
        &["partition `esp` must be a whole number of MiB, at least 5, not 4", "`esp: 5M`"],
    ),
    (MACHINE, "esp: 32M", "esp: 1G", &["partition `esp` must have at most 512 MiB, not 1024", "board.yaml:4:"]),
    (MACHINE, "root: 48M", "root: 17G", &["partition `root` must have at most 16384 MiB, not 17408"]),
    (MACHINE, "verity: 1M", "verity: 0M", &["partition `verity` must be", "at least 1"]),
    (MACHINE, "x86_64", "x86-64", &["`x86-64` is not a architecture", "did you mean `x86_64`?"]),
    (PRODUCT, "2031-12-31", "2031-02-30", &["`2031-02-30` is not a day"]),
    (PRODUCT, "1.2.3", "1.2", &["`1.2` is not a product version"]),
    (ZLIB, "schema: 1", "schema: 2", &["this osbuild reads schema 1, not 2", "1:9"]),
    (
        ZLIB,
        "license: Zlib",
        "license: zlib licence",
        &["`zlib licence` is not an SPDX licence expression", "recipe.yaml:5:10"],
    ),
    // bad name
    (ZLIB, "name: zlib", "name: Zlib", &["`Zlib` is not a name"]),
    (ZLIB, "recipe: zlib", "recipe: zlip", &["this recipe is named `zlip`, but its path says `zlib`"]),
    // duplicate key, and other YAML
    (ZLIB, "class: make", "class: make\nversion: \"2\"", &["`version` is set twice: on line 3 and on line 11", "11:1"]),
    (ZLIB, "class: make", "class: &x make", &["anchors (`&name`) are not supported"]),
    (ZLIB, "class: make", "class: [make", &["this is not YAML"]),
    // unknown references
    (
        ZLIB,
        "build-depends: [musl]",
        "build-depends: [mussl]",
        &["there is no recipe `mussl`", "11:17", "did you mean `musl`?"],
    ),
    (ZLIB, "run-depends: [musl]", "run-depends: [mussl]", &["there is no package `mussl`", "did you mean `musl`?"]),
    (PRODUCT, "packages: [zlib]", "packages: [zlip]", &["there is no package `zlip`", "6:12", "did you mean `zlib`?"]),
    (PRODUCT, "machine: board", "machine: bord", &["there is no machine `bord`", "5:10", "did you mean `board`?"]),
    (MACHINE, "kernel: linux", "kernel: linus", &["there is no recipe `linus`", "did you mean `linux`?"]),
    (MACHINE, "[base]", "[bases]", &["there is no kernel fragment `bases`", "did you mean `base`?"]),
    (ZLIB, "class: make", "class: make\ntools: [d]", &["there is no tool tree `d`"]),
    (ZLIB, "class: make", "class: maker", &["`maker` is not a build class", "did you mean `make`?"]),
    (
        ZLIB,
        "class: make",
        "class: make\ntool-depends: [musl]",
        &["takes recipes that run on the host; `musl` is for the device"],
    ),
    (
        PRODUCT,
        "hostname",
        "services: {a: {exec: [/a], after: [b], user: joe, group: jo}}\nhostname",
        &["the product has no service `b`", "the product has no user `joe`", "the product has no group `jo`"],
    ),
    (
        PRODUCT,
        "hostname",
        "users: {joe: {uid: 7, group: jo}}\ngroups: {joe: {gid: 7}}\nhostname",
        &["the product has no group `jo`", "did you mean `joe`?"],
    ),
    (
        ZLIB,
        "run-depends: [musl]",
        "metadata: [{path: /usr/bin/x, user: joe}]",
        &["there is no user `joe`", "add it to `users:` of product `gateway`"],
    ),
    (
        ZLIB,
        "run-depends: [musl]",
        "metadata: [{path: /usr/bin/x, xattrs: {user.a: 0x1, capability: x}}]",
        &[
            "`0x1` is not the value of an attribute: hex digits come in pairs",
            "`capability` is not the name of an extended attribute",
            "it begins with `security.`, `trusted.`, `user.`",
        ],
    ),
    (MACHINE, "kernel: linux", "firmware: bios\nkernel: linux", &["`bios` is not a firmware", "5:11"]),
    // templates
    (
        ZLIB,
        "{{ version }}",
        "{{ versoin }}",
        &["`versoin` is not defined", "recipe.yaml:8:45", "did you mean `version`?"],
    ),
    (
        PRODUCT,
        "{{ vars.site }}",
        "{% if features.shh %}x{% endif %}",
        &["`features.shh` is not defined", "9:21", "did you mean `features.ssh`?"],
    ),
    (ZLIB, "{{ version }}", "{{ version", &["the template cannot be read", "recipe.yaml:8"]),
    (
        ZLIB,
        "class: make",
        "class: make\nprepare: |\n  one\n  two {{ nothing }}",
        &["`nothing` is not defined", "13:10"],
    ),
    // sources
    (ZLIB, "    sha256", "    inner", &["an archive needs its `sha256`", "7:5"]),
    (ZLIB, "60dd315c", "", &["is not a SHA-256: expected 64 lower-case hex digits, found 56"]),
    (ZLIB, "https://", "http://", &["is not an https address"]),
    (ZLIB, "- https:", "- git:", &["a git place needs `commit`"]),
    (
        ZLIB,
        "class: make",
        "class: make\noptions: [a]",
        &["class `make` has no field `options`", "it has `arguments`, `install`"],
    ),
    // who may log in
    (
        PRODUCT,
        "hostname",
        "users: {root: {uid: 0, group: root, shell: /bin/sh}}\nhostname",
        &["user `root` has a login shell in a production product"],
    ),
    (
        PRODUCT,
        "hostname",
        "users: {a: {uid: 5, group: root}, b: {uid: 5, group: root}}\nhostname",
        &["users `a` and `b` have the same number 5"],
    ),
    (PRODUCT, "hostname", "services: {a: {exec: [a]}}\nhostname", &["`a` is not an absolute path"]),
    (PRODUCT, "hostname", "append: {packages: [musl]}\nhostname", &["`append` needs a product to extend"]),
    // layers
    (
        "layers/core/layer.yaml",
        "priority: 10",
        "priority: 10\nsuites: [bookworm, ../trixie]",
        &["`../trixie` is not the name of a suite", "help: as in `bookworm-backports`"],
    ),
    (
        "layers/core/layer.yaml",
        "priority: 10",
        "priority: 10\ndepends: [cor]",
        &["there is no layer `cor`", "did you mean `core`?"],
    ),
    (
        "layers/core/products/gateway-dev.yaml",
        "extends: gateway",
        "extends: gatway",
        &["there is no product `gatway` to extend", "did you mean `gateway`?"],
    ),
];

#[test]
fn each_mistake_is_explained() {
    for (path, from, to, expected) in CASES {
        let project = Project::new();
        project.change(path, from, to);
        let problems = project.problems("gateway");
        for part in *expected {
            assert!(problems.contains(part), "`{to}` in {path} should say `{part}`:\n{problems}");
        }
    }
}

#[test]
fn a_message_shows_the_line_and_points_at_the_place() {
    let project = Project::new();
    project.change(ZLIB, "build-depends: [musl]", "build-depends: [mussl]");
    assert_eq!(
        project.problems("gateway"),
        "error: there is no recipe `mussl`\n --> recipes/zlib/recipe.yaml:11:17\n   |\n11 | build-depends: [mussl]\n   \
         |                 ^\nhelp: did you mean `musl`?"
    );
}

#[test]
fn later_stages_can_point_at_lines_too() {
    let project = Project::new();
    let origin = crate::model::Origin { file: ZLIB.into(), line: 2, column: 9 };
    let shown = explain(project.0.path(), vec![Diagnostic::at(&origin, "cannot be built")]).to_string();
    assert_eq!(
        shown,
        "error: cannot be built\n --> recipes/zlib/recipe.yaml:2:9\n  |\n2 | recipe: zlib\n  |         ^"
    );
}

#[test]
fn everything_is_reported_at_once_in_order() {
    let project = Project::new();
    project.change(PRODUCT, "machine: board", "machin: board");
    project.change(MACHINE, "console", "consol");
    project.change(ZLIB, "license", "licence");
    project.change(MUSL, "class: autotools", "class: autotool");
    project.write("layers/core/tools/d.yaml", "schema: 1\ntools: d\n- x\n");
    let problems = project.problems("gateway");
    // Every place is FILE:LINE:COLUMN.
    let place = |line: &str| {
        let mut parts = line.trim().strip_prefix("--> ")?.split(':');
        Some((parts.next()?.to_owned(), parts.next()?.parse::<u32>().ok()?))
    };
    let places: Vec<(String, u32)> = problems.lines().filter_map(place).collect();
    assert_eq!(places.len(), 6, "{problems}");
    assert!(places.is_sorted(), "{places:?}");
    assert!(problems.ends_with("6 errors"), "{problems}");
    for file in [PRODUCT, MACHINE, ZLIB, MUSL, "layers/core/tools/d.yaml"] {
        assert!(problems.contains(file), "{file} is missing in\n{problems}");
    }
}

#[test]
fn one_bad_file_hides_no_mistake_elsewhere_and_makes_up_none() {
    for (path, from, to) in [
        (MUSL, "class: autotools", "class: autotool"),
        (MUSL, "class: autotools", "class: [autotools"),
        ("layers/core/tools/c.yaml", "packages", "packags"),
        ("layers/core/tools/c.yaml", "[gcc", "[[gcc"),
    ] {
        let project = Project::new();
        project.change(ZLIB, "class: make", "class: make\ntools: [c]");
        project.change(path, from, to);
        project.change(MACHINE, "kernel: linux", "kernel: linus");
        project.change("layers/core/products/gateway-dev.yaml", "append:", "append:\n  kernel-fragments: [bas]");
        project.write("layers/core/overrides/x.yaml", "schema: 1\noverride: recipe zlip\n");
        let problems = project.problems("gateway");
        for part in
            ["there is no recipe `linus`", "there is no recipe `zlip`", "there is no kernel fragment `bas`", path]
        {
            assert!(problems.contains(part), "`{to}` hides `{part}`:\n{problems}");
        }
        for part in ["`musl`", "tree `c`"] {
            assert!(
                !problems.contains(&format!("there is no {part}")) && !problems.contains(&format!("no recipe {part}"))
            );
            assert!(!problems.contains(&format!("no package {part}")), "{problems}");
        }
    }
    let project = Project::new();
    project.change(PRODUCT, "packages: [zlib]", "packages: [zlib");
    let problems = project.problems("gateway-dev");
    assert!(problems.contains("this is not YAML") && !problems.contains("there is no product"), "{problems}");
}

#[test]
fn other_products_are_checked_with_what_is_theirs() {
    let dev = "layers/core/products/gateway-dev.yaml";
    let project = Project::new();
    project.change(dev, "packages: [musl]", "packages: [musl-dev]");
    let problems = project.problems("gateway");
    assert!(
        problems.contains("there is no package `musl-dev`\n --> layers/core/products/gateway-dev.yaml:7:14"),
        "{problems}"
    );
    // Only that product has the package, through an override.
    let item = "append: {packages: [{name: \"{{ product }}-only\", files: [/x]}]}\nwhen: {feature: ssh}\n";
    project.write("layers/core/overrides/x.yaml", &format!("schema: 1\noverride: recipe musl\n{item}"));
    project.change(dev, "packages: [musl-dev]", "packages: [gateway-dev-only]");
    project.loaded("gateway");
    project.loaded("gateway-dev");
}

#[test]
fn circles_show_the_chain() {
    let project = Project::new();
    project.change(MUSL, "class: autotools", "class: autotools\nbuild-depends: [zlib]");
    let problems = project.problems("gateway");
    for part in [
        "recipes go in a circle: `musl` -> `zlib` -> `musl`",
        "`musl` builds on `zlib` at recipes/musl/recipe.yaml:7:17",
        "`zlib` builds on `musl` at recipes/zlib/recipe.yaml:11:17",
    ] {
        assert!(problems.contains(part), "{problems}");
    }

    let project = Project::new();
    project.change(PRODUCT, "title", "extends: gateway-dev\ntitle");
    let problems = project.problems("gateway");
    for part in [
        "products go in a circle: `gateway` -> `gateway-dev` -> `gateway`",
        "`gateway-dev` extends `gateway` at layers/core/products/gateway-dev.yaml:3:10",
    ] {
        assert!(problems.contains(part), "{problems}");
    }

    let project = Project::new();
    project.write("layers/site/layer.yaml", "schema: 1\nlayer: site\npriority: 20\ndepends: [core]\n");
    project.change("layers/core/layer.yaml", "priority: 10", "priority: 10\ndepends: [site]");
    let problems = project.problems("gateway");
    for part in ["layers go in a circle: `core` -> `site` -> `core`", "layer `site` of priority 20 is not below"] {
        assert!(problems.contains(part), "{problems}");
    }
}

#[test]
fn layers_must_be_whole_and_must_not_tie() {
    let project = Project::new();
    file::create_dir_all(&project.0.path().join("layers/empty")).expect("made");
    let problems = project.problems("gateway");
    assert!(problems.contains("layer `empty` has no file `layers/empty/layer.yaml`"), "{problems}");

    let project = Project::new();
    project.write("layers/other/layer.yaml", "schema: 1\nlayer: other\npriority: 10\n");
    project.write("layers/other/tools/c.yaml", "schema: 1\ntools: c\npackages: [gcc]\n");
    let problems = project.problems("gateway");
    assert!(problems.contains("tools `c` is defined twice, also at layers/core/tools/c.yaml"), "{problems}");

    let empty = tempfile::tempdir().expect("a folder");
    let problems = load(empty.path(), None).expect_err("nothing there").to_string();
    assert!(problems.contains("has no layers"), "{problems}");
}

#[test]
fn an_override_must_change_something_that_is_there() {
    for (text, expected) in [
        ("override: recipe zlip\n", "there is no recipe `zlip` to override"),
        ("override: recipes zlib\n", "`recipes zlib` names nothing to override"),
        ("override: recipe musl\nremove: {configure: [--c]}\n", "there is no `--c` to remove"),
        ("override: recipe musl\nappend: {version: [x]}\n", "`append` works on lists"),
        ("override: recipe musl\nset: {versin: x}\n", "unknown field `versin` in recipe"),
        ("override: recipe musl\nwhen: {feature: shh}\n", "no product has a feature `shh`"),
        ("override: recipe musl\nwhen: {product: gatway}\n", "there is no product `gatway`"),
        ("override: recipe musl\nsets: {}\n", "unknown field `sets` in override"),
    ] {
        let project = Project::new();
        project.write("layers/core/overrides/x.yaml", &format!("schema: 1\n{text}"));
        let problems = project.problems("gateway");
        assert!(problems.contains(expected) && problems.contains("overrides/x.yaml:"), "{text}:\n{problems}");
    }
}

#[test]
fn two_recipes_cannot_yield_one_package_and_an_unknown_product_is_named() {
    let project = Project::new();
    project.change(MUSL, "name: musl", "name: zlib");
    let problems = project.problems("gateway");
    assert!(problems.contains("package `zlib` is also a package of recipe `musl`"), "{problems}");
    assert!(problems.contains("the other is at recipes/musl/recipe.yaml:9:11"), "{problems}");
    let problems = Project::new().problems("gatway");
    assert!(problems.contains("there is no product `gatway`\nhelp: did you mean `gateway`?"), "{problems}");
}

#[test]
fn files_that_are_not_text_or_too_large_are_refused() {
    let project = Project::new();
    let path = project.0.path().join(ZLIB);
    file::write_atomic(&path, b"schema: 1\nrecipe: \xff\n", 0o644).expect("written");
    assert!(project.problems("gateway").contains("`recipes/zlib/recipe.yaml` is not UTF-8 text: see line 2"));
    file::write_atomic(&path, &vec![b' '; 2 << 20], 0o644).expect("written");
    assert!(project.problems("gateway").contains("larger than 1048576 bytes"));
}
