//! `Packages` texts in, packages by name and by what they provide out, borrowed from the texts.
//!
//! Invariant: within a suite a name stands for its latest version.

use super::relation::{self, Relation};
use super::stanza::{stanzas, Stanza, StanzaError};
use super::version;
use crate::model::{Digest, RelPath};
use std::collections::BTreeMap;

/// A binary package of one suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub suite: &'a str,
    /// `Pre-Depends` and `Depends`, unparsed.
    pub depends: [&'a str; 2],
    pub provides: &'a str,
    /// 0 for `required` to 4 for `optional` and the rest.
    pub priority: u8,
    pub filename: &'a str,
    pub size: &'a str,
    pub sha256: &'a str,
}

#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("the index of suite `{suite}` is not valid")]
    Stanza {
        suite: String,
        #[source]
        source: StanzaError,
    },
    #[error("the index of suite `{suite}` has a package without a valid `{field}` at line {line}")]
    Field { suite: String, field: &'static str, line: usize },
}

/// The packages of all suites.
#[derive(Clone, Debug, Default)]
pub struct Index<'a> {
    /// In the order in which they were added: packages come from the first unless told.
    suites: Vec<&'a str>,
    /// One package a suite, by name.
    packages: BTreeMap<&'a str, Vec<Package<'a>>>,
    /// Names of packages by the names they provide.
    providers: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Index<'a> {
    /// Adds a suite's `Packages` file.
    pub fn add(&mut self, suite: &'a str, text: &'a str) -> Result<(), IndexError> {
        self.suites.push(suite);
        for stanza in stanzas(text) {
            let stanza = stanza.map_err(|source| IndexError::Stanza { suite: suite.to_owned(), source })?;
            let package = package(suite, &stanza)?;
            for provided in provided(&package) {
                let providers = self.providers.entry(provided.name).or_default();
                if !providers.contains(&package.name) {
                    providers.push(package.name);
                }
            }
            let same_name = self.packages.entry(package.name).or_default();
            match same_name.iter_mut().find(|other| other.suite == suite) {
                Some(other) if version::compare(other.version, package.version).is_lt() => *other = package,
                Some(_) => {}
                None => same_name.push(package),
            }
        }
        Ok(())
    }

    pub fn suites(&self) -> &[&'a str] {
        &self.suites
    }

    /// Where packages come from unless told; there is none in an empty index.
    pub fn default_suite(&self) -> &'a str {
        self.suites.first().copied().unwrap_or_default()
    }

    /// The package of that name in that suite.
    pub fn get(&self, name: &str, suite: &str) -> Option<&Package<'a>> {
        self.versions(name).iter().find(|package| package.suite == suite)
    }

    /// The packages of that name in all suites.
    pub fn versions(&self, name: &str) -> &[Package<'a>] {
        self.packages.get(name).map_or(&[], Vec::as_slice)
    }

    /// Names of packages that provide `name` in some version and suite.
    pub fn providers(&self, name: &str) -> &[&'a str] {
        self.providers.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.packages.keys().copied()
    }
}

impl Package<'_> {
    /// Whether this package, or what it provides, is what `relation` asks for. A versioned relation is
    /// met only by a versioned provision. Policy, section 7.5.
    pub fn satisfies(&self, relation: &Relation) -> bool {
        if self.name == relation.name {
            return relation.accepts(self.version);
        }
        provided(self).any(|provided| {
            let version = provided.version.map(|(_, version)| version);
            provided.name == relation.name && version.map_or(relation.version.is_none(), |v| relation.accepts(v))
        })
    }

    /// The .deb's digest, from the fields of the index.
    pub fn digest(&self) -> Option<Digest> {
        Digest::from_hex(self.sha256, self.size.parse().ok()?).ok()
    }
}

fn package<'a>(suite: &'a str, stanza: &Stanza<'a>) -> Result<Package<'a>, IndexError> {
    let field = |name: &'static str, valid: &dyn Fn(&str) -> bool| {
        let error = || IndexError::Field { suite: suite.to_owned(), field: name, line: stanza.line };
        stanza.get(name).filter(|value| valid(value)).ok_or_else(error)
    };
    let priorities = ["required", "important", "standard", "optional"];
    let priority = stanza.get("Priority").and_then(|name| priorities.iter().position(|p| *p == name));
    Ok(Package {
        name: field("Package", &relation::is_package_name)?,
        version: field("Version", &relation::is_version)?,
        suite,
        depends: ["Pre-Depends", "Depends"].map(|name| stanza.get(name).unwrap_or_default()),
        provides: stanza.get("Provides").unwrap_or_default(),
        priority: priority.unwrap_or(priorities.len()) as u8,
        filename: field("Filename", &|path| path.starts_with("pool/") && RelPath::new(path).is_ok())?,
        size: field("Size", &|size| size.parse::<u64>().is_ok())?,
        sha256: field("SHA256", &|hash| Digest::from_hex(hash, 0).is_ok())?,
    })
}

/// What a package provides; a damaged field provides nothing.
fn provided<'a>(package: &Package<'a>) -> impl Iterator<Item = Relation<'a>> {
    relation::parse(package.provides).unwrap_or_default().into_iter().flatten()
}
