//! Metadata of a repository in, targets that can be trusted out: the client of The Update Framework.
//!
//! Source: The Update Framework specification 1.0.34, section 5. Invariant: nothing that is handed out was not signed by as
//! many keys as its role asks for, is older than what was trusted before, or is past its time.

mod canonical;
mod hex;
mod key;
pub mod metadata;
mod time;

pub use canonical::{canonical_json, CanonicalError};
pub use time::Time;
