//! The installer, the trial and the commit on a machine that loses power, or whose storage fails, at every operation.
//!
//! After each: the firmware finds a whole release, the old one or the new one, and the device gets to the new one in the end.

mod disk;
mod medium;
mod payloads;
mod starts;
#[path = "../world/mod.rs"]
mod world;

use disk::{Fault, Machine, Shared};
use osbuild_format::command_line::Slot;
use osbuild_update::device::{Area, Payloads};
use osbuild_update::install::{other, Installer};
use osbuild_update::payload::Payload;
use osbuild_update::state::{Journal, Phase};
use osbuild_update::trial::{self, Start};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::rc::Rc;
use world::{Images, Made, Server};

const BLOCKS: usize = 9;
const TRIAL_BOOTS: u32 = 3;
/// More starts than any single fault can make necessary.
const MOST_STARTS: usize = 16;

struct Bench {
    /// What the other slot has had since the last update.
    older: Images,
    old: Images,
    new: Images,
    made: Made,
    /// Whether the new release passes its health checks.
    is_healthy: bool,
    trial_boots: u32,
}

/// How a life ended.
#[derive(Debug, PartialEq, Eq)]
struct End {
    version: &'static str,
    slot: Slot,
    committed: Option<Slot>,
    epoch: u32,
    is_denied: bool,
}

impl Bench {
    fn new(delta: bool, is_healthy: bool) -> Bench {
        let images = |version, epoch| Images::new(version, epoch, BLOCKS);
        let (older, old, new) = (images("0.9.0", 1), images("1.0.0", 1), images("1.0.1", 2));
        let made = world::make(delta.then_some(&old), &new);
        Bench { older, old, new, made, is_healthy, trial_boots: TRIAL_BOOTS }
    }

    /// Slot A has the old release, slot B the one before.
    fn machine(&self, seed: u64) -> Shared {
        let spare = |bytes: &[u8], more: usize| [bytes, &vec![0xee; more]].concat();
        let areas = BTreeMap::from([
            (Area::Esp(Slot::A), self.old.esp.clone()),
            (Area::Root(Slot::A), spare(&self.old.root, 4096)),
            (Area::Verity(Slot::A), spare(&self.old.verity, 4096)),
            (Area::Esp(Slot::B), self.older.esp.clone()),
            (Area::Root(Slot::B), spare(&self.older.root, 4096)),
            (Area::Verity(Slot::B), spare(&self.older.verity, 4096)),
            (Area::State, vec![0; 8192]),
        ]);
        Shared(Rc::new(RefCell::new(Machine::new(areas, seed))))
    }

    /// The whole release in the slot; None: the firmware finds nothing to start there. Anything else is the end of a device.
    fn release(&self, machine: &Shared, slot: Slot) -> Option<&Images> {
        let machine = machine.0.borrow();
        let esp = machine.durable(Area::Esp(slot));
        let of = |images: &&Images| esp[..512] == images.esp[..512];
        let images = [&self.older, &self.old, &self.new].into_iter().find(of)?;
        assert_eq!(esp, images.esp, "an ESP that can be started is whole");
        assert!(machine.durable(Area::Root(slot)).starts_with(&images.root), "its root is whole");
        assert!(machine.durable(Area::Verity(slot)).starts_with(&images.verity), "its verity tree is whole");
        Some(images)
    }

    /// What the firmware starts.
    fn start(&self, machine: &Shared) -> (Slot, &Images) {
        let (next, order) = {
            let mut machine = machine.0.borrow_mut();
            machine.power_on();
            (machine.next.take(), machine.order.unwrap_or(machine.found_first))
        };
        // Firmware whose variables are lost takes any slot that it finds: each is whole, or cannot be started.
        let slots = [Slot::A, Slot::B].map(|slot| self.release(machine, slot));
        let tried = next.into_iter().chain([order, other(order)]);
        let found = tried.filter_map(|slot| Some((slot, slots[slot as usize]?))).next();
        let (slot, images) = found.expect("a device always starts");
        assert_ne!(images.version, self.older.version, "an older release never comes back");
        machine.0.borrow_mut().running = Some(slot);
        (slot, images)
    }

    /// One start of the device, until it restarts or loses power. None: nothing is left to do.
    fn run(&self, machine: &Shared, server: &mut Server) -> Option<()> {
        let (slot, images) = self.start(machine);
        // What fails ends in a restart, as on a device.
        machine.0.borrow_mut().is_observed = true;
        let _ = self.live(machine, server, slot, images);
        machine.0.borrow_mut().is_observed = false;
        let has_power = machine.0.borrow().has_power;
        // What a failed call left in caches may be lost with this start.
        machine.0.borrow_mut().cut_power();
        machine.0.borrow_mut().power_on();
        let idle = has_power && self.is_settled(machine, images);
        (!idle).then_some(())
    }

    fn is_settled(&self, machine: &Shared, images: &Images) -> bool {
        let (_, state, _) = Journal::load(machine).expect("readable");
        state.phase == Phase::Idle && (images.version == self.new.version || state.denies(&self.new.name()))
    }

    fn live(
        &self,
        machine: &Shared,
        server: &mut Server,
        running: Slot,
        images: &Images,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let (mut storage, mut boot, mut epoch) = (machine.clone(), machine.clone(), machine.clone());
        let (mut journal, mut state, _) = Journal::load(machine)?;
        let mut device = trial::Device {
            storage: &mut storage,
            boot: &mut boot,
            epoch: &mut epoch,
            journal: &mut journal,
            state: &mut state,
        };
        match trial::at_start(&mut device, running, images.epoch)? {
            Start::Trial(_) if !self.is_healthy => machine.0.borrow_mut().trials += 1,
            Start::Trial(_) => {
                trial::commit(&mut device, running)?;
            }
            Start::Ordinary if images.version == self.old.version && !state.denies(&self.new.name()) => {
                let keys = [world::key().verifying_key()];
                let payload = Payload::open(server, &self.made.target, &self.made.custom, &keys)?;
                let release = images.name();
                let mut installer = Installer {
                    storage: &mut storage,
                    boot: &mut boot,
                    journal: &mut journal,
                    state: &mut state,
                    running,
                    release: &release,
                };
                if !matches!(installer.state.phase, Phase::Waiting { .. }) {
                    installer.install(&payload, server)?;
                }
                trial::begin(&mut storage, &mut boot, &mut journal, &mut state, self.trial_boots)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// A life with its faults; the server that it asked, too.
    fn life(&self, seed: u64, faults: &[(u64, Fault)]) -> (End, Server, u64) {
        let machine = self.machine(seed);
        machine.0.borrow_mut().faults = faults.to_vec();
        let mut server = Server::new(&self.made);
        let starts = (0..MOST_STARTS).take_while(|_| self.run(&machine, &mut server).is_some()).count();
        assert!(starts < MOST_STARTS, "it settles: {faults:?}, seed {seed}");
        let trials = machine.0.borrow().trials;
        // A loss of power between what the firmware is told and what is counted gives a start away.
        let most = self.trial_boots + faults.len() as u32;
        assert!(trials <= most, "{trials} trial boots: {faults:?}, seed {seed}");
        let (slot, images) = self.start(&machine);
        let (_, state, _) = Journal::load(&machine).expect("readable");
        let machine = machine.0.borrow();
        let end = End {
            version: images.version,
            slot,
            committed: machine.order,
            epoch: machine.epoch,
            is_denied: state.denies(&self.new.name()),
        };
        (end, server, machine.operations)
    }

    fn wanted(&self) -> End {
        match self.is_healthy {
            true => End { version: "1.0.1", slot: Slot::B, committed: Some(Slot::B), epoch: 2, is_denied: false },
            false => Self::rolled_back(),
        }
    }

    fn rolled_back() -> End {
        End { version: "1.0.0", slot: Slot::A, committed: Some(Slot::A), epoch: 1, is_denied: true }
    }

    /// Operations until the first trial is armed.
    fn install_operations(&self) -> u64 {
        let machine = self.machine(0);
        assert!(self.run(&machine, &mut Server::new(&self.made)).is_some());
        let operations = machine.0.borrow().operations;
        operations
    }
}

#[test]
fn power_may_fail_at_every_operation() {
    for (delta, is_healthy) in [(false, true), (true, true), (true, false)] {
        let bench = Bench::new(delta, is_healthy);
        let (end, whole, operations) = bench.life(0, &[]);
        assert_eq!(end, bench.wanted());
        assert!(operations > 50, "a life has many moments: {operations}");
        // The header is fetched again with each attempt, and one segment.
        let head = bench.made.file.len() as u64 - whole_segments(&bench);
        let most = whole.sent_bytes + head + largest_segment(&bench);
        for at in 0..operations {
            for seed in 0..12 {
                let (end, server, _) = bench.life(seed, &[(at, Fault::PowerCut)]);
                assert_eq!(end, bench.wanted(), "cut at {at} of {operations}, seed {seed}");
                assert!(server.sent_bytes <= most, "cut at {at}: {} bytes, not {most}", server.sent_bytes);
            }
        }
    }
}

/// No start is taken from a release that never had it.
#[test]
fn one_trial_boot_is_enough_wherever_an_installation_is_cut() {
    let bench = Bench { trial_boots: 1, ..Bench::new(true, true) };
    for at in 0..bench.install_operations() {
        for fault in [Fault::PowerCut, Fault::Error(ErrorKind::StorageFull), Fault::Error(ErrorKind::Other)] {
            let (end, ..) = bench.life(at, &[(at, fault)]);
            assert_eq!(end, bench.wanted(), "{fault:?} at {at}");
        }
    }
}

#[test]
fn power_may_fail_again_while_the_device_recovers() {
    for is_healthy in [true, false] {
        let bench = Bench::new(true, is_healthy);
        let (_, _, operations) = bench.life(0, &[]);
        // Arming is the record's write and flush and the firmware's variable.
        let installed = bench.install_operations() - 3;
        for first in 0..operations {
            for second in (first + 1..operations + 20).step_by(3) {
                let (seed, third) = (first * 1000 + second, second + 1 + (first + second) % 7);
                let faults = [first, second, third].map(|at| (at, Fault::PowerCut));
                let (end, _, _) = bench.life(seed, &faults);
                // A trial boot without power is one that has failed: two of them and the one that arms make three.
                let may_roll_back = faults.iter().filter(|(at, _)| *at >= installed).count() > 1;
                let as_wanted = end == bench.wanted() || may_roll_back && end == Bench::rolled_back();
                assert!(as_wanted, "cuts at {first}, {second} and {third} of {operations}: {end:?}");
            }
        }
    }
}

#[test]
fn a_device_that_lost_its_state_still_starts_and_updates() {
    for is_healthy in [true, false] {
        let bench = Bench::new(true, is_healthy);
        let (_, _, operations) = bench.life(0, &[]);
        for at in 0..operations {
            let machine = bench.machine(at);
            machine.0.borrow_mut().faults = vec![(at, Fault::PowerCut)];
            let mut server = Server::new(&bench.made);
            while bench.run(&machine, &mut server).is_some() && machine.0.borrow().operations <= at {}
            machine.0.borrow_mut().lose_state();
            // The firmware may have to take the slot that it finds; a release that was denied gets its trial again.
            let starts = (0..2 * MOST_STARTS).take_while(|_| bench.run(&machine, &mut server).is_some()).count();
            assert!(starts < 2 * MOST_STARTS, "it settles: cut at {at}");
        }
    }
}

#[test]
fn a_trial_ends_though_the_firmware_has_lost_its_variables() {
    for is_healthy in [true, false] {
        let bench = Bench::new(true, is_healthy);
        for lost_after in 1..=TRIAL_BOOTS {
            let machine = bench.machine(0);
            // Whatever the order of its partitions: the slot on trial.
            machine.0.borrow_mut().found_first = Slot::B;
            let mut server = Server::new(&bench.made);
            for _ in 0..lost_after {
                bench.run(&machine, &mut server);
            }
            machine.0.borrow_mut().lose_variables();
            let starts = (0..MOST_STARTS).take_while(|_| bench.run(&machine, &mut server).is_some()).count();
            assert!(starts < MOST_STARTS, "it settles: variables lost after {lost_after} starts");
            let (slot, _) = bench.start(&machine);
            assert_eq!((slot, machine.0.borrow().order), (bench.wanted().slot, bench.wanted().committed));
        }
    }
}

#[test]
fn firmware_that_forgets_the_committed_slot_is_told_and_one_that_always_forgets_is_left_alone() {
    let bench = Bench::new(true, true);
    let (machine, mut server) = (bench.machine(0), Server::new(&bench.made));
    while bench.run(&machine, &mut server).is_some() {}
    for _ in 0..3 {
        // It finds the release before.
        machine.0.borrow_mut().lose_variables();
        assert!(bench.run(&machine, &mut server).is_some(), "it restarts");
        assert_eq!(bench.run(&machine, &mut server), None);
        assert_eq!((bench.start(&machine).1.version, machine.0.borrow().order), ("1.0.1", Some(Slot::B)));
    }
    let forgetful = |_: &usize| {
        machine.0.borrow_mut().lose_variables();
        bench.run(&machine, &mut server).is_some()
    };
    assert!((0..MOST_STARTS).take_while(forgetful).count() < MOST_STARTS, "it settles");
    assert_eq!(bench.start(&machine).0, Slot::A);
}

#[test]
fn a_trial_that_can_do_nothing_about_itself_ends() {
    let bench = Bench::new(true, true);
    for stuck in [false, true] {
        let machine = bench.machine(0);
        let mut server = Server::new(&bench.made);
        assert!(bench.run(&machine, &mut server).is_some(), "installed");
        let mut starts = 0;
        loop {
            let (running, images) = bench.start(&machine);
            starts += 1;
            assert!(starts < MOST_STARTS, "it settles");
            let (mut journal, mut state, _) = Journal::load(&machine).expect("readable");
            if images.version == bench.new.version {
                // The new release has no driver for the firmware's variables; and may be all that the firmware finds.
                let candidate =
                    trial::unable(&mut machine.clone(), &mut journal, &mut state, running, "no TPM").expect("saved");
                machine.0.borrow_mut().next = stuck.then_some(running);
                if candidate.is_none() {
                    assert!(stuck, "the old slot returns by itself");
                    break;
                }
            } else if bench.run(&machine, &mut server).is_none() {
                break;
            }
        }
        let (_, state, _) = Journal::load(&machine).expect("readable");
        assert!(state.denies(&bench.new.name()) && state.phase == Phase::Idle, "{state:?}");
        assert!(state.last.as_ref().is_some_and(|last| last.reason.ends_with(": no TPM")), "{state:?}");
    }
}

#[test]
fn a_device_that_is_settled_changes_nothing_however_often_it_restarts() {
    let bench = Bench::new(false, true);
    let machine = bench.machine(0);
    let mut server = Server::new(&bench.made);
    while bench.run(&machine, &mut server).is_some() {}
    let before = machine.0.borrow().operations;
    for _ in 0..5 {
        machine.0.borrow_mut().cut_power();
        assert_eq!(bench.run(&machine, &mut server), None);
        assert_eq!(bench.start(&machine).0, Slot::B);
    }
    assert_eq!(machine.0.borrow().operations, before);
}

fn whole_segments(bench: &Bench) -> u64 {
    opened(bench).header.stored_bytes()
}

fn largest_segment(bench: &Bench) -> u64 {
    opened(bench).header.segments.iter().map(|segment| u64::from(segment.stored_bytes)).max().expect("a segment")
}

fn opened(bench: &Bench) -> Payload {
    let server: &mut dyn Payloads = &mut Server::new(&bench.made);
    let keys = [world::key().verifying_key()];
    Payload::open(server, &bench.made.target, &bench.made.custom, &keys).expect("a payload that was signed")
}
