//! A Cargo.lock in, the crates of the registry that it names out, sorted by name and version.
//!
//! Cargo writes this file itself, in one fixed form of TOML: tables `[[package]]` of `key = "value"` lines.
//! Invariant: names and versions are valid, so they are safe as names of files; each crate has a checksum.

use crate::model::lock::check_crate;
use crate::tools::fetch::{Wanted, WantedCrate};

const LIMIT_CRATES: usize = 100_000;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CargoLockError {
    #[error("line {line}: {reason}")]
    Invalid { line: usize, reason: &'static str },
    #[error("crate {0} comes from git; only crates of a registry can be locked")]
    Git(String),
    #[error("it has more crates than the limit: {LIMIT_CRATES}")]
    TooMany,
}

#[derive(Default)]
struct Package<'a> {
    line: usize,
    name: Option<&'a str>,
    version: Option<&'a str>,
    source: Option<&'a str>,
    checksum: Option<&'a str>,
}

/// The crates; packages without a source are the workspace's own and are left out.
pub fn parse(text: &str) -> Result<Vec<WantedCrate>, CargoLockError> {
    let mut packages: Vec<Package> = Vec::new();
    // None: in a table that is not a package.
    let mut in_package = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line == "[[package]]" {
            packages.push(Package { line: number + 1, ..Package::default() });
            in_package = true;
        } else if line.starts_with("[[") || (line.starts_with('[') && line.ends_with(']')) {
            in_package = false;
        } else if let (true, Some((key, value))) = (in_package, line.split_once(" = ")) {
            let Some(package) = packages.last_mut() else { continue };
            let field = match key {
                "name" => &mut package.name,
                "version" => &mut package.version,
                "source" => &mut package.source,
                "checksum" => &mut package.checksum,
                _ => continue,
            };
            let invalid = CargoLockError::Invalid { line: number + 1, reason: "the value is not a plain string" };
            *field = Some(unquoted(value).ok_or(invalid)?);
        }
        if packages.len() > LIMIT_CRATES {
            return Err(CargoLockError::TooMany);
        }
    }
    let mut crates: Vec<WantedCrate> =
        packages.into_iter().filter_map(|package| wanted(package).transpose()).collect::<Result<_, _>>()?;
    crates.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(crates)
}

fn unquoted(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"').filter(|text| !text.contains(['"', '\\']))
}

fn wanted(package: Package) -> Result<Option<WantedCrate>, CargoLockError> {
    let invalid = |reason| CargoLockError::Invalid { line: package.line, reason };
    let name = package.name.ok_or(invalid("the package has no name"))?;
    let version = package.version.ok_or(invalid("the package has no version"))?;
    check_crate(name, version).map_err(|_| invalid("the package has no valid name and version"))?;
    let Some(source) = package.source else { return Ok(None) };
    if !source.starts_with("registry+") && !source.starts_with("sparse+") {
        return Err(CargoLockError::Git(name.to_owned()));
    }
    let mut sha256 = [0; 32];
    let checksum = package.checksum.ok_or(invalid("the crate has no checksum"))?;
    hex::decode_to_slice(checksum, &mut sha256).map_err(|_| invalid("the crate's checksum is not a SHA-256"))?;
    let wanted = Wanted { sha256, size_bytes: None };
    Ok(Some(WantedCrate { name: name.to_owned(), version: version.to_owned(), wanted }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn lock(source: &str, checksum: &str) -> String {
        format!(
            "# generated\nversion = 4\n\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\ndependencies = [\n \"b\",\n]\n\n\
             [[package]]\nname = \"b\"\nversion = \"1.0.0+x\"\n{source}{checksum}\n\
             [[package]]\nname = \"a\"\nversion = \"2.0.0\"\nsource = \"registry+r\"\nchecksum = \"{HASH}\"\n\n[metadata]\nname = \"z\"\n"
        )
    }

    #[test]
    fn crates_of_the_registry_are_found_in_order() {
        let checksum = format!("checksum = \"{HASH}\"\n");
        let crates = parse(&lock("source = \"sparse+r\"\n", &checksum)).expect("valid");
        let names: Vec<String> = crates.iter().map(|c| format!("{} {}", c.name, c.version)).collect();
        assert_eq!(names, ["a 2.0.0", "b 1.0.0+x"]);
        assert_eq!(hex::encode(crates[0].wanted.sha256), HASH);
    }

    #[test]
    fn what_cannot_be_locked_says_where() {
        let no_checksum = parse(&lock("source = \"registry+r\"\n", "")).expect_err("no checksum");
        assert_eq!(no_checksum, CargoLockError::Invalid { line: 11, reason: "the crate has no checksum" });
        assert_eq!(parse(&lock("source = \"git+g\"\n", "")).expect_err("git"), CargoLockError::Git("b".to_owned()));
        assert!(parse("[[package]]\nname = \"../x\"\nversion = \"1\"\n").is_err());
        assert!(parse("[[package]]\nname = \"x\\\"\"\n").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\[\\[package\\]\\]\n|name = \"|\"\n|source = |[a-z\" =\\[\\]é]|\n){0,40}") {
            let _ = parse(&text);
        }
    }
}
