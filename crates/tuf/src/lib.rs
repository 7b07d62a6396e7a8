//! Metadata of a repository in, targets that can be trusted out: the client of The Update Framework.
//!
//! [`Updater`] is the workflow, over a [`Fetcher`] that brings files and a [`Store`] that keeps them. Source: The Update
//! Framework specification 1.0.34, section 5. Invariant: nothing that is handed out was not signed by as many keys as its
//! role asks for, is older than what was trusted before, or is past its time.

mod canonical;
mod check;
mod client;
mod error;
mod fetch;
mod hex;
mod key;
pub mod metadata;
mod percent;
mod store;
mod time;

pub use canonical::{canonical_json, CanonicalError};
pub use check::{Check, Mismatch};
pub use client::{Limits, Updater};
pub use error::UpdateError;
pub use fetch::{FetchError, Fetcher, FolderFetcher};
pub use percent::file_name;
pub use store::{FolderStore, MemoryStore, Store};
pub use time::Time;
