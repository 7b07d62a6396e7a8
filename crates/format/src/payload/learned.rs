//! What references turned out to be, to what the next ones will likely be.
//!
//! A number of the old image becomes another one in the new image; the difference is its shift. Three guess it: the space,
//! the nearest number below that is known, and what was twice the same in a row. Whichever was right most often lately is
//! believed, unless the number itself is known. Invariant: a guess follows from what was learned, in its order, alone; what
//! is remembered has a limit.

use std::collections::BTreeMap;

/// Numbers whose shifts are remembered, of a segment.
const LIMIT_KNOWN: usize = 1 << 16;
/// Kinds of numbers of which is remembered who guessed right.
const LIMIT_RECORDS: usize = 1 << 13;
/// What one of each takes at most, with what holds them: a tree that grows at its end is half empty.
const KNOWN_BYTES: u64 = 72;
const RECORD_BYTES: u64 = 88;
/// More right guesses than that change nothing.
const LIMIT_POINTS: i8 = 16;

/// Numbers that move alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Domain {
    /// Addresses of a space.
    Addresses { space: u32 },
    /// Places in the section that relocations are for, by the place of those in the new image.
    Places { space: u32, base: u32 },
    /// Symbols that relocations name.
    Symbols { space: u32 },
    /// What relocations add to a symbol.
    Addends { space: u32, symbol: u32 },
    /// Numbers of types and names.
    Ids,
}

/// A number of the old image.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    pub domain: Domain,
    /// How it was found: guesses are judged apart for each.
    pub form: u8,
    pub value: u64,
    /// The shift that the space has for it.
    pub expected: Option<i64>,
}

/// By how much a number likely moves, and what else may be.
#[derive(Clone, Copy, Debug)]
pub struct Guess {
    pub shift: i64,
    /// The number itself was learned before.
    known: bool,
    /// Of the space, of the nearest number below, of what was twice the same.
    guesses: [Option<i64>; 3],
}

#[derive(Clone, Debug, Default)]
struct Record {
    points: [i8; 3],
    last: i64,
    twice: i64,
}

/// Of a segment.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    known: BTreeMap<(Domain, u64), i64>,
    records: BTreeMap<(Domain, u8), Record>,
    /// None: as much as all that may be remembered takes.
    limit_bytes: Option<u64>,
    lacks_room: bool,
}

impl Learned {
    /// Nothing yet; what is learned takes `limit_bytes` of memory at most.
    pub(super) fn within(limit_bytes: u64) -> Self {
        Self { limit_bytes: Some(limit_bytes), ..Self::default() }
    }

    /// Something was not remembered for lack of memory: from there on, guesses are other ones than the writer's.
    pub(super) fn lacks_room(&self) -> bool {
        self.lacks_room
    }

    /// What it takes of memory at most.
    pub(super) fn bytes(&self) -> u64 {
        self.known.len() as u64 * KNOWN_BYTES + self.records.len() as u64 * RECORD_BYTES
    }

    fn has_room(&self, more_bytes: u64) -> bool {
        self.limit_bytes.is_none_or(|limit| self.bytes() + more_bytes <= limit)
    }

    /// By how much `number` likely moves.
    pub fn guess(&self, number: &Number) -> Guess {
        let below = self.below(number);
        let record = self.records.get(&(number.domain, number.form));
        let guesses = [number.expected, below.map(|(_, shift)| shift), record.map(|record| record.twice)];
        let known = below.filter(|(value, _)| *value == number.value).map(|(_, shift)| shift);
        let shift = known.unwrap_or_else(|| {
            let points = record.map_or([0; 3], |record| record.points);
            let guesses = guesses.into_iter().zip(points).filter_map(|(shift, points)| Some((shift?, points)));
            // Of two with as many points the one before.
            let best = guesses.reduce(|best, next| if next.1 > best.1 { next } else { best });
            best.map_or(0, |(shift, _)| shift)
        });
        Guess { shift, known: known.is_some(), guesses }
    }

    /// That `number` moved by `shift`. `guess` is what [`Self::guess`] says of it now.
    pub fn learn(&mut self, number: &Number, guess: &Guess, shift: i64) {
        let right = guess.guesses.map(|guess| guess == Some(shift));
        let wrong = guess.shift != shift || !right[1];
        if wrong && (self.known.len() < LIMIT_KNOWN || guess.known) {
            match guess.known || self.has_room(KNOWN_BYTES) {
                true => _ = self.known.insert((number.domain, number.value), shift),
                false => self.lacks_room = true,
            }
        }
        let key = (number.domain, number.form);
        let is_full = self.records.len() == LIMIT_RECORDS;
        if (is_full || !self.has_room(RECORD_BYTES)) && !self.records.contains_key(&key) {
            self.lacks_room |= !is_full;
            return;
        }
        let record = self.records.entry(key).or_default();
        if right.contains(&true) && right.contains(&false) {
            for (points, right) in record.points.iter_mut().zip(right) {
                *points = (*points + if right { 1 } else { -1 }).clamp(-LIMIT_POINTS, LIMIT_POINTS);
            }
        }
        if record.last == shift {
            record.twice = shift;
        }
        record.last = shift;
    }

    fn below(&self, number: &Number) -> Option<(u64, i64)> {
        let range = (number.domain, 0)..=(number.domain, number.value);
        self.known.range(range).next_back().map(|((_, value), shift)| (*value, *shift))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: u64, expected: Option<i64>) -> Number {
        Number { domain: Domain::Ids, form: 0, value, expected }
    }

    fn shift(learned: &Learned, value: u64, expected: Option<i64>) -> i64 {
        learned.guess(&number(value, expected)).shift
    }

    fn learn(learned: &mut Learned, number: &Number, shift: i64) {
        let guess = learned.guess(number);
        learned.learn(number, &guess, shift);
    }

    #[test]
    fn what_is_known_is_believed_before_whoever_was_right_most_often() {
        let mut learned = Learned::default();
        assert_eq!(shift(&learned, 100, None), 0);
        assert_eq!(shift(&learned, 100, Some(3)), 3);
        learn(&mut learned, &number(100, Some(3)), 5);
        assert_eq!(shift(&learned, 100, Some(3)), 5);
        // The space was wrong: now the nearest below is believed.
        assert_eq!(shift(&learned, 110, Some(3)), 3, "one error is none");
        learn(&mut learned, &number(110, Some(3)), 5);
        learn(&mut learned, &number(120, Some(3)), 5);
        assert_eq!(shift(&learned, 130, Some(3)), 5);
        assert_eq!(shift(&learned, 90, None), 5, "it was so twice in a row");
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let mut learned = Learned::default();
        for value in 0..2 * LIMIT_KNOWN as u64 {
            learn(&mut learned, &number(value, None), value as i64 * 3);
            let domain = Domain::Addends { space: 1, symbol: value as u32 };
            learn(&mut learned, &Number { domain, ..number(0, None) }, 1);
        }
        assert!(learned.known.len() == LIMIT_KNOWN && learned.records.len() == LIMIT_RECORDS);
        assert!(!learned.lacks_room(), "what is not remembered by rule is not missed");
    }

    #[test]
    fn what_has_no_room_is_missed() {
        let within = |limit_bytes| {
            let mut learned = Learned::within(limit_bytes);
            (0..100).for_each(|value| learn(&mut learned, &number(value, None), value as i64 * 3));
            learned
        };
        let all = within(u64::MAX).bytes();
        assert!(all > 90 * KNOWN_BYTES, "{all}");
        assert!(!within(all).lacks_room());
        for limit_bytes in [0, KNOWN_BYTES, all - 1] {
            let learned = within(limit_bytes);
            assert!(learned.lacks_room() && learned.bytes() <= limit_bytes, "{limit_bytes}");
        }
    }
}
