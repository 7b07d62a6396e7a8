//! Foundations that run or unpack other people's programs: Debian tool trees and the virtual board.
//!
//! Invariant: nothing here knows a recipe, a plan or an image; it is handed paths and bytes.

pub mod board;
