//! A serial line with a root shell at its other end in; commands run there, files brought there, and what they said, out.
//!
//! The line is what a person uses: it echoes, prompts, and the kernel talks on it whenever it likes. So each line that is
//! typed asks for an answer with a mark that was never used before, all that matters travels as Base64 with its SHA-256,
//! and is sent again when it arrived damaged. Invariant: every wait ends; what is not proved whole is not believed.

mod console;
mod error;
#[cfg(test)]
mod tests;
mod wire;
mod words;

pub use console::{Console, Ended};
pub use error::SerialError;
