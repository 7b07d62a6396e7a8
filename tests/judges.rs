//! Other people's tools, from the pinned tool trees, judge the parts of a real image.
//!
//! Invariant: no program of the host takes part.

#![allow(clippy::disallowed_methods)]

mod command;

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
        let project = Project::of_this_repository();
        let disk = osbuild(&project, &["image"]).succeeds().output;
        let tools = osbuild(&project, &["tools", tree]).succeeds().output;
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
    let (accepted, said) = judge.ask("/usr/sbin/e2fsck", &["-fn", &judge.path("data.ext4")]);
    assert!(accepted, "{said}");

    let hash = std::fs::read_to_string(judge.image.join("root-hash")).expect("read");
    let verify =
        |root: &str| judge.ask("/usr/sbin/veritysetup", &["verify", root, &judge.path("verity.img"), hash.trim()]);
    let (accepted, said) = verify(&judge.path("root.erofs"));
    assert!(accepted, "{said}");
    assert!(!verify(&judge.changed("root.erofs", 40_000)).0);

    let keys = std::env::var_os("OSBUILD_KEYS").map_or(Project::of_this_repository().root.join("keys"), PathBuf::from);
    let certificate = judge.scratch.path().join("db.crt");
    std::fs::copy(keys.join("db.crt"), &certificate).expect("copied");
    let certificate = certificate.display().to_string();
    let verify = |uki: &str| judge.ask("/usr/bin/sbverify", &["--cert", &certificate, uki]);
    let (accepted, said) = verify(&judge.path("uki.efi"));
    assert!(accepted && said.contains("Signature verification OK"), "{said}");
    assert!(!verify(&judge.changed("uki.efi", 3_000_000)).0);
}

#[test]
fn the_root_file_system_is_sound() {
    let judge = Judge::new("c+erofs-utils");
    let (accepted, said) = judge.ask("/usr/bin/fsck.erofs", &[&judge.path("root.erofs")]);
    assert!(accepted, "{said}");
    let size = std::fs::metadata(judge.image.join("root.erofs")).expect("there").len();
    println!("root.erofs: {size} bytes");
    assert!(size <= 12 << 20, "the default root file system has at most 12 MB: {size}");
}
