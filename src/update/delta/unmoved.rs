//! Two images to the runs of the new one that are equal where they lie in the old one.
//!
//! They are set before anything is looked for: of content that is in many places, a search takes any of them, and what goes on
//! from there goes astray. Invariant: runs are in order, do not touch, and depend on the bytes of their range only.

use std::ops::Range;

/// What blocks are compared in.
const BLOCK: usize = 4096;
/// A shorter run may be equal by chance, and be a part of something that moved.
const SHORTEST: usize = 64 << 10;

/// In `range` of the new image, with places in it.
pub fn runs(old: &[u8], new: &[u8], range: Range<usize>) -> Vec<Range<usize>> {
    let end = range.end.min(old.len());
    let mut runs: Vec<Range<usize>> = Vec::new();
    for start in (range.start..end).step_by(BLOCK) {
        let block = start..end.min(start + BLOCK);
        if old[block.clone()] != new[block.clone()] {
            continue;
        }
        match runs.last_mut() {
            Some(last) if last.end == block.start => last.end = block.end,
            _ => runs.push(block),
        }
    }
    // The bytes around, up to the first that differs.
    let same = |at: &usize| old[*at] == new[*at];
    let mut floor = range.start;
    for run in &mut runs {
        run.start -= (floor..run.start).rev().take_while(same).count();
        run.end += (run.end..end).take_while(same).count();
        floor = run.end;
    }
    runs.retain(|run| run.len() >= SHORTEST);
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_at_the_byte_that_differs_and_short_ones_are_none() {
        let old: Vec<u8> = (0..400_000_u64).map(|at| ((at * at) >> 7) as u8).collect();
        let mut new = old.clone();
        for at in [100_001, 100_003, 100_005 + SHORTEST, 100_005 + 2 * SHORTEST] {
            new[at] ^= 1;
        }
        let second = 100_005 + SHORTEST;
        let ends = |old: &[u8], range| -> Vec<(usize, usize)> {
            runs(old, &new, range).into_iter().map(|run| (run.start, run.end)).collect()
        };
        let all = 0..new.len();
        // Between the last two is a run of one byte less than the shortest.
        let expected = [(0, 100_001), (100_004, second), (second + SHORTEST + 1, new.len())];
        assert_eq!(ends(&old, all.clone()), expected);
        assert_eq!(ends(&old, 1000..100_100), [(1000, 100_001)]);
        assert_eq!(ends(&old[..90_000], all.clone()), [(0, 90_000)]);
        assert_eq!(ends(&[], all), []);
        assert_eq!(ends(&old, 390_000..new.len()), []);
    }
}
