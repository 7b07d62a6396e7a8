//! The packages and skeletons of a step's input root in, a root with what they hold out.
//!
//! Invariant: packages are laid down in the order of the parameters, and skeletons over them.

use super::compose::Composer;
use super::parameters::Parameters;
use super::problem::TreeError;
use super::root::{content_of, Owner};
use super::skeleton::{self, folder};
use crate::model::Digest;

pub fn add_all(composer: &mut Composer, inputs: &Digest, parameters: &Parameters) -> Result<(), TreeError> {
    let store = composer.store;
    for package in &parameters.packages {
        let tree = folder(store, inputs, &format!("packages/{}", package.name))?;
        for entry in store.walk(&tree)? {
            composer.add(&entry.path, content_of(&entry), Owner::Package(package.name.clone()));
        }
    }
    skeleton::add_all(composer, inputs, parameters)
}
