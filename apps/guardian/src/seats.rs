//! How many connections may be open: a number to places that are taken and given back.
//!
//! Invariant: never more places are taken than there are; one that goes out of scope is free again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

pub struct Seats(Arc<AtomicUsize>);

pub struct Seat(Arc<AtomicUsize>);

impl Seats {
    pub fn new(count: usize) -> Seats {
        Seats(Arc::new(AtomicUsize::new(count)))
    }

    /// One place, if one is free.
    pub fn take(&self) -> Option<Seat> {
        let less = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(1));
        less.is_ok().then(|| Seat(Arc::clone(&self.0)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_and_no_more() {
        let seats = Seats::new(2);
        let (first, second) = (seats.take(), seats.take());
        assert!(first.is_some() && second.is_some() && seats.take().is_none());
        drop(first);
        assert!(seats.take().is_some());
    }
}
