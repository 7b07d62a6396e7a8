//! Other people's tools, from the pinned tool trees, judge the parts of a real image.
//!
//! Invariant: no program of the host takes part.

#![allow(clippy::disallowed_methods)]

mod app;
#[path = "../command/mod.rs"]
mod command;
mod layout;
mod signers;

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use command::{osbuild, Project};
use osbuild::tools::board::{Launch, ToolRoot};
use std::path::{Path, PathBuf};
use std::time::Duration;

struct Judge {
    tools: ToolRoot,
    image: PathBuf,
    scratch: tempfile::TempDir,
}

impl Judge {
    fn new(tree: &str) -> Judge {
        Judge::of(&Project::of_this_repository(), tree)
    }

    fn of(project: &Project, tree: &str) -> Judge {
        let disk = osbuild(project, &["image"]).succeeds().output;
        let tools = osbuild(project, &["tools", tree]).succeeds().output;
        let image = project.root.join(disk.trim()).canonicalize().expect("an image");
        let scratch = tempfile::tempdir_in(project.root.join("out")).expect("a folder");
        let image = image.parent().expect("a folder").to_owned();
        Judge { tools: ToolRoot::new(tools.trim().into()), image, scratch }
    }

    /// Whether the program accepts what it is given, and what it says.
    fn ask(&self, program: &str, args: &[&str]) -> (bool, String) {
        let log = self.scratch.path().join("log");
        let launch = Launch {
            program: program.into(),
            args: args.iter().map(Into::into).collect(),
            scratch: self.scratch.path().into(),
            writable: vec![self.scratch.path().into()],
            readable: vec![self.image.clone()],
            log: Some(log.clone()),
            input: None,
            kvm: false,
        };
        let accepted = self.tools.run(launch, Duration::from_secs(120)).is_ok();
        (accepted, std::fs::read_to_string(&log).unwrap_or_default())
    }

    fn path(&self, name: &str) -> String {
        self.image.join(name).display().to_string()
    }

    /// A copy with one bit changed at `offset`, which a judge that works must refuse.
    fn changed(&self, name: &str, offset: usize) -> String {
        let mut bytes = std::fs::read(self.image.join(name)).expect("read");
        bytes[offset] ^= 0x10;
        let path = self.scratch.path().join(Path::new(name));
        std::fs::write(&path, bytes).expect("written");
        path.display().to_string()
    }

    /// An envelope, taken apart as its specification says and given to OpenSSL.
    fn check_signature(&self, envelope: &[u8], key: &Path) {
        let envelope: serde_json::Value = serde_json::from_slice(envelope).expect("JSON");
        let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
        let bytes = |value: &serde_json::Value| STANDARD.decode(text(value)).expect("base64");
        let (kind, payload) = (text(&envelope["payloadType"]), bytes(&envelope["payload"]));
        let mut signed = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
        signed.extend(payload);
        let file = |name: &str, bytes: &[u8]| {
            let path = self.scratch.path().join(name);
            std::fs::write(&path, bytes).expect("written");
            path.display().to_string()
        };
        let key = file("key.pub", &std::fs::read(key).expect("read"));
        let signature = file("signature", &bytes(&envelope["signatures"][0]["sig"]));
        let verify = |signed: &str| {
            let args =
                ["pkeyutl", "-verify", "-pubin", "-inkey", &key, "-rawin", "-in", signed, "-sigfile", &signature];
            self.ask("/usr/bin/openssl", &args)
        };
        let (accepted, said) = verify(&file("signed", &signed));
        assert!(accepted && said.contains("Signature Verified Successfully"), "{said}");
        signed[40] ^= 1;
        assert!(!verify(&file("changed", &signed)).0);
    }
}

/// The folder whose keys the image was signed with.
fn keys() -> PathBuf {
    std::env::var_os("OSBUILD_KEYS").map_or(Project::of_this_repository().root.join("keys"), PathBuf::from)
}

#[test]
fn partitions_file_systems_tree_and_signature_are_sound() {
    let judge = Judge::new("filesystems");
    let (accepted, said) = judge.ask("/usr/sbin/sgdisk", &["-v", &judge.path("disk.img")]);
    assert!(accepted && said.contains("No problems found"), "{said}");
    let (accepted, said) = judge.ask("/usr/sbin/sgdisk", &["-v", &judge.changed("disk.img", 1100)]);
    assert!(!accepted || !said.contains("No problems found"), "{said}");

    let (accepted, said) = judge.ask("/usr/sbin/fsck.vfat", &["-n", &judge.path("esp.img")]);
    assert!(accepted, "{said}");
    // In the second copy of the FAT, which must be like the first: behind the reserved sectors and the first copy.
    assert!(!judge.ask("/usr/sbin/fsck.vfat", &["-n", &judge.changed("esp.img", second_fat(&judge))]).0);
    let (accepted, said) = judge.ask("/usr/sbin/e2fsck", &["-fn", &judge.path("data.ext4")]);
    assert!(accepted, "{said}");
    // In the superblock's count of free blocks.
    assert!(!judge.ask("/usr/sbin/e2fsck", &["-fn", &judge.changed("data.ext4", 1024 + 12)]).0);

    let hash = std::fs::read_to_string(judge.image.join("root-hash")).expect("read");
    let verify =
        |root: &str| judge.ask("/usr/sbin/veritysetup", &["verify", root, &judge.path("verity.img"), hash.trim()]);
    let (accepted, said) = verify(&judge.path("root.erofs"));
    assert!(accepted, "{said}");
    assert!(!verify(&judge.changed("root.erofs", 40_000)).0);

    let certificate = judge.scratch.path().join("db.crt");
    std::fs::copy(keys().join("db.crt"), &certificate).expect("copied");
    let certificate = certificate.display().to_string();
    let verify = |uki: &str| judge.ask("/usr/bin/sbverify", &["--cert", &certificate, uki]);
    let (accepted, said) = verify(&judge.path("uki.efi"));
    assert!(accepted && said.contains("Signature verification OK"), "{said}");
    assert!(!verify(&judge.changed("uki.efi", 3_000_000)).0);
}

/// Where the second copy of the allocation table starts. BIOS parameter block: bytes per sector, reserved sectors, and
/// sectors of one copy.
fn second_fat(judge: &Judge) -> usize {
    let boot = std::fs::read(judge.image.join("esp.img")).expect("read");
    let number = |at: usize| usize::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
    let fat_sectors = match number(22) {
        0 => number(36),
        sectors => sectors,
    };
    number(11) * (number(14) + fat_sectors)
}

#[test]
fn the_manifest_is_signed_by_the_release_key() {
    let judge = Judge::new("filesystems");
    let manifest = std::fs::read(judge.image.join("manifest.dsse.json")).expect("read");
    judge.check_signature(&manifest, &keys().join("release.pub"));
}

#[test]
fn the_root_file_system_is_sound() {
    let judge = Judge::new("c+erofs-utils");
    // Its exit status is 0 for some damage that it reports.
    let sound = |path: &str| {
        let (accepted, said) = judge.ask("/usr/bin/fsck.erofs", &[path]);
        (accepted && !said.contains("<E>"), said)
    };
    let (is_sound, said) = sound(&judge.path("root.erofs"));
    assert!(is_sound, "{said}");
    // In the superblock, which has a checksum.
    let (is_sound, said) = sound(&judge.changed("root.erofs", 1024 + 16));
    assert!(!is_sound, "{said}");
    let size = std::fs::metadata(judge.image.join("root.erofs")).expect("there").len();
    println!("root.erofs: {size} bytes");
    assert!(size <= 12 << 20, "the default root file system has at most 12 MB: {size}");
}

#[test]
fn files_lie_where_the_map_of_the_root_says() {
    let judge = Judge::new("c+erofs-utils");
    let image = judge.path("root.erofs");
    let bytes = std::fs::read(&image).expect("read");
    let placed = osbuild::image::erofs::placed(&bytes).expect("sound");
    let mut in_pieces = 0;
    for file in &placed {
        let (accepted, said) = judge.ask("/usr/bin/dump.erofs", &["-e", "--path", &format!("/{}", file.path), &image]);
        assert!(accepted, "{}: {said}", file.path);
        assert_eq!(file.inode.start, 32 * number(&said, "NID:") as u64, "{}", file.path);
        assert_eq!(file.size_bytes, number(&said, "Size:") as u64, "{}", file.path);
        // `0:        0.. 2609152 | 2609152 :     782336..   3391488 | 2609152`, under a title with as many bars.
        let lines = said.lines().filter(|line| line.matches("..").count() == 2);
        let places = lines.map(|line| {
            let place = line.rsplit(':').next().expect("a place").split('|').next().expect("a range");
            let (start, end) = place.split_once("..").expect("a range");
            start.trim().parse().expect("a number")..end.trim().parse().expect("a number")
        });
        assert_eq!(places.collect::<Vec<std::ops::Range<u64>>>(), file.extents, "{}: {said}", file.path);
        in_pieces += usize::from(file.extents.len() > 1);
    }
    let inodes = number(&judge.ask("/usr/bin/dump.erofs", &["-s", &image]).1, "Filesystem inode count:");
    assert_eq!((placed.len(), in_pieces > 0), (inodes, true));
}

/// What EROFS writes before the name and value of an attribute: the kernel's `struct erofs_xattr_entry`.
fn attribute(index: u8, name: &str, value: &[u8]) -> Vec<u8> {
    let size = u16::try_from(value.len()).expect("short").to_le_bytes();
    [&[u8::try_from(name.len()).expect("short"), index, size[0], size[1]], name.as_bytes(), value].concat()
}

/// The number after `label`.
fn number(text: &str, label: &str) -> usize {
    let after = text.split_once(label).unwrap_or_else(|| panic!("no `{label}` in {text}")).1;
    let digits: String = after.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number after `{label}` in {text}"))
}

#[test]
fn owners_modes_attributes_and_device_nodes_are_what_another_reader_finds_in_the_root() {
    let project = Project::copy();
    let metadata = "\
groups: {meter: {gid: 701}}
users: {meter: {uid: 700, group: meter}}
metadata:
  - path: /etc/hosts
    user: meter
    group: meter
    mode: \"0640\"
    xattrs: {user.origin: 0x00ff0a, security.capability: 0sAQAAAgAEAAAAAAAAAAAAAAAAAAA=, trusted.note: plain}
  - {path: /usr/bin/curl, group: meter, mode: \"2750\"}
  - {path: /etc/ssl, user: meter, mode: \"1777\"}
  - {path: /usr/lib/osbuild/lp0, group: meter, mode: \"0660\", device: {major: 6, minor: 3}}
  - {path: /usr/lib/osbuild/disk, device: {block: true, major: 254, minor: 300}}
hostname: gateway
";
    project.edit("layers/core/products/gateway.yaml", "hostname: gateway\n", metadata);
    let judge = Judge::of(&project, "c+erofs-utils");
    let image = judge.path("root.erofs");
    let (accepted, said) = judge.ask("/usr/bin/fsck.erofs", &["--xattrs", &image]);
    assert!(accepted, "{said}");

    let bytes = std::fs::read(judge.image.join("root.erofs")).expect("read");
    for (path, kind, owners, mode) in [
        ("/etc/hosts", "regular file", "Uid: 700   Gid: 701 ", 0o10_0640_u16),
        ("/etc/motd", "regular file", "Uid: 0   Gid: 0 ", 0o10_0644),
        ("/usr/bin/curl", "regular file", "Uid: 0   Gid: 701 ", 0o10_2750),
        ("/etc/ssl", "directory", "Uid: 700   Gid: 0 ", 0o4_1777),
        ("/usr/lib/osbuild/lp0", "char dev", "Uid: 0   Gid: 701 ", 0o2_0660),
        ("/usr/lib/osbuild/disk", "block dev", "Uid: 0   Gid: 0 ", 0o6_0600),
    ] {
        let (_, said) = judge.ask("/usr/bin/dump.erofs", &["--path", path, &image]);
        let access = format!("Access: {:04o}/", mode & 0o777);
        for part in [kind, owners, &access] {
            assert!(said.contains(part), "{path}: `{part}` is not in {said}");
        }
        // It shows no more than the last nine bits; `i_mode` has them all.
        let start = number(&said, "NID:") * 32;
        assert_eq!(bytes[start + 4..start + 6], mode.to_le_bytes(), "{path}");
    }

    // An inode stands at its number times 32; behind it are its attributes, or the number of its device.
    let inode = |path: &str| {
        let (_, said) = judge.ask("/usr/bin/dump.erofs", &["--path", path, &image]);
        let start = number(&said, "NID:") * 32;
        let end = start + number(&said, "Inode size:");
        (start, end, end + number(&said, "Xattr size:"))
    };
    let (_, start, end) = inode("/etc/hosts");
    for (index, name, value) in [
        (1, "origin", &b"\x00\xff\x0a"[..]),
        (4, "note", b"plain"),
        (6, "capability", b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ] {
        let expected = attribute(index, name, value);
        assert!(bytes[start..end].windows(expected.len()).any(|window| window == expected), "{name}");
    }
    for (path, device) in [("/usr/lib/osbuild/lp0", 0x603_u32), ("/usr/lib/osbuild/disk", 0x10_fe2c)] {
        let (start, ..) = inode(path);
        // `i_u` of the inode, as the kernel's `new_encode_dev` writes it.
        assert_eq!(bytes[start + 16..start + 20], device.to_le_bytes(), "{path}");
    }
}
