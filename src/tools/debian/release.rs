//! The signed text of a suite's `InRelease` in, the digests of its indexes out.
//!
//! How old is too old: main suites of a stable release name no end. Backports do, a week ahead; once a
//! suite is archived nobody signs it again. So a suite that has run out is reported, and refused only after
//! 30 days more, unless `OSBUILD_ACCEPT_EXPIRED_INDEX=1` says that it is archived: otherwise whoever
//! holds back updates could keep old packages in a lock for ever.
//!
//! Invariant: the index belongs to the suite that was asked for.

use super::stanza::{stanzas, StanzaError};
use crate::model::Digest;
use std::collections::BTreeMap;

const GRACE_SECONDS: i64 = 30 * 86_400;
pub const ACCEPT_VARIABLE: &str = "OSBUILD_ACCEPT_EXPIRED_INDEX";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub suite: String,
    pub valid_until: Option<String>,
    pub by_hash: bool,
    /// By path below the suite's folder.
    pub indexes: BTreeMap<String, Digest>,
}

#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error("the index is not valid")]
    Stanza(#[from] StanzaError),
    #[error("the index has no valid field `{0}`")]
    Field(&'static str),
    #[error("the index is that of suite `{found}`, not of `{wanted}`")]
    WrongSuite { found: String, wanted: String },
    #[error("the index of suite `{suite}` ended more than 30 days ago, on {valid_until}; if the suite is archived, set {ACCEPT_VARIABLE}=1, else use another mirror")]
    Expired { suite: String, valid_until: String },
}

/// Reads the text, which must be that of `suite`.
pub fn parse(text: &str, suite: &str) -> Result<Release, ReleaseError> {
    let stanza = stanzas(text).next().ok_or(ReleaseError::Field("Codename"))??;
    let field = |name: &'static str| stanza.get(name).ok_or(ReleaseError::Field(name));
    let found = field("Codename")?;
    if found != suite {
        return Err(ReleaseError::WrongSuite { found: found.to_owned(), wanted: suite.to_owned() });
    }
    let mut indexes = BTreeMap::new();
    for line in field("SHA256")?.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let (Some(hash), Some(size), Some(path)) = (words.next(), words.next(), words.next()) else {
            return Err(ReleaseError::Field("SHA256"));
        };
        let size = size.parse().map_err(|_| ReleaseError::Field("SHA256"))?;
        let digest = Digest::from_hex(hash, size).map_err(|_| ReleaseError::Field("SHA256"))?;
        indexes.insert(path.to_owned(), digest);
    }
    Ok(Release {
        suite: suite.to_owned(),
        valid_until: stanza.get("Valid-Until").map(str::to_owned),
        by_hash: stanza.get("Acquire-By-Hash") == Some("yes"),
        indexes,
    })
}

impl Release {
    /// A note when the index has run out at `now` (seconds since the epoch), an error when long ago.
    pub fn check_age(&self, now: i64, accept_expired: bool) -> Result<Option<String>, ReleaseError> {
        let Some(valid_until) = &self.valid_until else { return Ok(None) };
        let end = seconds(valid_until).ok_or(ReleaseError::Field("Valid-Until"))?;
        if now <= end {
            return Ok(None);
        }
        if now > end + GRACE_SECONDS && !accept_expired {
            return Err(ReleaseError::Expired { suite: self.suite.clone(), valid_until: valid_until.clone() });
        }
        Ok(Some(format!("the index of suite `{}` ran out on {valid_until}", self.suite)))
    }
}

/// Seconds since the epoch of `Sat, 11 Jul 2026 10:16:37 UTC`.
fn seconds(date: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = date.split_whitespace().collect();
    let [_, day, month, year, time, "UTC" | "GMT" | "+0000"] = words[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? as i64;
    let (day, year): (i64, i64) = (day.parse().ok()?, year.parse().ok()?);
    let clock: Vec<i64> = time.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [hours, minutes, seconds] = clock[..] else { return None };
    let sane = (1970..10_000).contains(&year) && (1..=31).contains(&day);
    let sane = sane && (0..24).contains(&hours) && (0..60).contains(&minutes) && (0..=60).contains(&seconds);
    if !sane {
        return None;
    }
    // Years are counted from March, so that the leap day is the last of its year.
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469;
    Some(days * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Origin: Debian\nCodename: bookworm-backports\nDate: Sun, 22 Nov 2026 02:09:05 UTC\n\
        Valid-Until: Sun, 29 Nov 2026 02:09:05 UTC\nAcquire-By-Hash: yes\nSHA256:\n \
        ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad       3 main/binary-amd64/Packages.xz\n";

    #[test]
    fn the_index_of_another_suite_is_refused() {
        let release = parse(TEXT, "bookworm-backports").expect("valid");
        assert_eq!(release.indexes["main/binary-amd64/Packages.xz"], Digest::of(b"abc"));
        assert!(matches!(parse(TEXT, "bookworm"), Err(ReleaseError::WrongSuite { .. })));
        assert!(matches!(parse(&TEXT.replace("ba78", "BA78"), "bookworm-backports"), Err(ReleaseError::Field(_))));
    }

    #[test]
    fn an_index_that_has_run_out_is_reported_and_later_refused() {
        let release = parse(TEXT, "bookworm-backports").expect("valid");
        let end = 1_795_918_145;
        assert_eq!(release.check_age(end, false).expect("valid"), None);
        assert!(release.check_age(end + 1, false).expect("a note").is_some());
        assert!(matches!(release.check_age(end + GRACE_SECONDS + 1, false), Err(ReleaseError::Expired { .. })));
        assert!(release.check_age(end + GRACE_SECONDS + 1, true).expect("a note").is_some());
    }

    #[test]
    fn dates_are_seconds_since_the_epoch() {
        for (date, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 UTC", Some(0)),
            ("Thu, 29 Feb 2024 23:59:59 UTC", Some(1_709_251_199)),
            ("Sun, 29 Nov 2026 02:09:05 UTC", Some(1_795_918_145)),
            ("Sun, 29 Nov 2026 02:09:05 CET", None),
            ("Sun, 29 Nov 99999999999999999999 02:09:05 UTC", None),
            ("", None),
        ] {
            assert_eq!(seconds(date), expected, "{date}");
        }
    }
}
