//! The domain: what recipes, machines, products and digests are once they are known to be valid.
//!
//! Invariant: nothing here does I/O, and no value here can be built from unchecked input.

pub mod app;
pub mod digest;
pub mod fetch;
pub mod lock;
pub mod machine;
pub mod name;
pub mod origin;
pub mod path;
pub mod product;
pub mod recipe;
pub mod service;
pub mod tooltree;

pub use digest::Digest;
pub use name::{AppName, MachineName, PackageName, ProductName, RecipeName, ToolTreeName};
pub use origin::{Located, Origin};
pub use path::RelPath;
