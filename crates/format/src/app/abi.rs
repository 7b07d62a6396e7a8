//! The numbered promises of the operating system to apps.
//!
//! Invariant: a number, once released, keeps its meaning; one that is no longer kept is taken from the list, so that an
//! app that needs it is refused before it runs.

use std::collections::BTreeMap;

/// The sandbox: paths, environment, notification, resolver; `docs/apps.md` says what each number promises.
pub const RUNTIME: &str = "runtime";

/// What this operating system provides.
pub const PROVIDED: [(&str, &[u32]); 1] = [(RUNTIME, &[1])];

/// One thing that an app needs and the system does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AbiProblem {
    #[error("the app needs the ABI `{name}`, which this system does not have; it has: {has}")]
    Unknown { name: String, has: String },
    #[error("the app needs version {wanted} of the ABI `{name}`; this system has: {has}")]
    Version { name: String, wanted: u32, has: String },
}

/// What of `needed` the system does not provide.
pub fn missing(needed: &BTreeMap<String, u32>) -> Vec<AbiProblem> {
    let problem = |(name, wanted): (&String, &u32)| match PROVIDED.iter().find(|(known, _)| known == name) {
        None => {
            let has = PROVIDED.map(|(name, _)| format!("`{name}`")).join(", ");
            Some(AbiProblem::Unknown { name: name.clone(), has })
        }
        Some((_, versions)) if !versions.contains(wanted) => {
            let has: Vec<String> = versions.iter().map(u32::to_string).collect();
            Some(AbiProblem::Version { name: name.clone(), wanted: *wanted, has: has.join(", ") })
        }
        Some(_) => None,
    };
    needed.iter().filter_map(problem).collect()
}
