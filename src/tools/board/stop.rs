//! The wish to stop, as a signal's handler leaves it: a flag in, the end of every wait out.
//!
//! Invariant: once it is wished, whatever waits for a board says [`BoardError::Interrupted`] within [`LOOK`].

use super::BoardError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// How long a wait may go on before it looks again.
pub const LOOK: Duration = Duration::from_millis(50);

/// Nobody wishes to stop unless told.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// `flag` becomes true when the user wishes to stop.
    pub fn at(flag: Arc<AtomicBool>) -> Stop {
        Stop(flag)
    }

    pub fn check(&self) -> Result<(), BoardError> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(BoardError::Interrupted),
            false => Ok(()),
        }
    }
}
