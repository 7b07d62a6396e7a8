//! `osbuild.lock`: YAML in, a [`Lock`] out, and back, one line per package so that diffs are readable.
//!
//! Invariant: `emit` is canonical: equal locks give equal bytes, and `parse` gives the lock back.

use super::diagnostic::{Diagnostic, Diagnostics, Sources};
use super::record::{record, Decode, Problems};
use super::yaml::{self, scalar, Limits};
use crate::model::lock::{Lock, LockedCrate, LockedPackage};
use crate::model::{Digest, Origin, ToolTreeName};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

record! {
    /// The exact bytes of every source and tool package. `osbuild lock` writes it; keep it in version control.
    pub struct LockFile as "lock" {
        /// Version of this format: 1.
        "schema" schema: u32,
        /// The Debian packages of each tool tree.
        "tools" tools: BTreeMap<String, Vec<PackageLine>>,
        /// Size in bytes of each source, by its SHA-256.
        "sources" sources: BTreeMap<String, u64>,
        /// The crates behind each `Cargo.lock`, by its path.
        "crates" crates: BTreeMap<String, Vec<CrateLine>>,
    }
}

record! {
    /// A Debian package.
    pub struct PackageLine as "locked package" {
        /// Its name in the archive.
        "name" name: String,
        /// Its version in the archive.
        "version" version: String,
        /// Path below the archive's root.
        "file" file: String,
        /// Size in bytes.
        "size" size: u64,
        /// SHA-256, 64 lower-case hex digits.
        "sha256" sha256: String,
    }
}

record! {
    /// A crate.
    pub struct CrateLine as "locked crate" {
        /// Its name in the registry.
        "name" name: String,
        /// Its version.
        "version" version: String,
        /// Size of the `.crate` file in bytes.
        "size" size: u64,
        /// SHA-256 of the `.crate` file, 64 lower-case hex digits.
        "sha256" sha256: String,
    }
}

/// Reads a lock. `file` is its project path, for messages.
pub fn parse(text: &str, file: &str) -> Result<Lock, Diagnostics> {
    let file: Arc<str> = file.into();
    read(text, &file).map_err(|problems| {
        let rescue = |problem: Diagnostic| match problem.help {
            None => problem.help("`osbuild lock` writes this file anew"),
            Some(_) => problem,
        };
        let problems = problems.into_iter().map(rescue).collect();
        Diagnostics::new(problems, &Sources::from([(file.clone(), text.into())]))
    })
}

fn read(text: &str, file: &Arc<str>) -> Result<Lock, Vec<Diagnostic>> {
    let tree = yaml::parse(text, file, Limits::LOCK)?;
    let mut problems = Problems::default();
    let lines = LockFile::decode(&tree, &mut problems);
    let lock = lines.and_then(|lines| lock(lines, &mut problems));
    match lock {
        Some(lock) if problems.list.is_empty() => Ok(lock),
        _ => Err(problems.list),
    }
}

fn lock(lines: LockFile, problems: &mut Problems) -> Option<Lock> {
    if lines.schema != 1 {
        let message = format!("this lock has schema {}, and this osbuild reads schema 1", lines.schema);
        problems.add(Diagnostic::at(&lines.origin, message));
        return None;
    }
    let mut lock = Lock::default();
    for (name, packages) in lines.tools {
        let packages = packages.into_iter().filter_map(|line| package(line, problems)).collect();
        match ToolTreeName::new(&name) {
            Ok(name) => drop(lock.tool_trees.insert(name, packages)),
            Err(error) => problems.add(Diagnostic::at(&lines.origin, error.to_string())),
        }
    }
    for (sha256, size_bytes) in lines.sources {
        if digest(&sha256, size_bytes, &lines.origin, problems).is_some() {
            lock.source_sizes.insert(sha256, size_bytes);
        }
    }
    for (path, crates) in lines.crates {
        let locked = |line: CrateLine| {
            let digest = digest(&line.sha256, line.size, &line.origin, problems)?;
            Some(LockedCrate { name: line.name, version: line.version, digest })
        };
        lock.crates.insert(path, crates.into_iter().filter_map(locked).collect());
    }
    Some(lock)
}

fn package(line: PackageLine, problems: &mut Problems) -> Option<LockedPackage> {
    let digest = digest(&line.sha256, line.size, &line.origin, problems)?;
    Some(LockedPackage { name: line.name, version: line.version, pool_path: line.file, digest })
}

fn digest(hex: &str, size_bytes: u64, origin: &Origin, problems: &mut Problems) -> Option<Digest> {
    match Digest::from_hex(hex, size_bytes) {
        Ok(digest) => Some(digest),
        Err(_) => {
            let message = format!("`{hex}` is not a SHA-256: expected 64 lower-case hex digits");
            problems.add(Diagnostic::at(origin, message));
            None
        }
    }
}

/// The text of `lock`.
pub fn emit(lock: &Lock) -> String {
    let mut text = String::from("# Written by `osbuild lock`; keep it in version control.\nschema: 1\n");
    // Writing to a string cannot fail.
    if !lock.tool_trees.is_empty() {
        text.push_str("tools:\n");
    }
    for (name, packages) in &lock.tool_trees {
        let _ = writeln!(text, "  {}:{}", scalar(name.as_str()), if packages.is_empty() { " []" } else { "" });
        for package in packages {
            let LockedPackage { name, version, pool_path, digest } = package;
            let (name, version, file) = (scalar(name), quoted(version), scalar(pool_path));
            let _ = writeln!(
                text,
                "    - {{name: {name}, version: {version}, file: {file}, size: {}, sha256: \"{}\"}}",
                digest.size_bytes,
                digest.hex()
            );
        }
    }
    if !lock.source_sizes.is_empty() {
        text.push_str("sources:\n");
    }
    for (sha256, size_bytes) in &lock.source_sizes {
        let _ = writeln!(text, "  \"{sha256}\": {size_bytes}");
    }
    if !lock.crates.is_empty() {
        text.push_str("crates:\n");
    }
    for (path, crates) in &lock.crates {
        let _ = writeln!(text, "  {}:{}", scalar(path), if crates.is_empty() { " []" } else { "" });
        for LockedCrate { name, version, digest } in crates {
            let (name, version) = (scalar(name), quoted(version));
            let (size, hex) = (digest.size_bytes, digest.hex());
            let _ = writeln!(text, "    - {{name: {name}, version: {version}, size: {size}, sha256: \"{hex}\"}}");
        }
    }
    text
}

/// Versions are in quotes always, so that a diff shows the version only.
fn quoted(version: &str) -> String {
    let plain = version.bytes().all(|b| b.is_ascii_alphanumeric() || b".+~:-_".contains(&b));
    if plain {
        format!("\"{version}\"")
    } else {
        scalar(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(packages: usize) -> Lock {
        let package = |index: usize| LockedPackage {
            name: format!("lib{index}+x"),
            version: format!("1:{index}.2~rc1-3+b1"),
            pool_path: format!("pool/main/l/lib{index}/lib{index}_2%7e_amd64.deb"),
            digest: Digest::of(index.to_string().as_bytes()),
        };
        let krate = LockedCrate { name: "serde".into(), version: "1.0.2".into(), digest: Digest::of(b"serde") };
        Lock {
            tool_trees: [(ToolTreeName::new("c").expect("valid"), (0..packages).map(package).collect())].into(),
            source_sizes: [(Digest::of(b"zlib").hex(), 77)].into(),
            crates: [("Cargo.lock".to_owned(), vec![krate]), ("empty/Cargo.lock".to_owned(), vec![])].into(),
        }
    }

    #[test]
    fn a_lock_reads_back() {
        let lock = sample(3);
        assert_eq!(parse(&emit(&lock), "osbuild.lock"), Ok(lock));
        assert_eq!(parse(&emit(&Lock::default()), "osbuild.lock"), Ok(Lock::default()));
    }

    #[test]
    fn our_own_lock_is_as_we_would_write_it() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("osbuild.lock");
        let text = crate::io::file::read_text(&path).expect("the lock of this repository");
        let lock = parse(&text, "osbuild.lock").unwrap_or_else(|problems| panic!("{problems}"));
        assert!(!lock.tool_trees.is_empty() && emit(&lock) == text, "run `osbuild lock`");
    }

    #[test]
    fn the_text_is_one_line_a_package() {
        let text = emit(&sample(1));
        let line = text.lines().find(|line| line.contains("lib0")).expect("a line");
        assert_eq!(
            line,
            "    - {name: lib0+x, version: \"1:0.2~rc1-3+b1\", file: pool/main/l/lib0/lib0_2%7e_amd64.deb, size: 1, \
             sha256: \"5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9\"}"
        );
    }

    #[test]
    fn a_damaged_lock_says_where_and_what_to_do() {
        let text =
            "schema: 1\ntools:\n  c:\n    - {name: a, version: \"1\", file: x, size: 1, sha256: zz}\n    - {nam: a}\n";
        let shown = parse(text, "osbuild.lock").expect_err("damaged").to_string();
        assert!(shown.contains("unknown field `nam` in locked package\n --> osbuild.lock:5:8"), "{shown}");
        assert!(shown.contains("did you mean `name`?"), "{shown}");
        let text = "schema: 1\ntools:\n  c:\n    - {name: a, version: \"1\", file: x, size: 1, sha256: zz}\n";
        let shown = parse(text, "osbuild.lock").expect_err("damaged").to_string();
        assert!(shown.contains("`zz` is not a SHA-256") && shown.contains("osbuild lock"), "{shown}");
    }

    proptest! {
        #[test]
        fn names_of_any_characters_read_back(name in "\\PC{0,12}", version in "[ -~]{0,12}") {
            let mut lock = sample(1);
            for package in lock.tool_trees.values_mut().flatten() {
                package.name.clone_from(&name);
                package.version.clone_from(&version);
            }
            prop_assert_eq!(parse(&emit(&lock), "osbuild.lock"), Ok(lock));
        }
    }
}
