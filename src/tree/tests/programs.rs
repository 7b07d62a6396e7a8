//! What programs need: interpreters and libraries, and the packages that bring them.

use super::Fixture;
use serde_json::json;

const FIXED: u8 = 2;
const MOVABLE: u8 = 3;
const LOADER: &str = "/lib/ld.so.1";

/// A program of type `kind` (ELF `e_type`) with an interpreter and one library. No byte is above 0x7f, so it is
/// text, too: parts stand at multiples of 256.
fn program(kind: u8, library: &str) -> String {
    program_with(kind, library, 5)
}

/// Its one segment has `rights`: 1 to execute, 2 to write, 4 to read.
fn program_with(kind: u8, library: &str, rights: u64) -> String {
    let mut bytes = vec![0_u8; 0x400];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let word = |value: u64| value.to_le_bytes();
    put(0, b"\x7fELF\x02\x01\x01");
    // e_type, e_machine (x86-64), e_version; e_phoff; e_ehsize, e_phentsize, e_phnum.
    put(16, &[kind, 0, 62, 0, 1]);
    put(32, &word(64));
    put(52, &[64, 0, 56, 0, 3]);
    let mut segment = |index: usize, kind: u64, at: u64, size: u64| {
        for (field, value) in [kind, at, at, at, size, size].into_iter().enumerate() {
            put(64 + index * 56 + field * 8, &word(value));
        }
    };
    let interpreter = LOADER.len() as u64 + 1;
    segment(0, 3, 0x300, interpreter);
    segment(1, 1 | rights << 32, 0, 0x400);
    segment(2, 2, 0x200, 0x40);
    // A string table of the library's name alone, and the dynamic section: needed, strings, their size, end.
    put(0x101, library.as_bytes());
    for (index, value) in [1, 1, 5, 0x100, 10, 0x60, 0, 0].into_iter().enumerate() {
        put(0x200 + index * 8, &word(value));
    }
    put(0x300, LOADER.as_bytes());
    format!("*{}", String::from_utf8(bytes).expect("ASCII"))
}

/// `tool` needs the loader of `libc`, which `lib` depends on, and a library of `lib`.
fn with_tool(kind: u8, library: &str) -> Fixture {
    let mut fixture = Fixture::new();
    fixture.package("libc", &[("lib/ld.so.1", "*loader")]);
    fixture.package("lib", &[("usr/lib/libx.so.1.2", "so"), ("usr/lib/libx.so.1", "-> libx.so.1.2")]);
    fixture.parameters["packages"][3]["run_depends"] = json!(["libc"]);
    fixture.package("tool", &[("usr/bin/tool", &program(kind, library))]);
    fixture
}

#[test]
fn a_library_that_is_there_by_chance_is_an_error_that_names_both_packages() {
    let mut fixture = with_tool(MOVABLE, "libx.so.1");
    let needs = "`/usr/bin/tool` of package `tool` needs";
    let expected = [
        format!("{needs} a library of package `lib`, on which it does not depend: `libx.so.1`\n  help: add `lib` to `run-depends` of package `tool`"),
        format!("{needs} an interpreter of package `libc`, on which it does not depend: `/lib/ld.so.1`\n  help: add `libc` to `run-depends` of package `tool`"),
    ];
    assert_eq!(fixture.problems(), expected);
    // What a dependency depends on is there as well.
    fixture.parameters["packages"][4]["run_depends"] = json!(["lib"]);
    assert_eq!(fixture.problems(), [""; 0]);
}

#[test]
fn every_package_with_a_program_must_depend_on_what_it_needs_and_any_that_has_it_will_do() {
    let mut fixture = with_tool(MOVABLE, "libx.so.1");
    fixture.parameters["packages"][4]["run_depends"] = json!(["lib"]);
    fixture.package("twin", &[("usr/bin/tool", &program(MOVABLE, "libx.so.1"))]);
    fixture.parameters["packages"][5]["run_depends"] = json!(["libc", "other-lib"]);
    fixture.package("other-lib", &[("usr/share/other", "x")]);
    let problems = fixture.problems();
    assert!(
        matches!(&problems[..], [one] if one.contains("of package `twin` needs a library of package `lib`")),
        "{problems:#?}"
    );
    fixture.packages[6].1.push(("usr/lib/libx.so.1.2".to_owned(), "so".to_owned()));
    assert_eq!(fixture.problems(), [""; 0]);
}

#[test]
fn a_script_depends_on_its_interpreter() {
    let mut fixture = Fixture::new();
    fixture.parameters["product"]["production"] = json!(false);
    fixture.package("shell", &[("bin/sh", "*shell"), ("bin/env", "*env"), ("bin/lua", "*lua")]);
    fixture.package("scripts", &[("usr/bin/a", "*#!/bin/sh\n"), ("usr/bin/b", "*#!/usr/bin/env lua\n")]);
    let problems = fixture.problems();
    for part in ["`/bin/sh`", "`/usr/bin/env`", "`lua`"] {
        let expected = format!("an interpreter of package `shell`, on which it does not depend: {part}");
        assert!(problems.iter().any(|problem| problem.contains(&expected)), "{expected}\nin {problems:#?}");
    }
    // A skeleton belongs to the product, which names its packages itself.
    let mut fixture = Fixture::new();
    fixture.parameters["product"]["production"] = json!(false);
    fixture.package("shell", &[("bin/sh", "*shell")]);
    fixture.skeleton(&[("usr/bin/a", "*#!/bin/sh\n")]);
    assert_eq!(fixture.problems(), [""; 0]);
}

#[test]
fn a_program_at_a_fixed_address_is_an_error_that_names_it() {
    let mut fixture = with_tool(FIXED, "libx.so.1");
    fixture.parameters["packages"][4]["run_depends"] = json!(["lib"]);
    let problems = fixture.problems();
    let expected = "`/usr/bin/tool` of package `tool` is not position-independent\n  help: link it with `-pie`";
    assert!(matches!(&problems[..], [one] if one.starts_with(expected)), "{problems:#?}");
}

#[test]
fn a_program_that_could_run_what_it_writes_is_an_error_that_names_it() {
    let mut fixture = with_tool(MOVABLE, "libx.so.1");
    fixture.parameters["packages"][4]["run_depends"] = json!(["lib"]);
    fixture.packages[4].1[0].1 = program_with(MOVABLE, "libx.so.1", 7);
    let problems = fixture.problems();
    let expected =
        "`/usr/bin/tool` of package `tool` has memory that is written and executed both\n  help: link it with `-z";
    assert!(matches!(&problems[..], [one] if one.starts_with(expected)), "{problems:#?}");
}
