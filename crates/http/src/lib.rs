//! A URL in, its bytes out, over HTTP and HTTPS: whole files and ranges, each with a limit in bytes and in time.
//!
//! Invariant: no more than was asked for is kept in memory, and no server makes a request last for ever.

mod client;
mod error;
mod location;
mod pace;
mod range;

pub use client::{Client, Settings};
pub use error::{without_password, HttpError};
pub use location::ports;
pub use pace::Pace;
