//! What reads from the network: looks what a repository has for this device, and installs it.
//!
//! It runs confined, with what was opened before. Invariant: nothing here needs a right that an app would not have, but for what
//! [`Work`] holds open.

use super::asked::Asked;
use super::clock::SystemClock;
use super::confine;
use super::partitions::Partitions;
use super::report::{Progress, Report};
use super::repository::{Place, Repository};
use super::worker::{policy, Circumstances};
use crate::apps::package;
use crate::error::chain;
use osbuild_format::command_line::Slot;
use osbuild_format::device::update::FullDownload;
use osbuild_format::device::DeviceConfig;
use osbuild_update::choose::{self, choose, insist, why_full, Offer};
use osbuild_update::device::{Clock, Payloads};
use osbuild_update::install::Installer;
use osbuild_update::payload::Payload;
use osbuild_update::policy::{may_install, Moment};
use osbuild_update::reason::NotNow;
use osbuild_update::state::{Candidate, Journal, Phase, State};
use osbuild_update::trial;
use std::fs::File;
use std::io::{self, Write};

/// What stops a worker: a reason, or the lack of one to go on.
pub enum Stop {
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

/// Everything that an update has of this device.
pub struct Work {
    pub storage: Partitions,
    pub boot: Asked,
    pub journal: Journal,
    pub state: State,
    pub running: Slot,
    /// That the device has committed.
    pub epoch: u32,
    pub device_id: String,
    pub config: DeviceConfig,
    pub circumstances: Circumstances,
    /// The kernel's, of this process.
    pub status: File,
}

impl Work {
    pub fn check(mut self) -> Result<Report, Stop> {
        let (_, offer, _) = self.look(false)?;
        let version = offer.custom.version;
        Ok(Report::Offered { version, target: offer.target, size_bytes: offer.size_bytes })
    }

    /// `unasked`: the policy decides when; otherwise somebody has.
    pub fn install(mut self, unasked: bool) -> Result<Report, Stop> {
        let clock = SystemClock { synchronized: self.circumstances.synchronized };
        if clock.is_certain() && self.state.waits_since_at_most(clock.now_seconds()) {
            self.journal.save(&mut self.storage, &self.state).map_err(|error| chain(&error))?;
        }
        if let Some(candidate) = waiting(&self.state, self.running) {
            if let Err(why) = self.is_the_moment(unasked) {
                // It may have been put off after it was armed.
                let Work { storage, boot, journal, state, running, .. } = &mut self;
                trial::put_off(storage, boot, journal, state, *running).map_err(|error| chain(&error))?;
                return Err(why.into());
            }
            // It has waited, perhaps for days. A repository that cannot be asked is no reason to wait longer, and a stick has what it has.
            let still_offered = self.circumstances.from.is_some()
                || self.open().map_or(true, |repository| offers(&repository.offers, &candidate));
            if still_offered {
                self.arm()?;
                return Ok(Report::Armed { version: candidate.version, peak_bytes: None, full: None });
            }
            let Work { storage, boot, journal, state, running, .. } = &mut self;
            trial::withdraw(storage, boot, journal, state, *running).map_err(|error| chain(&error))?;
        }
        let (repository, offer, full) = self.look(!unasked)?;
        self.is_the_moment(unasked)?;
        let keys = package::keys(&self.config.update.signers);
        let Offer { size_bytes, ref custom, .. } = offer;
        let mut repository =
            Watched { repository, progress: Progress { version: custom.version.clone(), done_bytes: 0, size_bytes } };
        let payload = Payload::open(&mut repository, &offer.target, &offer.custom, &keys);
        let payload = payload.map_err(|error| chain(&error))?;
        let release = self.storage.release(self.running).map_err(|error| error.to_string())?;
        let Work { storage, boot, journal, state, running, .. } = &mut self;
        let running = *running;
        let mut installer = Installer { storage, boot, journal, state, running, release: &release };
        installer.install(&payload, &mut repository).map_err(|error| chain(&error))?;
        // The window may have closed meanwhile. What waits for it is not armed: a power cut must not start it.
        self.is_the_moment(unasked)?;
        self.arm()?;
        let peak_bytes = confine::text(&self.status).ok().and_then(|status| peak_in(&status));
        Ok(Report::Armed { version: offer.custom.version, peak_bytes, full: full.map(str::to_owned) })
    }

    fn is_the_moment(&self, unasked: bool) -> Result<(), NotNow> {
        is_the_moment(&self.state, &self.config, &self.circumstances, unasked)
    }

    /// The firmware starts the other slot next.
    fn arm(&mut self) -> Result<(), Stop> {
        let starts = self.config.update.trial_boots.into();
        let Work { storage, boot, journal, state, .. } = self;
        let armed = trial::begin(storage, boot, journal, state, starts).and_then(|()| trial::keep_armed(boot, state));
        Ok(armed.map_err(|error| chain(&error))?)
    }

    /// The repository, with metadata that is good now.
    fn open(&self) -> Result<Repository, Stop> {
        let base = self.circumstances.from.as_ref().or(self.config.update.url.as_ref());
        let base = base.ok_or_else(|| "no repository is configured: name a folder with `--from`".to_owned())?;
        let clock = SystemClock { synchronized: self.circumstances.synchronized };
        Ok(Repository::open(Place::of(base)?, clock.now_seconds())?)
    }

    /// What the repository has for this device, or for somebody who `insists`.
    /// With it, why it is a full payload, if it is.
    fn look(&mut self, insists: bool) -> Result<(Repository, Offer, Option<&'static str>), Stop> {
        let repository = match self.open() {
            Err(Stop::Failed(reason)) if self.circumstances.from.is_none() => {
                // So that it is known after a restart, too. The first error is the one to tell.
                if self.state.unanswered(&reason) {
                    let _ = self.journal.save(&mut self.storage, &self.state);
                }
                return Err(Stop::Failed(reason));
            }
            opened => opened?,
        };
        let Work { config, circumstances, .. } = self;
        let clock = SystemClock { synchronized: circumstances.synchronized };
        let full = circumstances.full || config.update.full_download == FullDownload::Allowed;
        let release = self.storage.release(self.running).map_err(|error| error.to_string())?;
        let itself = choose::Device {
            product: &config.product,
            machine: &config.machine,
            version: &config.version,
            release: &release,
            // What runs has its own, whatever the TPM has lost.
            epoch: self.epoch.max(config.security_epoch),
            id: &self.device_id,
        };
        let chosen = match insists {
            true => insist(itself, &mut self.state, &repository.offers, full),
            false => choose(itself, &self.state, &repository.offers, full),
        };
        let chosen = chosen.map_err(|why| repository.explain(why));
        // A stick in somebody's hand says nothing about when the repository is asked, nor how long a release of it has waited.
        if circumstances.from.is_none() {
            self.state.checked(clock.now_seconds(), chosen.as_ref().map(|offer| offer.custom.version.as_str()));
        }
        self.journal.save(&mut self.storage, &self.state).map_err(|error| chain(&error))?;
        let offer = chosen?;
        let full = why_full(itself, &self.state, &repository.offers, &offer);
        Ok((repository, offer, full))
    }
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

/// What a process has had of the memory at most, its program among it.
fn peak_in(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))?;
    kib.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The release that is written to the other slot and has not been started yet: a window has closed, or a worker ended, before
/// the restart.
fn waiting(state: &State, running: Slot) -> Option<Candidate> {
    match &state.phase {
        Phase::Waiting { candidate, slot } | Phase::Trial { candidate, slot, .. } if *slot != running => {
            Some(candidate.clone())
        }
        _ => None,
    }
}

/// Whether any payload leads to the release, for some device at least: where nobody may take it, it was stopped.
fn offers(offers: &[Offer], candidate: &Candidate) -> bool {
    offers.iter().any(|offer| offer.custom.to == candidate.name && offer.custom.rollout_percent > 0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use osbuild_format::device::update;

    #[test]
    fn the_peak_is_what_the_kernel_says() {
        assert_eq!(peak_in("Name:\tosagent\nVmHWM:\t   20480 kB\nVmRSS:\t 9 kB\n"), Some(20 << 20));
        assert_eq!(peak_in("Name:\tosagent\nVmRSS:\t 9 kB\n"), None);
        let status = crate::file::open("/proc/self/status").expect("opened");
        for _ in 0..2 {
            let text = confine::text(&status).expect("read, and once more");
            assert!(peak_in(&text).is_some_and(|bytes| bytes > 1 << 16));
        }
    }

    fn config() -> DeviceConfig {
        let fields = serde_json::json!({
            "format": 1, "product": "p", "version": "1.0.0", "machine": "m", "hostname": "h", "console": "ttyS0",
        });
        serde_json::from_value(fields).expect("every field without a default is given")
    }

    /// Long after it was allowed to begin, an installation may end at a time at which the device must not restart.
    #[test]
    fn a_release_is_offered_while_any_payload_leads_to_it() {
        let custom = serde_json::json!({
            "format": 1, "product": "p", "machine": "m", "version": "2.0.0", "epoch": 1, "to": "5e".repeat(32), "header": "a1".repeat(32), "memory_bytes": 1, "rollout_percent": 1,
        });
        let custom = serde_json::from_value(custom).expect("every field without a default is given");
        let all = [Offer { target: "p-2.0.0".into(), size_bytes: 1, custom }];
        let candidate = |byte: &str| Candidate { name: byte.repeat(32), version: "2.0.0".into(), epoch: 1 };
        assert!(offers(&all, &candidate("5e")));
        assert!(!offers(&all, &candidate("5f")), "another of the same version");
        assert!(!offers(&[], &candidate("5e")));
        let mut stopped = all.clone();
        stopped[0].custom.rollout_percent = 0;
        assert!(!offers(&stopped, &candidate("5e")));
    }

    #[test]
    fn a_release_that_is_written_waits_for_its_moment_unless_somebody_asks() {
        let candidate = Candidate { name: "5e".repeat(32), version: "2.0.0".into(), epoch: 1 };
        let phase = Phase::Trial { candidate: candidate.clone(), slot: Slot::B, boots_left: 2, used: false };
        let mut state = State { phase, ..State::default() };
        assert_eq!(waiting(&state, Slot::A), Some(candidate.clone()), "it is armed");
        state.phase = Phase::Waiting { candidate: candidate.clone(), slot: Slot::B };
        assert_eq!(waiting(&state, Slot::A), Some(candidate));
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
}
