//! `update:` of a product to what its devices are told.
//!
//! Invariant: what comes out passes the device's own checks, or a problem was reported where it was written.

use crate::config::diagnostic::Diagnostic;
use crate::config::file::update::{HealthEntry, UpdateEntry};
use crate::model::product::Update;
use crate::model::Located;
use osbuild_format::device::update::{is_base, HealthCheck, Window};
use osbuild_format::device::UpdateConfig;

const CHANNEL: &str = "stable";

pub fn update(entry: Option<UpdateEntry>, problems: &mut Vec<Diagnostic>) -> Update {
    let Some(entry) = entry else {
        return Update { channel: CHANNEL.to_owned(), config: UpdateConfig::default(), root: None, ca: None };
    };
    repository(&entry, problems);
    let window = entry.window.as_ref().and_then(|window| {
        let (from, to) = (minute(&window.from, problems), minute(&window.to, problems));
        Some(Window { from_minute: from?, to_minute: to? })
    });
    if window.is_some_and(|window| window.from_minute == window.to_minute) {
        let problem = Diagnostic::at(&entry.origin, "the window of `update` ends when it begins".to_owned());
        problems.push(problem.help("leave `window` out: a device may then restart at any time"));
    }
    let config = UpdateConfig {
        url: entry.url.map(|url| url.value),
        check_interval_seconds: within("check-interval", entry.check_interval, 60, 31 * 86400, &entry.origin, problems),
        window,
        defer_limit_seconds: within("defer-limit", entry.defer_limit, 0, 31 * 86400, &entry.origin, problems),
        trial_boots: u8::try_from(within("trial-boots", entry.trial_boots, 1, 10, &entry.origin, problems))
            .unwrap_or(1),
        full_download: entry.full_download,
        signers: super::values(entry.signers),
        health: entry.health.into_iter().filter_map(|check| health(check, problems)).collect(),
    };
    Update { channel: entry.channel, config, root: entry.root, ca: entry.ca }
}

/// Who looks somewhere has to know whom to trust there.
fn repository(entry: &UpdateEntry, problems: &mut Vec<Diagnostic>) {
    for key in &entry.signers {
        if osbuild_format::hex::decode(&key.value).is_none_or(|bytes| bytes.len() != 32) {
            let problem = Diagnostic::at(&key.origin, format!("not an Ed25519 public key: `{}`", key.value));
            problems.push(problem.help("write the 64 hex digits of `release.pub`, which `osbuild keys` prints"));
        }
    }
    let Some(url) = &entry.url else { return };
    let mut wrong = |message: &str, help: &str| {
        problems.push(Diagnostic::at(&url.origin, message.to_owned()).help(help.to_owned()));
    };
    if !is_base(&url.value) {
        let message = format!("`{}` is not the base of a repository", url.value);
        wrong(&message, "such as `https://updates.example/gateway`, without `?` and `#`");
    }
    if entry.root.is_none() {
        let help = "name in `root` the file `root.json` that `osbuild repo init` has made";
        wrong("a device that looks for updates needs the root metadata that it trusts", help);
    }
    if entry.signers.is_empty() {
        let help = "name in `signers` the public keys of those who sign releases";
        wrong("a device that looks for updates needs to know who signs them", help);
    }
}

fn minute(text: &Located<String>, problems: &mut Vec<Diagnostic>) -> Option<u16> {
    let number = |digits: &str, below: u16| {
        let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|number| plain && *number < below)
    };
    let minute =
        text.value.split_once(':').and_then(|(hours, minutes)| Some(number(hours, 24)? * 60 + number(minutes, 60)?));
    if minute.is_none() {
        let problem = Diagnostic::at(&text.origin, format!("`{}` is not a time of day", text.value));
        problems.push(problem.help("write `HH:MM`, such as \"02:30\", in UTC"));
    }
    minute
}

fn within(
    field: &str,
    value: u32,
    least: u32,
    most: u32,
    origin: &crate::model::Origin,
    problems: &mut Vec<Diagnostic>,
) -> u32 {
    if !(least..=most).contains(&value) {
        let message = format!("`{field}` of `update` has to be {least} to {most}: {value}");
        problems.push(Diagnostic::at(origin, message));
    }
    value
}

fn health(entry: HealthEntry, problems: &mut Vec<Diagnostic>) -> Option<HealthCheck> {
    let problem = match entry.exec.first() {
        None => Diagnostic::at(&entry.origin, format!("health check `{}` has nothing to run in `exec`", entry.name)),
        Some(program) if !program.value.starts_with('/') => {
            Diagnostic::at(&program.origin, format!("`{}` is not an absolute path", program.value))
                .help("such as `/usr/bin/check`")
        }
        Some(_) if !(1..=3600).contains(&entry.timeout) => {
            let message = format!("`timeout` of health check `{}` has to be 1 to 3600: {}", entry.name, entry.timeout);
            Diagnostic::at(&entry.origin, message)
        }
        Some(_) => {
            let argv = super::values(entry.exec);
            return Some(HealthCheck { name: entry.name, argv, timeout_seconds: entry.timeout });
        }
    };
    problems.push(problem);
    None
}
