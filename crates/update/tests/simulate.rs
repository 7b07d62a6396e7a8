//! An update over files, and what it costs: bytes, and the heap, whatever the size of the image.
//!
//! What a process takes in the end is `memory.rs`; the heap alone does not depend on the C library.
//! Invariant: the images and the payload lie in files, and the segments are the worst that the format allows its generator:
//! 8 MiB of output each, literals that cannot be made smaller, literals behind a window of 8 MiB, patches of a whole segment.

use ed25519_dalek::SigningKey;
use osbuild_format::command_line::Slot;
use osbuild_format::payload::{
    self, Correction, Header, Image, ImageName, Kind, Methods, Operation, Parts, Release, Segment,
};
use osbuild_format::payload::{FORMAT, PAYLOAD_TYPE};
use osbuild_format::target::TargetCustom;
use osbuild_format::{dsse, hex};
use osbuild_update::device::{Area, Payloads, Storage};
use osbuild_update::simulate::{self, Report, Simulation};
use peak_alloc::PeakAlloc;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const SEGMENT: usize = 8 << 20;
const MIB: usize = 1 << 20;
/// 32 MiB, less what the rest of the agent's process may take.
const MOST_BYTES: usize = 28 * MIB;
const SALT: [u8; 4] = [1, 2, 3, 4];

fn digest(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes))
}

fn noise(seed: u64) -> Vec<u8> {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..SEGMENT / 8).flat_map(next).collect()
}

/// A segment of the new image and its operations; `old`: what the old image has there.
fn make(number: usize, image: ImageName, old: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut parts = Parts::default();
    let start = (number * SEGMENT) as u64;
    let (output, kind) = match number % 16 {
        0 => (noise(number as u64), Kind::Literal { code: false }),
        // Half of each byte is always the same, so that it shrinks.
        2 => (noise(number as u64).iter().map(|byte| byte & 0x0f).collect(), Kind::Literal { code: false }),
        3 => {
            let changed =
                |(at, byte): (usize, &u8)| if at % 8 == 0 { byte.wrapping_add(at as u8 >> 3 | 1) } else { *byte };
            let output: Vec<u8> = old.iter().enumerate().map(changed).collect();
            parts.wrong.push(&Correction::of(old, &output));
            parts.source_sha256 = Some(Sha256::digest(old).into());
            (output, Kind::Patch { image, offset: start, methods: Methods::NONE, frame: 0 })
        }
        _ => (vec![0; SEGMENT], Kind::Zero),
    };
    if matches!(kind, Kind::Literal { .. }) {
        parts.literals.clone_from(&output);
    }
    parts.operations.push(Operation { length: SEGMENT as u32, kind });
    let compress = |column: &[u8], _| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3)?;
        encoder.window_log(23)?;
        // Without it, each column would have the whole window, however little it holds.
        encoder.set_pledged_src_size(Some(column.len() as u64))?;
        encoder.write_all(column)?;
        encoder.finish()
    };
    (output, parts.store(start, compress).expect("compressed"))
}

struct Files(BTreeMap<Area, File>);

impl Files {
    fn new(root_bytes: usize) -> Files {
        let sizes = [
            (Area::Esp(Slot::A), SEGMENT),
            (Area::Root(Slot::A), root_bytes),
            (Area::Esp(Slot::B), SEGMENT),
            (Area::Root(Slot::B), root_bytes),
            (Area::Verity(Slot::B), root_bytes / 64 + MIB),
        ];
        let file = |(area, bytes): (Area, usize)| {
            let file = tempfile::tempfile().expect("a file");
            file.set_len(bytes as u64).expect("sparse");
            (area, file)
        };
        Files(sizes.into_iter().map(file).collect())
    }
}

impl Storage for Files {
    fn size_bytes(&self, area: Area) -> io::Result<u64> {
        Ok(self.0[&area].metadata()?.len())
    }

    fn read_at(&self, area: Area, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0[&area].read_exact_at(bytes, offset)
    }

    fn write_at(&mut self, area: Area, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0[&area].write_all_at(bytes, offset)
    }

    fn flush(&mut self, _: Area) -> io::Result<()> {
        Ok(())
    }

    fn drop_caches(&mut self, _: Area) -> io::Result<()> {
        Ok(())
    }
}

struct Server(File);

impl Payloads for Server {
    fn range(&mut self, _: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.0.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

/// A root that is written piece by piece: its digests.
struct NewRoot {
    whole: Sha256,
    hashes: Vec<u8>,
}

impl NewRoot {
    fn add(&mut self, bytes: &[u8]) {
        self.whole.update(bytes);
        self.hashes.extend(bytes.chunks(4096).flat_map(hash_block));
    }

    fn root_hash(mut self) -> String {
        while self.hashes.len() > 32 {
            self.hashes.resize(self.hashes.len().next_multiple_of(4096), 0);
            self.hashes = self.hashes.chunks(4096).flat_map(hash_block).collect();
        }
        hex::encode(&self.hashes)
    }
}

fn hash_block(block: &[u8]) -> [u8; 32] {
    Sha256::new_with_prefix(SALT).chain_update(block).finalize().into()
}

/// Heap at its peak, beyond what was there before, and the report.
fn install(segments: usize) -> (usize, Report) {
    let mut files = Files::new(segments * SEGMENT);
    let mut body = tempfile::tempfile().expect("a file");
    let mut new = NewRoot { whole: Sha256::new(), hashes: Vec::new() };
    let mut described = Vec::new();
    for number in 0..segments {
        let mut old = vec![0; SEGMENT];
        if number % 16 == 3 {
            old = noise(number as u64 + 1000);
            files.write_at(Area::Root(Slot::A), (number * SEGMENT) as u64, &old).expect("written");
        }
        let (output, stored) = make(number, ImageName::Root, &old);
        new.add(&output);
        body.write_all(&stored).expect("written");
        described.push(segment(ImageName::Root, &output, &stored));
    }
    let (esp, stored) = make(0, ImageName::Esp, &[]);
    body.write_all(&stored).expect("written");
    described.push(segment(ImageName::Esp, &esp, &stored));
    let release = |root: String, root_hash| Release {
        version: "1.0.1".to_owned(),
        epoch: 1,
        esp: Image { size_bytes: SEGMENT as u64, sha256: digest(&esp) },
        root: Image { size_bytes: (segments * SEGMENT) as u64, sha256: root },
        root_hash,
        salt: hex::encode(&SALT),
    };
    let to = release(hex::encode(&new.whole.clone().finalize()), new.root_hash());
    // A device knows what runs by its ESP; the rest of it is what the segments' own digests are for.
    let mut from = release(digest(b"root"), digest(b"hash"));
    from.esp.sha256 = digest(b"the ESP that runs");
    let header = Header {
        format: FORMAT,
        product: "gateway".to_owned(),
        machine: "board".to_owned(),
        from: Some(from.clone()),
        to,
        segments: described,
    };
    let json = header.to_json().expect("valid");
    let key = SigningKey::from_bytes(&[42; 32]);
    let envelope = dsse::sign(PAYLOAD_TYPE, &json, &key, &dsse::key_id(&key.verifying_key()));
    let mut server = Server(tempfile::tempfile().expect("a file"));
    server.0.write_all(&payload::head(envelope.as_bytes()).expect("short")).expect("written");
    io::Seek::rewind(&mut body).expect("rewound");
    io::copy(&mut body, &mut server.0).expect("copied");
    let custom = TargetCustom {
        format: 1,
        product: header.product.clone(),
        machine: header.machine.clone(),
        version: header.to.version.clone(),
        epoch: 1,
        to: header.to.esp.sha256.clone(),
        from: Some(from.esp.sha256.clone()),
        header: digest(&json),
        memory_bytes: MOST_BYTES as u64,
        rollout_percent: 100,
    };
    let simulation = Simulation {
        target: "payload",
        custom: &custom,
        keys: &[key.verifying_key()],
        running: Slot::A,
        release: &from.esp.sha256,
    };
    drop((header, json, esp, stored));
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let report = simulate::run(simulation, &mut files, &mut server).expect("installed");
    (HEAP.peak_usage() - before, report)
}

fn segment(image: ImageName, output: &[u8], stored: &[u8]) -> Segment {
    Segment {
        image,
        output_bytes: output.len() as u32,
        output_sha256: digest(output),
        stored_bytes: stored.len() as u32,
        stored_sha256: digest(stored),
    }
}

#[test]
fn the_heap_does_not_grow_with_the_image_and_each_byte_is_written_once() {
    let (small, _) = install(8);
    let (large, report) = install(64);
    println!("peak of the heap: {small} bytes for 64 MiB, {large} bytes for 512 MiB; {report:?}");
    assert!(small <= MOST_BYTES, "{small}");
    // The headers differ by 56 descriptions of segments.
    assert!(large <= small + 256 * 1024, "{large} after {small}");
    let written = report.written_bytes;
    assert!((65 * SEGMENT as u64..66 * SEGMENT as u64).contains(&written), "each block is written once: {written}");
    assert!(report.fetched_bytes < 10 * SEGMENT as u64, "zeros and patches do not travel: {report:?}");
}
