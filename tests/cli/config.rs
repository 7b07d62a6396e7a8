//! Mistakes in the configuration: each is named with file, line and remedy, and all of them at once.

use crate::command::{osbuild, Project};

const GATEWAY: &str = "layers/core/products/gateway.yaml";
const ZLIB: &str = "recipes/zlib/recipe.yaml";

/// Changes one file and returns what `osbuild plan` has to say about it.
fn refused(path: &str, old: &str, new: &str, parts: &[&str]) {
    let project = Project::copy();
    project.edit(path, old, new);
    osbuild(&project, &["plan"]).fails_with(parts);
}

/// `gateway.yaml:12`, the place of a text in a file of this repository.
fn place(path: &str, text: &str) -> String {
    let content = std::fs::read_to_string(Project::of_this_repository().root.join(path)).expect("read");
    let line = content.lines().position(|line| line.contains(text)).expect("there") + 1;
    format!("--> {path}:{line}:")
}

#[test]
fn an_unknown_field_is_shown_with_the_right_one() {
    let at = place(GATEWAY, "hostname: gateway");
    let parts = [at.as_str(), "unknown field `hostnam` in product", "did you mean `hostname`?", "hostnam: gateway\n"];
    refused(GATEWAY, "hostname: gateway\n", "hostnam: gateway\n", &parts);
}

#[test]
fn a_wrong_type_is_named_with_the_expected_one() {
    let at = place(GATEWAY, "production: true");
    let parts = [at.as_str(), "expected `true` or `false`, found text", "help: "];
    refused(GATEWAY, "production: true\n", "production: perhaps\n", &parts);
    let at = place(ZLIB, "build-depends: [musl]");
    refused(
        ZLIB,
        "build-depends: [musl]",
        "build-depends: musl",
        &[&at, "expected a list, found text", "write `[musl]`"],
    );
}

#[test]
fn a_duplicate_key_is_shown_with_both_lines() {
    let line = place(GATEWAY, "production: true");
    let first = line.rsplit(':').nth(1).expect("a line").to_owned();
    let said = format!("`production` is set twice: on line {first} and on line ");
    refused(GATEWAY, "production: true\n", "production: true\nproduction: true\n", &[&said, "--> layers/", "help: "]);
}

#[test]
fn circles_are_shown_link_by_link() {
    let musl = "recipes/musl/recipe.yaml";
    let project = Project::copy();
    let text = std::fs::read_to_string(project.root.join(musl)).expect("read");
    assert!(text.contains("build-depends: ["), "{text}");
    project.edit(musl, "build-depends: [", "build-depends: [zlib, ");
    let ended = osbuild(&project, &["plan"]).fails_with(&[
        "recipes go in a circle: `musl` -> `zlib` -> `musl`",
        "`musl` builds on `zlib` at recipes/musl/recipe.yaml:",
        "`zlib` builds on `musl` at recipes/zlib/recipe.yaml:",
        "remove one of these",
    ]);
    assert!(ended.output.is_empty(), "{}", ended.output);
    let parts = [
        "products go in a circle: `gateway` -> `gateway-dev` -> `gateway`",
        "`gateway-dev` extends `gateway` at layers/core/products/gateway-dev.yaml:",
        "remove one of these",
    ];
    refused(GATEWAY, "title: Gateway\n", "extends: gateway-dev\ntitle: Gateway\n", &parts);
    let project = Project::copy();
    project.write("layers/site/layer.yaml", "schema: 1\nlayer: site\npriority: 20\ndepends: [core]\n");
    project.edit("layers/core/layer.yaml", "priority: 10\n", "priority: 10\ndepends: [site]\n");
    osbuild(&project, &["plan"]).fails_with(&[
        "layers go in a circle: `core` -> `site` -> `core`",
        "`core` builds on `site` at layers/core/layer.yaml:4:",
        "`site` builds on `core` at layers/site/layer.yaml:4:",
    ]);
}

#[test]
fn a_template_with_an_undefined_name_is_shown_with_its_line() {
    let at = place(GATEWAY, "title: Gateway");
    refused(GATEWAY, "title: Gateway\n", "title: \"{{ nobody }}\"\n", &[&at, "`nobody` is not defined"]);
    let at = place(ZLIB, "{{ version }}");
    let parts = [at.as_str(), "`versoin` is not defined", "did you mean `version`?"];
    refused(ZLIB, "{{ version }}", "{{ versoin }}", &parts);
}

#[test]
fn a_template_of_the_root_filesystem_is_read_as_strictly() {
    let project = Project::copy();
    let motd = std::fs::read_to_string(project.root.join("rootfs/base/etc/motd.tera")).expect("read");
    project.write("rootfs/base/etc/motd.tera", &format!("{motd}{{{{ product.titel }}}}\n"));
    let line = motd.lines().count() + 1;
    let at = format!("rootfs/base/etc/motd.tera:{line}");
    osbuild(&project, &["image"]).fails_with(&[
        &at,
        "`product.titel` is not defined",
        "`product` has no fields; did you mean `title`?",
    ]);
}

#[test]
fn a_dependency_that_does_not_exist_is_named() {
    let at = place(ZLIB, "build-depends: [musl]");
    let parts = [at.as_str(), "there is no recipe `mussl`", "did you mean `musl`?"];
    refused(ZLIB, "build-depends: [musl]", "build-depends: [mussl]", &parts);
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let project = Project::copy();
    project.edit(GATEWAY, "hostname: gateway\n", "hostnam: gateway\n");
    project.edit(ZLIB, "class: make\n", "class: maker\n");
    osbuild(&project, &["plan"]).fails_with(&["`hostnam`", "`maker` is not a build class", "3 errors"]);
}
