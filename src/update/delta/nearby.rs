//! A small range of the old image to where in it the longest of some new bytes lies.
//!
//! Invariant: of windows of eight bytes all are known; of some of one length, the first is taken.

pub const SMALL_WINDOW: usize = 8;
const CHAIN_LIMIT: usize = 24;
/// No place.
pub const NOWHERE: u32 = u32::MAX;

/// All windows of a small range, by chains.
pub struct Local<'a> {
    old: &'a [u8],
    heads: Vec<u32>,
    next: Vec<u32>,
    shift: u32,
}

impl<'a> Local<'a> {
    pub fn new(old: &'a [u8]) -> Self {
        let bits = old.len().max(64).next_power_of_two().trailing_zeros();
        let mut local = Self { old, heads: vec![NOWHERE; 1 << bits], next: vec![NOWHERE; old.len()], shift: 64 - bits };
        for at in (0..=old.len() - SMALL_WINDOW).rev() {
            let slot = local.slot(&old[at..]);
            local.next[at] = local.heads[slot];
            local.heads[slot] = at as u32;
        }
        local
    }

    fn slot(&self, bytes: &[u8]) -> usize {
        let word = u64::from_le_bytes(bytes[..SMALL_WINDOW].try_into().expect("8 bytes"));
        (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }

    pub fn longest(&self, new: &[u8], allowed: impl Fn(usize) -> bool) -> Option<(usize, usize)> {
        if new.len() < SMALL_WINDOW {
            return None;
        }
        let mut at = self.heads[self.slot(new)];
        let mut best = None;
        for _ in 0..CHAIN_LIMIT {
            if at == NOWHERE {
                break;
            }
            let length = equal(new, &self.old[at as usize..]);
            if length >= SMALL_WINDOW && best.is_none_or(|(_, best)| length > best) && allowed(at as usize) {
                best = Some((at as usize, length));
            }
            at = self.next[at as usize];
        }
        best
    }
}

/// How many bytes are the same at the start of both, eight at a time.
pub fn equal(one: &[u8], other: &[u8]) -> usize {
    let words = one.chunks_exact(8).zip(other.chunks_exact(8)).take_while(|(one, other)| one == other).count();
    let rest = one[words * 8..].iter().zip(&other[words * 8..]).take_while(|(one, other)| one == other).count();
    words * 8 + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_end_where_the_first_differs_or_one_ends() {
        let bytes: Vec<u8> = (0..40).collect();
        for length in 0..bytes.len() {
            let mut other = bytes.clone();
            other[length] ^= 1;
            assert_eq!(equal(&bytes, &other), length);
            assert_eq!(equal(&bytes[..length], &bytes), length);
            assert_eq!(equal(&bytes, &bytes[..length]), length);
        }
    }
}
