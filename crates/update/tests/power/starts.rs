//! Starts at which a part of the device does not do what it is told: its TPM, its firmware, the slot that it came from.

use crate::disk::{Fault, Shared};
use crate::world::Server;
use crate::{Bench, MOST_STARTS, TRIAL_BOOTS};
use osbuild_format::command_line::Slot;
use osbuild_update::device::Area;
use osbuild_update::state::{Journal, Phase, State};
use osbuild_update::trial::{self, Start};

fn state(machine: &Shared) -> State {
    Journal::load(machine).expect("readable").1
}

/// What the device does with the state that it finds.
fn with_device<T>(machine: &Shared, what: impl FnOnce(&mut trial::Device) -> T) -> T {
    let (mut storage, mut boot, mut epoch) = (machine.clone(), machine.clone(), machine.clone());
    let (mut journal, mut state, _) = Journal::load(machine).expect("readable");
    what(&mut trial::Device {
        storage: &mut storage,
        boot: &mut boot,
        epoch: &mut epoch,
        journal: &mut journal,
        state: &mut state,
    })
}

/// One start, and nothing after it.
fn at_start(bench: &Bench, machine: &Shared) -> Start {
    let (running, images) = bench.start(machine);
    with_device(machine, |device| trial::at_start(device, running, images.epoch)).expect("it starts")
}

#[test]
fn an_epoch_that_cannot_be_raised_is_told_and_tried_again_by_a_device_that_runs() {
    let bench = Bench::new(true, true);
    let (machine, mut server) = (bench.machine(0), Server::new(&bench.made));
    machine.0.borrow_mut().epoch_is_stuck = true;
    assert!(bench.run(&machine, &mut server).is_some(), "installed");
    assert!(bench.run(&machine, &mut server).is_some(), "healthy, but not committed");
    let Start::Unraised(candidate, reason) = at_start(&bench, &machine) else { panic!("it goes on") };
    assert!(reason.contains("epoch") && candidate.version == "1.0.1", "{reason}");
    assert_eq!(state(&machine).failure.map(|failure| failure.why).as_deref(), Some("epoch"));
    let before = machine.0.borrow().operations;
    for _ in 0..3 {
        assert!(matches!(at_start(&bench, &machine), Start::Unraised(..)));
    }
    assert_eq!(machine.0.borrow().operations, before, "nothing is worn by it");
    // The slot before, which the firmware prefers for some reason, gives way; once.
    machine.0.borrow_mut().order = Some(Slot::A);
    assert!(matches!(at_start(&bench, &machine), Start::CommittedOther(_)));
    assert_eq!(bench.start(&machine).0, Slot::B);
    machine.0.borrow_mut().next = Some(Slot::A);
    assert!(matches!(at_start(&bench, &machine), Start::Unraised(..)));
    machine.0.borrow_mut().epoch_is_stuck = false;
    with_device(&machine, trial::settle).expect("raised");
    let state = state(&machine);
    assert_eq!((state.phase, state.failure, machine.0.borrow().epoch), (Phase::Idle, None, 2));
    assert!((0..MOST_STARTS).any(|_| bench.run(&machine, &mut server).is_none()), "it settles");
}

#[test]
fn a_trial_that_fails_stays_up_when_the_slot_before_is_dead() {
    let bench = Bench::new(true, false);
    let (machine, mut server) = (bench.machine(0), Server::new(&bench.made));
    assert!(bench.run(&machine, &mut server).is_some(), "installed");
    machine.0.borrow_mut().erase(Area::Esp(Slot::A));
    let starts = (0..MOST_STARTS).take_while(|_| bench.run(&machine, &mut server).is_some()).count();
    assert!(starts < MOST_STARTS, "it settles");
    assert_eq!(machine.0.borrow().trials, TRIAL_BOOTS, "each start that it has is used");
    assert!(state(&machine).denies(&bench.new.name()), "and it is not tried again");
    assert_eq!(bench.start(&machine).0, Slot::B);
}

#[test]
fn a_release_that_is_withdrawn_while_it_waits_is_not_started() {
    let bench = Bench::new(true, true);
    let (machine, mut server) = (bench.machine(0), Server::new(&bench.made));
    assert!(bench.run(&machine, &mut server).is_some(), "installed");
    assert!(matches!(state(&machine).phase, Phase::Trial { .. }));
    let there = |running| {
        with_device(&machine, |device| {
            trial::withdraw(device.storage, device.boot, device.journal, device.state, running)
        })
    };
    there(Slot::B).expect("it runs: no effect");
    assert!(matches!(state(&machine).phase, Phase::Trial { .. }));
    // The firmware's variable, the record, its flush.
    for at in 0..3 {
        let (machine, mut server) = (bench.machine(at), Server::new(&bench.made));
        assert!(bench.run(&machine, &mut server).is_some(), "installed");
        let operations = machine.0.borrow().operations;
        machine.0.borrow_mut().faults = vec![(operations + at, Fault::PowerCut)];
        with_device(&machine, |device| {
            trial::withdraw(device.storage, device.boot, device.journal, device.state, Slot::A).expect_err("cut")
        });
        machine.0.borrow_mut().power_on();
        assert!((0..MOST_STARTS).any(|_| bench.run(&machine, &mut server).is_none()), "cut at {at}: it settles");
    }
    there(Slot::A).expect("withdrawn");
    assert_eq!((state(&machine).phase, bench.start(&machine).0), (Phase::Idle, Slot::A));
    assert!(!state(&machine).denies(&bench.new.name()), "it may come back");
    assert!((0..MOST_STARTS).any(|_| bench.run(&machine, &mut server).is_none()), "and is installed then");
    assert_eq!(bench.start(&machine).0, Slot::B);
}

/// Written, and not begun: a release that is to be started later.
fn waiting(bench: &Bench, machine: &Shared) {
    assert!(bench.run(machine, &mut Server::new(&bench.made)).is_some(), "installed");
    with_device(machine, |device| {
        trial::put_off(device.storage, device.boot, device.journal, device.state, Slot::A).expect("put off");
    });
    assert!(matches!(state(machine).phase, Phase::Waiting { slot: Slot::B, .. }));
}

#[test]
fn a_release_that_waits_is_started_by_nothing_but_its_moment() {
    let bench = Bench::new(true, true);
    let machine = bench.machine(0);
    waiting(&bench, &machine);
    let operations = machine.0.borrow().operations;
    for _ in 0..5 {
        machine.0.borrow_mut().cut_power();
        assert_eq!((at_start(&bench, &machine), bench.start(&machine).0), (Start::Ordinary, Slot::A));
    }
    assert_eq!(machine.0.borrow().operations, operations, "nothing was written");
    with_device(&machine, |device| {
        trial::put_off(device.storage, device.boot, device.journal, device.state, Slot::A).expect("no effect");
        trial::begin(device.storage, device.boot, device.journal, device.state, 1).expect("its moment");
    });
    assert!((0..MOST_STARTS).any(|_| bench.run(&machine, &mut Server::new(&bench.made)).is_none()), "it settles");
    assert_eq!((state(&machine).phase, bench.start(&machine).0), (Phase::Idle, Slot::B));
}

#[test]
fn power_may_fail_while_a_start_is_put_off_or_taken_back() {
    for taken_back in [false, true] {
        // The firmware's variable, the record, its flush.
        for at in 0..3 {
            let bench = Bench::new(true, true);
            let (machine, mut server) = (bench.machine(at), Server::new(&bench.made));
            match taken_back {
                true => waiting(&bench, &machine),
                false => assert!(bench.run(&machine, &mut server).is_some(), "installed"),
            }
            let operations = machine.0.borrow().operations;
            machine.0.borrow_mut().faults = vec![(operations + at, Fault::PowerCut)];
            with_device(&machine, |device| {
                let change = if taken_back { trial::withdraw } else { trial::put_off };
                change(device.storage, device.boot, device.journal, device.state, Slot::A).expect_err("cut");
            });
            machine.0.borrow_mut().power_on();
            assert!((0..MOST_STARTS).any(|_| bench.run(&machine, &mut server).is_none()), "cut at {at}: it settles");
            assert_eq!(bench.start(&machine).0, Slot::B);
        }
    }
}

/// Firmware that has lost its variables may find it first.
#[test]
fn a_release_that_waits_and_runs_all_the_same_has_one_start_to_show_that_it_is_healthy() {
    for is_healthy in [true, false] {
        let bench = Bench::new(true, is_healthy);
        let machine = bench.machine(0);
        waiting(&bench, &machine);
        machine.0.borrow_mut().found_first = Slot::B;
        machine.0.borrow_mut().lose_variables();
        let mut server = Server::new(&bench.made);
        assert!((0..MOST_STARTS).any(|_| bench.run(&machine, &mut server).is_none()), "it settles");
        assert_eq!(bench.start(&machine).0, bench.wanted().slot);
        assert_eq!(state(&machine).denies(&bench.new.name()), !is_healthy);
        assert_eq!(machine.0.borrow().trials, u32::from(!is_healthy));
    }
}

#[test]
fn a_release_behind_the_epoch_that_somebody_chose_gives_way_once() {
    let bench = Bench::new(true, true);
    let (machine, mut server) = (bench.machine(0), Server::new(&bench.made));
    assert!((0..MOST_STARTS).any(|_| bench.run(&machine, &mut server).is_none()), "installed and committed");
    for _ in 0..2 {
        machine.0.borrow_mut().next = Some(Slot::A);
        assert_eq!(at_start(&bench, &machine), Start::Astray);
        assert_eq!(at_start(&bench, &machine), Start::Ordinary);
        assert_eq!(bench.start(&machine).0, Slot::B);
    }
    // The one that is committed is dead.
    machine.0.borrow_mut().erase(Area::Esp(Slot::B));
    assert_eq!(at_start(&bench, &machine), Start::Astray);
    assert_eq!(at_start(&bench, &machine), Start::Ordinary);
    assert_eq!(bench.start(&machine).0, Slot::A);
}
