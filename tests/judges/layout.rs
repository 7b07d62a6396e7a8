//! Roots of many files, as `mkfs.erofs` makes them, that follow another one: judged by `fsck.erofs`.

use super::Judge;
use osbuild::image::erofs::{follow, place, Layout};
use osbuild::update::layout::{choose, Choice};
use std::collections::BTreeMap;
use std::path::Path;

const FILES: u32 = 1200;

/// Of sizes that differ, some larger than a block; none like another.
fn content(seed: u32) -> Vec<u8> {
    let size = seed.wrapping_mul(2_654_435_761) % if seed.is_multiple_of(7) { 20_000 } else { 900 };
    (0..size).map(|at| ((seed ^ at).wrapping_mul(0x9e37_79b9) >> 24) as u8).collect()
}

fn archive(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, path, &content[..]).expect("in memory");
    }
    archive.into_inner().expect("in memory")
}

fn root(judge: &Judge, files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let [tar, image] = ["root.tar", "made.erofs"].map(|name| judge.scratch.path().join(name));
    std::fs::write(&tar, archive(files)).expect("written");
    let uuid = "-U00000000-0000-8000-8000-000000000000";
    let args = ["-T1", uuid, "--quiet", "--tar=f", &image.display().to_string(), &tar.display().to_string()];
    let (accepted, said) = judge.ask("/usr/bin/mkfs.erofs", &args);
    assert!(accepted, "{said}");
    std::fs::read(&image).expect("read")
}

/// The content of `image`, as `fsck.erofs` finds it.
fn extracted(judge: &Judge, image: &Path, files: &BTreeMap<String, Vec<u8>>) {
    let folder = judge.scratch.path().join("extracted");
    let (extract, image) = (format!("--extract={}", folder.display()), image.display().to_string());
    let (accepted, said) = judge.ask("/usr/bin/fsck.erofs", &[&extract, "--no-preserve", &image]);
    assert!(accepted && !said.contains("<E>"), "{said}");
    for (path, content) in files {
        assert!(
            std::fs::read(folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}: {said}")) == *content,
            "`{path}` differs"
        );
    }
    let found =
        walkdir::WalkDir::new(&folder).into_iter().filter(|entry| entry.as_ref().expect("listed").path().is_file());
    assert_eq!(found.count(), files.len());
}

#[test]
fn a_root_of_many_files_follows_the_one_before_it() {
    let judge = Judge::new("c+erofs-utils");
    let mut files: BTreeMap<String, Vec<u8>> =
        (0..FILES).map(|n| (format!("usr/share/f{}/{n:04}", n % 12), content(n))).collect();
    let old = root(&judge, &files);
    // The first file of all, one that grows by blocks, and one less.
    files.insert("etc/a.conf".into(), b"a = 1\n".to_vec());
    files.get_mut("usr/share/f0/0000").expect("there").extend([7; 9000]);
    files.remove("usr/share/f5/0005");
    let new = root(&judge, &files);
    assert_eq!(Layout::of(&new).expect("sound").places.len(), files.len() + 1 + 1 + 2 + 12, "with the folders");

    assert!(place(&new, &Layout::of(&new).expect("sound")).expect("placed") == new, "its own places are no change");
    let image = place(&new, &follow(&new, &old).expect("followed")).expect("placed");
    let path = judge.scratch.path().join("placed.erofs");
    std::fs::write(&path, &image).expect("written");
    extracted(&judge, &path, &files);
    // The superblock's checksum is one that a judge looks at.
    let mut changed = image.clone();
    changed[1024 + 16] ^= 1;
    std::fs::write(&path, &changed).expect("written");
    let (accepted, said) = judge.ask("/usr/bin/fsck.erofs", &[&path.display().to_string()]);
    assert!(!accepted || said.contains("<E>"), "{said}");

    match choose(&old, &new).expect("generated") {
        Choice::Stay { bytes, own_bytes, .. } => {
            println!("delta of a root of {FILES} files: {bytes} bytes, {own_bytes} without a layout");
            assert!(bytes * 4 < own_bytes, "{bytes} and {own_bytes}");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(choose(&image, &image).expect("generated"), Choice::Same));
}
