//! The power goes at seeded moments of updates, by a full payload and by a delta in turn: what runs then is one of the two releases,
//! whole, and in the end it is the new one.
//!
//! Invariant: the seed of the moments is said before the first; `OSBUILD_TEST_SEED` tries others.

use crate::command::copy;
use crate::command::guest::Guest;
use crate::device::{Device, PATIENCE};
use crate::payload::{Payload, DELTA, FULL};
use crate::releases::{Releases, Variant, PRODUCT};
use crate::server::{self, Sent, Server};
use crate::{fits, say};
use osbuild::tools::board::Mark;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SEED: u64 = 4;
const CUTS: usize = 20;
/// The repository of which a device takes the delta.
const WITH_DELTA: &str = "with-delta";
/// So slow that most moments are within the download.
const DOWNLOAD_SECONDS: u64 = 7;
/// As many starts as a trial may have: here it is the power that fails, and not the release.
const TRIAL_BOOTS: u32 = 10;

/// When the power goes.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So long after the firmware has handed over, ready or not.
    Boot(Duration),
    /// When the server has sent so much of the payload since the device was told to begin.
    Fetch(u64),
    /// So long after the last byte was sent: what was written is read back, the slot armed, the device restarts.
    Finish(Duration),
    /// So long after the new release has begun its trial.
    Trial(Duration),
}

/// SplitMix64, by Sebastiano Vigna: moments need no more.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn milliseconds(&mut self, limit: u64) -> Duration {
        Duration::from_millis(self.below(limit))
    }

    fn moment(&mut self, payload: &Payload) -> Moment {
        match self.below(10) {
            0 | 1 => Moment::Boot(self.milliseconds(8000)),
            2..=5 => Moment::Fetch(self.below(payload.bytes / 2)),
            6 | 7 => Moment::Finish(self.milliseconds(6000)),
            _ => Moment::Trial(self.milliseconds(6000)),
        }
    }
}

/// What a device runs that has just become ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runs {
    Old,
    Trial,
    New,
}

/// The device, what it was when it was new, and what the server has sent it since then.
struct Bench {
    guest: Guest,
    new: PathBuf,
    server: Server,
    payload: Payload,
    /// Of each time that the power was on.
    sent: Vec<Vec<Sent>>,
    /// What each installation that came to its end took of memory, in KiB.
    peaks_kib: Vec<u64>,
    // After the guest, whose files are in its project.
    releases: Releases,
}

#[test]
fn the_power_goes_at_twenty_moments_of_an_update_and_the_device_gets_there() {
    let start = Instant::now();
    let seed = std::env::var("OSBUILD_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    say(&format!("OSBUILD_TEST_SEED={seed}\n"));
    let (mut bench, mut random, mut cuts) = (Bench::new(), Random(seed), 0);
    say(&format!("two releases and a device: {:?}\n", start.elapsed()));
    bench.waits_while_it_is_put_off();
    say(&format!("it has waited: {:?}\n", start.elapsed()));
    for kind in [FULL, DELTA].into_iter().cycle() {
        if cuts == CUTS {
            break;
        }
        bench.renew(kind);
        say(&format!("by {kind}\n"));
        loop {
            let moment = random.moment(&bench.payload);
            if cuts == CUTS || !bench.lives_until(moment) {
                break;
            }
            cuts += 1;
            say(&format!("cut {cuts}: {moment:?}, {:?}\n", start.elapsed()));
        }
        bench.arrives();
        say(&format!("it has arrived: {:?}\n", start.elapsed()));
    }
    // A slot that is committed stays, however the power goes.
    bench.guest.cut_power();
    bench.guest.switch_on();
    assert_eq!(bench.becomes_ready(), Runs::New);
    let peak_kib = bench.peaks_kib.iter().max().expect("something was installed");
    fits(&format!("at most of {} times", bench.peaks_kib.len()), *peak_kib);
}

impl Bench {
    fn new() -> Bench {
        let server = server::serve(Path::new("/nonexistent"));
        let releases = Releases::new(&server);
        let first = releases.build(Variant::good("1.0.0", 1, TRIAL_BOOTS));
        releases.publish("site", &first, 0);
        releases.copy("site", WITH_DELTA);
        let second = releases.build(Variant::good("2.0.0", 2, TRIAL_BOOTS));
        releases.publish("site", &second, 0);
        releases.publish(WITH_DELTA, &second, 1);
        let payload = Payload::of(&releases.path("site"), "2.0.0", FULL);
        let mut guest = Guest::of(&releases.project, PRODUCT, &first.join("disk.img"));
        guest.boot();
        guest.switch_off();
        let new = releases.path("out/new");
        copy::tree(guest.state(), &new);
        Bench { guest, new, server, payload, sent: Vec::new(), peaks_kib: Vec::new(), releases }
    }

    /// The device is as it was before any update, which it gets by a payload of this kind.
    fn renew(&mut self, kind: &'static str) {
        let site = self.releases.path(if kind == DELTA { WITH_DELTA } else { "site" });
        self.payload = Payload::of(&site, "2.0.0", kind);
        let mut behaviour = self.server.behaviour();
        behaviour.folder = site;
        behaviour.paced = Some((kind, self.payload.bytes / DOWNLOAD_SECONDS));
        drop(behaviour);
        self.guest.cut_power();
        let state = self.guest.state();
        std::fs::remove_dir_all(state).expect("removed");
        copy::tree(&self.new, state);
        self.server.take_sent();
        self.sent.clear();
    }

    /// Somebody puts off what it has begun by itself: it is written and waits, and no power cut starts it before its moment.
    fn waits_while_it_is_put_off(&mut self) {
        self.renew(FULL);
        self.guest.switch_on();
        assert_eq!(self.becomes_ready(), Runs::Old);
        let device = Device(&mut self.guest);
        let begun = Moment::Fetch(self.payload.segments_at + self.payload.longest_segment / 2);
        wait_for(&device, &self.server, &self.payload, begun);
        device.shell("osagent update defer 3600");
        let (start, mut status) = (Instant::now(), device.status());
        while (&status["state"]["phase"]["is"], &status["waits"]["why"]) != (&"waiting".into(), &"deferred".into()) {
            assert!(start.elapsed() < PATIENCE, "it does not wait: {status:#}");
            std::thread::sleep(Duration::from_secs(1));
            status = device.status();
        }
        self.guest.cut_power();
        self.count();
        self.guest.switch_on();
        assert_eq!(self.becomes_ready(), Runs::Old, "it is not its moment");
        let status = Device(&mut self.guest).status();
        assert_eq!(status["state"]["phase"]["is"], "waiting", "{status:#}");
        self.arrives();
    }

    /// Switches it on, and cuts the power at the moment. False: it is there already, and on.
    fn lives_until(&mut self, moment: Moment) -> bool {
        self.guest.switch_on();
        let runs = match moment {
            Moment::Boot(_) => Runs::Old,
            _ => self.becomes_ready(),
        };
        let device = Device(&mut self.guest);
        match (moment, runs) {
            (_, Runs::New) => return false,
            (Moment::Boot(after), _) => {
                device.says_line(Mark::default(), "BdsDxe: starting");
                std::thread::sleep(after);
            }
            (Moment::Fetch(_), Runs::Trial) => {}
            (Moment::Finish(after) | Moment::Trial(after), Runs::Trial) => std::thread::sleep(after),
            (moment, Runs::Old) => {
                device.begin();
                wait_for(&device, &self.server, &self.payload, moment);
            }
        }
        self.peaks_kib.extend(device.peaks_kib());
        self.guest.cut_power();
        self.count();
        true
    }

    /// Waits until it is ready, and sees that what runs is whole.
    fn becomes_ready(&mut self) -> Runs {
        let device = Device(&mut self.guest);
        device.is_ready(Mark::default());
        let status = device.own_status();
        let text = |pointer: &str| status.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        assert_eq!(text("/boot/verity"), "verified", "{status:#}");
        let on_trial = device.0.board().console().text().contains("osagent: 2.0.0 is on trial");
        match (text("/boot/slot"), text("/version")) {
            ("a", "1.0.0") => Runs::Old,
            ("b", "2.0.0") if on_trial => Runs::Trial,
            ("b", "2.0.0") => Runs::New,
            _ => panic!("neither release runs: {status:#}"),
        }
    }

    /// Lets it go on undisturbed.
    fn arrives(&mut self) {
        if self.guest.board.is_none() {
            self.guest.switch_on();
        }
        let runs = self.becomes_ready();
        let device = Device(&mut self.guest);
        if runs == Runs::Old {
            device.begin();
        }
        if runs != Runs::New {
            device.says_line(Mark::default(), "osagent: 2.0.0 is committed");
        }
        let status = device.status();
        let (slot, version, state) = (&status["slot"], &status["version"], &status["state"]);
        assert_eq!((slot, version, &status["epoch"]), (&"b".into(), &"2.0.0".into(), &2.into()), "{status:#}");
        assert_eq!((&state["phase"]["is"], &state["denied"]), (&"idle".into(), &Value::Null), "{status:#}");
        // Each block of it, through verity.
        device.shell("cat /dev/dm-0 >/dev/null");
        self.peaks_kib.extend(device.peaks_kib());
        self.count();
    }

    /// What was downloaded again after the last interruption is one segment at most.
    fn count(&mut self) {
        let now: Vec<Sent> = self.server.take_sent().into_iter().filter(|sent| self.payload.is_in(sent)).collect();
        let again = self.payload.fetched_again(self.sent.iter().flatten(), &now);
        let longest = self.payload.longest_segment;
        assert!(again <= longest, "{again} bytes were fetched again: {now:#?} after {:#?}", self.sent);
        self.sent.push(now);
    }
}

fn wait_for(device: &Device, server: &Server, payload: &Payload, moment: Moment) {
    let has_restarted = || device.0.board().console().text().contains("osagent: restarting");
    let wait_until = |is_so: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !is_so() && !has_restarted() {
            assert!(start.elapsed() < PATIENCE, "{moment:?} does not come:\n{}", device.0.board().console().text());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let of_payload = |sent: &&Sent| payload.is_in(sent);
    match moment {
        Moment::Boot(_) => {}
        Moment::Fetch(bytes) => wait_until(&|| {
            let behaviour = server.behaviour();
            behaviour.sent.iter().filter(of_payload).map(|sent| sent.end - sent.start).sum::<u64>() >= bytes
        }),
        Moment::Finish(after) => {
            // The ESP's first segment is the last to be fetched, wherever it lies.
            wait_until(&|| server.behaviour().sent.iter().filter(of_payload).any(|sent| sent.end == payload.last_end));
            std::thread::sleep(after);
        }
        Moment::Trial(after) => {
            device.says_line(Mark::default(), "osagent: 2.0.0 is on trial");
            std::thread::sleep(after);
        }
    }
}
