//! The images of a slot in, a map of what lies where in them out: for whoever looks for what two images share.
//!
//! Invariant: the regions of a guide lie inside the image, in order and without overlap. They are a hint: bytes that no
//! region covers are as good as others, and damaged bytes give an error or fewer regions, never a panic.

mod elf;
mod extent;
mod uki;

use crate::image::erofs::{placed, ErofsError, PlacedKind};
use crate::image::esp::{self, EspError};
use crate::image::pe::PeError;
use crate::model::machine::Architecture;
use extent::Extents;
use osbuild_format::payload::ImageName;
use std::ops::Range;

#[derive(Debug, thiserror::Error)]
pub enum GuideError {
    #[error("the root cannot be read")]
    Root(#[from] ErofsError),
    #[error("the unified kernel image is not all there")]
    Cut,
    #[error(transparent)]
    Esp(#[from] EspError),
    #[error("the unified kernel image is damaged")]
    Pe(#[from] PeError),
}

/// What the bytes of a region are, and so how they change from one release to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegionKind {
    /// An inode of the file system, with its attributes and the short end of its file.
    Inode,
    /// Entries of a folder: numbers of inodes, and names.
    Folder,
    /// The bytes of a file, or of a part of it of which nothing more is known.
    File,
    /// Of a program: machine code.
    Code,
    /// Of a program: constants, with their tables for unwinding.
    ReadOnly,
    /// Of a program: what it starts with in its memory; most of it are addresses where it is position-independent.
    Data,
    Relocations,
    /// Symbols, their names, versions and hash tables.
    Symbols,
    /// The tags that the loader reads.
    Dynamic,
    /// A section of the unified kernel image.
    Section,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// The same in two releases for what is the same: `usr/bin/osagent#.text`.
    pub name: String,
    pub image: ImageName,
    pub offset: u64,
    pub length: u64,
    pub kind: RegionKind,
    /// Where the program expects the first byte in its memory.
    pub address: Option<u64>,
}

/// Of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guide {
    pub regions: Vec<Region>,
}

impl Guide {
    /// Of a root as `mkfs.erofs` makes it without compression.
    pub fn of_root(image: &[u8]) -> Result<Guide, GuideError> {
        let mut draft = Draft::new(ImageName::Root);
        for file in placed(image)? {
            draft.add(format!("{}#inode", file.path), file.inode.clone(), RegionKind::Inode, None);
            let extents = Extents::new(file.extents);
            match file.kind {
                PlacedKind::Folder => draft.cover(&file.path, &extents, RegionKind::Folder),
                PlacedKind::File => elf::sections(image, &file.path, &extents, &mut draft),
                PlacedKind::Other => {}
            }
        }
        Ok(draft.finish(image.len() as u64))
    }

    /// Of the EFI system partition of a slot: its unified kernel image, and the kernel in it where that lies plain.
    pub fn of_esp(image: &[u8]) -> Result<Guide, GuideError> {
        let mut draft = Draft::new(ImageName::Esp);
        for architecture in [Architecture::X86_64, Architecture::Aarch64] {
            let path = format!("EFI/BOOT/{}", architecture.efi_boot_file());
            match esp::locate(image, &path) {
                Ok(ranges) => {
                    let ranges = ranges.into_iter().map(|range| range.start as u64..range.end as u64).collect();
                    uki::sections(image, &path, &Extents::new(ranges), &mut draft)?;
                }
                Err(EspError::Absent(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(draft.finish(image.len() as u64))
    }
}

/// Regions in any order, which may overlap.
struct Draft {
    image: ImageName,
    regions: Vec<Region>,
}

impl Draft {
    fn new(image: ImageName) -> Self {
        Draft { image, regions: Vec::new() }
    }

    fn add(&mut self, name: String, range: Range<u64>, kind: RegionKind, address: Option<u64>) {
        let length = range.end.saturating_sub(range.start);
        self.regions.push(Region { name, image: self.image, offset: range.start, length, kind, address });
    }

    /// Everything in `extents`, as regions of one name.
    fn cover(&mut self, name: &str, extents: &Extents, kind: RegionKind) {
        self.part(name, extents, 0..extents.size_bytes(), kind, None);
    }

    /// A range of the bytes of `extents`; the address of its first byte is `address`.
    fn part(&mut self, name: &str, extents: &Extents, range: Range<u64>, kind: RegionKind, address: Option<u64>) {
        let mut done = 0;
        for place in extents.places(range) {
            let length = place.end - place.start;
            self.add(name.to_owned(), place, kind, address.map(|address| address.wrapping_add(done)));
            done += length;
        }
    }

    /// Of regions that overlap, the one that starts first has the bytes; two files may share a block.
    fn finish(mut self, image_bytes: u64) -> Guide {
        self.regions.sort_by(|a, b| (a.offset, a.length, &a.name).cmp(&(b.offset, b.length, &b.name)));
        let mut end = 0;
        self.regions.retain_mut(|region| {
            let start = region.offset.max(end);
            let stop = region.offset.saturating_add(region.length).min(image_bytes);
            if start >= stop {
                return false;
            }
            region.address = region.address.map(|address| address.wrapping_add(start - region.offset));
            (region.offset, region.length) = (start, stop - start);
            end = stop;
            true
        });
        Guide { regions: self.regions }
    }
}

#[cfg(test)]
mod tests;
