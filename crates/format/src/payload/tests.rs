//! A segment there and back, and what is done to it on the way.

use super::*;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::io;

struct Images(Vec<u8>);

impl Source for Images {
    fn read_at(&self, image: ImageName, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let range = self.0.get(start..start.saturating_add(bytes.len())).filter(|_| image == ImageName::Root);
        bytes.copy_from_slice(range.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }
}

fn from(old: &Images) -> Sources<'_> {
    Sources { old: Some(old), written: None }
}

fn compress(bytes: &[u8]) -> Result<Vec<u8>, SegmentError> {
    Ok(ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest))
}

fn described(stored: &[u8], output: &[u8]) -> Segment {
    let sha256 = |bytes: &[u8]| crate::hex::encode(&Sha256::digest(bytes));
    Segment {
        image: ImageName::Root,
        output_bytes: output.len() as u32,
        output_sha256: sha256(output),
        stored_bytes: stored.len() as u32,
        stored_sha256: sha256(stored),
    }
}

/// What is done, a length, a source.
type Step = (u8, u8, u16, u16);
type Coder = fn(&[u8]) -> Result<Vec<u8>, SegmentError>;

const START: u64 = 8 << 20;
const OLD: usize = 1 << 14;

fn old() -> Images {
    Images((0..OLD as u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0] >> (at % 7)).collect())
}

/// A new image of pieces of the old one and others, and the segment that makes it.
fn segment(plan: &[Step], coding: Coder) -> (Vec<u8>, Vec<u8>) {
    let old = old();
    let space =
        Space { pieces: vec![Piece { start: 0, shift: 0x40 }, Piece { start: 0x900, shift: -8 }], end: OLD as u64 };
    let frame = Frame { space: 0, old_base: 16, new_base: START };
    let mut parts = Parts { spaces: vec![space], frames: vec![frame], ..Parts::default() };
    let (mut output, mut learned, mut sources) = (Vec::new(), Learned::default(), Vec::new());
    for (what, methods, length, offset) in plan {
        let length = usize::from(length % 4000) + 1;
        let offset = usize::from(*offset) % (OLD - length);
        let place = START + output.len() as u64;
        let range = &old.0[offset..offset + length];
        let from = (ImageName::Root, offset as u64);
        let kind = match what % 4 {
            0 => {
                output.resize(output.len() + length, 0);
                Kind::Zero
            }
            1 => {
                let code = what & 4 != 0;
                let mut literal = range.iter().rev().map(|byte| byte ^ what).collect::<Vec<_>>();
                output.extend_from_slice(&literal);
                if code {
                    to_absolute(&mut literal, place);
                }
                parts.literals.extend(literal);
                Kind::Literal { code }
            }
            2 => {
                output.extend_from_slice(range);
                sources.extend_from_slice(range);
                Kind::Copy { image: from.0, offset: from.1 }
            }
            _ => {
                let methods = Methods::from_bits(methods & 127).expect("seven bits");
                let wanted = range.iter().zip(0u32..).map(|(byte, at)| if at % 11 == 0 { byte ^ what } else { *byte });
                let wanted = wanted.collect::<Vec<_>>();
                let mut correction = Correction::to(&wanted);
                let (bytes, space) = (&mut range.to_vec(), &parts.spaces[0]);
                let moved = Moved { old: from.1, new: place, methods, frame: &frame, space };
                match methods {
                    Methods::NONE => correction = Correction::of(range, &wanted),
                    _ => predict(bytes, &moved, &mut learned, &mut correction, |_| ()).expect("nothing fails"),
                }
                parts.wrong.push(&correction);
                output.extend(wanted);
                sources.extend_from_slice(range);
                Kind::Patch { image: from.0, offset: from.1, methods, frame: 0 }
            }
        };
        parts.operations.push(Operation { length: length as u32, kind });
    }
    parts.source_sha256 = (!sources.is_empty()).then(|| Sha256::digest(&sources).into());
    (parts.store(START, |column, _| coding(column)).expect("compresses"), output)
}

/// All operations and methods.
fn whole(coding: Coder) -> (Vec<u8>, Vec<u8>) {
    let patches =
        (0..128u16).map(|methods| (3 | (methods as u8) << 3, methods as u8, 700 + methods, 0x800 + 77 * methods));
    segment(
        &[(0, 0, 50, 0), (1, 0, 300, 9), (5, 0, 300, 99), (2, 0, 3000, 5000)]
            .into_iter()
            .chain(patches)
            .collect::<Vec<_>>(),
        coding,
    )
}

#[test]
fn the_format_is_what_it_was() {
    // Plain, so that it does not depend on a compressor.
    let (stored, output) = whole(|bytes| Ok(bytes.to_vec()));
    let digest = |bytes: &[u8]| crate::hex::encode(&Sha256::digest(bytes));
    assert_eq!(digest(&output), "3a4ab28adbc57690632a450e3e2f1779c5bc78bfddaef7260f13071590664d3f");
    assert_eq!(digest(&stored), "aa0e00b63e87fd0c270d760157adc32f732076f14a790647735467f46490d6ac");
}

#[test]
fn the_wrong_release_is_noticed_before_it_is_used() {
    let (stored, output) = whole(compress);
    let head = described(&stored, &output);
    let mut other = old();
    other.0[0x900] ^= 1;
    assert!(matches!(apply(&head, &stored, from(&other)), Err(SegmentError::Source { .. })));
    assert!(matches!(apply(&head, &stored, Sources::default()), Err(SegmentError::NoSource)));
    assert!(matches!(apply(&head, &stored, from(&Images(Vec::new()))), Err(SegmentError::Read(_))));
    let wrong = Segment { output_sha256: head.stored_sha256.clone(), ..head.clone() };
    assert!(matches!(apply(&wrong, &stored, from(&old())), Err(SegmentError::Output { .. })));
    assert_eq!(apply(&head, &stored, from(&old())).expect("applies"), output);
}

#[test]
fn columns_that_a_device_has_no_memory_for_are_refused() {
    // Nothing but a declaration of 9 MiB of operations.
    let mut stored = vec![0, 0, 1];
    stream::push_number(&mut stored, 9 << 20);
    stored.extend([0; 9]);
    assert!(matches!(decode(&stored, 1, Sources::default()), Err(SegmentError::Columns(_))));
    let many =
        Parts { operations: vec![Operation { length: 1, kind: Kind::Zero }; LIMIT_OPERATIONS + 1], ..Parts::default() };
    let stored = many.store(0, |column, _| compress(column)).expect("compresses");
    assert!(matches!(
        decode(&stored, LIMIT_OPERATIONS as u32 + 1, Sources::default()),
        Err(SegmentError::Limit("operations"))
    ));
}

#[test]
fn what_is_within_each_limit_may_be_too_much_together() {
    const LENGTH: u32 = 121;
    let mut parts = Parts {
        operations: vec![Operation { length: LENGTH, kind: Kind::Literal { code: false } }; LIMIT_OPERATIONS],
        literals: vec![1; LIMIT_OPERATIONS * LENGTH as usize],
        ..Parts::default()
    };
    let decoded = |parts: &Parts| {
        let stored = parts.store(START, |column, _| Ok::<_, SegmentError>(column.to_vec())).expect("stored");
        decode(&stored, parts.literals.len() as u32, Sources::default())
    };
    assert_eq!(decoded(&parts).expect("it has room"), parts.literals);
    let pieces: Vec<Piece> = (0..LIMIT_PIECES as u64).map(|start| Piece { start, shift: 0 }).collect();
    parts.spaces = vec![Space { end: pieces.len() as u64, pieces }];
    parts.frames = vec![Frame { space: 0, old_base: 0, new_base: 0 }];
    assert!(matches!(decoded(&parts), Err(SegmentError::Memory)));
}

#[test]
fn a_frame_that_wants_more_memory_than_its_column_holds_is_refused_before_it_is_decoded() {
    // 400 blocks of 128 KiB zeros: without a size but with a window of 64 MiB, and as one piece of 50 MiB.
    let blocks: Vec<u8> = (0..400u32).flat_map(|n| [&[u8::from(n == 399) | 2, 0, 0x10][..], &[0]].concat()).collect();
    let size = ((400u64 * 128) << 10).to_le_bytes();
    let magic = 0xfd2f_b528u32.to_le_bytes();
    for head in [[&magic[..], &[0, 16 << 3]].concat(), [&magic[..], &[0xe0], &size].concat()] {
        let frame = [&head[..], &blocks].concat();
        // One literal of 10 bytes: a tag and a length.
        let (tag, length) = (1, 10);
        let mut stored = vec![0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 2, 10];
        stream::push_number(&mut stored, frame.len() as u64);
        stored.extend([tag, length].iter().chain(&frame));
        assert!(matches!(decode(&stored, 10, Sources::default()), Err(SegmentError::Window("literals"))));
    }
}

/// Bytes that say nothing twice, and literals that are the same once more.
fn goes_on(literals: &[u8]) -> Vec<u8> {
    let old = old();
    let written =
        Written { image: ImageName::Root, offset: 9, length: 8192, sha256: Sha256::digest(&old.0[9..8201]).into() };
    let operations = vec![Operation { length: literals.len() as u32, kind: Kind::Literal { code: false } }];
    let parts = Parts { operations, literals: literals.to_vec(), written: Some(written), ..Parts::default() };
    let coder = |column: &[u8], goes_on: bool| -> io::Result<Vec<u8>> {
        let before = if goes_on { &old.0[9..8201] } else { &[] };
        let mut encoder = zstd::stream::write::Encoder::with_ref_prefix(Vec::new(), 19, before)?;
        encoder.window_log(23)?;
        encoder.include_contentsize(!goes_on)?;
        encoder.set_pledged_src_size(if goes_on { None } else { Some(column.len() as u64) })?;
        io::Write::write_all(&mut encoder, column)?;
        encoder.finish()
    };
    parts.store(START, coder).expect("compresses")
}

#[test]
fn literals_go_on_from_what_was_written_when_it_is_that() {
    let literals = old().0[100..8000].to_vec();
    let stored = goes_on(&literals);
    assert!(stored.len() < 300, "{} bytes", stored.len());
    let length = literals.len() as u32;
    fn written(images: &Images) -> Sources<'_> {
        Sources { old: None, written: Some(images) }
    }
    assert_eq!(decode(&stored, length, written(&old())).expect("decodes"), literals);
    let mut other = old();
    other.0[9] ^= 1;
    assert!(matches!(decode(&stored, length, written(&other)), Err(SegmentError::Written { .. })));
    other.0.truncate(8200);
    assert!(matches!(decode(&stored, length, written(&other)), Err(SegmentError::ReadWritten(_))));
    assert!(matches!(decode(&stored, length, from(&old())), Err(SegmentError::NoSource)));
    for end in 0..stored.len() {
        assert!(decode(&stored[..end], length, written(&old())).is_err(), "cut at {end}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_segment_comes_back(plan in proptest::collection::vec(any::<Step>(), 1..40)) {
        let (stored, output) = segment(&plan, compress);
        let applied = apply(&described(&stored, &output), &stored, from(&old()));
        prop_assert_eq!(applied.expect("applies"), output);
    }

    #[test]
    fn every_changed_bit_is_found(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let (stored, output) = whole(compress);
        let mut changed = stored.clone();
        changed[at.index(stored.len())] ^= 1 << bit;
        let refused = matches!(apply(&described(&stored, &output), &changed, from(&old())), Err(SegmentError::Stored { .. }));
        prop_assert!(refused);
        // Whoever could change that digest, too, still has to give the output that the header says.
        let applied = apply(&described(&changed, &output), &changed, from(&old()));
        prop_assert!(applied.is_err() || applied.is_ok_and(|bytes| bytes == output));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), output_bytes in 1..100_000u32) {
        let _ = decode(&bytes, output_bytes, from(&old()));
        // One PATCH by some methods over one space, and any corrections in plain columns.
        let length = output_bytes.min(OLD as u32);
        let (mut lengths, mut spaces) = (Vec::new(), vec![1, 1, 0, 16]);
        stream::push_number(&mut lengths, length.into());
        stream::push_number(&mut spaces, OLD as u64);
        spaces.extend([1, 0, 0, 0]);
        let methods = bytes.first().map_or(1, |byte| byte & 127);
        let mut columns = vec![vec![3 | 16, methods, 0], lengths, vec![0], spaces];
        columns.extend(bytes.chunks(bytes.len() / (apply::COLUMNS - 4) + 1).map(<[u8]>::to_vec));
        columns.resize(apply::COLUMNS, Vec::new());
        let digest = Sha256::digest(&old().0[..length as usize]);
        let mut stored = [&[1], &digest[..], &[0]].concat();
        for column in &columns {
            stored.push(1);
            stream::push_number(&mut stored, column.len() as u64);
        }
        stored.extend(columns.concat());
        let decoded = decode(&stored, length, from(&old()));
        let early = matches!(decoded, Err(SegmentError::Flags(_) | SegmentError::Source { .. } | SegmentError::Space));
        prop_assert!(!early, "corrections are not reached");
    }
}
