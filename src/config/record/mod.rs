//! Types that say once what a configuration file may hold: from one declaration come the decoder, the
//! JSON Schema and the reference page.
//!
//! Invariant: a decoder reports everything that is wrong with a tree, not the first thing only.

mod choice;
mod decode;
mod scalar;
mod shape;

pub(crate) use choice::choices;
pub(crate) use decode::record;
pub use decode::{check_fields, decode_field, origin, read, Decode, Problems};
pub(crate) use scalar::parsed;
pub use shape::{Field, Record, Shape};
