//! A published payload: where its segments lie, and what of them was fetched more than once.
//!
//! Invariant: what is said of it is read from the file that the server sends.

use crate::server::Sent;
use osbuild_format::dsse;
use osbuild_format::payload::{envelope_length, Header, ImageName, Segment, PAYLOAD_TYPE, PREFIX_BYTES};
use std::path::Path;

pub const DELTA: &str = ".delta.payload";
pub const FULL: &str = ".full.payload";

pub struct Payload {
    name: String,
    pub bytes: u64,
    pub segments_at: u64,
    pub longest_segment: u64,
    /// Where the segment ends that is fetched last: the ESP's first.
    pub last_end: u64,
}

impl Payload {
    /// The one of this kind that leads to `version`, in a repository.
    pub fn of(site: &Path, version: &str, kind: &str) -> Payload {
        let targets = site.join("targets");
        let entries = std::fs::read_dir(&targets).expect("a folder").map(|entry| entry.expect("an entry"));
        let mut names = entries.map(|entry| entry.file_name().into_string().expect("a name"));
        let is_it = |name: &String| name.contains(&format!("-{version}-")) && name.ends_with(kind);
        let name = names.find(is_it).expect("a payload");
        let bytes = std::fs::read(targets.join(&name)).expect("read");
        let end = PREFIX_BYTES + envelope_length(&bytes).expect("a payload");
        let json = dsse::read_vouched(&bytes[PREFIX_BYTES..end], PAYLOAD_TYPE).expect("an envelope");
        let header = Header::from_json(&json).expect("a header");
        let longest = header.segments.iter().map(|segment| segment.stored_bytes).max().expect("segments");
        let of_root = |segment: &&Segment| segment.image == ImageName::Root;
        let first = header.segments.iter().take_while(of_root).count();
        let stored: u64 = header.segments[..=first].iter().map(|segment| u64::from(segment.stored_bytes)).sum();
        let (bytes, segments_at) = (bytes.len() as u64, end as u64);
        Payload { name, bytes, segments_at, longest_segment: longest.into(), last_end: segments_at + stored }
    }

    pub fn is_in(&self, sent: &Sent) -> bool {
        sent.path.ends_with(&self.name)
    }

    /// Bytes of segments among `now` that are among `before`, too.
    pub fn fetched_again<'a>(&self, before: impl Iterator<Item = &'a Sent>, now: &[Sent]) -> u64 {
        let places = before.filter(|sent| self.is_in(sent)).map(|sent| (sent.start, sent.end));
        let mut before: Vec<(u64, u64)> = places.collect();
        before.sort_unstable();
        let mut again = 0;
        for sent in now.iter().filter(|sent| self.is_in(sent)) {
            let mut from = sent.start.max(self.segments_at);
            for (start, end) in &before {
                let (start, end) = ((*start).max(from), (*end).min(sent.end));
                again += end.saturating_sub(start);
                from = from.max(end);
            }
        }
        again
    }
}
