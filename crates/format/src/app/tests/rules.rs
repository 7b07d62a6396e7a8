//! A manifest with one rule broken to the error that names it.

use super::{example, parse};
use crate::app::*;
use proptest::prelude::*;
use serde_json::{json, Value};

fn changed(pointer: &str, value: Value) -> Value {
    let mut manifest = example();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let parent = manifest.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}"));
    match parent {
        Value::Array(list) => list[name.parse::<usize>().expect("an index")] = value,
        other => other[name] = value,
    }
    manifest
}

#[test]
fn core_files_need_a_place() {
    let mut manifest = changed("/core_dumps", json!(true));
    assert!(parse(&manifest).is_ok());
    manifest["capabilities"]["storage_bytes"] = json!(0);
    assert!(parse(&manifest).expect_err("nowhere to go").contains("storage"));
}

#[test]
fn each_broken_rule_is_named() {
    let long = "x".repeat(5000);
    let connection = |host: &str, port: u16| json!([{"host": host, "port": port, "protocol": "tcp"}]);
    let many = |value: Value| Value::Array(vec![value; 65]);
    let two = |value: Value| json!([value, value]);
    let first = |pointer: &str| example().pointer(pointer).expect("there").clone();
    for (pointer, value, expected) in [
        ("/format", json!(2), "the manifest has: 2"),
        ("/surprise", json!(1), "unknown field"),
        ("/capabilities/surprise", json!(true), "unknown field"),
        ("/limits", json!({"memory": 1}), "unknown field"),
        ("/id", json!("Meter"), "`id` is not usable"),
        ("/id", json!("../meter"), "`id` is not usable"),
        ("/id", json!(""), "`id` is not usable"),
        ("/id", json!("meter-"), "`id` is not usable"),
        ("/id", json!("m".repeat(32)), "`id` is not usable"),
        ("/version", json!("1.0"), "MAJOR.MINOR.PATCH"),
        ("/version", json!("1.0.01"), "MAJOR.MINOR.PATCH"),
        ("/version", json!("1.0.4294967296"), "MAJOR.MINOR.PATCH"),
        ("/version", json!("1.0.0-rc1"), "MAJOR.MINOR.PATCH"),
        ("/title", json!(""), "`title` is not usable"),
        ("/title", json!("a\u{1b}[2J"), "`title` is not usable"),
        ("/architecture", json!("i686"), "x86_64 or aarch64"),
        ("/abi", json!({"Runtime": 1}), "`abi` is not usable"),
        ("/image/data_blocks", json!(0), "1 to 4194304"),
        ("/image/data_blocks", json!(1_u64 << 23), "1 to 4194304"),
        ("/image/root_hash", json!("AB".repeat(32)), "64 hexadecimal digits"),
        ("/image/root_hash", json!("ab".repeat(31)), "64 hexadecimal digits"),
        ("/image/salt", json!("abc"), "`image.salt` is not usable"),
        ("/image/salt", json!("ab".repeat(33)), "`image.salt` is not usable"),
        ("/argv", json!([]), "an absolute path"),
        ("/argv", json!(["meter"]), "an absolute path"),
        ("/argv", json!(["/a", "b\0"]), "no NUL"),
        ("/argv", json!(["/a", long]), "4096"),
        ("/argv", json!(vec!["/a"; 257]), "257 in `argv`"),
        ("/env", json!({"A=B": "x"}), "a variable's name"),
        ("/env", json!({"": "x"}), "a variable's name"),
        ("/env", json!({"A": "\0"}), "no NUL"),
        ("/capabilities/connect", connection("a b", 1), "a host name"),
        ("/capabilities/connect", connection("Broker.example", 1), "a host name"),
        ("/capabilities/connect", connection("-a.example", 1), "a host name"),
        ("/capabilities/connect", connection("a..b", 1), "a host name"),
        ("/capabilities/connect", connection("::1", 1), "a host name"),
        ("/capabilities/connect", connection("*", 1), "a host name"),
        ("/capabilities/connect", connection("10.0.0.0/8", 1), "a host name"),
        ("/capabilities/connect", connection("a.b", 0), "a port"),
        ("/capabilities/connect", many(json!({"host": "a", "port": 1, "protocol": "udp"})), "65 in `connect`"),
        ("/capabilities/connect", two(first("/capabilities/connect/0")), "twice: `broker.example:8883/Tcp`"),
        ("/capabilities/connect/0/protocol", json!("raw"), "unknown variant"),
        ("/capabilities/listen/0/port", json!(0), "a port"),
        ("/capabilities/listen/0/port", json!(65536), "invalid value"),
        ("/capabilities/listen/0/from", json!("everyone"), "unknown variant"),
        ("/capabilities/listen", two(first("/capabilities/listen/0")), "twice: `1883/Tcp`"),
        ("/capabilities/apps/0/app", json!("../broker"), "the id of an app"),
        ("/capabilities/apps/0/port", json!(0), "a port"),
        ("/capabilities/apps", two(first("/capabilities/apps/0")), "twice: `broker:1883/Tcp`"),
        ("/capabilities/storage_bytes", json!(-1), "invalid value"),
        ("/capabilities/devices", json!(["/dev/mem"]), "a logical name"),
        ("/capabilities/devices", json!(["../mem"]), "a logical name"),
        ("/capabilities/devices", json!(["A", "A"]), "twice: `A`"),
        ("/capabilities/interfaces/0/name", json!("eth0"), "a logical name"),
        ("/capabilities/interfaces/0/prefix", json!(31), "8 to 30"),
        ("/capabilities/interfaces/0/prefix", json!(0), "8 to 30"),
        ("/capabilities/interfaces/0/address", json!("fe80::1"), "invalid IPv4"),
        ("/limits", json!({"memory_bytes": 4096}), "at least 1 MiB"),
        ("/limits", json!({"cpu_percent": 0}), "`limits.cpu_percent`"),
        ("/limits", json!({"processes": 0}), "`limits.processes`"),
        ("/limits", json!({"processes": 32769}), "`limits.processes`"),
        ("/limits", json!({"files": 7}), "`limits.files`"),
        ("/health", json!({"watchdog": {"seconds": 0}}), "1 to 3600"),
        ("/health", json!({"tcp": {"port": 0, "seconds": 1}}), "a port"),
        ("/health", json!({"http": {}}), "unknown variant"),
        ("/ready", json!("soon"), "unknown variant"),
        ("/restart", json!("sometimes"), "unknown variant"),
        ("/crash_loop", json!({"ends": 0}), "1 to 100"),
        ("/crash_loop", json!({"window_seconds": 3601}), "1 to 3600"),
        ("/after", json!(["meter"]), "another app"),
        ("/after", json!(["broker", "broker"]), "twice: `broker`"),
        ("/stop_timeout_seconds", json!(0), "1 to 120"),
        ("/stop_timeout_seconds", json!(121), "1 to 120"),
    ] {
        let error = parse(&changed(pointer, value.clone())).expect_err(&format!("{pointer}: {value}"));
        assert!(error.contains(expected), "{pointer}: {value}: {error}");
    }
}

#[test]
fn what_is_at_its_limit_is_good() {
    for (pointer, value) in [
        ("/id", json!("m".repeat(31))),
        ("/id", json!("a")),
        ("/version", json!("0.0.4294967295")),
        ("/image/data_blocks", json!(1 << 22)),
        ("/image/salt", json!("")),
        ("/capabilities/connect/0/host", json!("10.0.2.2")),
        ("/capabilities/connect/0/host", json!("localhost")),
        ("/limits", json!({"memory_bytes": 1 << 20, "cpu_percent": 1, "processes": 1, "files": 8})),
        ("/stop_timeout_seconds", json!(120)),
        ("/capabilities", json!({})),
    ] {
        assert!(parse(&changed(pointer, value.clone())).is_ok(), "{pointer}: {value}");
    }
}

#[test]
fn too_long_a_manifest_is_not_parsed_and_not_written() {
    let spaces = vec![b' '; LIMIT_BYTES + 1];
    assert!(matches!(Manifest::from_json(&spaces), Err(ManifestError::TooLong(_))));
    let manifest = parse(&changed("/argv", json!(vec!["/".repeat(4000); 12]))).map_err(|error| error.contains("bytes"));
    assert!(matches!(manifest, Err(true)), "{manifest:?}");
    let mut long = parse(&example()).expect("the example is valid");
    long.argv = vec!["/".repeat(4000); 12];
    assert!(matches!(long.to_json(), Err(ManifestError::TooLong(_))));
}

#[test]
fn versions_are_compared_by_number() {
    assert!(parse_version("1.10.0") > parse_version("1.9.9"));
    for text in ["", "1", "1.2", "1.2.3.4", "a.b.c", "+1.0.0", "1.-2.3", " 1.2.3", "1.2.3\n", "01.2.3", "1..3"] {
        assert_eq!(parse_version(text), None, "{text:?}");
    }
}

#[test]
fn an_abi_that_the_system_lacks_is_named_with_what_it_has() {
    let missing = |name: &str, number| {
        let problems = abi::missing(&[(name.to_owned(), number)].into());
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(missing(abi::RUNTIME, 1).is_empty());
    assert_eq!(missing("runtime", 2), ["the app needs version 2 of the ABI `runtime`; this system has: 1"]);
    assert_eq!(missing("gpu", 1), ["the app needs the ABI `gpu`, which this system does not have; it has: `runtime`"]);
}

proptest! {
    #[test]
    fn any_text_is_a_version_or_not(text in "[0-9.+a-]{0,14}") {
        if let Some((major, minor, patch)) = parse_version(&text) {
            prop_assert_eq!(format!("{major}.{minor}.{patch}"), text);
        }
    }

    /// Both become names of files.
    #[test]
    fn an_id_is_one_component_of_a_path(text in any::<String>()) {
        if is_app_id(&text) || is_logical_name(&text) {
            prop_assert!(!text.is_empty() && !text.contains(['/', '.', '\0']) && text.is_ascii());
        }
    }

    #[test]
    fn any_bytes_are_a_manifest_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Manifest::from_json(&bytes).is_err());
    }

    #[test]
    fn a_manifest_with_one_character_changed_is_still_one_or_none(at in any::<prop::sample::Index>(), new in any::<u8>()) {
        let mut bytes = example().to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = new;
        if let Ok(manifest) = Manifest::from_json(&bytes) {
            let written = manifest.to_json().expect("what is valid can be written");
            prop_assert_eq!(Manifest::from_json(&written).expect("what is written can be read"), manifest);
        }
    }
}
