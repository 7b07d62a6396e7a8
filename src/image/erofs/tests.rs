//! Small file systems by hand, at other places; those of `mkfs.erofs` are judged in `tests/judges`.

use super::place::{movable, PlaceError};
use super::space::Space;
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const BLOCK: usize = BLOCK_BYTES as usize;
const FOLDER: u16 = 0o040_755;
const FILE: u16 = 0o100_644;

/// A root as `mkfs.erofs` would make it: inodes of 64 bytes, ends of files behind them, blocks after all of them.
/// Paths without a slash at their start; folders are made.
pub(crate) fn example(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut contents: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::from([(String::new(), None)]);
    for (path, content) in files {
        path.match_indices('/').for_each(|(at, _)| drop(contents.insert(path[..at].to_owned(), None)));
        contents.insert((*path).to_owned(), Some(content.to_vec()));
    }
    let children: BTreeMap<String, Vec<(String, String)>> = contents
        .keys()
        .map(|folder| {
            let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
            let name = |path: &String| Some(path.strip_prefix(&prefix)?.to_owned()).filter(|name| !name.is_empty());
            let below = contents.keys().filter_map(|path| Some((name(path)?, path.clone())));
            (folder.clone(), below.filter(|(name, _)| !name.contains('/')).collect())
        })
        .collect();
    let names_bytes =
        |folder: &String| children[folder].iter().map(|(name, _)| 12 + name.len()).sum::<usize>() + 24 + 3;
    let size = |path: &String| contents[path].as_ref().map_or_else(|| names_bytes(path), Vec::len);

    // An end that does not fit behind the inode has a block of its own.
    let tail = |size: usize| Some(size % BLOCK).filter(|tail| 64 + tail <= BLOCK).unwrap_or(0);

    let (mut numbers, mut at) = (BTreeMap::new(), 36usize * 32);
    for path in contents.keys() {
        let bytes = 64 + tail(size(path));
        if at % BLOCK + bytes > BLOCK {
            at = at.next_multiple_of(BLOCK);
        }
        numbers.insert(path.clone(), (at / 32) as u64);
        at = (at + bytes).next_multiple_of(32);
    }
    let mut image = vec![0; at.next_multiple_of(BLOCK)];
    for (serial, path) in contents.keys().enumerate() {
        let content = contents[path].clone().unwrap_or_else(|| {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            let own = [(".", path.as_str()), ("..", parent)].map(|(name, path)| (name.to_owned(), path.to_owned()));
            entries(own.iter().chain(&children[path]).map(|(name, path)| (name, numbers[path])).collect())
        });
        let (start, tail) = (numbers[path] as usize * 32, tail(content.len()));
        let whole = content.len() - tail;
        let block = if whole > 0 { (image.len() / BLOCK) as u32 } else { u32::MAX };
        let mode = if contents[path].is_none() { FOLDER } else { FILE };
        let head = [(if tail > 0 { 5u16 } else { 1 }).to_le_bytes(), [0; 2], mode.to_le_bytes(), [0; 2]].concat();
        let numbers =
            [&(content.len() as u64).to_le_bytes()[..], &block.to_le_bytes(), &(serial as u32 + 1).to_le_bytes()];
        let inode = [&head[..], &numbers.concat()].concat();
        image[start..start + inode.len()].copy_from_slice(&inode);
        image[start + 64..start + 64 + content.len() - whole].copy_from_slice(&content[whole..]);
        image.extend_from_slice(&content[..whole]);
        image.resize(image.len().next_multiple_of(BLOCK), 0);
    }
    let blocks = (image.len() / BLOCK) as u32;
    for (at, bytes) in [
        (0, &0xe0f5_e1e2_u32.to_le_bytes()[..]),
        (8, &3u32.to_le_bytes()),
        (12, &[12]),
        (14, &36u16.to_le_bytes()),
        (16, &(contents.len() as u64).to_le_bytes()),
        (36, &blocks.to_le_bytes()),
    ] {
        image[1024 + at..1024 + at + bytes.len()].copy_from_slice(bytes);
    }
    // A place that is its own gives the checksum, which its own test knows.
    place(&image, &Layout::of(&image).expect("sound")).expect("its own places")
}

fn entries(entries: Vec<(&String, u64)>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut name_at = entries.len() * 12;
    for (name, number) in &entries {
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&(name_at as u16).to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        name_at += name.len();
    }
    entries.iter().for_each(|(name, _)| bytes.extend_from_slice(name.as_bytes()));
    bytes
}

/// What programs see: paths and bytes.
fn seen(image: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let content = |file: &Placed| -> Vec<u8> {
        match file.kind {
            PlacedKind::Folder => Vec::new(),
            _ => file
                .extents
                .iter()
                .flat_map(|extent| image[extent.start as usize..extent.end as usize].to_vec())
                .collect(),
        }
    };
    placed(image).expect("sound").iter().map(|file| (file.path.clone(), content(file))).collect()
}

fn release(grown: bool) -> Vec<u8> {
    let first = vec![1; if grown { 3 * BLOCK + 9 } else { 2 * BLOCK + 9 }];
    let (second, third) = (vec![2; BLOCK], vec![3; 5000]);
    let mut files: Vec<(&str, &[u8])> = vec![
        ("etc/first", &first),
        ("usr/bin/second", &second),
        ("usr/lib/third", &third),
        ("usr/lib/small", b"small"),
    ];
    if grown {
        files.push(("etc/another", b"new"));
    }
    example(&files)
}

#[test]
fn what_did_not_change_stays_and_what_is_new_fills_holes() {
    let (old, new) = (release(false), release(true));
    let layout = follow(&new, &old).expect("followed");
    let image = place(&new, &layout).expect("placed");
    assert_eq!(seen(&image), seen(&new));
    assert_eq!(Layout::of(&image).expect("sound"), layout);
    assert!(place(&new, &layout).expect("placed") == image, "the same twice");

    let (before, own) = (Layout::of(&old).expect("sound"), Layout::of(&new).expect("sound"));
    for path in ["/", "/usr", "/usr/bin/second", "/usr/lib", "/usr/lib/third", "/usr/lib/small"] {
        assert_eq!(layout.places[path], before.places[path], "{path}");
        assert!(path == "/" || own.places[path] != before.places[path], "{path} would have stayed anyway");
    }
    let serials: BTreeSet<u32> = layout.places.values().map(|place| place.serial).collect();
    assert_eq!(serials.len(), layout.places.len());
    // Nothing is left of the file that grew.
    assert_ne!(layout.places["/etc/first"].block, before.places["/etc/first"].block);
    let used: u64 = 3 + 2 + 2;
    assert!(image.len() as u64 / BLOCK_BYTES <= used + 16, "{}", image.len());
}

#[test]
fn an_image_that_follows_itself_is_itself() {
    for image in [release(false), release(true)] {
        assert!(place(&image, &follow(&image, &image).expect("followed")).expect("placed") == image);
    }
}

#[test]
fn a_layout_that_does_not_fit_is_refused_with_the_file() {
    let image = release(true);
    let layout = Layout::of(&image).expect("sound");
    let wrong = |change: &dyn Fn(&mut Layout)| {
        let mut layout = layout.clone();
        change(&mut layout);
        place(&image, &layout).expect_err("refused").to_string()
    };
    let second = layout.places["/usr/bin/second"];
    type Change<'a> = &'a dyn Fn(&mut Layout);
    let cases: [(Change, &str); 8] = [
        (&|l| _ = l.places.remove("/etc/first"), "the layout has no place for `/etc/first`"),
        (
            &|l| _ = l.places.insert("/x".into(), second),
            "the layout has a place for `/x`, which the root does not have",
        ),
        (
            &|l| _ = l.places.insert("/usr/lib/small".into(), Place { block: None, ..second }),
            "the inode of `/usr/lib/small`",
        ),
        (&|l| l.places.get_mut("/usr/lib/third").expect("there").block = second.block, "the bytes of `/usr/lib/third`"),
        (&|l| l.places.get_mut("/usr/lib/third").expect("there").block = None, "the bytes of `/usr/lib/third`"),
        (
            &|l| l.places.get_mut("/usr/lib/third").expect("there").block = Some(u32::MAX),
            "the bytes of `/usr/lib/third`",
        ),
        (&|l| l.places.get_mut("/usr/lib/small").expect("there").block = Some(9), "the bytes of `/usr/lib/small`"),
        (&|l| l.places.get_mut("/").expect("there").number = u64::MAX, "the inode of `/`"),
    ];
    for (change, message) in cases {
        let said = wrong(change);
        assert!(said.contains(message), "{said}");
    }
}

#[test]
fn what_cannot_be_moved_says_why() {
    for (at, value, why) in
        [(12, 13, "4096"), (13, 1, "extensions"), (80, 4, "extensions"), (44, 1, "share attributes")]
    {
        let mut image = release(false);
        image[1024 + at] = value;
        match movable(&image) {
            Err(PlaceError::Unmovable(said)) => assert!(said.contains(why), "{said}"),
            Err(PlaceError::Erofs(_)) if at == 12 => {}
            other => panic!("{at}: {other:?}"),
        }
    }
}

#[test]
fn a_layout_is_read_as_it_was_written() {
    let layout = Layout::of(&release(false)).expect("sound");
    let json = String::from_utf8(layout.to_json()).expect("text");
    assert!(json.starts_with("{\"/\":[36,1],\"/etc\":["), "{json}");
    assert_eq!(serde_json::from_str::<Layout>(&json).expect("read"), layout);
    for (bad, why) in
        [("{\"/\":[1]}", "two or three"), ("{\"/\":[1,2,4294967296]}", "too large"), ("{\"/\":[-1,2]}", "integer")]
    {
        let said = serde_json::from_str::<Layout>(bad).expect_err("refused").to_string();
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn room_is_given_once() {
    let mut space = Space::new(8);
    assert!(!space.take_inode(0, 32) && !space.take_inode(35, 32), "the superblock's");
    assert!(space.take_inode(36, 64) && !space.take_inode(37, 32) && space.take_inode(38, 32));
    assert!(!space.take_inode(127, 64), "in two blocks");
    assert_eq!(space.find_inode(4096), Some(128));
    assert_eq!(space.find_inode(33), Some(39));
    assert!(!space.take_blocks(1, 1) && space.take_blocks(3, 2) && !space.take_blocks(7, 2));
    assert_eq!(
        (space.find_blocks(1), space.find_blocks(4), space.find_blocks(3), space.find_blocks(1)),
        (Some(2), None, Some(5), None)
    );
    assert_eq!((space.blocks(), space.find_inode(4097), space.find_inode(0)), (8, None, None));
}

/// A byte and how often it is there.
type Files = BTreeMap<String, (u8, usize)>;

fn any_files() -> impl Strategy<Value = Files> {
    prop::collection::btree_map("(etc|usr|usr/lib)/[a-f]", (any::<u8>(), 0usize..3 * BLOCK), 0..14)
}

fn of(files: &Files) -> Vec<u8> {
    let contents: Vec<_> = files.iter().map(|(path, (byte, size))| (path.as_str(), vec![*byte; *size])).collect();
    example(&contents.iter().map(|(path, content)| (*path, &content[..])).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn files_are_the_same_wherever_they_lie(before in any_files(), after in any_files()) {
        let (old, new) = (of(&before), of(&after));
        let layout = follow(&new, &old).expect("room");
        let image = place(&new, &layout).expect("placed");
        prop_assert_eq!(seen(&image), seen(&new));
        prop_assert_eq!(Layout::of(&image).expect("sound"), layout.clone());
        // As the release after it would begin.
        prop_assert!(place(&image, &Layout::of(&new).expect("sound")).expect("placed") == new);
    }

    #[test]
    fn no_bytes_make_it_panic(changes in prop::collection::vec((0usize..4 * BLOCK, any::<u8>()), 1..8), grown in any::<bool>()) {
        let mut image = release(grown);
        for (at, value) in changes {
            image[1024 + at % 3000] = value;
        }
        let other = release(true);
        let _ = follow(&image, &other).and_then(|layout| place(&image, &layout));
        let _ = follow(&other, &image).and_then(|layout| place(&other, &layout));
    }
}
