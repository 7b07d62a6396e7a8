//! BTF, the kernel's description of its types, to its shape: names by what they say, not by where they are, and no numbers of types.
//!
//! Source: Linux, Documentation/bpf/btf.rst, "BTF Type and String Encoding". Invariant: of what is no BTF the shape is what was
//! given, of a damaged one from where it is damaged.

use std::ops::Range;

const MAGIC: &[u8] = &[0x9f, 0xeb, 1];
const HEADER_BYTES: usize = 24;
/// `struct btf_type`: a name, kind and count of entries, a size or type.
const TYPE_BYTES: usize = 12;
/// Of a name, no more is looked at: those of damaged types may have no end.
const LONGEST_NAME: usize = 512;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Name,
    Type,
}

/// What follows a type of some kind: entries, their bytes, and where in each its fields are.
struct Kind {
    /// The type's own third number is a type.
    refers: bool,
    entries: usize,
    entry_bytes: usize,
    fields: &'static [(usize, Field)],
}

impl Kind {
    fn of(info: u32) -> Self {
        const NAME: (usize, Field) = (0, Field::Name);
        const TYPE: (usize, Field) = (4, Field::Type);
        let count = (info & 0xffff) as usize;
        let (refers, entries, entry_bytes, fields): (_, _, _, &[_]) = match info >> 24 & 0x1f {
            // INT
            1 => (false, 1, 4, &[]),
            // ARRAY
            3 => (false, 1, 12, &[(0, Field::Type), TYPE]),
            // STRUCT, UNION
            4 | 5 => (false, count, 12, &[NAME, TYPE]),
            // ENUM
            6 => (false, count, 8, &[NAME]),
            // FUNC_PROTO
            13 => (true, count, 8, &[NAME, TYPE]),
            // VAR, DECL_TAG
            14 | 17 => (true, 1, 4, &[]),
            // DATASEC
            15 => (false, count, 12, &[(0, Field::Type)]),
            // ENUM64
            19 => (false, count, 12, &[NAME]),
            // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, TYPE_TAG
            2 | 7..=12 | 18 => (true, 0, 0, &[]),
            _ => (false, 0, 0, &[]),
        };
        Self { refers, entries, entry_bytes, fields }
    }
}

struct Sections<'a> {
    /// Where the types begin in the section.
    start: usize,
    types: &'a [u8],
    names: &'a [u8],
}

fn four(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn sections(bytes: &[u8]) -> Option<Sections<'_>> {
    let field = |at| four(bytes, at).map(|value| value as usize);
    let header = field(4).filter(|header| bytes.starts_with(MAGIC) && *header >= HEADER_BYTES)?;
    let within = |at: usize| -> Option<Range<usize>> {
        let start = header.checked_add(field(at)?)?;
        Some(start..start.checked_add(field(at + 4)?)?)
    };
    let (types, names) = (within(8)?, within(16)?);
    Some(Sections { start: types.start, types: bytes.get(types)?, names: bytes.get(names)? })
}

/// Calls `each` with every field of the types and where it is among them.
fn fields(types: &[u8], mut each: impl FnMut(usize, Field)) {
    let mut at = 0;
    while let Some(info) = four(types, at + 4) {
        let kind = Kind::of(info);
        let end = at + TYPE_BYTES + kind.entries * kind.entry_bytes;
        if end > types.len() {
            return;
        }
        each(at, Field::Name);
        if kind.refers {
            each(at + 8, Field::Type);
        }
        for entry in 0..kind.entries {
            let entry = at + TYPE_BYTES + entry * kind.entry_bytes;
            kind.fields.iter().for_each(|(place, field)| each(entry + place, *field));
        }
        at = end;
    }
}

/// `bytes`: a whole section; `shape`: the same, to be changed.
pub fn flatten(bytes: &[u8], shape: &mut [u8]) {
    let Some(Sections { start, types, names }) = sections(bytes) else { return };
    let base = base(types, names).unwrap_or_default();
    fields(types, |at, field| {
        let shape = &mut shape[start + at..start + at + 4];
        // At 0 is the empty name, of the kernel's and of a module's.
        let place = four(types, at).filter(|_| field == Field::Name);
        let place = place.and_then(|place| if place == 0 { Some(0) } else { place.checked_sub(base) });
        let rest = place.and_then(|place| names.get(place as usize..));
        let name = rest.and_then(|rest| rest[..rest.len().min(LONGEST_NAME)].split(|byte| *byte == 0).next());
        shape.copy_from_slice(&name.map_or(0, fnv).to_le_bytes());
    });
}

/// Of a module, places of names go on behind those of the kernel; its last name is likely named by something.
fn base(types: &[u8], names: &[u8]) -> Option<u32> {
    let last = names.get(..names.len().checked_sub(1)?)?.iter().rposition(|byte| *byte == 0)? + 1;
    let mut highest = 0;
    fields(types, |at, field| {
        if field == Field::Name {
            highest = highest.max(four(types, at).unwrap_or_default());
        }
    });
    (highest as usize >= names.len()).then(|| highest.wrapping_sub(last as u32))
}

/// Fowler, Noll and Vo, 1a.
fn fnv(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A struct of two members and a pointer to it; names from `base` on, types from `first` on.
    fn section(names: &[u8], places: [u32; 3], first: u32) -> Vec<u8> {
        let types = [places[0], 4 << 24 | 2, 16, places[1], first + 1, 0, places[2], first + 1, 64, 0, 2 << 24, first];
        let types: Vec<u8> = types.iter().flat_map(|number: &u32| number.to_le_bytes()).collect();
        let header = [24, 0, types.len() as u32, types.len() as u32, names.len() as u32];
        let header: Vec<u8> = header.iter().flat_map(|number| number.to_le_bytes()).collect();
        [&[0x9f, 0xeb, 1, 0][..], &header, &types, names].concat()
    }

    fn shape(bytes: &[u8]) -> Vec<u8> {
        let mut shape = bytes.to_vec();
        flatten(bytes, &mut shape);
        shape
    }

    #[test]
    fn the_same_types_have_one_shape_wherever_their_names_and_numbers_are() {
        let types = |bytes: Vec<u8>| bytes[24..72].to_vec();
        let one = types(shape(&section(b"\0list\0next\0prev\0", [1, 6, 11], 1)));
        let moved = types(shape(&section(b"\0other\0list\0next\0prev\0", [7, 12, 17], 90)));
        let module = types(shape(&section(b"\0list\0next\0prev\0", [1001, 1006, 1011], 5000)));
        assert!(one == moved && one == module);
        assert_ne!(one, types(shape(&section(b"\0list\0next\0last\0", [1, 6, 11], 1))), "another name is another type");
    }

    proptest! {
        #[test]
        fn damaged_types_are_no_harm(at in 0..72usize, byte in any::<u8>(), length in 0..100usize) {
            let mut bytes = section(b"\0list\0next\0prev\0", [1, 6, 11], 1);
            bytes[at] = byte;
            bytes.truncate(length);
            prop_assert_eq!(shape(&bytes).len(), bytes.len());
        }
    }
}
