//! The bytes of a file, as ranges of the image that holds it.
//!
//! Invariant: a place that is handed out lies inside one of the ranges; holes are no place.

use std::borrow::Cow;
use std::ops::Range;

/// In the order of the file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extents {
    ranges: Vec<Range<u64>>,
}

impl Extents {
    /// Ranges that follow each other in the image become one.
    pub(super) fn new(ranges: Vec<Range<u64>>) -> Self {
        let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
        for range in ranges.into_iter().filter(|range| range.start < range.end) {
            match joined.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => joined.push(range),
            }
        }
        Extents { ranges: joined }
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).fold(0, u64::saturating_add)
    }

    /// Where the bytes `wanted` of the file lie in the image.
    pub(super) fn places(&self, wanted: Range<u64>) -> Vec<Range<u64>> {
        let mut places = Vec::new();
        let mut at = 0u64;
        for range in &self.ranges {
            let next = at.saturating_add(range.end - range.start);
            let (start, end) = (wanted.start.max(at), wanted.end.min(next));
            if start < end {
                places.push(range.start + (start - at)..range.start + (end - at));
            }
            at = next;
        }
        places
    }

    /// The part of the file's bytes that `wanted` are.
    pub(super) fn part(&self, wanted: Range<u64>) -> Extents {
        Extents::new(self.places(wanted))
    }

    /// The content, borrowed where it lies in one piece; none if it is not all in the image or larger than that.
    pub(super) fn content<'a>(&self, image: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let bytes =
            |range: &Range<u64>| image.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?);
        if let [only] = &self.ranges[..] {
            return bytes(only).map(Cow::Borrowed);
        }
        if self.size_bytes() > image.len() as u64 {
            return None;
        }
        let mut content = Vec::new();
        for range in &self.ranges {
            content.extend_from_slice(bytes(range)?);
        }
        Some(Cow::Owned(content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_a_file_is_found_in_its_pieces() {
        let extents = Extents::new(vec![10..20, 20..30, 5..5, 50..55]);
        assert_eq!(extents.ranges, [10..30, 50..55]);
        assert_eq!(extents.places(15..23), [25..30, 50..53]);
        assert_eq!(extents.part(22..99), extents.part(22..25));
        assert_eq!(extents.part(15..23), Extents::new(vec![25..30, 50..53]));
        assert!(extents.places(25..30).is_empty());
        let image: Vec<u8> = (0..60).collect();
        assert_eq!(extents.content(&image).as_deref(), Some(&[&image[10..30], &image[50..55]].concat()[..]));
        assert_eq!(extents.content(&image[..54]), None);
    }
}
