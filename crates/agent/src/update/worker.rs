//! The process that does what takes long: asks the repository, installs, checks the system's health, commits.
//!
//! It is `osagent` again, started by PID 1, in a control group of its own and with the lowest priority: what it does wrong ends it
//! and nothing else. Invariant: its last word is one [`Report`]; what it has written until then lasts.

use super::clock::SystemClock;
use super::device::Device;
use super::health;
use super::report::Report;
use super::repository::{Place, Repository};
use crate::apps::package;
use crate::boot::facts::Facts;
use crate::error::chain;
use osbuild_format::app::token;
use osbuild_format::device::update::FullDownload;
use osbuild_format::device::DeviceConfig;
use osbuild_update::choose::{self, choose, Offer};
use osbuild_update::device::Clock;
use osbuild_update::install::Installer;
use osbuild_update::payload::Payload;
use osbuild_update::policy::{may_install, Moment, Policy, Window};
use osbuild_update::reason::NotNow;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::process::ExitCode;

/// The first word of a worker's command line; the second is an [`Order`] as JSON.
pub const COMMAND: &str = "update-worker";

/// What PID 1 wants done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Order {
    Check(Circumstances),
    /// `unasked`: the policy decides when; otherwise somebody has.
    Install {
        unasked: bool,
        circumstances: Circumstances,
    },
    /// After the health checks.
    Commit,
    Defer {
        until_seconds: u64,
    },
}

/// What only PID 1 or a person knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Circumstances {
    /// A time server has said what time it is.
    pub synchronized: bool,
    /// Until when apps have put updates off, in seconds since 1970.
    pub deferred_until_seconds: u64,
    /// Rather than the configured one.
    pub from: Option<String>,
    /// Somebody consents to a full download.
    pub full: bool,
}

/// What stops a worker: a reason, or the lack of one to go on.
enum Stop {
    Failed(String),
    NotNow(NotNow),
}

impl From<String> for Stop {
    fn from(reason: String) -> Stop {
        Stop::Failed(reason)
    }
}

impl From<NotNow> for Stop {
    fn from(why: NotNow) -> Stop {
        Stop::NotNow(why)
    }
}

/// The words after [`COMMAND`].
pub fn run(words: &[&str]) -> ExitCode {
    // What has less of the machine is only slower.
    let _ = rustix::process::nice(19);
    let order = match words {
        [order] => serde_json::from_str::<Order>(order).map_err(|error| format!("this is no order: {error}")),
        _ => Err("a worker has one order".to_owned()),
    };
    let done = order.map_err(Stop::Failed).and_then(obey);
    let (report, code) = match done {
        Ok(report) => (report, 0),
        Err(Stop::NotNow(why)) => {
            let details = serde_json::to_value(&why).unwrap_or_default();
            (Report::NotNow { reason: why.to_string(), details }, 0)
        }
        Err(Stop::Failed(reason)) => (Report::Failed { reason }, 1),
    };
    match std::io::stdout().write_all(report.to_line().as_bytes()) {
        Ok(()) => ExitCode::from(code),
        Err(_) => ExitCode::FAILURE,
    }
}

fn obey(order: Order) -> Result<Report, Stop> {
    let failed = |error: crate::error::AgentError| Stop::Failed(chain(&error));
    let facts = Facts::load().map_err(failed)?;
    let config = crate::init::config().map_err(failed)?;
    let mut device = Device::open(&facts).map_err(|error| error.to_string())?;
    match order {
        Order::Commit => {
            health::check_all(&config.update.health)?;
            device.commit().map_err(|error| chain(&error))?;
            Ok(Report::Committed)
        }
        Order::Defer { until_seconds } => {
            device.state.deferred_until_seconds = until_seconds;
            save(&mut device)?;
            Ok(Report::Deferred { until_seconds })
        }
        Order::Check(circumstances) => {
            let (_, offer) = look(&mut device, &config, &circumstances)?;
            let version = offer.custom.version;
            Ok(Report::Offered { version, target: offer.target, size_bytes: offer.size_bytes })
        }
        Order::Install { unasked, circumstances } => install(&mut device, &config, &circumstances, unasked),
    }
}

/// What the repository has for this device.
fn look(
    device: &mut Device,
    config: &DeviceConfig,
    circumstances: &Circumstances,
) -> Result<(Repository, Offer), Stop> {
    let base = circumstances.from.as_ref().or(config.update.url.as_ref());
    let base = base.ok_or_else(|| "no repository is configured: name a folder with `--from`".to_owned())?;
    let clock = SystemClock { synchronized: circumstances.synchronized };
    let repository = Repository::open(Place::of(base)?, clock.now_seconds())?;
    let full = circumstances.full || config.update.full_download == FullDownload::Allowed;
    let release = device.release().map_err(|error| error.to_string())?;
    let epoch = device.epoch.read().map_err(|error| error.to_string())?;
    let machine_id = crate::file::text(crate::init::MACHINE_ID).map_err(|error| error.to_string())?;
    let itself = choose::Device {
        product: &config.product,
        machine: &config.machine,
        version: &config.version,
        release: &release,
        // What runs has its own, whatever the TPM has lost.
        epoch: epoch.max(config.security_epoch),
        id: &token::device_id(&machine_id),
    };
    let chosen = choose(itself, &device.state, &repository.offers, full);
    device.state.checked(clock.now_seconds(), chosen.as_ref().ok().map(|offer| offer.custom.version.as_str()));
    save(device)?;
    Ok((repository, chosen?))
}

fn install(
    device: &mut Device,
    config: &DeviceConfig,
    circumstances: &Circumstances,
    unasked: bool,
) -> Result<Report, Stop> {
    let (mut repository, offer) = look(device, config, circumstances)?;
    if unasked {
        let clock = SystemClock { synchronized: circumstances.synchronized };
        let moment = Moment {
            now_seconds: clock.now_seconds(),
            is_certain: clock.is_certain(),
            offered_seconds: device.state.offered.as_ref().map_or(clock.now_seconds(), |offered| offered.since_seconds),
            deferred_until_seconds: device.state.deferred_until_seconds.max(circumstances.deferred_until_seconds),
        };
        may_install(&policy(config), moment)?;
    }
    let keys = package::keys(&config.update.signers);
    let payload = Payload::open(&mut repository, &offer.target, &offer.custom, &keys);
    let payload = payload.map_err(|error| chain(&error))?;
    let release = device.release().map_err(|error| error.to_string())?;
    let Device { storage, boot, journal, state, running, .. } = device;
    let (running, trial_boots) = (*running, config.update.trial_boots.into());
    let mut installer = Installer { storage, boot, journal, state, running, release: &release, trial_boots };
    installer.install(&payload, &mut repository).map_err(|error| chain(&error))?;
    Ok(Report::Armed { version: offer.custom.version })
}

fn save(device: &mut Device) -> Result<(), String> {
    device.journal.save(&mut device.storage, &device.state).map_err(|error| chain(&error))
}

/// As `osbuild_update` wants it.
pub fn policy(config: &DeviceConfig) -> Policy {
    let window = config.update.window.map(|window| Window {
        from_seconds: u32::from(window.from_minute) * 60,
        to_seconds: u32::from(window.to_minute) * 60,
    });
    Policy {
        check_interval_seconds: config.update.check_interval_seconds.into(),
        window,
        defer_limit_seconds: config.update.defer_limit_seconds.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use osbuild_format::device::update;

    #[test]
    fn an_order_survives_its_way_and_anything_else_is_refused() {
        let circumstances = Circumstances { from: Some("file:///data/stick".into()), full: true, ..Default::default() };
        for order in [
            Order::Commit,
            Order::Defer { until_seconds: 7 },
            Order::Check(circumstances.clone()),
            Order::Install { unasked: true, circumstances },
        ] {
            let text = serde_json::to_string(&order).expect("plain fields");
            assert_eq!(serde_json::from_str::<Order>(&text).expect("what we write, we read"), order);
        }
        assert!(serde_json::from_str::<Order>(r#"{"order":"format"}"#).is_err());
    }

    #[test]
    fn a_window_of_minutes_becomes_one_of_seconds() {
        let mut config: DeviceConfig = serde_json::from_value(serde_json::json!({
            "format": 1, "product": "p", "version": "1.0.0", "machine": "m", "hostname": "h", "console": "ttyS0",
        }))
        .expect("every field without a default is given");
        assert_eq!(policy(&config).window, None);
        config.update.window = Some(update::Window { from_minute: 90, to_minute: 1439 });
        assert_eq!(policy(&config).window, Some(Window { from_seconds: 5400, to_seconds: 86_340 }));
        assert_eq!(policy(&config).check_interval_seconds, 21_600);
    }
}
