//! Single values that configuration files have of their own: sizes, modes, dates, digests, paths.
//!
//! Invariant: each is checked where it is read, so the rest of `config` never sees a bad one.

use crate::config::diagnostic::suggest;
use crate::config::record::{parsed, Decode, Problems, Shape};
use crate::config::yaml::Node;
use crate::model::RelPath;

/// The version of the format of a file.
#[derive(Clone, Copy, Debug)]
pub struct Schema;

impl Decode for Schema {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let version = u32::decode(node, problems)?;
        if version == 1 {
            return Some(Schema);
        }
        let message = format!("this osbuild reads schema 1, not {version}");
        let help = "write `schema: 1`, or use the osbuild this file was written for";
        problems.add(crate::config::Diagnostic::at(&node.origin, message).help(help));
        None
    }
    fn shape() -> Shape {
        Shape::Integer { minimum: 1, maximum: 1 }
    }
}

/// Bytes, written `512K`, `48M` or `1G`; partitions are whole MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// A path on the device, written with the leading `/`.
#[derive(Clone, Debug)]
pub struct DevicePath(pub RelPath);

/// A path inside a source tree; `.` is the tree itself.
#[derive(Clone, Debug)]
pub struct SourcePath(pub Option<RelPath>);

/// A pattern over paths on the device.
#[derive(Clone, Debug)]
pub struct Pattern(pub String);

/// Permission bits in octal.
#[derive(Clone, Copy, Debug)]
pub struct Mode(pub u32);

/// 64 lower-case hex digits.
#[derive(Clone, Debug)]
pub struct Sha256(pub String);

/// `YYYY-MM-DD`.
#[derive(Clone, Debug)]
pub struct Date(pub String);

/// An SPDX licence expression.
#[derive(Clone, Debug)]
pub struct License(pub String);

/// Text, or a number or boolean taken as it is written.
#[derive(Clone, Debug)]
pub struct Word(pub String);

/// A name of users, groups and services on the device.
#[derive(Clone, Debug)]
pub struct Account(pub String);

impl Decode for Word {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        match node.text() {
            Some(text) if !node.is_nothing() => Some(Word(text.to_owned())),
            _ => {
                problems.wrong_type(node, "text");
                None
            }
        }
    }
    fn shape() -> Shape {
        Shape::Text { what: "text, a number or a boolean", pattern: None }
    }
}

impl Decode for Mode {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        // Octal digits are octal with and without quotes; nobody means decimal.
        let digits = node.text().filter(|text| (3..=5).contains(&text.len()));
        match digits.and_then(|digits| u32::from_str_radix(digits, 8).ok()) {
            Some(mode) if mode <= 0o7777 => Some(Mode(mode)),
            _ if problems.defers(node) => None,
            _ => {
                let message = format!("expected a mode in octal, found {}", node.describe());
                problems.add(crate::config::Diagnostic::at(&node.origin, message).help("such as \"0755\" or \"4755\""));
                None
            }
        }
    }
    fn shape() -> Shape {
        Shape::Text { what: "a mode in octal, such as \"4755\"", pattern: Some("^[0-7]{3,5}$") }
    }
}

parsed! {
    Size, "a size such as `48M`", Some("^[0-9]+[KMG]?$|\\{[{%]"), size;
    DevicePath, "a path on the device, such as `/usr/bin/su`", Some("^/|\\{[{%]"), device_path;
    SourcePath, "a path inside the source tree, or `.`", None, source_path;
    Pattern, "a pattern over paths on the device, such as `/usr/lib/*.so*`", Some("^/|\\{[{%]"), pattern;
    Sha256, "a SHA-256: 64 lower-case hex digits", Some("^[0-9a-f]{64}$|\\{[{%]"), sha256;
    License, "an SPDX licence expression, such as `MIT OR Apache-2.0`", None, license;
    Date, "a day, `YYYY-MM-DD`", Some("^[0-9]{4}-[0-9]{2}-[0-9]{2}$|\\{[{%]"), date;
    Account, "a name: a-z, digits, `_` and `-`", Some("^[a-z_][a-z0-9_-]{0,30}$|\\{[{%]"), account;
}

fn size(text: &str) -> Result<Size, String> {
    let split = text.len() - text.bytes().rev().take_while(u8::is_ascii_alphabetic).count();
    let shift = match &text[split..] {
        "" => Some(0),
        "K" | "KiB" => Some(10),
        "M" | "MiB" => Some(20),
        "G" | "GiB" => Some(30),
        _ => None,
    };
    let number = text[..split].bytes().all(|b| b.is_ascii_digit()).then(|| text[..split].parse::<u64>().ok()).flatten();
    number
        .zip(shift)
        .and_then(|(number, shift)| number.checked_mul(1 << shift))
        .map(Size)
        .ok_or_else(|| format!("`{text}` is not a size: write a number and K, M or G, such as `48M`"))
}

fn device_path(text: &str) -> Result<DevicePath, String> {
    let hint = || format!("`{text}` is not a path on the device: it must begin with `/` and have no `.` or `..`");
    RelPath::from_absolute(text).map(DevicePath).map_err(|_| hint())
}

fn source_path(text: &str) -> Result<SourcePath, String> {
    match text {
        "." => Ok(SourcePath(None)),
        _ => RelPath::new(text).map(|path| SourcePath(Some(path))).map_err(|error| error.to_string()),
    }
}

fn pattern(text: &str) -> Result<Pattern, String> {
    match text.strip_prefix('/') {
        Some(rest) if !rest.is_empty() && !rest.split('/').any(|part| part == ".." || part == ".") => {
            Ok(Pattern(text.to_owned()))
        }
        _ => Err(format!("`{text}` is not a pattern: it must begin with `/`, such as `/usr/bin/*`")),
    }
}

fn sha256(text: &str) -> Result<Sha256, String> {
    match crate::model::Digest::from_hex(text, 0) {
        Ok(_) => Ok(Sha256(text.to_owned())),
        Err(_) => Err(format!("`{text}` is not a SHA-256: expected 64 lower-case hex digits, found {}", text.len())),
    }
}

/// SPDX 2.3, annex D. Ids that SPDX has withdrawn are not accepted: most of them say too little, as `GPL-2.0` does.
fn license(text: &str) -> Result<License, String> {
    let Err(error) = spdx::Expression::parse(text) else { return Ok(License(text.to_owned())) };
    let wrong = text.get(error.span.clone()).filter(|wrong| !wrong.is_empty()).unwrap_or(text);
    let known = spdx::identifiers::LICENSES.iter().filter(|license| license.flags & spdx::flags::IS_DEPRECATED == 0);
    let imprecise = spdx::imprecise_license_id(wrong).map(|(id, _)| id.name).filter(|name| *name != wrong);
    let hint = match imprecise {
        Some(name) => Some(format!("did you mean `{name}`?")),
        None => suggest(wrong, known.map(|license| license.name)),
    };
    let hint = hint.unwrap_or_else(|| "licences that SPDX does not list are `LicenseRef-NAME`".to_owned());
    Err(format!("`{text}` is not an SPDX licence expression: see `{wrong}`; {hint}"))
}

fn date(text: &str) -> Result<Date, String> {
    let parts: Vec<&str> = text.split('-').collect();
    let number = |text: &str, digits: usize| {
        (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<u32>().ok()).flatten()
    };
    if let [year, month, day] = parts[..] {
        if let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2)) {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let days = match month {
                2 => 28 + u32::from(leap),
                4 | 6 | 9 | 11 => 30,
                1..=12 => 31,
                _ => 0,
            };
            if (1..=days).contains(&day) {
                return Ok(Date(text.to_owned()));
            }
        }
    }
    Err(format!("`{text}` is not a day: write `YYYY-MM-DD`"))
}

fn account(text: &str) -> Result<Account, String> {
    let first = |b: u8| b.is_ascii_lowercase() || b == b'_';
    let body = |b: u8| first(b) || b.is_ascii_digit() || b == b'-';
    if text.len() <= 31 && text.bytes().next().is_some_and(first) && text.bytes().all(body) {
        return Ok(Account(text.to_owned()));
    }
    Err(format!("`{text}` is not a name: use 1 to 31 of a-z, 0-9, `_` and `-`, starting with a letter or `_`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        for (text, bytes) in [("1", 1), ("4K", 4096), ("48M", 48 << 20), ("1G", 1 << 30), ("2GiB", 2 << 30)] {
            assert_eq!(size(text).map(|size| size.0), Ok(bytes), "{text}");
        }
        for bad in ["", "M", "1T", "1.5G", "-1M", "1 M", "99999999999999999999", "18446744073709551615G"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn licences_are_those_of_spdx() {
        for good in
            ["MIT", "curl", "(MIT OR Apache-2.0) AND Zlib", "GPL-2.0-only WITH Linux-syscall-note", "LicenseRef-Own"]
        {
            assert!(license(good).is_ok(), "{good}");
        }
        for (bad, hint) in [
            ("MTI", "see `MTI`; did you mean `MIT`?"),
            ("GPL-2.0", "see `GPL-2.0`; did you mean `GPL-2.0-only`?"),
            ("Apache 2.0", "did you mean `Apache-2.0`?"),
            ("MIT, Zlib", "`MIT, Zlib` is not an SPDX licence expression"),
            ("MIT AND", "is not an SPDX licence expression"),
            ("Own Licence of Ours", "is not an SPDX licence expression"),
            ("", "is not an SPDX licence expression"),
        ] {
            let error = license(bad).map(|_| ()).expect_err(bad);
            assert!(error.contains(hint), "{bad}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_licence_makes_it_panic(text in "([ ()+:/A-Z.é-]|MIT|GPL-2.0| AND | WITH |LicenseRef-){0,12}") {
            let _ = license(&text);
        }
    }

    #[test]
    fn days_exist() {
        for good in ["2031-12-31", "2028-02-29"] {
            assert!(date(good).is_ok(), "{good}");
        }
        for bad in ["2031-02-29", "2031-13-01", "2031-1-1", "31.12.2031", "2031-00-10", "2031-01-00"] {
            assert!(date(bad).is_err(), "{bad}");
        }
    }
}
