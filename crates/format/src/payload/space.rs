//! Where the addresses of an old program went, and where in the two images a part of the program lies.
//!
//! Invariant: an address of a space is in exactly one of its pieces.

/// From `start` up to the next piece, addresses moved by `shift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub start: u64,
    pub shift: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// In ascending order.
    pub pieces: Vec<Piece>,
    /// Where the last piece ends.
    pub end: u64,
}

impl Space {
    /// None: this is no address of the old program.
    pub fn moved(&self, address: u64) -> Option<u64> {
        self.piece(address).map(|index| address.wrapping_add_signed(self.pieces[index].shift))
    }

    /// Which piece holds `address`.
    pub(super) fn piece(&self, address: u64) -> Option<usize> {
        if address >= self.end {
            return None;
        }
        self.pieces.partition_point(|piece| piece.start <= address).checked_sub(1)
    }
}

/// An address is an offset in the image less the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which space.
    pub space: usize,
    pub old_base: u64,
    pub new_base: u64,
}
