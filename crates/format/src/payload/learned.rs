//! What references turned out to be, to what the next ones will likely be.
//!
//! A number of the old image becomes another one in the new image; the difference is its shift. Three guess it: the space,
//! the nearest number below that is known, and what was twice the same in a row. Whichever was right most often lately is
//! believed, unless the number itself is known. Invariant: a guess follows from what was learned, in its order, alone; what
//! is remembered has a limit.

use std::collections::BTreeMap;

/// Numbers whose shifts are remembered, of a segment: 3 to 5 MiB with what holds them, by their order.
const LIMIT_KNOWN: usize = 1 << 16;
/// Kinds of numbers of which is remembered who guessed right.
const LIMIT_RECORDS: usize = 1 << 13;
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
}

impl Learned {
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
            self.known.insert((number.domain, number.value), shift);
        }
        let key = (number.domain, number.form);
        if self.records.len() == LIMIT_RECORDS && !self.records.contains_key(&key) {
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
    }
}
