//! What an archive holds so far: entries in, a tree out once the content has been stored.
//!
//! Invariant: no path of the listing runs through a symlink or a file; it has no more paths than the limit of entries.

use super::entry::{self, Entry, Kind};
use super::writers::{Slot, Writers};
use super::{ArchiveError, Limits, Special, Unpacked};
use crate::io::store::{Node, Store, TreeBuilder};
use crate::model::{Digest, RelPath};
use std::collections::BTreeMap;
use std::io::Read;

const SET_ID: u32 = 0o6000;

/// One path of the archive. A slot is the place of a file's digest among those being stored.
#[derive(Clone)]
enum Item {
    Folder,
    File { slot: Slot, executable: bool },
    Symlink(String),
}

pub struct Listing<'a> {
    items: BTreeMap<String, Item>,
    set_id: BTreeMap<String, u32>,
    limits: &'a Limits,
    content_bytes: u64,
    names_bytes: u64,
}

impl<'a> Listing<'a> {
    pub fn new(limits: &'a Limits) -> Self {
        Listing { items: BTreeMap::new(), set_id: BTreeMap::new(), limits, content_bytes: 0, names_bytes: 0 }
    }

    /// Takes one entry in and hands its content to the writers.
    pub fn add<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        strip: u32,
        special: Special,
        writers: &Writers,
    ) -> Result<(), ArchiveError> {
        let components = entry.components()?;
        let Some(path) = stripped(&components, strip) else { return Ok(()) };
        if components.len() > self.limits.depth {
            return Err(ArchiveError::TooDeep(path));
        }
        let item = match entry.kind {
            Kind::Special if special == Special::Skip => return Ok(()),
            Kind::Special => return Err(ArchiveError::SpecialFile(path)),
            Kind::Folder => Item::Folder,
            Kind::Symlink => Item::Symlink(symlink_target(&path, &entry.target)?),
            Kind::HardLink => self.hard_link(&path, &entry.target, strip)?,
            Kind::File => {
                self.check_size(&path, entry.size_bytes)?;
                let slot = writers.store(&path, entry.size_bytes, &mut entry.content)?;
                Item::File { slot, executable: entry.executable }
            }
        };
        self.note_mode(&path, entry);
        self.insert(path, item)
    }

    /// The later of two entries with one path decides on its mode, too.
    fn note_mode<R: Read>(&mut self, path: &str, entry: &Entry<'_, R>) {
        let has_mode = matches!(entry.kind, Kind::File | Kind::Folder | Kind::HardLink);
        if has_mode && entry.mode & SET_ID != 0 {
            self.names_bytes += path.len() as u64;
            self.set_id.insert(path.to_owned(), entry.mode);
        } else {
            self.set_id.remove(path);
        }
    }

    fn check_size(&mut self, path: &str, size_bytes: u64) -> Result<(), ArchiveError> {
        let limit_bytes = self.limits.file_bytes;
        if size_bytes > limit_bytes {
            return Err(ArchiveError::FileTooLarge { path: path.to_owned(), limit_bytes });
        }
        self.content_bytes += size_bytes;
        if self.content_bytes > self.limits.total_bytes {
            return Err(ArchiveError::TooLarge { limit_bytes: self.limits.total_bytes });
        }
        Ok(())
    }

    fn hard_link(&self, path: &str, target: &str, strip: u32) -> Result<Item, ArchiveError> {
        let dangling = || ArchiveError::DanglingHardLink { path: path.to_owned(), target: target.to_owned() };
        let target = stripped(&entry::components(target)?, strip).ok_or_else(dangling)?;
        match self.items.get(&target) {
            Some(Item::Folder) | None => Err(dangling()),
            Some(item) => Ok(item.clone()),
        }
    }

    fn insert(&mut self, path: String, item: Item) -> Result<(), ArchiveError> {
        for (index, _) in path.match_indices('/') {
            let parent = &path[..index];
            match self.items.get(parent) {
                Some(Item::Folder) => {}
                Some(Item::Symlink(_)) => {
                    let link = parent.to_owned();
                    return Err(ArchiveError::ThroughSymlink { path, link });
                }
                Some(Item::File { .. }) => return Err(ArchiveError::Clash(parent.to_owned())),
                None => self.record(parent.to_owned(), Item::Folder)?,
            }
        }
        let clash = self
            .items
            .get(&path)
            .is_some_and(|present| matches!(present, Item::Folder) != matches!(item, Item::Folder));
        if clash {
            return Err(ArchiveError::Clash(path));
        }
        self.record(path, item)
    }

    fn record(&mut self, path: String, item: Item) -> Result<(), ArchiveError> {
        self.names_bytes += path.len() as u64;
        if let Item::Symlink(target) = &item {
            self.names_bytes += target.len() as u64;
        }
        if self.names_bytes > self.limits.names_bytes {
            return Err(ArchiveError::NameTooLong { limit_bytes: self.limits.names_bytes as usize });
        }
        self.items.insert(path, item);
        // A single long path makes a folder of each of its components.
        if self.items.len() as u64 > self.limits.entries {
            return Err(ArchiveError::TooManyEntries { limit: self.limits.entries });
        }
        Ok(())
    }

    /// Builds the tree from the digests of the stored content, by slot.
    pub fn finish(self, store: &Store, digests: &[Digest]) -> Result<Unpacked, ArchiveError> {
        let valid = |path: &str| RelPath::new(path).map_err(|e| ArchiveError::InvalidName(e.0));
        let set_id = self.set_id.iter().map(|(path, mode)| Ok((valid(path)?, *mode)));
        let set_id = set_id.collect::<Result<_, ArchiveError>>()?;
        let mut tree = TreeBuilder::new();
        for (path, item) in self.items {
            let path = valid(&path)?;
            match item {
                Item::Folder => tree.insert_folder(&path)?,
                Item::Symlink(target) => tree.insert(&path, Node::Symlink { target })?,
                Item::File { slot, executable } => {
                    tree.insert(&path, Node::File { digest: digests[slot.0], executable })?;
                }
            }
        }
        Ok(Unpacked { tree: tree.finish(store)?, set_id })
    }
}

/// The path without its first `strip` components; none when nothing is left.
fn stripped(components: &[&str], strip: u32) -> Option<String> {
    components.get(strip as usize..).filter(|rest| !rest.is_empty()).map(|rest| rest.join("/"))
}

fn symlink_target(path: &str, target: &str) -> Result<String, ArchiveError> {
    if target.is_empty() || target.contains('\0') {
        return Err(ArchiveError::Unsupported { path: path.to_owned(), reason: "it is a symlink without a target" });
    }
    Ok(target.to_owned())
}
