//! Media that fail: at one read or write, in one sector for good, or without a word.

use crate::disk::Fault;
use crate::world::Server;
use crate::{Bench, MOST_STARTS};
use osbuild_format::command_line::Slot;
use osbuild_update::device::Area;
use std::io::ErrorKind;

#[test]
fn any_read_may_fail() {
    for (delta, is_healthy) in [(false, true), (true, true), (true, false)] {
        let bench = Bench::new(delta, is_healthy);
        let lives = |failing_read| {
            let machine = bench.machine(0);
            machine.0.borrow_mut().failing_read = failing_read;
            let mut server = Server::new(&bench.made);
            let starts = (0..MOST_STARTS).take_while(|_| bench.run(&machine, &mut server).is_some()).count();
            assert!(starts < MOST_STARTS, "it settles: read {failing_read:?}");
            let (slot, images) = bench.start(&machine);
            assert_eq!((images.version, slot), (bench.wanted().version, bench.wanted().slot), "read {failing_read:?}");
            let reads = machine.0.borrow().reads.get();
            reads
        };
        let reads = lives(None);
        assert!(reads > 10, "a life has many reads: {reads}");
        (0..reads).for_each(|read| {
            lives(Some(read));
        });
    }
}

/// Wherever it is: in the other slot, in what a delta starts from, or in the state.
#[test]
fn a_dead_sector_keeps_the_old_release_until_it_is_replaced() {
    for is_healthy in [true, false] {
        let bench = Bench::new(true, is_healthy);
        let areas = [
            Area::State,
            Area::Esp(Slot::B),
            Area::Root(Slot::B),
            Area::Verity(Slot::B),
            Area::Root(Slot::A),
            Area::Esp(Slot::A),
        ];
        let mut kept = 0;
        for area in areas {
            let size = bench.machine(0).0.borrow().durable(area).len();
            for sector in (0..size).step_by(4 * 512) {
                let (machine, mut server) = (bench.machine(sector as u64), Server::new(&bench.made));
                machine.0.borrow_mut().dead = Some((area, sector));
                let starts = (0..MOST_STARTS).take_while(|_| bench.run(&machine, &mut server).is_some()).count();
                let (_, images) = bench.start(&machine);
                if starts == MOST_STARTS {
                    assert_eq!(images.version, bench.old.version, "{area:?} at {sector}");
                    kept += 1;
                }
                machine.0.borrow_mut().dead = None;
                let starts = (0..2 * MOST_STARTS).take_while(|_| bench.run(&machine, &mut server).is_some()).count();
                assert!(starts < 2 * MOST_STARTS, "it settles: {area:?} at {sector}");
                let (slot, images) = bench.start(&machine);
                assert_eq!(
                    (images.version, slot),
                    (bench.wanted().version, bench.wanted().slot),
                    "{area:?} at {sector}"
                );
            }
        }
        assert!(kept > 10, "{kept} sectors mattered");
    }
}

#[test]
fn storage_may_fail_at_every_operation() {
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        for is_healthy in [true, false] {
            let bench = Bench::new(true, is_healthy);
            let (_, _, operations) = bench.life(0, &[]);
            for at in 0..operations {
                let (end, _, _) = bench.life(at, &[(at, Fault::Error(kind))]);
                assert_eq!(end, bench.wanted(), "{kind:?} at {at} of {operations}");
            }
        }
    }
}

#[test]
fn a_write_may_not_be_what_the_medium_holds() {
    for delta in [true, false] {
        let bench = Bench::new(delta, true);
        let (_, _, operations) = bench.life(0, &[]);
        for at in 0..operations {
            let (end, _, _) = bench.life(at, &[(at, Fault::Damage)]);
            assert_eq!(end, bench.wanted(), "damage at {at} of {operations}");
        }
    }
}
