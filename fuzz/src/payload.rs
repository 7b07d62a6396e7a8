//! A payload from its first byte on, its header, and a segment as it travels: any bytes as each of them.

use osbuild_format::payload::{
    apply, decode, envelope_length, head, predict, to_absolute, to_relative, Correction, Frame, Header, Image,
    ImageName, Kind, Learned, Methods, Moved, Operation, Parts, Piece, Release, Segment, SegmentError, Source, Sources,
    Space, FORMAT, LIMIT_ENVELOPE_BYTES, LIMIT_OUTPUT_BYTES, PREFIX_BYTES,
};
use sha2::{Digest, Sha256};
use std::io;

/// The release that deltas start from.
struct Old(Vec<u8>);

impl Source for Old {
    fn read_at(&self, image: ImageName, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let range = self.0.get(start..start.saturating_add(bytes.len())).filter(|_| image == ImageName::Root);
        bytes.copy_from_slice(range.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }
}

fn old() -> Old {
    Old((0..4096u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0] >> (at % 7)).collect())
}

fn sources(old: &Old) -> Sources<'_> {
    Sources { old: Some(old), written: Some(old) }
}

pub fn run(bytes: &[u8]) {
    if let Ok(length) = envelope_length(bytes) {
        assert!((1..=LIMIT_ENVELOPE_BYTES).contains(&length), "an envelope has a limit");
        if let Some(envelope) = bytes[PREFIX_BYTES..].get(..length) {
            let head = head(envelope).expect("what is read can be written");
            assert_eq!(head[..], bytes[..head.len()], "a head has one spelling");
        }
    }
    header(bytes);
    if let Some((start, stored)) = bytes.split_first_chunk::<2>() {
        segment(u32::from(u16::from_le_bytes(*start)), stored);
    }
    let place = u64::from(bytes.first().copied().unwrap_or_default()) << 20;
    let mut there = bytes.to_vec();
    to_absolute(&mut there, place);
    to_relative(&mut there, place);
    assert_eq!(there, bytes, "there is a way back");
}

/// What a device computes from a valid header: where it reads and writes.
fn header(bytes: &[u8]) {
    let Ok(header) = Header::from_json(bytes) else { return };
    let (mut stored, mut written) = (0, [0, 0]);
    for (from, to, segment) in header.places() {
        let written = &mut written[usize::from(segment.image == ImageName::Esp)];
        assert_eq!((from, to), (stored, *written), "segments leave gaps");
        assert!(segment.output_bytes <= LIMIT_OUTPUT_BYTES, "a segment has a limit");
        stored += u64::from(segment.stored_bytes);
        *written += u64::from(segment.output_bytes);
    }
    let sizes = [header.to.root.size_bytes, header.to.esp.size_bytes];
    assert_eq!((stored, written), (header.stored_bytes(), sizes), "the images are written from end to end");
    let text = header.to_json().expect("what is valid can be written");
    assert_eq!(Header::from_json(&text).expect("what is written can be read"), header);
}

fn segment(output_bytes: u32, stored: &[u8]) {
    let mut stored = stored.to_vec();
    let mut decoded = decode(&stored, output_bytes, sources(&old()));
    // The digest of its source is what a fuzzer cannot guess.
    if let (Err(SegmentError::Source { found, .. }), Some(place)) = (&decoded, stored.get_mut(1..33)) {
        place.copy_from_slice(&hex::decode(found).expect("digits"));
        decoded = decode(&stored, output_bytes, sources(&old()));
    }
    let without = decode(&stored, output_bytes, Sources::default());
    let Ok(output) = decoded else {
        assert!(without.is_err(), "without its source, a segment is no better");
        return;
    };
    assert_eq!(output.len(), output_bytes as usize, "a segment writes as much as it says");
    assert!(without.is_ok() == (stored[0] == 0), "a segment takes its sources or does without");
    let described = described(&stored, &output);
    assert_eq!(apply(&described, &stored, sources(&old())).expect("it was decoded"), output);
    let wrong = Segment { output_sha256: described.stored_sha256.clone(), ..described };
    assert!(matches!(apply(&wrong, &stored, sources(&old())), Err(SegmentError::Output { .. })), "any output passes");
}

fn described(stored: &[u8], output: &[u8]) -> Segment {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("some kilobytes");
    Segment {
        image: ImageName::Root,
        output_bytes: length(output),
        output_sha256: sha256(output),
        stored_bytes: length(stored),
        stored_sha256: sha256(stored),
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// One operation of each kind and method, plain or with columns that are zstd frames.
fn delta(compressed: bool) -> Vec<u8> {
    const START: u64 = 8 << 20;
    let old = old().0;
    let space = Space { pieces: vec![Piece { start: 0, shift: 64 }, Piece { start: 0x900, shift: -8 }], end: 4096 };
    let frame = Frame { space: 0, old_base: 16, new_base: START };
    let mut parts = Parts { spaces: vec![space], frames: vec![frame], ..Parts::default() };
    let mut operations =
        vec![(50, Kind::Zero), (30, Kind::Literal { code: true }), (20, Kind::Literal { code: false })];
    parts.literals = old[..50].to_vec();
    operations.push((300, Kind::Copy { image: ImageName::Root, offset: 700 }));
    let mut sources = old[700..1000].to_vec();
    let mut learned = Learned::default();
    for bits in 0..128u8 {
        let offset = 0x800 + 7 * usize::from(bits);
        let methods = Methods::from_bits(bits).expect("seven bits");
        let range = &old[offset..offset + 64];
        // Two right bytes, then two that are not, and so on.
        let wanted: Vec<u8> = range.iter().zip(0..).map(|(byte, at)| byte ^ (at & 2)).collect();
        let new = START + operations.iter().map(|(length, _)| u64::from(*length)).sum::<u64>();
        let moved = Moved { old: offset as u64, new, methods, frame: &frame, space: &parts.spaces[0] };
        let mut correction = Correction::of(range, &wanted);
        if methods != Methods::NONE {
            correction = Correction::to(&wanted);
            predict(&mut range.to_vec(), &moved, &mut learned, &mut correction, |_| ()).expect("nothing fails");
        }
        parts.wrong.push(&correction);
        operations.push((64, Kind::Patch { image: ImageName::Root, offset: offset as u64, methods, frame: 0 }));
        sources.extend_from_slice(range);
    }
    parts.operations = operations.into_iter().map(|(length, kind)| Operation { length, kind }).collect();
    parts.source_sha256 = Some(Sha256::digest(&sources).into());
    let output: u32 = parts.operations.iter().map(|operation| operation.length).sum();
    let coder = |bytes: &[u8], _| if compressed { zstd::bulk::compress(bytes, 19) } else { Ok(bytes.to_vec()) };
    let stored = parts.store(START, coder).expect("it is compressed");
    [&u16::try_from(output).expect("some kilobytes").to_le_bytes(), &stored[..]].concat()
}

fn full() -> Vec<u8> {
    let operations = vec![Operation { length: 4000, kind: Kind::Literal { code: false } }];
    let parts = Parts { operations, literals: vec![7; 4000], ..Parts::default() };
    let stored = parts.store(0, |bytes, _| zstd::bulk::compress(bytes, 19)).expect("it is compressed");
    [&4000u16.to_le_bytes(), &stored[..]].concat()
}

pub fn seeds() -> Vec<Vec<u8>> {
    let image = |size_bytes| Image { size_bytes, sha256: sha256(b"image") };
    let release = |version: &str| Release {
        version: version.into(),
        epoch: 1,
        esp: image(8192),
        root: image(4096),
        root_hash: sha256(b"root hash"),
        salt: "01ff".into(),
    };
    let segment = |image, length| Segment { image, ..described(b"stored", &vec![0; length]) };
    let segments = vec![segment(ImageName::Root, 4096), segment(ImageName::Esp, 4096), segment(ImageName::Esp, 4096)];
    let (product, machine) = ("p".to_owned(), "m".to_owned());
    let (from, to) = (Some(release("1.0.0")), release("1.0.1"));
    let header = Header { format: FORMAT, product, machine, from, to, segments }.to_json().expect("valid");
    let (delta, packed) = (delta(false), delta(true));
    for delta in [&delta, &packed] {
        let length = u16::from_le_bytes([delta[0], delta[1]]);
        let decoded = decode(&delta[2..], length.into(), sources(&old()));
        assert!(decoded.is_ok(), "the seed is no segment: {decoded:?}");
    }
    vec![head(&header).expect("it fits"), header, delta, packed, full()]
}
