//! osbuild turns YAML layers into signed, verity-protected A/B disk images.
//!
//! The folders stand in the order in which data flows; a stage may use the output *types* of the
//! stages before it and the foundations, never a later stage. `cargo run -p xtask -- tidy` checks it.
//!
//! ```text
//! config -> plan -> exec -> tree -> image -> disk -> release      cli drives them
//! foundations, downward only: template tools io model
//! ```

pub mod cli;

pub mod config;
pub mod plan;
pub mod exec;
pub mod tree;
pub mod image;
pub mod disk;
pub mod release;
pub mod update;

pub mod template;
pub mod tools;
pub mod io;
pub mod model;
