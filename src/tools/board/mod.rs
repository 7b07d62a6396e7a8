//! The virtual board: a disk image to a running machine with Secure Boot and a TPM, and what it says.
//!
//! Invariant: every program it starts comes from the tool tree it is given, listens on loopback only, and
//! ends with the value that started it.

mod accelerator;
pub mod check;
pub mod damage;
mod error;
mod feed;
mod ports;
mod process;
mod qemu;
mod qmp;
mod running;
pub mod ssh;
mod state;
mod stop;
mod tpm;
pub mod varstore;

pub use error::BoardError;
pub use feed::{Feed, Line, Mark, Seen};
pub use ports::Forward;
pub use process::{Launch, Process, ToolRoot};
pub use qemu::Accelerator;
pub use qmp::Qmp;
pub use running::{run_in_terminal, Board, Notice, PowerOff, Setup};
pub use state::{Origin, Persistence, State};
pub use stop::Stop;
