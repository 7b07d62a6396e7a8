//! Small images made by the real code, signed with real keys, and then changed.

use super::image;
use super::keys::{self, KeyError, Keys, PublicKeys, Purpose};
use super::signer::Exchange;
use super::verify::{self, Leftovers};
use crate::io::file;
use crate::io::store::Store;
use crate::model::Digest;
use osbuild_format::dsse;
use proptest::prelude::*;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

fn load(folder: &Path) -> Result<Keys, KeyError> {
    Keys::load(folder, &Exchange::closed())
}

pub mod images;

use images::*;

struct Example {
    _folder: tempfile::TempDir,
    keys: PathBuf,
    image: PathBuf,
}

fn example() -> &'static Example {
    static EXAMPLE: OnceLock<Example> = OnceLock::new();
    EXAMPLE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("cache")).expect("a store");
        let keys = folder.path().join("keys");
        keys::create(&keys, Purpose::Development).expect("created");
        let parts = parts(&store, folder.path());
        let loaded = load(&keys).expect("loaded");
        let image = write(&store, parts, &loaded, &folder.path().join("images")).folder;
        Example { _folder: folder, keys, image }
    })
}

fn public() -> PublicKeys {
    PublicKeys::load(&example().keys).expect("loaded")
}

/// A copy of the image folder that may be changed.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in file::list(&example().image).expect("listed") {
        std::fs::copy(example().image.join(&name), folder.path().join(&name)).expect("copied");
    }
    folder
}

fn flip(path: &Path, offset: u64, bit: u8) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).expect("opened");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("read");
    file.write_all_at(&[byte[0] ^ 1 << bit], offset).expect("written");
}

#[test]
fn a_release_verifies_and_is_written_once() {
    let report = verify::folder(&example().image, &public(), false).expect("sound");
    assert_eq!(report.lines.len(), 6, "{report:?}");
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("cache")).expect("a store");
    let keys = load(&example().keys).expect("loaded");
    let parts = parts(&store, folder.path());
    let first = write(&store, parts, &keys, &folder.path().join("images"));
    assert_eq!(first.folder.file_name(), example().image.file_name(), "equal parts give one name");
    assert!(!first.was_there && write(&store, parts, &keys, &folder.path().join("images")).was_there);
    for name in file::list(&first.folder).expect("listed") {
        let digest = |folder: &Path| image::digest_of(&folder.join(&name)).expect("read");
        assert_eq!(digest(&first.folder), digest(&example().image), "{name}");
    }
    let latest = std::fs::read_link(folder.path().join("images/latest")).expect("a link");
    assert_eq!(Some(latest.as_os_str()), first.folder.file_name());
}

#[test]
fn where_one_release_is_kept_it_is_the_newest() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["0123456789abcdef", "fedcba9876543210", ".building-x"] {
        std::fs::create_dir(folder.path().join(name)).expect("made");
    }
    file::link_atomic(&folder.path().join(image::LATEST), Path::new("fedcba9876543210")).expect("linked");
    let newest = image::Release { folder: folder.path().join("fedcba9876543210"), was_there: false };
    image::keep_only(&newest).expect("removed");
    assert_eq!(file::list(folder.path()).expect("listed"), [".building-x", "fedcba9876543210", "latest"]);
}

#[test]
fn a_change_in_each_file_is_found_and_the_file_named() {
    for name in file::list(&example().image).expect("listed") {
        let folder = copy();
        flip(&folder.path().join(&name), 3, 2);
        let error = verify::folder(folder.path(), &public(), false).expect_err(&name);
        let named = if name == image::MANIFEST { "the manifest" } else { &name };
        assert_eq!(error.part, named);
    }
}

#[test]
fn what_is_no_plain_file_or_has_another_size_is_found_at_once() {
    let reason = |error: verify::VerifyError| (error.part.clone(), error.source.to_string());
    let folder = copy();
    let path = folder.path().join("kernel.config");
    std::fs::OpenOptions::new().append(true).open(&path).and_then(|f| f.set_len(1 << 40)).expect("a sparse file");
    let (part, why) = reason(verify::folder(folder.path(), &public(), false).expect_err("longer"));
    assert_eq!(
        (part.as_str(), why.as_str()),
        ("kernel.config", "it has 1099511627776 bytes, which is not what the manifest says")
    );
    std::fs::remove_file(&path).and_then(|()| std::os::unix::fs::symlink("/dev/zero", &path)).expect("a link");
    let (part, why) = reason(verify::folder(folder.path(), &public(), false).expect_err("a device"));
    assert_eq!((part.as_str(), why.as_str()), ("kernel.config", "it is not a plain file"));
    std::fs::remove_file(&path).expect("removed");
    let pipe = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, pipe, 0).expect("a pipe");
    assert_eq!(verify::folder(folder.path(), &public(), false).expect_err("a pipe").part, "kernel.config");
    std::fs::remove_file(folder.path().join(image::MANIFEST)).expect("removed");
    rustix::fs::mknodat(rustix::fs::CWD, folder.path().join(image::MANIFEST), rustix::fs::FileType::Fifo, pipe, 0)
        .expect("a pipe");
    assert_eq!(verify::folder(folder.path(), &public(), false).expect_err("a pipe").part, "the manifest");
    let disk = folder.path().join(image::MANIFEST);
    assert!(verify::disk(&disk, &public(), Leftovers::Refused)
        .expect_err("a pipe")
        .source
        .to_string()
        .contains("nor a disk"));
}

#[test]
fn a_file_that_is_missing_and_keys_of_somebody_else_are_found() {
    let folder = copy();
    std::fs::remove_file(folder.path().join("kernel.config")).expect("removed");
    assert_eq!(verify::folder(folder.path(), &public(), false).expect_err("missing").part, "kernel.config");
    let other = tempfile::tempdir().expect("a folder");
    keys::create(&other.path().join("keys"), Purpose::Production).expect("created");
    let other = PublicKeys::load(&other.path().join("keys")).expect("loaded");
    assert_eq!(verify::folder(&example().image, &other, false).expect_err("untrusted").part, "the manifest");
    assert_eq!(
        verify::disk(&example().image.join("disk.img"), &other, Leftovers::Refused).expect_err("untrusted").part,
        "esp-a"
    );
}

#[test]
fn keys_are_private_made_once_and_belong_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("keys");
    keys::create(&place, Purpose::Development).expect("created");
    assert!(matches!(keys::create(&place, Purpose::Development), Err(KeyError::Exists(_))));
    assert_eq!(file::read_text(&place.join(".gitignore")).expect("there"), "*.key\n");
    file::write_atomic(&place.join("purpose"), b"production\n", 0o644).expect("written");
    assert!(matches!(load(&place), Err(KeyError::Purpose { found: "development", .. })));
    file::write_atomic(&place.join("purpose"), b"development\n", 0o644).expect("written");
    for name in ["PK.key", "KEK.key", "db.key", "release.key"] {
        let mode = std::fs::metadata(place.join(name)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    std::fs::copy(example().keys.join("release.pub"), place.join("release.pub")).expect("copied");
    assert!(matches!(load(&place), Err(KeyError::Mismatch(_))));
    std::fs::copy(example().keys.join("release.key"), place.join("release.key")).expect("copied");
    std::fs::set_permissions(place.join("db.key"), std::fs::Permissions::from_mode(0o640)).expect("set");
    assert!(matches!(load(&place), Err(KeyError::TooOpen { .. })));
    std::fs::remove_file(place.join("db.key")).expect("removed");
    assert!(matches!(load(&place), Err(KeyError::Elsewhere { name, .. }) if name == "db"));
}

#[test]
fn two_that_make_keys_at_once_get_the_same_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("keys");
    let start = std::sync::Barrier::new(4);
    let results: Vec<Result<(), KeyError>> = std::thread::scope(|scope| {
        let make = || {
            start.wait();
            keys::create(&place, Purpose::Development)
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let [mut made, mut late] = [0, 0];
    for result in results {
        match result {
            Ok(()) => made += 1,
            Err(KeyError::Exists(_)) => late += 1,
            Err(error) => panic!("{error}: {error:?}"),
        }
    }
    assert_eq!((made, late), (1, 3));
    load(&place).expect("whole");
    assert_eq!(file::list(folder.path()).expect("listed"), ["keys"]);
}

/// The parts of the example's disk and where they end. Partitions start at 1 MiB: 2 x 5, 2 x 2 and 2 x 1 MiB, then
/// data.
const ENDS: [(&str, u64); 9] = [
    ("the partition table", 34 * 512),
    ("the gap between partitions", MIB),
    ("esp-a", 6 * MIB),
    ("esp-b", 11 * MIB),
    ("root-a", 13 * MIB),
    ("root-b", 15 * MIB),
    ("verity-a", 16 * MIB),
    ("verity-b", 17 * MIB),
    ("data", 18 * MIB),
];

/// What the check says is not sound when this byte of the disk has changed.
fn part_at(place: u64) -> &'static str {
    let part = ENDS.iter().find(|(_, end)| place < *end).map(|(part, _)| *part);
    match part {
        // Something in an empty slot makes it one that is not empty, and that has no kernel.
        Some("root-b" | "verity-b") => "esp-b",
        Some(part) => part,
        None if place < 19 * MIB - 33 * 512 => "the gap behind the partitions",
        None => "the partition table",
    }
}

/// Anywhere, and more often where there is more to get wrong: tables, the FAT, the kernel, the superblock and the tree.
fn places() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..19 * MIB,
        0..34 * 512u64,
        19 * MIB - 33 * 512..19 * MIB,
        MIB..MIB + 64 * 1024,
        11 * MIB..11 * MIB + 300 * 4096,
        15 * MIB..15 * MIB + 512,
        15 * MIB..15 * MIB + 5 * 4096,
    ]
}

/// A copy of the disk with `change` done to it.
fn changed_disk(change: impl FnOnce(&std::fs::File)) -> (tempfile::TempDir, PathBuf) {
    let folder = copy();
    let path = folder.path().join("disk.img");
    change(&std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("opened"));
    (folder, path)
}

/// The tree's top block in the place of the root, which has the same hash: no byte of the root is left.
#[test]
fn a_root_forged_from_its_own_tree_is_found() {
    let (_folder, path) = changed_disk(|disk| {
        let mut top = vec![0; 4096];
        disk.read_exact_at(&mut top, 15 * MIB + 4096).expect("read");
        disk.write_all_at(&vec![0; 2 * MIB as usize], 11 * MIB).expect("written");
        disk.write_all_at(&top, 11 * MIB).expect("written");
        disk.write_all_at(&vec![0; MIB as usize - 4096], 15 * MIB + 4096).expect("written");
        disk.write_all_at(&1u64.to_le_bytes(), 15 * MIB + 72).expect("written");
    });
    let error = verify::disk(&path, &public(), Leftovers::Refused).expect_err("forged");
    assert_eq!((error.part.as_str(), error.source.to_string().contains("speaks of 1 blocks")), ("verity-a", true));
}

/// Firmware and kernel go by types and attributes, and the table has checksums but no signature.
#[test]
fn a_table_with_other_types_attributes_or_identities_is_found() {
    use osbuild_format::gpt::{self, Guid, Layout};
    let rewritten = |change: &dyn Fn(&mut Layout)| {
        changed_disk(|disk| {
            let [mut start, mut end] = [vec![0; gpt::START_BYTES], vec![0; gpt::END_BYTES]];
            disk.read_exact_at(&mut start, 0).expect("read");
            disk.read_exact_at(&mut end, 19 * MIB - gpt::END_BYTES as u64).expect("read");
            let mut layout = gpt::parse_exact(&start, &end, 19 * MIB / 512).expect("sound");
            change(&mut layout);
            let table = gpt::encode(&layout, 19 * MIB / 512).expect("encoded");
            disk.write_all_at(&table.start, 0).expect("written");
            disk.write_all_at(&table.end, table.end_lba * 512).expect("written");
        })
    };
    for change in
        [|l: &mut Layout| l.partitions[0].type_guid = Guid([7; 16]), |l: &mut Layout| l.partitions[2].attributes = 0]
    {
        let (_folder, path) = rewritten(&change);
        let error = verify::disk(&path, &public(), Leftovers::Allowed).expect_err("changed");
        assert_eq!(error.part, "the partition table");
    }
    // A device keeps the identities of the release that it was flashed with; only the manifest knows which.
    let (folder, path) = rewritten(&|layout| layout.disk_guid = Guid([7; 16]));
    verify::disk(&path, &public(), Leftovers::Refused).expect("sound");
    let error = verify::folder(folder.path(), &public(), false).expect_err("changed");
    assert_eq!(error.part, "disk.img");
}

/// Both slots moved by one place: all of it is signed, but the factory fills slot A.
#[test]
fn a_disk_whose_first_slot_is_empty_is_refused() {
    let (_folder, path) = changed_disk(|disk| {
        for (start, size) in [(MIB, 5 * MIB), (11 * MIB, 2 * MIB), (15 * MIB, MIB)] {
            let mut content = vec![0; size as usize];
            disk.read_exact_at(&mut content, start).expect("read");
            disk.write_all_at(&content, start + size).expect("written");
            disk.write_all_at(&vec![0; size as usize], start).expect("written");
        }
    });
    for leftovers in [Leftovers::Refused, Leftovers::Allowed] {
        assert_eq!(verify::disk(&path, &public(), leftovers).expect_err("empty").part, "esp-a");
    }
}

/// A card that held something else, flashed by the block map, and larger than the image.
#[test]
fn a_device_flashed_by_the_block_map_is_sound() {
    let folder = copy();
    let image = file::read(&folder.path().join("disk.img"), 100 * MIB).expect("read");
    let map = file::read_text(&folder.path().join("disk.img.bmap")).expect("read");
    let mut device = vec![0xee; image.len() + 3 * MIB as usize];
    for line in map.lines().filter_map(|line| line.trim().strip_prefix("<Range chksum=\"")) {
        let span = line.split_once("\"> ").and_then(|(_, rest)| rest.strip_suffix(" </Range>")).expect("a range");
        let (first, last) = span.split_once('-').unwrap_or((span, span));
        let block = |text: &str| text.parse::<usize>().expect("a number") * 4096;
        let bytes = block(first)..block(last) + 4096;
        device[bytes.clone()].copy_from_slice(&image[bytes]);
    }
    let path = folder.path().join("device.img");
    file::write_atomic(&path, &device, 0o644).expect("written");
    let checked = verify::disk(&path, &public(), Leftovers::Allowed).expect("sound");
    assert!(checked.report.lines.iter().any(|line| line == "slot b is empty"), "{:?}", checked.report);
    assert_eq!(verify::disk(&path, &public(), Leftovers::Refused).expect_err("left over").part, "the partition table");
    // What is read still counts.
    flip(&path, 11 * MIB + 5000, 1);
    assert_eq!(verify::disk(&path, &public(), Leftovers::Allowed).expect_err("changed").part, "root-a");
}

#[test]
fn a_folder_with_something_else_in_it_and_a_developers_image_are_refused() {
    let folder = copy();
    let error = verify::folder(folder.path(), &public(), true).expect_err("development keys");
    assert!(error.source.to_string().contains("a developer's image"), "{}", error.source);
    file::write_atomic(&folder.path().join("update.sh"), b"rm -rf /", 0o755).expect("written");
    assert_eq!(verify::folder(folder.path(), &public(), false).expect_err("one more").part, "update.sh");
}

#[test]
fn a_release_that_is_no_longer_whole_is_written_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("cache")).expect("a store");
    let keys = load(&example().keys).expect("loaded");
    let parts = parts(&store, folder.path());
    let images = folder.path().join("images");
    let release = write(&store, parts, &keys, &images).folder;
    let shorten = |name: &str| {
        let file = std::fs::OpenOptions::new().write(true).open(release.join(name)).expect("opened");
        file.set_len(9).expect("shortened");
    };
    let remove = |name: &str| std::fs::remove_file(release.join(name)).expect("removed");
    let damages: [&dyn Fn(); 4] =
        [&|| shorten("disk.img"), &|| remove("disk.img"), &|| remove(image::MANIFEST), &|| shorten(image::MANIFEST)];
    for damage in damages {
        damage();
        assert!(!write(&store, parts, &keys, &images).was_there);
        verify::folder(&release, &public(), false).expect("sound again");
        assert_eq!(file::list(&images).expect("listed").len(), 2, "the release and `latest`");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The data partition is the device's own; every other bit counts, and the part that it is in is named.
    #[test]
    fn one_flipped_bit_anywhere_on_the_disk_is_found(place in places(), bit in 0u8..8) {
        let folder = copy();
        let path = folder.path().join("disk.img");
        flip(&path, place, bit);
        match (verify::disk(&path, &public(), Leftovers::Refused), part_at(place)) {
            (Ok(_), "data") => {}
            (Err(error), part) if part != "data" => prop_assert_eq!(error.part.as_str(), part, "byte {}", place),
            (result, part) => prop_assert!(false, "byte {} of {}: {:?}", place, part, result),
        }
    }

    #[test]
    fn no_envelope_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..2000, value: u8) {
        let keys = public();
        let _ = dsse::verify(&bytes, "x", &keys.release, "id");
        let mut envelope = file::read(&example().image.join(image::MANIFEST), 1 << 20).expect("read");
        let same = envelope[at] == value;
        envelope[at] = value;
        let result = dsse::verify(&envelope, super::manifest::PAYLOAD_TYPE, &keys.release, &keys.key_id());
        prop_assert_eq!(result.is_ok(), same);
    }

    #[test]
    fn no_disk_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), size in 0u64..4 << 20) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("disk.img");
        file::write_atomic(&path, &bytes, 0o644).expect("written");
        std::fs::OpenOptions::new().write(true).open(&path).and_then(|f| f.set_len(size)).expect("resized");
        prop_assert!(verify::disk(&path, &public(), Leftovers::Refused).is_err());
    }
}

#[test]
fn the_name_of_a_digest_is_stable() {
    assert_eq!(Digest::of(b"").hex()[..8], *"e3b0c442");
}
