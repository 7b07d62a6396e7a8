//! The process that does what takes long: asks the repository, installs, checks the system's health, commits.
//!
//! It is `osagent` again, started by PID 1, in a control group of its own and with the lowest priority (but for the health checks):
//! what it does wrong ends it and nothing else. What reads from the network is a confined copy of it, which it answers the questions
//! of that only root can answer. Invariant: the last word is one [`Report`]; what was written until then lasts. It takes no more
//! memory for a large image than for a small one.

use super::apart::apart;
use super::background::Stop;
use super::device::Device;
use super::health;
use super::report::Report;
use super::start;
use crate::boot::facts::Facts;
use crate::error::{chain, AgentError};
use osbuild_format::device::DeviceConfig;
use osbuild_update::policy::{Policy, Window};
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
    /// What could not be done when the device started.
    Start,
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
    match order.map_err(Stop::Failed).and_then(obey) {
        Ok(Done::Said(code)) => ExitCode::from(code),
        Ok(Done::Report(report)) => ExitCode::from(say(Ok(report))),
        Err(stop) => ExitCode::from(say(Err(stop))),
    }
}

/// What an order has come to.
enum Done {
    Report(Report),
    /// The confined copy has said what, and ended with this code.
    Said(u8),
}

/// The last word of this process, and its exit code.
pub fn say(done: Result<Report, Stop>) -> u8 {
    let (report, code) = match done {
        Ok(report) => (report, 0),
        Err(Stop::NotNow(why)) => {
            let details = serde_json::to_value(&why).unwrap_or_default();
            (Report::NotNow { reason: why.to_string(), details }, 0)
        }
        Err(Stop::Failed(reason)) => (Report::Failed { reason }, 1),
    };
    std::io::stdout().write_all(report.to_line().as_bytes()).map_or(1, |()| code)
}

fn obey(order: Order) -> Result<Done, Stop> {
    let failed = |error: AgentError| Stop::Failed(chain(&error));
    let facts = Facts::load().map_err(failed)?;
    let config = crate::init::config().map_err(failed)?;
    let opened = || Device::open(&facts).map_err(|error| error.to_string());
    let report = match order {
        Order::Start => Report::Able { found: start::attempt(&facts, config.security_epoch)? },
        Order::Commit => {
            let mut device = opened()?;
            health::check_all(&config.update.health)?;
            device.commit().map_err(|error| chain(&error))?;
            Report::Committed { epoch: device.epoch.read().map_err(|error| error.to_string())? }
        }
        Order::Defer { until_seconds } => {
            let mut device = opened()?;
            device.state.deferred_until_seconds = until_seconds;
            device.journal.save(&mut device.storage, &device.state).map_err(|error| chain(&error))?;
            device.put_off().map_err(|error| chain(&error))?;
            Report::Deferred { until_seconds }
        }
        Order::Check(circumstances) => {
            return Ok(Done::Said(apart(opened()?, &facts, config, circumstances, |work| work.check())?));
        }
        Order::Install { unasked, circumstances } => {
            let mut device = opened()?;
            // Only root reaches the TPM.
            device.settle().map_err(|error| chain(&error))?;
            return Ok(Done::Said(apart(device, &facts, config, circumstances, move |work| work.install(unasked))?));
        }
    };
    Ok(Done::Report(report))
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
            Order::Start,
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

    fn config() -> DeviceConfig {
        let fields = serde_json::json!({
            "format": 1, "product": "p", "version": "1.0.0", "machine": "m", "hostname": "h", "console": "ttyS0",
        });
        serde_json::from_value(fields).expect("every field without a default is given")
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
