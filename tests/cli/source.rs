//! Sources that are not there: in the project, in the lock, in the recipe.

use crate::command::{osbuild, Project};

#[test]
fn a_file_that_is_missing_is_named_with_the_line_that_wants_it() {
    let project = Project::copy();
    project.edit("recipes/base-files/recipe.yaml", "file: ", "file: no/such/");
    osbuild(&project, &["plan"]).fails_with(&[
        "--> recipes/base-files/recipe.yaml:7:",
        "`no/such/recipes/base-files/files`",
        "does not exist",
        "paths are relative to the project's root",
    ]);
}

#[test]
fn a_source_that_is_not_pinned_is_sent_to_osbuild_lock() {
    let project = Project::copy();
    std::fs::remove_file(project.root.join("osbuild.lock")).expect("removed");
    osbuild(&project, &["plan"]).fails_with(&["`osbuild.lock` does not exist", "help: run `osbuild lock`"]);
    let project = Project::copy();
    project.edit("recipes/zlib/recipe.yaml", "sha256: 6", "sha256: 7");
    osbuild(&project, &["plan"]).fails_with(&[
        "--> recipes/zlib/recipe.yaml:",
        "of recipe `zlib` is not in osbuild.lock",
        "help: run `osbuild lock`",
    ]);
}

#[test]
fn a_lock_that_was_damaged_by_hand_is_named_with_its_line() {
    let project = Project::copy();
    project.edit("osbuild.lock", "schema: 1\n", "schema: 1\nextra: 1\n");
    osbuild(&project, &["plan"]).fails_with(&["--> osbuild.lock:", "unknown field `extra`"]);
    let project = Project::copy();
    project.edit("osbuild.lock", "size: 332120,", "size: many,");
    osbuild(&project, &["plan"]).fails_with(&["--> osbuild.lock:", "`osbuild lock` writes this file anew"]);
}
