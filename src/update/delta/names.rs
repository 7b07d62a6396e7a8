//! Names of files and sections of two images to which of the new ones has which old one for its counterpart.
//!
//! Invariant: counterparts are in the order of the new image and do not overlap there; of each name the choice depends on names
//! and their order only.

use super::matching::{Counterpart, Step};
use super::program::{Content, Part, Programs, RELOCATION_BYTES};
use std::collections::BTreeMap;
use std::ops::Range;

/// A smaller one is found by what is around it.
const SMALLEST: usize = 64;

/// A part of an image by its name, in the order of the image.
pub type Name = (String, Range<usize>);

/// Without digits: `libfoo.so.1.2` and `libfoo.so.1.3`, modules of two versions of a kernel.
fn versionless(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_ascii_digit()).collect()
}

pub fn counterparts(old: &Programs, new: &Programs) -> Vec<Counterpart> {
    let mut counterparts = by_names(&old.names, &new.names);
    for counterpart in &mut counterparts {
        let parts = old.at(counterpart.old.start).zip(new.at(counterpart.new.start));
        counterpart.step = parts.and_then(|(old, new)| step(old, new));
    }
    counterparts
}

fn step(old: &Part, new: &Part) -> Option<Step> {
    if [old, new].iter().any(|part| part.content != Content::Relocations) {
        return None;
    }
    // Where the first byte of the section would be.
    let start = |part: &Part| (part.place.start as i64).wrapping_sub(part.address as i64);
    let rest = start(old).wrapping_sub(start(new)).rem_euclid(RELOCATION_BYTES as i64) as usize;
    Some(Step { bytes: RELOCATION_BYTES, rest })
}

fn by_names(old: &[Name], new: &[Name]) -> Vec<Counterpart> {
    // Of some parts of one name, the longest.
    let mut exact: BTreeMap<&str, &Range<usize>> = BTreeMap::new();
    let mut alike: BTreeMap<String, &Range<usize>> = BTreeMap::new();
    for (name, place) in old {
        let held = exact.entry(name).or_insert(place);
        if held.len() < place.len() {
            *held = place;
        }
        alike.entry(versionless(name)).or_insert(place);
    }
    let large = new.iter().filter(|(_, place)| place.len() >= SMALLEST);
    let pairs = large.filter_map(|(name, place)| {
        let old = exact.get(&name[..]).or_else(|| alike.get(&versionless(name)))?;
        Some(Counterpart { new: place.clone(), old: (*old).clone(), step: None })
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_another_version_in_it_is_the_same_unless_there_is_the_name_itself() {
        let name = |name: &str, start: usize| (name.to_owned(), start..start + 100);
        let old = [name("lib/libfoo.so.1.2#.text", 0), name("bin/a1", 100), name("bin/a2", 200)];
        let new = [name("bin/a2", 0), name("lib/libfoo.so.1.3#.text", 100), name("bin/b", 200)];
        let pair = |new: usize, old: usize| Counterpart { new: new..new + 100, old: old..old + 100, step: None };
        assert_eq!(by_names(&old, &new), [pair(0, 200), pair(100, 0)]);
    }
}
