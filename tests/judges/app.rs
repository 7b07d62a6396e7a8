//! The file of an app, judged part by part.

use super::command::{osbuild, Project};
use super::{keys, Judge};
use osbuild_format::app::{package, Manifest, PAYLOAD_TYPE};
use osbuild_format::dsse;

const BLOCK: usize = 4096;

/// Builds the app `guardian`, signed with the project's keys.
fn built(project: &Project) -> Vec<u8> {
    let out = project.root.join("out/guardian.app");
    osbuild(project, &["app", "build", "guardian", "--out", &out.display().to_string()]).succeeds();
    std::fs::read(out).expect("read")
}

#[test]
fn the_image_the_tree_and_the_signature_of_an_app_are_sound() {
    let judge = Judge::new("filesystems");
    let bytes = built(&Project::of_this_repository());
    let envelope = package::envelope(&bytes).expect("an app");
    judge.check_signature(envelope, &keys().join("app.pub"));

    let payload = dsse::read_vouched(envelope, PAYLOAD_TYPE).expect("a manifest");
    let manifest = Manifest::from_json(&payload).expect("a manifest");
    let image_bytes = usize::try_from(manifest.image.data_blocks).expect("small") * BLOCK;
    let start = usize::try_from(package::IMAGE_OFFSET).expect("small");
    let part = |name: &str, bytes: &[u8]| {
        let path = judge.scratch.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path.display().to_string()
    };
    let whole = part("whole", &bytes[start..]);
    let offset = format!("--hash-offset={image_bytes}");
    let verify =
        |path: &str| judge.ask("/usr/sbin/veritysetup", &["verify", path, path, &manifest.image.root_hash, &offset]);
    let (accepted, said) = verify(&whole);
    assert!(accepted, "{said}");
    let mut changed = bytes[start..].to_vec();
    changed[image_bytes / 2] ^= 0x10;
    assert!(!verify(&part("changed", &changed)).0);

    let judge = Judge::new("c+erofs-utils");
    let image = judge.scratch.path().join("image.erofs");
    std::fs::write(&image, &bytes[start..start + image_bytes]).expect("written");
    let image = image.display().to_string();
    let (accepted, said) = judge.ask("/usr/bin/fsck.erofs", &[&image]);
    assert!(accepted && !said.contains("<E>"), "{said}");
    for (path, access) in [("/usr/bin/guardian", "0755/"), ("/etc/passwd", "0644/"), ("/data", "0755/")] {
        let (_, said) = judge.ask("/usr/bin/dump.erofs", &["--path", path, &image]);
        assert!(said.contains("Uid: 0   Gid: 0 ") && said.contains(access), "{path}: {said}");
    }
}
