//! Metadata of several authors in, what they say differently about one path out.
//!
//! Invariant: whatever is reported would otherwise have been decided by the order of the authors; what the product
//! says itself decides, so packages need not agree about it.

use super::compose::placed_file;
use super::metadata::label;
use super::parameters::{Metadata, Parameters};
use super::problem::{Problems, TreeError};
use crate::model::RelPath;
use std::collections::BTreeMap;

/// A path and one thing that is said about it, such as its mode; what is said, and by whom.
type Sayings = BTreeMap<(RelPath, String), (String, String)>;

/// Reports every contradiction among packages, and every one among the entries of the product.
pub fn check(parameters: &Parameters, problems: &mut Problems) -> Result<(), TreeError> {
    let mut product = Sayings::new();
    for metadata in &parameters.metadata {
        say(metadata, None, &mut product, &Sayings::new(), problems)?;
    }
    let mut packages = Sayings::new();
    for package in &parameters.packages {
        for metadata in &package.metadata {
            say(metadata, Some(&package.name), &mut packages, &product, problems)?;
        }
    }
    Ok(())
}

/// Adds what `metadata` says, but for what is `decided`.
fn say(
    metadata: &Metadata,
    package: Option<&str>,
    said: &mut Sayings,
    decided: &Sayings,
    problems: &mut Problems,
) -> Result<(), TreeError> {
    let Some(path) = placed_file(&RelPath::new(&metadata.path)?) else { return Ok(()) };
    let author = label(metadata, &path, package);
    for (what, value) in properties(metadata) {
        let key = (path.clone(), what);
        if decided.contains_key(&key) {
            continue;
        }
        match said.get(&key) {
            Some((first, first_author)) if *first != value => {
                let message = format!("{first_author} and {author} disagree on its {}: {first} and {value}", key.1);
                problems
                    .add_with_help(message, "keep one of them, or let the product decide, which overrides packages");
            }
            Some(_) => {}
            None => drop(said.insert(key, (value, author.clone()))),
        }
    }
    Ok(())
}

/// Each property that is given, and its value as text.
fn properties(metadata: &Metadata) -> Vec<(String, String)> {
    let text = |name: &str, value: &Option<String>| value.clone().map(|value| (name.to_owned(), format!("`{value}`")));
    let mode = metadata.mode.map(|mode| ("mode".to_owned(), format!("{mode:04o}")));
    let given = [text("user", &metadata.user), text("group", &metadata.group), mode];
    let xattrs = metadata.xattrs.iter().map(|(name, value)| (format!("attribute `{name}`"), value.to_string()));
    given.into_iter().flatten().chain(xattrs).collect()
}
