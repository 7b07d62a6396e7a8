//! The payloads of a repository and the device in, the one to take or the reason for none out.
//!
//! Invariant: what is chosen is newer than what runs, is not behind the committed epoch, and was not denied here.

use crate::reason::NotNow;
use crate::state::State;
use osbuild_format::target::{TargetCustom, LIMIT_MEMORY_BYTES};
use sha2::{Digest, Sha256};

/// A payload of the repository, as its signed metadata describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Name of the target.
    pub target: String,
    pub size_bytes: u64,
    pub custom: TargetCustom,
}

/// What the device is.
#[derive(Clone, Copy, Debug)]
pub struct Device<'a> {
    pub product: &'a str,
    pub machine: &'a str,
    /// `MAJOR.MINOR.PATCH` that runs.
    pub version: &'a str,
    /// SHA-256 of the ESP that runs, 64 hex digits.
    pub release: &'a str,
    /// Security epoch that is committed.
    pub epoch: u32,
    /// No other device has it.
    pub id: &'a str,
}

/// Numbers that devices have in a rollout: a percent is a hundred of them.
const ROLLOUT_NUMBERS: u64 = 10_000;

/// Where a device stands in the rollout of a version, from 0 to 9999: the first eight bytes of SHA-256 of its id, a zero byte and
/// the version, as a little-endian number, modulo 10000. So each version meets other devices first, and a device that was in at
/// one percentage is in at every higher one.
pub fn rollout_number(device_id: &str, version: &str) -> u64 {
    let hash = Sha256::new_with_prefix(device_id).chain_update([0]).chain_update(version).finalize();
    let (start, _) = hash.split_first_chunk().expect("32 bytes begin with eight");
    u64::from_le_bytes(*start) % ROLLOUT_NUMBERS
}

/// `MAJOR.MINOR.PATCH` to what can be compared. None: it is no such version.
pub fn version(text: &str) -> Option<[u64; 3]> {
    let mut parts = text.split('.').map(|part| part.parse().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit())));
    let version = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(version)
}

/// `full`: whether a full payload may be taken where there is no delta.
pub fn choose(device: Device, state: &State, offers: &[Offer], full: bool) -> Result<Offer, NotNow> {
    let runs = version(device.version);
    let mut newer: Vec<&Offer> = offers
        .iter()
        .filter(|offer| offer.custom.product == device.product && offer.custom.machine == device.machine)
        .filter(|offer| version(&offer.custom.version) > runs)
        .collect();
    // The highest version first; of one version the smallest payload.
    newer.sort_by_key(|offer| (std::cmp::Reverse(version(&offer.custom.version)), offer.size_bytes));
    let mut why = NotNow::UpToDate;
    for release in newer.chunk_by(|a, b| a.custom.version == b.custom.version) {
        match of_release(device, state, release, full) {
            Ok(offer) => return Ok(offer.clone()),
            // The reason of the highest version is the one that people ask for.
            Err(reason) if why == NotNow::UpToDate => why = reason,
            Err(_) => {}
        }
    }
    Err(why)
}

/// The same for somebody who insists: a delta that did not fit gets another attempt where nothing else leads there, since what was
/// damaged may have been put right.
pub fn insist(device: Device, state: &mut State, offers: &[Offer], full: bool) -> Result<Offer, NotNow> {
    match choose(device, state, offers, full) {
        Err(NotNow::SourceDamaged { .. }) => {
            state.failure = None;
            choose(device, state, offers, full)
        }
        chosen => chosen,
    }
}

/// Why a full payload was chosen, for people; none: it is a delta.
pub fn why_full(device: Device, state: &State, offers: &[Offer], chosen: &Offer) -> Option<&'static str> {
    let leads_there =
        |offer: &&Offer| offer.custom.to == chosen.custom.to && offer.custom.from.as_deref() == Some(device.release);
    let delta = offers.iter().find(leads_there);
    chosen.custom.from.is_none().then(|| match delta {
        None => "no delta leads there from the release that runs",
        Some(delta) if delta.custom.memory_bytes > LIMIT_MEMORY_BYTES => {
            "the delta takes more memory than an update may have here"
        }
        Some(_) if state.source_is_damaged(&chosen.custom.version) => "the delta does not fit what lies in this slot",
        Some(_) => "that was under way already",
    })
}

/// Of the payloads that lead to one version.
fn of_release<'a>(device: Device, state: &State, offers: &[&'a Offer], full: bool) -> Result<&'a Offer, NotNow> {
    let mut why = None;
    let mut consent = None;
    // What is being installed goes on: to change over to another payload would throw away what is written already.
    let (begun, others): (Vec<&Offer>, Vec<&Offer>) =
        offers.iter().copied().partition(|offer| state.installs(&offer.custom.header));
    for offer in begun.into_iter().chain(others) {
        let custom = &offer.custom;
        let version = custom.version.clone();
        let refused = if state.denies(&custom.to) {
            Some(NotNow::Denied { version })
        } else if custom.epoch < device.epoch {
            Some(NotNow::Epoch { version, epoch: custom.epoch, committed: device.epoch })
        } else if custom.memory_bytes > LIMIT_MEMORY_BYTES {
            Some(NotNow::TooMuchMemory { version, bytes: custom.memory_bytes })
        } else if rollout_number(device.id, &version) >= u64::from(custom.rollout_percent) * (ROLLOUT_NUMBERS / 100) {
            Some(NotNow::NotInRollout { version, percent: custom.rollout_percent })
        } else if custom.from.as_deref() == Some(device.release) && state.source_is_damaged(&version) {
            Some(NotNow::SourceDamaged { version })
        } else {
            None
        };
        match (&custom.from, refused) {
            (_, Some(refused)) => why = why.or(Some(refused)),
            (Some(from), None) if from == device.release => return Ok(offer),
            (Some(_), None) => {}
            // Who consented to one that is being installed need not do so again after an interruption.
            (None, None) if state.installs(&custom.header) => return Ok(offer),
            (None, None) => consent = consent.or(Some(offer)),
        }
    }
    let version = offers.first().map_or_else(String::new, |offer| offer.custom.version.clone());
    match (consent, why) {
        (Some(offer), _) if full => Ok(offer),
        (Some(offer), _) => Err(NotNow::NeedsConsent { version, size_bytes: offer.size_bytes }),
        (None, Some(why)) => Err(why),
        (None, None) => Err(NotNow::NoPayload { version }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Candidate, Failure, Phase, SOURCE_DAMAGED};
    use proptest::prelude::*;

    const RUNS: &str = "aaaa";

    fn offer(version: &str, from: Option<&str>, size_bytes: u64) -> Offer {
        let custom = TargetCustom {
            format: 1,
            product: "gateway".to_owned(),
            machine: "board".to_owned(),
            version: version.to_owned(),
            epoch: 2,
            to: format!("to {version}"),
            from: from.map(str::to_owned),
            header: String::new(),
            memory_bytes: 0,
            rollout_percent: 100,
        };
        Offer { target: format!("{version} from {from:?}"), size_bytes, custom }
    }

    fn device() -> Device<'static> {
        Device { product: "gateway", machine: "board", version: "1.2.3", release: RUNS, epoch: 2, id: "device" }
    }

    fn chosen(state: &State, offers: &[Offer], full: bool) -> Result<String, NotNow> {
        choose(device(), state, offers, full).map(|offer| offer.target)
    }

    #[test]
    fn the_highest_version_that_can_be_reached_is_taken_by_its_delta() {
        let state = State::default();
        let offers = [
            offer("1.2.4", Some(RUNS), 10),
            offer("1.10.0", None, 100),
            offer("1.10.0", Some("other"), 5),
            offer("1.10.0", Some(RUNS), 20),
            offer("1.2.3", Some(RUNS), 1),
            offer("1.1.9", Some(RUNS), 1),
        ];
        assert_eq!(chosen(&state, &offers, false), Ok("1.10.0 from Some(\"aaaa\")".to_owned()));
        assert_eq!(chosen(&state, &offers[..3], true), Ok("1.10.0 from None".to_owned()));
        assert_eq!(chosen(&state, &offers[..3], false), Ok("1.2.4 from Some(\"aaaa\")".to_owned()), "without consent");
        let needs = NotNow::NeedsConsent { version: "1.10.0".to_owned(), size_bytes: 100 };
        assert_eq!(chosen(&state, &offers[1..3], false), Err(needs));
        let none = NotNow::NoPayload { version: "1.10.0".to_owned() };
        assert_eq!(chosen(&state, &offers[2..3], true), Err(none));
        assert_eq!(chosen(&state, &offers[4..], true), Err(NotNow::UpToDate));
    }

    #[test]
    fn what_is_denied_behind_the_epoch_for_another_product_or_for_others_first_is_not_taken() {
        let version = "1.3.0".to_owned();
        let mut state = State::default();
        let mut other = [offer("1.3.0", Some(RUNS), 1)];
        other[0].custom.product = "sensor".to_owned();
        assert_eq!(chosen(&state, &other, true), Err(NotNow::UpToDate));
        let mut behind = [offer("1.3.0", Some(RUNS), 1)];
        behind[0].custom.epoch = 1;
        let epoch = NotNow::Epoch { version: version.clone(), epoch: 1, committed: 2 };
        assert_eq!(chosen(&state, &behind, true), Err(epoch));
        let mut later = [offer("1.3.0", Some(RUNS), 1)];
        later[0].custom.rollout_percent = 0;
        assert_eq!(chosen(&state, &later, true), Err(NotNow::NotInRollout { version: version.clone(), percent: 0 }));
        state.deny(Candidate { name: "to 1.3.0".to_owned(), version: version.clone(), epoch: 2 }, "");
        let offers = [offer("1.3.0", Some(RUNS), 1), offer("1.2.9", Some(RUNS), 1)];
        assert_eq!(chosen(&state, &offers[..1], true), Err(NotNow::Denied { version }));
        assert_eq!(chosen(&state, &offers, true), Ok("1.2.9 from Some(\"aaaa\")".to_owned()));
    }

    #[test]
    fn a_payload_that_wants_more_memory_than_an_update_may_take_is_refused() {
        let (state, version) = (State::default(), "1.3.0".to_owned());
        let mut offers = [offer("1.3.0", Some(RUNS), 1), offer("1.3.0", None, 100)];
        offers[0].custom.memory_bytes = LIMIT_MEMORY_BYTES;
        assert_eq!(chosen(&state, &offers[..1], false), Ok("1.3.0 from Some(\"aaaa\")".to_owned()));
        let bytes = LIMIT_MEMORY_BYTES + 1;
        offers[0].custom.memory_bytes = bytes;
        let refused = NotNow::TooMuchMemory { version, bytes };
        assert_eq!(chosen(&state, &offers[..1], true), Err(refused.clone()));
        assert_eq!(insist(device(), &mut state.clone(), &offers[..1], true), Err(refused.clone()));
        assert!(refused.to_string().contains(&bytes.to_string()), "{refused}");
        assert_eq!(chosen(&state, &offers, true), Ok("1.3.0 from None".to_owned()), "another payload leads there");
        let why = why_full(device(), &state, &offers, &offers[1]);
        assert!(why.is_some_and(|why| why.contains("memory")), "{why:?}");
        assert_eq!(why_full(device(), &state, &offers, &offers[0]), None);
        offers[1].custom.memory_bytes = u64::MAX;
        assert!(matches!(chosen(&state, &offers[1..], true), Err(NotNow::TooMuchMemory { bytes: u64::MAX, .. })));
    }

    #[test]
    fn versions_are_numbers() {
        assert!(version("1.10.0") > version("1.9.9"));
        for bad in ["1.2", "1.2.3.4", "1.2.x", "1..3", "+1.2.3", "", "99999999999999999999.0.0"] {
            assert_eq!(version(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_rollout_is_as_wide_as_it_says_and_other_for_each_version() {
        let inside = |version: &str| (0..10_000).filter(|id| rollout_number(&id.to_string(), version) < 1000).count();
        assert!((900..1100).contains(&inside("1.0.0")));
        let both = |id: &u32| ["1.0.0", "1.0.1"].iter().all(|v| rollout_number(&id.to_string(), v) < 1000);
        assert!((50..150).contains(&(0..10_000).filter(both).count()));
        // Pinned: a device must not change its place with a release of this program.
        assert_eq!(rollout_number("0123456789abcdef", "1.0.0"), PINNED);
    }

    const PINNED: u64 = 8523;

    #[test]
    fn a_full_payload_needs_consent_once_and_replaces_a_delta_whose_source_is_damaged() {
        let mut state = State::default();
        let mut offers = [offer("1.3.0", Some(RUNS), 1), offer("1.3.0", None, 100)];
        offers[1].custom.header = "full".to_owned();
        state.failure =
            Some(Failure { version: "1.3.0".to_owned(), why: SOURCE_DAMAGED.to_owned(), reason: String::new() });
        let version = "1.3.0".to_owned();
        let damaged = NotNow::SourceDamaged { version: version.clone() };
        assert_eq!(chosen(&state, &offers[..1], true), Err(damaged));
        let mut insisting = state.clone();
        assert!(insist(device(), &mut insisting, &offers[..1], true).is_ok_and(|offer| offer.custom.from.is_some()));
        assert_eq!(insisting.failure, None);
        insisting.failure = state.failure.clone();
        assert!(insist(device(), &mut insisting, &offers, true).is_ok_and(|offer| offer.custom.from.is_none()));
        assert_eq!(insisting, state, "there is another way");
        assert_eq!(chosen(&state, &offers, false), Err(NotNow::NeedsConsent { version, size_bytes: 100 }));
        assert_eq!(chosen(&state, &offers, true), Ok("1.3.0 from None".to_owned()));
        let why = |state: &State, offers: &[Offer]| why_full(device(), state, offers, &offers[offers.len() - 1]);
        assert!(why(&state, &offers).is_some_and(|why| why.contains("does not fit")));
        assert!(why(&state, &offers[1..]).is_some_and(|why| why.contains("no delta")));
        state.phase = Phase::Installing {
            candidate: Candidate { name: "to 1.3.0".to_owned(), version: "1.3.0".to_owned(), epoch: 2 },
            slot: osbuild_format::command_line::Slot::B,
            header: "full".to_owned(),
            done: 1,
        };
        assert_eq!(chosen(&state, &offers, false), Ok("1.3.0 from None".to_owned()));
        // An interruption of its download is another failure, and no reason to try the delta again from the start.
        state.failure = Some(Failure { version: "1.3.0".to_owned(), why: "fetch".to_owned(), reason: String::new() });
        assert_eq!(chosen(&state, &offers, true), Ok("1.3.0 from None".to_owned()));
        assert_eq!(chosen(&state, &offers, false), Ok("1.3.0 from None".to_owned()));
    }

    proptest! {
        #[test]
        fn no_version_makes_it_panic(text in ".{0,30}") {
            prop_assert!(version(&text).is_none_or(|_| text.contains('.')));
        }
    }
}
