//! Payloads that do not come whole, are not the signed ones, or do not fit the device.

use crate::world::{self, Images, Server};
use crate::{largest_segment, whole_segments, Bench, MOST_STARTS};
use osbuild_format::command_line::Slot;
use osbuild_update::device::Area;
use osbuild_update::state::Journal;

#[test]
fn a_connection_may_break_at_every_request_and_costs_at_most_one_segment() {
    let bench = Bench::new(true, true);
    let (_, whole, _) = bench.life(0, &[]);
    for at in 0..whole.requests {
        let machine = bench.machine(0);
        let mut server = Server::new(&bench.made);
        server.fails_at = Some(at);
        while bench.run(&machine, &mut server).is_some() {}
        assert_eq!(bench.start(&machine).1.version, "1.0.1");
        let head = bench.made.file.len() as u64 - whole_segments(&bench);
        assert!(server.sent_bytes <= whole.sent_bytes + head + largest_segment(&bench), "at {at}");
    }
}

#[test]
fn a_payload_that_is_not_the_signed_one_changes_nothing_that_runs() {
    let bench = Bench::new(true, true);
    let (_, whole, _) = bench.life(0, &[]);
    for at in (0..bench.made.file.len()).step_by(97) {
        let machine = bench.machine(0);
        let mut server = Server::new(&bench.made);
        server.file[at] ^= 0x10;
        for _ in 0..3 {
            assert!(bench.run(&machine, &mut server).is_some(), "byte {at}");
        }
        assert_eq!(bench.start(&machine).1.version, "1.0.0", "byte {at}");
        assert_eq!(machine.0.borrow().next, None, "byte {at}");
        // The same device gets there once the server is right.
        server.file.clone_from(&bench.made.file);
        while bench.run(&machine, &mut server).is_some() {}
        assert_eq!(bench.start(&machine).1.version, "1.0.1", "byte {at}");
    }
    assert!(whole.sent_bytes > 0);
}

#[test]
fn a_signed_release_whose_root_hash_is_wrong_is_tried_twice_and_never_started() {
    let mut bench = Bench::new(true, false);
    let wrong = Images { root_hash: [7; 32], ..bench.new.clone() };
    bench.made = world::make(Some(&bench.old), &wrong);
    let machine = bench.machine(0);
    let mut server = Server::new(&bench.made);
    let starts = (0..MOST_STARTS).take_while(|_| bench.run(&machine, &mut server).is_some()).count();
    assert_eq!(starts, 1, "the second attempt ends it");
    let (_, state, _) = Journal::load(&machine).expect("readable");
    assert!(state.denies(&bench.new.name()));
    assert_eq!(state.failure.map(|failure| failure.why), Some("root-hash".to_owned()));
    assert_eq!(bench.start(&machine), (Slot::A, &bench.old));
    assert_eq!(machine.0.borrow().trials, 0);
}

#[test]
fn a_delta_on_another_source_says_so() {
    let bench = Bench::new(true, true);
    let machine = bench.machine(0);
    machine.0.borrow_mut().damage(Area::Root(Slot::A), 5000);
    let _ = bench.live(&machine, &mut Server::new(&bench.made), Slot::A, &bench.old);
    let (_, state, _) = Journal::load(&machine).expect("readable");
    assert!(state.source_is_damaged(bench.new.version), "{state:?}");
    assert_eq!(machine.0.borrow().next, None);
}
