//! What is written reads back; what is damaged is named.

use super::*;
use crate::config::yaml::scalar;
use proptest::prelude::*;

fn sample(packages: usize) -> Lock {
    let package = |index: usize| LockedPackage {
        name: format!("lib{index}+x"),
        version: format!("1:{index}.2~rc1-3+b1"),
        pool_path: format!("pool/main/l/lib{index}/lib{index}_2%7e_amd64.deb"),
        digest: Digest::of(index.to_string().as_bytes()),
    };
    let krate = LockedCrate { name: "serde".into(), version: "1.0.2".into(), digest: Digest::of(b"serde") };
    let request =
        TreeRequest { packages: vec!["g++".into(), "erofs-utils/bookworm-backports".into()], exclude: vec![] };
    Lock {
        requests: [(ToolTreeName::new("c").expect("valid"), request)].into(),
        cargo_locks: [("Cargo.lock".to_owned(), Digest::of(b"lock").hex())].into(),
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
        "schema: 1\ntools:\n  c:\n    - {name: a, version: \"1\", file: pool/x, size: 1, sha256: zz}\n    - {nam: a}\n";
    let shown = parse(text, "osbuild.lock").expect_err("damaged").to_string();
    assert!(shown.contains("unknown field `nam` in locked package\n --> osbuild.lock:5:8"), "{shown}");
    assert!(shown.contains("did you mean `name`?"), "{shown}");
    let text = "schema: 1\ntools:\n  c:\n    - {name: a, version: \"1\", file: pool/x, size: 1, sha256: zz}\n";
    let shown = parse(text, "osbuild.lock").expect_err("damaged").to_string();
    assert!(shown.contains("`zz` is not a SHA-256") && shown.contains("osbuild lock"), "{shown}");
}

#[test]
fn names_that_could_lead_elsewhere_are_refused_with_their_line() {
    let hex = Digest::of(b"x").hex();
    let deb = |name: &str, version: &str, file: &str| {
        let name = scalar(name);
        format!("schema: 1\ntools:\n  c:\n    - {{name: {name}, version: \"{version}\", file: {file}, size: 1, sha256: \"{hex}\"}}\n")
    };
    let krate = |name: &str, version: &str| {
        let name = scalar(name);
        format!("schema: 1\ncrates:\n  Cargo.lock:\n    - {{name: {name}, version: \"{version}\", size: 1, sha256: \"{hex}\"}}\n")
    };
    assert!(parse(&deb("a", "1", "pool/a.deb"), "osbuild.lock").is_ok());
    let long = "a".repeat(300);
    for (text, expected) in [
        (krate("../bitflags", "1.0.0"), "`../bitflags` is not the name of a crate"),
        (krate("bitflags", "../1"), "`../1` is not the version of a crate"),
        (krate("", "1.0.0"), "`` is not the name of a crate"),
        (krate(&long, "1.0.0"), "is not the name of a crate"),
        (deb("../a", "1", "pool/a.deb"), "`../a` is not the name of a Debian package"),
        (deb("a", "1/..", "pool/a.deb"), "`1/..` is not the version of a Debian package"),
        (deb("a", &long, "pool/a.deb"), "is not the version of a Debian package"),
        (deb("a", "1", "pool/../../a.deb"), "`pool/../../a.deb` is not a path of the Debian archive"),
        (deb("a", "1", "dists/a.deb"), "`dists/a.deb` is not a path of the Debian archive"),
        (deb("a", "1", "pool/a?b"), "`pool/a?b` is not a path of the Debian archive"),
    ] {
        let shown = parse(&text, "osbuild.lock").expect_err(expected).to_string();
        assert!(shown.contains(expected) && shown.contains(" --> osbuild.lock:4:7"), "{shown}");
        assert!(shown.contains("`osbuild lock` writes this file anew"), "{shown}");
    }
}

proptest! {
    #[test]
    fn names_of_all_characters_that_are_allowed_read_back(
        name in "[a-zA-Z0-9][a-zA-Z0-9+.-]{0,12}",
        version in "[a-zA-Z0-9][a-zA-Z0-9+.:~-]{0,12}",
        asked in "\\PC{0,12}",
    ) {
        let mut lock = sample(1);
        lock.requests.values_mut().for_each(|request| request.exclude = vec![asked.clone()]);
        for package in lock.tool_trees.values_mut().flatten() {
            package.name.clone_from(&name);
            package.version.clone_from(&version);
        }
        prop_assert_eq!(parse(&emit(&lock), "osbuild.lock"), Ok(lock));
    }
}
