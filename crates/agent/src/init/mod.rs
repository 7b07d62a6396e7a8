//! PID 1 of the root: everything between the verified root and a healthy system.
//!
//! Invariant: what fails before the system is healthy ends in a reboot.

mod cycle;
mod hardening;
mod identity;
mod mounts;
mod power_button;
mod status_port;

use crate::apps::Apps;
use crate::boot::facts::Facts;
use crate::end::{self, End};
use crate::error::{AgentError, Doing};
use crate::log::Log;
use crate::network::Network;
use crate::update::start::{self, Beginning};
use crate::watchdog::Guard;
use crate::{data, file};
use osbuild_format::device::{self, DeviceConfig};
use osbuild_sys::signal::{self, Signals};
use std::convert::Infallible;
use std::sync::Arc;

pub use identity::SHOWN as MACHINE_ID;

/// Comes back only with the reason why the system could not be brought up.
pub fn run() -> Result<Infallible, AgentError> {
    // Before any thread starts, so that all of them leave the signals to the main one.
    let signals = Signals::block(&[signal::CHILD, signal::TERMINATE, signal::INTERRUPT, signal::POWER_OFF])
        .doing(|| "block signals".to_owned())?;
    mounts::file_systems()?;
    let log = Arc::new(Log::open());
    let facts = Facts::load()?;
    let mut guard = guard(facts.watchdog, &log);
    let config = config()?;
    hardening::apply(&log);
    identity::set_hostname(&config.hostname)?;
    let floor = crate::network::clock::raise_to_floor(config.clock_floor_seconds, &log);
    let network = Network::start(&config, floor, &log)?;
    let data = data::mount(&facts.disk, &log, &mut || guard.feed())?;
    crate::network::clock::raise_to_saved(&log);
    identity::provide_machine_id()?;
    guard.feed();
    let begun = start::begin(&facts, &log, &mut || guard.feed());
    if matches!(begun.beginning, Beginning::Restart) {
        data::unmount(&log);
        end::now(End::Reboot);
    }
    let apps = Apps::start(&config, &network, &log);
    let parts = cycle::Parts { signals, log, guard, facts, config, network, data, apps };
    cycle::Agent::new(parts, begun)?.run()
}

/// The watchdog that the initramfs armed, or else one that has appeared since.
fn guard(number: Option<i32>, log: &Arc<Log>) -> Guard {
    let log = log.clone();
    Guard::take_over(number, move |text| log.error(text))
}

pub fn config() -> Result<DeviceConfig, AgentError> {
    let bytes = file::read(device::PATH, device::LIMIT_BYTES).doing(|| format!("read `{}`", device::PATH))?;
    DeviceConfig::from_json(&bytes).map_err(|source| AgentError::Config { path: device::PATH.to_owned(), source })
}
