//! How a device updates itself: the part of its configuration that the updater reads, and its rules.
//!
//! Invariant: what keeps the rules can be acted on as it is; whether there is a repository to ask is the only choice.

use super::validate::{at_most, demand, is_text, ConfigProblem};
use crate::hex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Where the trusted root of the repository's metadata lies on the device, when the product has one.
pub const ROOT: &str = "/usr/lib/osbuild/update/root.json";
/// Certificates, PEM, that alone vouch for the repository's server, when the product has some.
pub const CA: &str = "/usr/lib/osbuild/update/ca.pem";

/// A counter that never falls is raised one by one.
pub const LIMIT_EPOCH: u32 = 1000;
const LIMIT_URL_BYTES: usize = 2048;
const LIMIT_SIGNERS: usize = 8;
const LIMIT_CHECKS: usize = 32;
const LIMIT_TIMEOUT_SECONDS: u32 = 3600;
const LIMIT_TRIAL_BOOTS: u8 = 10;
/// A month: who looks less often has no updates.
const LIMIT_INTERVAL_SECONDS: u32 = 31 * 86400;
const MINUTES_OF_A_DAY: u16 = 24 * 60;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateConfig {
    /// Base of the repository: `https://`, `http://` or `file:///`. None: the device never looks by itself.
    pub url: Option<String>,
    /// Between two looks.
    pub check_interval_seconds: u32,
    /// When a device may restart for an update; none: always.
    pub window: Option<Window>,
    /// How long apps may put an update off.
    pub defer_limit_seconds: u32,
    /// How often a new slot is started before it has to be healthy.
    pub trial_boots: u8,
    pub full_download: FullDownload,
    /// Ed25519 public keys, 64 hexadecimal digits each, of those whose payloads are applied.
    pub signers: Vec<String>,
    /// What has to succeed before a new slot is committed.
    pub health: Vec<HealthCheck>,
}

/// Minutes of the day, UTC; it goes over midnight when it ends before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    pub from_minute: u16,
    pub to_minute: u16,
}

/// What happens where no delta leads to the new release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FullDownload {
    #[default]
    Allowed,
    /// Somebody has to consent.
    Never,
}

/// A program that ends with 0 in a healthy system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    pub name: String,
    /// Program and arguments; the program is an absolute path.
    pub argv: Vec<String>,
    pub timeout_seconds: u32,
}

impl Default for UpdateConfig {
    fn default() -> Self {
        UpdateConfig {
            url: None,
            check_interval_seconds: 6 * 3600,
            window: None,
            defer_limit_seconds: 86400,
            trial_boots: 3,
            full_download: FullDownload::Allowed,
            signers: Vec::new(),
            health: Vec::new(),
        }
    }
}

impl UpdateConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigProblem> {
        if let Some(url) = &self.url {
            demand("update.url", url, "begins with https://, http:// or file:///, at most 2048 bytes", is_base(url))?;
            let wrong = "a device that looks for updates needs somebody who signs them";
            demand("update.signers", "", wrong, !self.signers.is_empty())?;
        }
        let interval = self.check_interval_seconds;
        let good = (60..=LIMIT_INTERVAL_SECONDS).contains(&interval);
        demand("update.check_interval_seconds", &interval.to_string(), "60 seconds to 31 days", good)?;
        let limit = self.defer_limit_seconds;
        let good = limit <= LIMIT_INTERVAL_SECONDS;
        demand("update.defer_limit_seconds", &limit.to_string(), "at most 31 days", good)?;
        if let Some(Window { from_minute, to_minute }) = self.window {
            let good = from_minute != to_minute && from_minute.max(to_minute) < MINUTES_OF_A_DAY;
            let value = format!("{from_minute} to {to_minute}");
            demand("update.window", &value, "two different minutes of a day, 0 to 1439", good)?;
        }
        let boots = self.trial_boots;
        let good = (1..=LIMIT_TRIAL_BOOTS).contains(&boots);
        demand("update.trial_boots", &boots.to_string(), "1 to 10", good)?;
        at_most("update signers", self.signers.len(), LIMIT_SIGNERS)?;
        for key in &self.signers {
            let good = hex::decode(key).is_some_and(|bytes| bytes.len() == 32);
            demand("update.signers", key, "64 hexadecimal digits", good)?;
        }
        self.validate_health()
    }

    fn validate_health(&self) -> Result<(), ConfigProblem> {
        at_most("health checks", self.health.len(), LIMIT_CHECKS)?;
        let mut seen = BTreeSet::new();
        for check in &self.health {
            super::validate::name("update.health.name", &check.name)?;
            demand("update.health.name", &check.name, "each name once", seen.insert(&check.name))?;
            let program = check.argv.first().map_or("", String::as_str);
            demand("update.health.argv", program, "the program is an absolute path", program.starts_with('/'))?;
            at_most("words of a health check", check.argv.len(), super::validate::LIMIT_WORDS)?;
            for word in &check.argv {
                demand("update.health.argv", word, "at most 4096 bytes, no NUL", is_text(word))?;
            }
            let seconds = check.timeout_seconds;
            let good = (1..=LIMIT_TIMEOUT_SECONDS).contains(&seconds);
            demand("update.health.timeout_seconds", &seconds.to_string(), "1 to 3600 seconds", good)?;
        }
        Ok(())
    }
}

/// Whether it can be the base of a repository.
pub fn is_base(url: &str) -> bool {
    let rest = ["https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let has_host = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    let is_folder = url.strip_prefix("file://").is_some_and(|path| path.starts_with('/'));
    url.len() <= LIMIT_URL_BYTES
        && url.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\\"".contains(&byte))
        && (has_host || is_folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> UpdateConfig {
        let check = HealthCheck { name: "web".into(), argv: vec!["/usr/bin/check".into()], timeout_seconds: 5 };
        UpdateConfig {
            url: Some("https://updates.example/gateway".into()),
            signers: vec!["5f".repeat(32)],
            health: vec![check],
            window: Some(Window { from_minute: 60, to_minute: 120 }),
            ..UpdateConfig::default()
        }
    }

    #[test]
    fn each_broken_rule_is_named() {
        assert_eq!(UpdateConfig::default().validate(), Ok(()));
        assert_eq!(example().validate(), Ok(()));
        type Breaks = fn(&mut UpdateConfig);
        let broken: [(&str, Breaks); 13] = [
            ("update.url", |u| u.url = Some("ftp://x".into())),
            ("update.url", |u| u.url = Some("https:///x".into())),
            ("update.url", |u| u.url = Some("file://x".into())),
            ("update.url", |u| u.url = Some("https://x/?q".into())),
            ("update.signers", |u| u.signers.clear()),
            ("update.signers", |u| u.signers.push("5f".into())),
            ("update.check_interval_seconds", |u| u.check_interval_seconds = 59),
            ("update.window", |u| u.window = Some(Window { from_minute: 60, to_minute: 60 })),
            ("update.window", |u| u.window = Some(Window { from_minute: 0, to_minute: 1440 })),
            ("update.trial_boots", |u| u.trial_boots = 0),
            ("update.health.name", |u| u.health.push(u.health[0].clone())),
            ("update.health.argv", |u| u.health[0].argv[0] = "check".into()),
            ("update.health.timeout_seconds", |u| u.health[0].timeout_seconds = 0),
        ];
        for (field, breaks) in broken {
            let mut config = example();
            breaks(&mut config);
            let problem = config.validate().expect_err(field).to_string();
            assert!(problem.contains(&format!("`{field}`")), "{field}: {problem}");
        }
    }
}
