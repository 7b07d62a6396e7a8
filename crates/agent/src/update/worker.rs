//! The process that does what takes long: asks the repository, installs, checks the system's health, commits.
//!
//! It is `osagent` again, started by PID 1, in a control group of its own and with the lowest priority (but for the health checks):
//! what it does wrong ends it and nothing else. Invariant: its last word is one [`Report`]; what it has written until then lasts. It
//! takes no more memory for a large image than for a small one.

use super::clock::SystemClock;
use super::device::Device;
use super::health;
use super::report::{Progress, Report};
use super::repository::{Place, Repository};
use crate::apps::package;
use crate::boot::facts::Facts;
use crate::error::chain;
use osbuild_format::app::token;
use osbuild_format::command_line::Slot;
use osbuild_format::device::update::FullDownload;
use osbuild_format::device::DeviceConfig;
use osbuild_update::choose::{self, choose, insist, Offer};
use osbuild_update::device::{Clock, Payloads};
use osbuild_update::install::Installer;
use osbuild_update::payload::Payload;
use osbuild_update::policy::{may_install, Moment, Policy, Window};
use osbuild_update::reason::NotNow;
use osbuild_update::state::{Phase, State};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
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

impl Order {
    /// Whether it may be starved and has its memory bounded. Not what runs the product's health checks: they have a deadline,
    /// and a healthy release would be denied for what its apps take of the machine meanwhile.
    pub fn is_background(&self) -> bool {
        !matches!(self, Order::Commit)
    }
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
    osbuild_sys::memory::give_large_blocks_back();
    let order = match words {
        [order] => serde_json::from_str::<Order>(order).map_err(|error| format!("this is no order: {error}")),
        _ => Err("a worker has one order".to_owned()),
    };
    if order.as_ref().map_or(true, Order::is_background) {
        // What has less of the machine is only slower.
        let _ = rustix::process::nice(19);
    }
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
            Ok(Report::Committed { epoch: device.epoch.read().map_err(|error| error.to_string())? })
        }
        Order::Defer { until_seconds } => {
            device.state.deferred_until_seconds = until_seconds;
            save(&mut device)?;
            Ok(Report::Deferred { until_seconds })
        }
        Order::Check(circumstances) => {
            let (_, offer) = look(&mut device, &config, &circumstances, false)?;
            let version = offer.custom.version;
            Ok(Report::Offered { version, target: offer.target, size_bytes: offer.size_bytes })
        }
        Order::Install { unasked, circumstances } => install(&mut device, &config, &circumstances, unasked),
    }
}

/// What the repository has for this device, or for somebody who `insists`.
fn look(
    device: &mut Device,
    config: &DeviceConfig,
    circumstances: &Circumstances,
    insists: bool,
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
    let chosen = match insists {
        true => insist(itself, &mut device.state, &repository.offers, full),
        false => choose(itself, &device.state, &repository.offers, full),
    };
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
    if let Some(version) = waiting(&device.state, device.running) {
        is_the_moment(&device.state, config, circumstances, unasked)?;
        return Ok(Report::Armed { version, peak_bytes: None });
    }
    let (repository, offer) = look(device, config, circumstances, !unasked)?;
    is_the_moment(&device.state, config, circumstances, unasked)?;
    let keys = package::keys(&config.update.signers);
    let Offer { size_bytes, ref custom, .. } = offer;
    let mut repository =
        Watched { repository, progress: Progress { version: custom.version.clone(), done_bytes: 0, size_bytes } };
    let payload = Payload::open(&mut repository, &offer.target, &offer.custom, &keys);
    let payload = payload.map_err(|error| chain(&error))?;
    let release = device.release().map_err(|error| error.to_string())?;
    let Device { storage, boot, journal, state, running, .. } = device;
    let (running, trial_boots) = (*running, config.update.trial_boots.into());
    let mut installer = Installer { storage, boot, journal, state, running, release: &release, trial_boots };
    installer.install(&payload, &mut repository).map_err(|error| chain(&error))?;
    // The window may have closed meanwhile.
    is_the_moment(&device.state, config, circumstances, unasked)?;
    Ok(Report::Armed { version: offer.custom.version, peak_bytes: peak_bytes() })
}

/// Says before each part how far it is.
struct Watched {
    repository: Repository,
    progress: Progress,
}

impl Payloads for Watched {
    fn range(&mut self, target: &str, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        self.progress.done_bytes = offset;
        // Nobody listens who is gone; the work goes on.
        let _ = io::stdout().write_all(self.progress.to_line().as_bytes());
        self.repository.range(target, offset, length)
    }
}

/// What this process has had of the memory at most, its program among it.
fn peak_bytes() -> Option<u64> {
    peak_in(&crate::file::text("/proc/self/status").ok()?)
}

fn peak_in(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))?;
    kib.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The release that is written to the other slot and has not been started yet: a window has closed, or a worker ended, before
/// the restart.
fn waiting(state: &State, running: Slot) -> Option<String> {
    match &state.phase {
        Phase::Trial { candidate, slot, .. } if *slot != running => Some(candidate.version.clone()),
        _ => None,
    }
}

/// Whether the device may install, or restart, now. What somebody has asked for, it may.
fn is_the_moment(
    state: &State,
    config: &DeviceConfig,
    circumstances: &Circumstances,
    unasked: bool,
) -> Result<(), NotNow> {
    if !unasked {
        return Ok(());
    }
    let clock = SystemClock { synchronized: circumstances.synchronized };
    let moment = Moment {
        now_seconds: clock.now_seconds(),
        is_certain: clock.is_certain(),
        offered_seconds: state.offered.as_ref().map_or(clock.now_seconds(), |offered| offered.since_seconds),
        deferred_until_seconds: state.deferred_until_seconds.max(circumstances.deferred_until_seconds),
    };
    may_install(&policy(config), moment)
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
    use osbuild_update::state::Candidate;

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
    fn health_checks_get_their_share_of_the_machine() {
        assert!(Order::Install { unasked: true, circumstances: Circumstances::default() }.is_background());
        assert!(!Order::Commit.is_background());
    }

    #[test]
    fn the_peak_is_what_the_kernel_says() {
        assert_eq!(peak_in("Name:\tosagent\nVmHWM:\t   20480 kB\nVmRSS:\t 9 kB\n"), Some(20 << 20));
        assert_eq!(peak_in("Name:\tosagent\nVmRSS:\t 9 kB\n"), None);
        assert!(peak_bytes().is_some_and(|bytes| bytes > 1 << 16));
    }

    fn config() -> DeviceConfig {
        let fields = serde_json::json!({
            "format": 1, "product": "p", "version": "1.0.0", "machine": "m", "hostname": "h", "console": "ttyS0",
        });
        serde_json::from_value(fields).expect("every field without a default is given")
    }

    /// Long after it was allowed to begin, an installation may end at a time at which the device must not restart.
    #[test]
    fn a_release_that_is_written_waits_for_its_moment_unless_somebody_asks() {
        let candidate = Candidate { name: "5e".repeat(32), version: "2.0.0".into(), epoch: 1 };
        let phase = Phase::Trial { candidate, slot: Slot::B, boots_left: 2 };
        let mut state = State { phase, ..State::default() };
        assert_eq!(waiting(&state, Slot::A).as_deref(), Some("2.0.0"));
        assert_eq!(waiting(&state, Slot::B), None, "it runs");
        assert_eq!(waiting(&State::default(), Slot::A), None);
        let mut config = config();
        let moment = |state: &State, config: &DeviceConfig, unasked| {
            is_the_moment(state, config, &Circumstances::default(), unasked)
        };
        assert_eq!(moment(&state, &config, true), Ok(()));
        config.update.window = Some(update::Window { from_minute: 90, to_minute: 1439 });
        assert_eq!(moment(&state, &config, true), Err(NotNow::NoTime));
        assert_eq!(moment(&state, &config, false), Ok(()));
        state.deferred_until_seconds = u64::MAX;
        assert!(matches!(moment(&state, &config, true), Err(NotNow::Deferred { .. })));
    }

    #[test]
    fn a_window_of_minutes_becomes_one_of_seconds() {
        let mut config = config();
        assert_eq!(policy(&config).window, None);
        config.update.window = Some(update::Window { from_minute: 90, to_minute: 1439 });
        assert_eq!(policy(&config).window, Some(Window { from_seconds: 5400, to_seconds: 86_340 }));
        assert_eq!(policy(&config).check_interval_seconds, 21_600);
    }
}
