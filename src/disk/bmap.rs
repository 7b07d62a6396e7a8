//! Ranges of an image in, a block map for flashing tools out.
//!
//! Source: the file format of bmap-tools, version 2.0. Invariant: ranges are sorted, apart, and each carries
//! the SHA-256 of its bytes; the file carries its own, taken with zeros in that place.

use crate::model::Digest;
use std::fmt::Write;
use std::ops::Range;

/// What the map counts in.
pub const BLOCK_BYTES: u64 = 4096;

/// Byte ranges to block ranges: widened to whole blocks, sorted and joined where they touch.
pub fn blocks(ranges: &[Range<u64>], image_bytes: u64) -> Vec<Range<u64>> {
    let last = image_bytes.div_ceil(BLOCK_BYTES);
    let widened = ranges.iter().filter(|range| !range.is_empty());
    let widened = widened.map(|range| range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES).min(last));
    let mut sorted: Vec<Range<u64>> = widened.filter(|range| !range.is_empty()).collect();
    sorted.sort_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match joined.last_mut().filter(|previous| previous.end >= range.start) {
            Some(previous) => previous.end = previous.end.max(range.end),
            None => joined.push(range),
        }
    }
    joined
}

/// The map's text. `ranges` are what [`blocks`] gave, each with the digest of its bytes.
pub fn write(image_bytes: u64, ranges: &[(Range<u64>, Digest)]) -> String {
    let zeros = "0".repeat(64);
    let text = render(image_bytes, ranges, &zeros);
    let own = Digest::of(text.as_bytes()).hex();
    render(image_bytes, ranges, &own)
}

fn render(image_bytes: u64, ranges: &[(Range<u64>, Digest)], own: &str) -> String {
    let count = image_bytes.div_ceil(BLOCK_BYTES);
    let mapped: u64 = ranges.iter().map(|(range, _)| range.end - range.start).sum();
    let mut text = format!(
        "<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n    <ImageSize> {image_bytes} </ImageSize>\n    \
         <BlockSize> {BLOCK_BYTES} </BlockSize>\n    <BlocksCount> {count} </BlocksCount>\n    \
         <MappedBlocksCount> {mapped} </MappedBlocksCount>\n    <ChecksumType> sha256 </ChecksumType>\n    \
         <BmapFileChecksum> {own} </BmapFileChecksum>\n    <BlockMap>\n"
    );
    for (range, digest) in ranges {
        let (first, last) = (range.start, range.end - 1);
        let span = if first == last { first.to_string() } else { format!("{first}-{last}") };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "        <Range chksum=\"{}\"> {span} </Range>", digest.hex());
    }
    text.push_str("    </BlockMap>\n</bmap>\n");
    text
}
