//! What the steps of this stage share: reading one input, leaving one output, and their errors.
//!
//! Invariant: no step reads more than the limit that it states.

use super::erofs::PlaceError;
use super::pe::PeError;
use super::uki::UkiError;
use super::verity::VerityError;
use crate::io::store::{Node, Store, StoreError};
use crate::model::{Digest, RelPath};
use osbuild_format::app::package::PackageError;
use osbuild_format::app::ManifestError;

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("the parameters of the step are not valid")]
    Parameters(#[from] serde_json::Error),
    #[error("the parameter `{name}` is not valid: {value}")]
    Parameter { name: &'static str, value: String },
    #[error("the step has no input `{0}`")]
    NoInput(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the verity tree cannot be made")]
    Verity(#[from] VerityError),
    #[error("the unified kernel image cannot be made")]
    Uki(#[from] UkiError),
    #[error("the files of the root cannot be placed")]
    Place(#[from] PlaceError),
    #[error("the app's manifest cannot be written")]
    Manifest(#[from] ManifestError),
    #[error("the app's file cannot be made")]
    Package(#[from] PackageError),
    #[error("cannot write the app's file")]
    Write(#[source] std::io::Error),
    #[error("the EFI stub is not a usable program")]
    Pe(#[from] PeError),
}

/// The file at `name` of the input root.
pub fn input(store: &Store, inputs: &Digest, name: &'static str) -> Result<Digest, ImageError> {
    match store.lookup(inputs, &path(name))? {
        Some(Node::File { digest, .. }) => Ok(digest),
        _ => Err(ImageError::NoInput(name)),
    }
}

pub fn path(name: &'static str) -> RelPath {
    RelPath::new(name).expect("names written in this program are valid paths")
}

/// `name` with this content.
pub fn output(store: &Store, name: &'static str, bytes: &[u8]) -> Result<(RelPath, Node), ImageError> {
    let digest = store.put_bytes(bytes)?;
    Ok((path(name), Node::File { digest, executable: false }))
}
