//! The fuzz targets on seeds and changed seeds: what libFuzzer would find first is found by every `cargo test`.
//!
//! `OSBUILD_FUZZ_CASES=100000 cargo test --test fuzz archive` goes on for longer; `OSBUILD_FUZZ_CORPUS=fuzz/corpus`
//! writes the seeds down for libFuzzer.
#![allow(clippy::disallowed_methods)]

#[path = "../fuzz/src/lib.rs"]
mod targets;

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

/// One change of an input.
#[derive(Clone, Debug)]
enum Change {
    Bit {
        at: f64,
        bit: u8,
    },
    Byte {
        at: f64,
        value: u8,
    },
    /// Numbers that sizes and counts go wrong at.
    Number {
        at: f64,
        width: usize,
        value: u64,
    },
    Remove {
        at: f64,
        length: usize,
    },
    Repeat {
        at: f64,
        length: usize,
        times: usize,
    },
    Insert {
        at: f64,
        bytes: Vec<u8>,
    },
    /// Continues with another seed.
    Splice {
        at: f64,
        seed: usize,
    },
    Cut {
        at: f64,
    },
}

fn change() -> impl Strategy<Value = Change> {
    let at = 0.0..1.0f64;
    let number = prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(1 << 31), Just(i64::MAX as u64), 0..70_000u64];
    prop_oneof![
        (at.clone(), 0..8u8).prop_map(|(at, bit)| Change::Bit { at, bit }),
        (at.clone(), any::<u8>()).prop_map(|(at, value)| Change::Byte { at, value }),
        (at.clone(), prop_oneof![Just(2), Just(4), Just(8)], number).prop_map(|(at, width, value)| Change::Number {
            at,
            width,
            value
        }),
        (at.clone(), 1..64usize).prop_map(|(at, length)| Change::Remove { at, length }),
        (at.clone(), 1..64usize, 1..20usize).prop_map(|(at, length, times)| Change::Repeat { at, length, times }),
        (at.clone(), proptest::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, bytes)| Change::Insert { at, bytes }),
        (at.clone(), 0..64usize).prop_map(|(at, seed)| Change::Splice { at, seed }),
        at.prop_map(|at| Change::Cut { at }),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change, seeds: &[Vec<u8>]) {
    let place = |at: &f64, length: usize| (*at * length as f64) as usize;
    match change {
        Change::Bit { at, bit } if !bytes.is_empty() => {
            let at = place(at, bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Change::Byte { at, value } if !bytes.is_empty() => {
            let at = place(at, bytes.len());
            bytes[at] = *value;
        }
        Change::Number { at, width, value } if bytes.len() >= *width => {
            let at = place(at, bytes.len() - width);
            bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..*width]);
        }
        Change::Bit { .. } | Change::Byte { .. } | Change::Number { .. } => {}
        Change::Remove { at, length } => {
            let at = place(at, bytes.len());
            bytes.drain(at..bytes.len().min(at + length));
        }
        Change::Repeat { at, length, times } => {
            let at = place(at, bytes.len());
            let part = bytes[at..bytes.len().min(at + length)].repeat(*times);
            bytes.splice(at..at, part);
        }
        Change::Insert { at, bytes: new } => {
            let at = place(at, bytes.len());
            bytes.splice(at..at, new.iter().copied());
        }
        Change::Splice { at, seed } => {
            let from = &seeds[seed % seeds.len()];
            bytes.truncate(place(at, bytes.len()));
            bytes.extend(&from[place(at, from.len())..]);
        }
        Change::Cut { at } => bytes.truncate(place(at, bytes.len())),
    }
}

/// Where cargo-fuzz looks for inputs to start from.
fn keep_for_libfuzzer(name: &str, seeds: &[Vec<u8>]) {
    let Some(folder) = std::env::var_os("OSBUILD_FUZZ_CORPUS") else { return };
    let folder = std::path::Path::new(&folder).join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed).expect("written");
    }
}

/// Runs the seeds as they are, then `cases` changed ones and noise.
fn fuzz(name: &str, cases: u32) {
    let target = targets::TARGETS.iter().find(|target| target.name == name).expect("a target");
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "`{name}` has no seeds");
    keep_for_libfuzzer(name, &seeds);
    seeds.iter().for_each(|seed| (target.run)(seed));
    let cases = std::env::var("OSBUILD_FUZZ_CASES").map_or(cases, |text| text.parse().expect("a number"));
    let persistence = Some(Box::new(FileFailurePersistence::Off) as _);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: persistence, ..Config::default() });
    let changed = (any::<usize>(), proptest::collection::vec(change(), 0..6)).prop_map(|(seed, changes)| {
        let mut bytes = seeds[seed % seeds.len()].clone();
        changes.iter().for_each(|change| apply(&mut bytes, change, &seeds));
        bytes
    });
    let noise = proptest::collection::vec(any::<u8>(), 0..600);
    let inputs = prop_oneof![9 => changed, 1 => noise];
    runner
        .run(&inputs, |bytes| {
            (target.run)(&bytes);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("`{name}`: {failure}"));
}

macro_rules! targets {
    ($($name:ident $cases:literal)*) => {
        $(#[test] fn $name() { fuzz(stringify!($name), $cases); })*

        /// Here, and by libFuzzer.
        #[test]
        fn every_target_is_run() {
            let run = [$(stringify!($name)),*];
            let all: Vec<&str> = targets::TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(run[..], all[..]);
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
            let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("read");
            for name in all {
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
                let program = std::fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).expect(name);
                assert!(program.contains(&format!("osbuild_fuzz::run(\"{name}\", bytes)")), "{name}");
            }
        }
    };
}

targets! {
    app 1000 archive 500 config 500 control 2000 debian 600 device 2000 dhcp 2000 disk 100 dns 2000 elf 2000 esp 500 gpt 500
    kconfig 500 kernel 2000 manifest 1000 payload 1000 pe 300 records 300 repository 1000 resolver 2000 signing 1000 sntp 2000
    update 1000 varstore 1000
}
