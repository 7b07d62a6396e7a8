//! Archives that were made to do harm: each is refused, by name, and nothing is written outside the store.

use crate::command::{osbuild, Project};
use sha2::{Digest, Sha256};
use std::io::Write;

/// A project whose recipe `hostile` unpacks `archive`, which a folder serves as the project's mirror.
fn hostile(archive: &[u8]) -> (Project, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let hex = hex::encode(Sha256::digest(archive));
    std::fs::write(folder.path().join(&hex), archive).expect("written");
    let project = Project::copy();
    project.script("hostile", "");
    let source = format!("  - places: [debian: pool/hostile]\n    sha256: {hex}\n    strip: 0\n");
    project.edit("recipes/hostile/recipe.yaml", "  - file: rootfs/base\n", &source);
    project.edit("osbuild.lock", "\nsources:\n", &format!("\nsources:\n  \"{hex}\": {}\n", archive.len()));
    (project.env("OSBUILD_MIRROR", folder.path().display().to_string()), folder)
}

fn refused(archive: &[u8], parts: &[&str]) {
    let (project, _mirror) = hostile(archive);
    let ended = osbuild(&project, &["build", "hostile"]).fails_with(parts);
    for part in ["task `hostile:source` failed", "recipes/hostile/recipe.yaml:7:", "cannot be unpacked", "help: "] {
        assert!(ended.errors.contains(part), "`{part}` is not in:\n{}", ended.errors);
    }
}

/// Entries as name, kind, link's target and content; names are put in as they are.
fn tar(entries: &[(&str, tar::EntryType, &str, &[u8])]) -> Vec<u8> {
    tar_with_mode(0o644, entries)
}

fn tar_with_mode(mode: u32, entries: &[(&str, tar::EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, target, content) in entries {
        let mut header = tar::Header::new_ustar();
        let fields = header.as_ustar_mut().expect("just made");
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, *content).expect("in memory");
    }
    builder.into_inner().expect("in memory")
}

#[test]
fn no_path_leads_out_of_the_archive() {
    use tar::EntryType::{Fifo, Link, Regular, Symlink};
    let outside = std::env::temp_dir().join(format!("osbuild-escaped-{}", std::process::id()));
    let absolute = outside.display().to_string();
    refused(&tar(&[("../escaped", Regular, "", b"x")]), &["`../escaped` leads out of the archive's root through `..`"]);
    refused(&tar(&[("a/../../escaped", Regular, "", b"x")]), &["`a/../../escaped` leads out"]);
    let said = format!("`{absolute}` is an absolute path");
    refused(&tar(&[(&absolute, Regular, "", b"x")]), &[&said]);
    let through = [("door", Symlink, "/tmp", b"".as_slice()), ("door/escaped", Regular, "", b"x")];
    refused(&tar(&through), &["`door/escaped` would be written through the symlink `door`"]);
    refused(&tar(&[("shadow", Link, "/etc/shadow", b"")]), &["`/etc/shadow` is an absolute path"]);
    refused(&tar(&[("shadow", Link, "etc/shadow", b"")]), &["`shadow` is a hard link to `etc/shadow`"]);
    refused(&tar(&[("pipe", Fifo, "", b"")]), &["`pipe` is a device node or a pipe"]);
    assert!(!outside.exists(), "{absolute} was written");
}

#[test]
fn sizes_that_lie_and_archives_that_are_cut_are_refused() {
    let mut huge = tar::Header::new_gnu();
    huge.set_path("huge").expect("valid");
    huge.set_entry_type(tar::EntryType::Regular);
    huge.set_mode(0o644);
    huge.set_size(1 << 40);
    huge.set_cksum();
    refused(huge.as_bytes(), &["`huge` is larger than the limit for one file"]);
    let whole = tar(&[("cut", tar::EntryType::Regular, "", &[b'x'; 4096])]);
    refused(&whole[..2048], &["the archive ends in the middle of `cut`"]);
    refused(b"<html>this is no archive</html>", &["damaged, truncated or not a tar archive"]);
}

#[test]
fn a_bomb_is_given_up_long_before_it_fills_the_disk() {
    // 300 MB of nothing, in 300 KB.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut header = tar::Header::new_gnu();
    header.set_path("bomb").expect("valid");
    header.set_mode(0o644);
    // A digest that no cache has seen.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    header.set_mtime(now.as_secs());
    header.set_size(300 << 20);
    header.set_cksum();
    gzip.write_all(header.as_bytes()).expect("in memory");
    (0..300).for_each(|_| gzip.write_all(&[0; 1 << 20]).expect("in memory"));
    gzip.write_all(&[0; 1024]).expect("in memory");
    let bomb = gzip.finish().expect("in memory");
    refused(&bomb, &["the archive unpacks to more than its limit", "times its own size"]);
}

#[test]
fn a_setuid_file_that_somebody_else_built_is_declared_or_refused() {
    let (project, _mirror) = hostile(&tar_with_mode(0o4755, &[("su", tar::EntryType::Regular, "", b"x")]));
    let recipe = "recipes/hostile/recipe.yaml";
    // A build decides on the modes of what it installs.
    osbuild(&project, &["build", "hostile"]).succeeds();
    project.edit(
        recipe,
        "class: make\n",
        "class: prebuilt\ninstall: [{from: su, to: /usr/bin/su, executable: true}]\n",
    );
    osbuild(&project, &["build", "hostile"]).fails_with(&[
        "task `hostile:source` failed: `su` has mode 4755 in the archive, but no metadata says the mode of `/usr/bin/su`",
        "recipes/hostile/recipe.yaml:7:",
        "help: declare it under `metadata` of the package",
    ]);
    let metadata = "files: [\"/**\"]\n    metadata: [{path: /usr/bin/su, mode: \"0755\"}]";
    project.edit(recipe, "files: [\"/**\"]", metadata);
    project.edit(recipe, "\n  exit 0\n", "\n  true\n");
    osbuild(&project, &["build", "hostile"]).succeeds();
}
