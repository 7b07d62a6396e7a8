//! The names of packages in `benches/delta/*.pair` in, the images of an old and a new system out.
//!
//! Invariant: each package is checked against the SHA-256 of its line before it is unpacked, so equal pair files give equal
//! images: of root, of one second, without documentation and translations.
#![allow(clippy::disallowed_methods)]

use super::kernel;
use osbuild::io::store::Store;
use osbuild::model::fetch::{Fetch, FetchPlace};
use osbuild::model::{Digest, RelPath};
use osbuild::tools::archive;
use osbuild::tools::fetch::{FetchOptions, Fetcher};
use osbuild::tree::root::{content_of, Content, Item, Owner, Root};
use osbuild::tree::tar;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `uki` is made of the packages of `kernel`.
pub const NAMES: [&str; 5] = ["tiny", "security", "uki", "kernel", "month"];
const SIDES: [&str; 2] = ["old", "new"];
const DROPPED: [&str; 5] =
    ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian"];
const UUID: &str = "00000000-0000-8000-8000-000000000000";
const LIMIT_KERNEL_BYTES: u64 = 256 << 20;

/// A package of one side.
struct Package {
    side: String,
    name: String,
    version: String,
    path: String,
    digest: Digest,
}

/// Where the old and the new image of a pair are.
pub fn images(folder: &Path, pair: &str) -> [PathBuf; 2] {
    SIDES.map(|side| folder.join(format!("{pair}-{side}.image")))
}

/// Fetches, unpacks and writes both images of `pair` below `folder`.
pub fn prepare(folder: &Path, pair: &str) {
    let file = if pair == "uki" { "kernel" } else { pair };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/delta/{file}.pair"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read `{}`: {e}", path.display()));
    let packages: Vec<Package> = text.lines().map(package).collect();
    let store = Store::open(&folder.join("store")).expect("a store");
    let project_mirror = std::env::var("OSBUILD_MIRROR").ok().filter(|mirror| !mirror.is_empty());
    let fetcher =
        Fetcher::new(FetchOptions { project_mirror, ..FetchOptions::new(Path::new(env!("CARGO_MANIFEST_DIR"))) });
    packages.iter().for_each(|package| fetch(&fetcher, &store, package));
    for (side, image) in SIDES.iter().zip(images(folder, pair)) {
        let of_side = packages.iter().filter(|package| package.side == *side);
        let mut root = root(&store, of_side);
        let vmlinux = plain_kernel(&store, &mut root);
        match (pair, vmlinux) {
            ("uki", Some(vmlinux)) => std::fs::write(&image, kernel::esp(&vmlinux)).expect("written"),
            ("uki", None) => panic!("no package of `{}` has a kernel", path.display()),
            _ => erofs(&store, &root, &image),
        }
    }
}

/// `old|new NAME VERSION PATH SHA256 SIZE`
fn package(line: &str) -> Package {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [side, name, version, path, sha256, size] = words[..] else {
        panic!("`{line}` is not `old|new NAME VERSION PATH SHA256 SIZE`")
    };
    assert!(SIDES.contains(&side), "`{line}` begins neither with `old` nor with `new`");
    let size = size.parse().unwrap_or_else(|e| panic!("the size in `{line}` is no number: {e}"));
    let digest = Digest::from_hex(sha256, size).unwrap_or_else(|e| panic!("`{line}`: {e}"));
    Package { side: side.into(), name: name.into(), version: version.into(), path: path.into(), digest }
}

/// Security updates lie in an archive of their own, below `pool/updates`; mirrors that have it have it beside the other,
/// in `debian-security` for `debian`.
fn fetch(fetcher: &Fetcher, store: &Store, package: &Package) {
    let name = format!("{} {}", package.name, package.version);
    let places = if package.path.starts_with("pool/updates/") {
        let mirrors = fetcher.debian_mirrors().unwrap_or_else(|e| panic!("{e}"));
        let beside = |base: &str| format!("{}-security/{}", base.trim_end_matches('/'), package.path);
        mirrors.iter().map(|mirror| FetchPlace::Https(beside(&mirror.url("")))).collect()
    } else {
        vec![FetchPlace::Debian(package.path.clone())]
    };
    let wanted = Fetch { name: name.clone(), places, origin: None };
    fetcher.fetch(store, &package.digest, &wanted, &|_| ()).unwrap_or_else(|e| {
        panic!(
            "{e}; mirrors keep few versions: if it is gone, put a folder with a file named {} in OSBUILD_MIRROR, or \
                 name versions that there are in the pair",
            hex::encode(package.digest.sha256)
        )
    });
}

/// What the packages hold together; of one path, what the last package has.
fn root<'a>(store: &Store, packages: impl Iterator<Item = &'a Package>) -> Root {
    let mut root = Root::default();
    for package in packages {
        let unpacked = archive::unpack(store, &package.digest, 0, None);
        let unpacked = unpacked.unwrap_or_else(|e| panic!("{} {}: {e}", package.name, package.version));
        for entry in store.walk(&unpacked.tree).expect("walked") {
            let path = entry.path.as_str();
            let below =
                |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if !DROPPED.iter().any(|folder| below(folder)) {
                let owner = Owner::Package(package.name.clone());
                root.items.insert(entry.path.clone(), Item::new(content_of(&entry), owner));
            }
        }
    }
    root
}

/// Puts what the kernel of `root` unpacks, if it has one, in the place of the kernel.
fn plain_kernel(store: &Store, root: &mut Root) -> Option<Vec<u8>> {
    let path = root.items.keys().find(|path| path.as_str().starts_with("boot/vmlinuz"))?.clone();
    let Some(Item { content: Content::File { digest, .. }, owner, .. }) = root.items.remove(&path) else {
        panic!("`{path}` of the package is no file")
    };
    let vmlinux = kernel::vmlinux(&store.read(&digest, LIMIT_KERNEL_BYTES).expect("read"));
    let content = Content::File { digest: store.put_bytes(&vmlinux).expect("kept"), executable: false };
    root.items.insert(RelPath::new("boot/vmlinux").expect("a path"), Item::new(content, owner));
    Some(vmlinux)
}

/// As the project makes its roots, by the `mkfs.erofs` that it builds.
fn erofs(store: &Store, root: &Root, image: &Path) {
    let tar = store.open_blob(&tar::keep(root, store).expect("an archive")).expect("opened");
    let scratch = tempfile::tempdir_in(image.parent().expect("a folder")).expect("a folder");
    let archive = scratch.path().join("root.tar");
    std::io::copy(&mut &tar, &mut std::fs::File::create(&archive).expect("made")).expect("copied");
    let mut osbuild = Command::new(env!("CARGO_BIN_EXE_osbuild"));
    let tools = osbuild.args(["tools", "c+erofs-utils"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let tools = tools.expect("started");
    assert!(tools.status.success(), "no mkfs.erofs: {}", String::from_utf8_lossy(&tools.stderr));
    let program = Path::new(String::from_utf8_lossy(&tools.stdout).trim()).join("usr/bin/mkfs.erofs");
    let mut mkfs = Command::new(program);
    let _ = std::fs::remove_file(image);
    let status = mkfs.args(["-T1", &format!("-U{UUID}"), "--quiet", "--tar=f"]).arg(image).arg(&archive).status();
    assert!(status.expect("started").success(), "mkfs.erofs made no image of `{}`", archive.display());
}
