//! The command line on good and on bad input: what a user reads, and that nothing is lost.
#![allow(clippy::disallowed_methods)]

mod command;

use command::{osbuild, Project};

const GATEWAY: &str = "layers/core/products/gateway.yaml";

#[test]
fn mistakes_in_yaml_are_named_with_file_line_and_remedy() {
    let project = Project::copy();
    project.edit(GATEWAY, "hostname: gateway\n", "hostnam: gateway\n");
    osbuild(&project, &["plan"]).fails_with(&["gateway.yaml:", "`hostnam`", "hostname"]);
    let project = Project::copy();
    project.edit(GATEWAY, "production: true\n", "production: perhaps\n");
    osbuild(&project, &["plan"]).fails_with(&["gateway.yaml:", "production", "perhaps"]);
    let project = Project::copy();
    project.edit(GATEWAY, "production: true\n", "production: true\nproduction: true\n");
    osbuild(&project, &["plan"]).fails_with(&["gateway.yaml:", "production"]);
    let project = Project::copy();
    project.edit(GATEWAY, "title: Gateway\n", "title: \"{{ nobody }}\"\n");
    osbuild(&project, &["plan"]).fails_with(&["gateway.yaml:", "nobody"]);
    let project = Project::copy();
    project.edit("recipes/zlib/recipe.yaml", "build-depends: [musl]", "build-depends: [musl, curl]");
    osbuild(&project, &["plan"]).fails_with(&["zlib", "curl"]);
}

#[test]
fn a_misspelt_name_is_answered_with_the_right_one() {
    let project = Project::of_this_repository();
    osbuild(&project, &["build", "busybx"]).fails_with(&["no recipe `busybx`", "did you mean `busybox`"]);
    osbuild(&project, &["plan", "gatway"]).fails_with(&["gatway", "gateway"]);
    let elsewhere = tempfile::tempdir().expect("a folder");
    let nowhere = elsewhere.path().display().to_string();
    osbuild(&project, &["--project", &nowhere, "plan"]).fails_with(&["no osbuild project here"]);
    assert_eq!(osbuild(&project, &["plan", "--no-such-option"]).status, 2);
}

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

#[test]
fn a_source_that_is_missing_or_wrong_is_named() {
    let project = Project::copy();
    project.edit("recipes/base-files/recipe.yaml", "file: ", "file: no/such/");
    osbuild(&project, &["plan"]).fails_with(&["recipes/base-files/recipe.yaml:", "does not exist"]);
    // An empty cache, no network: the message lists what was tried.
    let cache = tempfile::tempdir().expect("a folder");
    let project = Project::copy().env("OSBUILD_CACHE", cache.path().display().to_string());
    osbuild(&project, &["build", "zlib", "--offline"]).fails_with(&["cannot fetch", "offline"]);
    let project = project.env("OSBUILD_DEBIAN_MIRROR", "http://127.0.0.1:9/debian");
    osbuild(&project, &["build", "ca-certificates"]).fails_with(&["cannot fetch", "127.0.0.1"]);
}

#[test]
fn a_recipe_without_a_pin_is_sent_to_osbuild_lock() {
    let project = Project::copy();
    std::fs::remove_file(project.root.join("osbuild.lock")).expect("removed");
    osbuild(&project, &["plan"]).fails_with(&["osbuild.lock", "osbuild lock"]);
}

#[test]
fn a_task_has_no_network_and_writes_nowhere_else() {
    let project = Project::copy();
    project.script("away", "cat < /dev/tcp/127.0.0.1/80 2>&1 || true\necho 1 > /usr/escaped");
    let ended =
        osbuild(&project, &["build", "away"]).fails_with(&["task `away:build` failed", "recipes/away/recipe.yaml:"]);
    assert!(ended.errors.contains("Read-only file system") && ended.errors.contains("/work"), "{}", ended.errors);
    let project = Project::copy();
    project.script("setuid", "mkdir -p $DESTDIR/usr\necho 1 > $DESTDIR/usr/x\nchmod 4755 $DESTDIR/usr/x\nprintf 'all:\\ninstall:\\n' > Makefile\nfalse");
    osbuild(&project, &["build", "setuid"]).fails_with(&["task `setuid:build` failed", "exit status 1"]);
    // What the failed task left is there for the shell.
    let shell = osbuild(&project, &["shell", "setuid:build", "--", "/bin/ls", "out/usr"]).succeeds();
    assert!(shell.output.contains('x') && shell.errors.contains("as its last failure left it"), "{}", shell.errors);
}

#[test]
fn a_cache_that_cannot_be_used_says_what_to_do() {
    let cache = tempfile::tempdir().expect("a folder");
    let file = cache.path().join("file");
    std::fs::write(&file, "").expect("written");
    let project = Project::of_this_repository().env("OSBUILD_CACHE", file.join("x").display().to_string());
    osbuild(&project, &["plan"]).fails_with(&["cannot", "file/x"]);
}

#[test]
fn damage_in_the_cache_is_found_removed_and_made_again() {
    let cache = tempfile::tempdir().expect("a folder");
    let project = Project::copy().env("OSBUILD_CACHE", cache.path().display().to_string());
    osbuild(&project, &["plan"]).succeeds();
    osbuild(&project, &["cache", "verify"]).succeeds();
    let blob = walkdir::WalkDir::new(cache.path().join("blobs")).into_iter().flatten();
    let blob =
        blob.filter(|entry| entry.file_type().is_file()).max_by_key(|entry| entry.metadata().map_or(0, |m| m.len()));
    std::fs::write(blob.expect("a blob").path(), "damaged").expect("written");
    osbuild(&project, &["cache", "verify"]).fails_with(&["the cache was damaged"]);
    osbuild(&project, &["cache", "verify"]).succeeds();
    osbuild(&project, &["plan"]).succeeds();
    let stat = osbuild(&project, &["cache", "stat"]).succeeds().output;
    assert!(stat.contains("results") && stat.contains("files"), "{stat}");
    osbuild(&project, &["cache", "gc", "--keep-days", "0"]).succeeds();
}

#[test]
fn keys_are_made_once_and_verification_needs_them() {
    let project = Project::copy();
    let place = project.root.join("production");
    let place = place.display().to_string();
    osbuild(&project, &["keys", "init", &place]).succeeds();
    osbuild(&project, &["keys", "init", &place]).fails_with(&["there are keys in", "never overwritten"]);
    osbuild(&project, &["verify", "layers", "--keys", &place]).fails_with(&["the manifest is not sound"]);
    osbuild(&project, &["verify", "layers", "--keys", "nowhere"]).fails_with(&["release.pub", "--keys FOLDER"]);
}
