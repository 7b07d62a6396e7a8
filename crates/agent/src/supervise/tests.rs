use super::machine::{Action, NoSuchUnit, Supervisor, AFTER_KILL, SETTLED};
use super::unit::{Exit, State, Unit, UnitConfig};
use osbuild_format::app::CrashLoop;
use osbuild_format::device::{Restart, ServiceConfig};
use proptest::prelude::*;
use std::time::Duration;

fn service(name: &str, after: &[&str], restart: Restart) -> ServiceConfig {
    ServiceConfig {
        name: name.into(),
        argv: vec!["/bin/true".into()],
        user: "root".into(),
        uid: 0,
        gid: 0,
        env: Default::default(),
        after: after.iter().map(|s| (*s).to_owned()).collect(),
        restart,
        stop_timeout_seconds: 10,
        terminal: None,
        critical: true,
    }
}

fn supervise(services: &[ServiceConfig]) -> Supervisor {
    Supervisor::new(services.iter().map(UnitConfig::of_service))
}

fn first(supervisor: &Supervisor) -> &Unit {
    supervisor.unit(0).expect("it is there")
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Starts everything that may start, with pids 100 + unit.
fn start_all(supervisor: &mut Supervisor, now: Duration) -> Vec<usize> {
    let mut order = Vec::new();
    loop {
        let actions = supervisor.due(now);
        if actions.is_empty() {
            return order;
        }
        for action in actions {
            let Action::Start(unit) = action else { panic!("{action:?}") };
            supervisor.started(unit, 100 + u32::try_from(unit).expect("few"), now);
            order.push(unit);
        }
    }
}

#[test]
fn units_start_in_order_and_stop_in_reverse() {
    let services = [
        service("c", &["b"], Restart::Always),
        service("b", &["a"], Restart::Always),
        service("a", &[], Restart::Always),
    ];
    let mut supervisor = supervise(&services);
    assert_eq!(start_all(&mut supervisor, ms(0)), [2, 1, 0]);
    supervisor.stop();
    for unit in [0, 1, 2] {
        let pid = 100 + u32::try_from(unit).expect("few");
        assert_eq!(supervisor.due(ms(1)), [Action::Terminate { unit, pid }]);
        assert_eq!(supervisor.due(ms(1)), []);
        assert!(!supervisor.all_stopped());
        assert_eq!(supervisor.exited(pid, Exit::Signal(15), ms(2)), Some(unit));
    }
    assert!(supervisor.all_stopped());
    assert_eq!(supervisor.due(ms(100_000)), []);
}

#[test]
fn a_stop_ends_even_units_that_came_to_need_each_other() {
    let mut supervisor = supervise(&[service("a", &[], Restart::Always), service("b", &["a"], Restart::Always)]);
    start_all(&mut supervisor, ms(0));
    // A new version of `a` that starts after `b`, which runs.
    supervisor.stop_unit("a", ms(1)).expect("it runs");
    supervisor.exited(100, Exit::Signal(15), ms(2));
    assert!(supervisor.remove(0));
    supervisor.add(UnitConfig::of_service(&service("a", &["b"], Restart::Always)));
    assert_eq!(start_all(&mut supervisor, ms(3)), [2]);
    supervisor.stop();
    let both = [Action::Terminate { unit: 1, pid: 101 }, Action::Terminate { unit: 2, pid: 102 }];
    assert_eq!(supervisor.due(ms(4)), both);
    assert_eq!(supervisor.due(ms(5)), []);
}

#[test]
fn one_that_ignores_sigterm_is_killed_once() {
    let mut supervisor = supervise(&[service("a", &[], Restart::Always)]);
    start_all(&mut supervisor, ms(0));
    supervisor.stop();
    assert_eq!(supervisor.due(ms(5)), [Action::Terminate { unit: 0, pid: 100 }]);
    assert_eq!(supervisor.wake_at(ms(5)), Some(ms(10_005)));
    assert_eq!(supervisor.due(ms(10_004)), []);
    assert_eq!(supervisor.due(ms(10_005)), [Action::Kill { unit: 0, pid: 100 }]);
    assert_eq!(supervisor.due(ms(10_006)), []);
}

#[test]
fn one_that_not_even_sigkill_ends_is_given_up_and_those_before_it_still_stop() {
    let services = [service("disk", &[], Restart::Always), service("stuck", &["disk"], Restart::Always)];
    let mut supervisor = supervise(&services);
    start_all(&mut supervisor, ms(0));
    supervisor.stop();
    assert_eq!(supervisor.due(ms(0)), [Action::Terminate { unit: 1, pid: 101 }]);
    assert_eq!(supervisor.due(ms(10_000)), [Action::Kill { unit: 1, pid: 101 }]);
    assert_eq!(supervisor.wake_at(ms(10_000)), Some(ms(10_000) + AFTER_KILL));
    assert_eq!(supervisor.due(ms(14_999)), []);
    assert_eq!(supervisor.due(ms(15_000)), [Action::Abandon { unit: 1, pid: 101 }]);
    assert_eq!(supervisor.due(ms(15_000)), [Action::Terminate { unit: 0, pid: 100 }]);
    assert_eq!(supervisor.exited(101, Exit::Signal(9), ms(15_001)), None);
    assert_eq!(supervisor.exited(100, Exit::Signal(15), ms(15_001)), Some(0));
    assert!(supervisor.all_stopped());
}

#[test]
fn a_restart_waits_for_what_sigkill_does_not_end_until_the_system_stops() {
    let mut supervisor = supervise(&[service("a", &[], Restart::Always)]);
    start_all(&mut supervisor, ms(0));
    supervisor.restart("a", ms(0)).expect("it runs");
    assert_eq!(supervisor.due(ms(10_000)), [Action::Kill { unit: 0, pid: 100 }]);
    assert_eq!((supervisor.due(ms(60_000)), supervisor.wake_at(ms(60_000))), (vec![], None));
    supervisor.stop();
    assert_eq!(supervisor.due(ms(60_000)), [Action::Abandon { unit: 0, pid: 100 }]);
}

#[test]
fn the_restart_policy_decides_what_an_end_means() {
    let pausing = State::Pausing { until: ms(1010) };
    for (restart, exit, wanted) in [
        (Restart::Always, Exit::Code(0), pausing),
        (Restart::Always, Exit::Signal(11), pausing),
        (Restart::OnFailure, Exit::Code(0), State::Finished),
        (Restart::OnFailure, Exit::Code(1), pausing),
        (Restart::Never, Exit::Code(0), State::Finished),
        (Restart::Never, Exit::Signal(9), State::Failed),
    ] {
        let mut supervisor = supervise(&[service("a", &[], restart)]);
        start_all(&mut supervisor, ms(0));
        assert_eq!(supervisor.exited(100, exit, ms(10)), Some(0));
        assert_eq!(first(&supervisor).state, wanted, "{restart:?} {exit:?}");
        assert_eq!(first(&supervisor).last_exit, Some(exit));
    }
}

#[test]
fn a_program_that_is_not_there_is_tried_again_with_pauses() {
    let mut supervisor = supervise(&[service("a", &[], Restart::Always)]);
    let mut now = ms(0);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        assert_eq!(supervisor.due(now), [Action::Start(0)]);
        supervisor.not_started(0, 2, now);
        let next = supervisor.wake_at(now).expect("it pauses");
        pauses.push((next - now).as_secs());
        now = next;
    }
    assert_eq!(pauses, [1, 2, 4, 8]);
    assert_eq!(first(&supervisor).restarts, 4);
    assert!(first(&supervisor).last_exit.expect("it ended").to_string().starts_with("not started: No such file"));
}

#[test]
fn a_unit_whose_pause_is_over_waits_for_those_it_starts_after() {
    let services = [service("late", &["early"], Restart::Always), service("early", &[], Restart::Always)];
    let mut supervisor = supervise(&services);
    start_all(&mut supervisor, ms(0));
    // The one that the other needs ends twice, so its second pause is longer.
    supervisor.exited(101, Exit::Code(1), ms(1000));
    assert_eq!(start_all(&mut supervisor, ms(2000)), [1]);
    supervisor.exited(100, Exit::Code(1), ms(2500));
    supervisor.exited(101, Exit::Code(1), ms(2500));
    assert_eq!(supervisor.due(ms(3500)), []);
    assert_eq!(first(&supervisor).state, State::Waiting);
    assert_eq!(supervisor.wake_at(ms(3500)), Some(ms(4500)));
    assert_eq!(start_all(&mut supervisor, ms(4500)), [1, 0]);
}

#[test]
fn health_waits_for_critical_units_to_settle() {
    let mut idle = service("idle", &[], Restart::Never);
    idle.critical = false;
    let mut supervisor = supervise(&[service("a", &[], Restart::Never), idle]);
    assert_eq!(supervisor.missing(ms(0)), ["a"]);
    start_all(&mut supervisor, ms(0));
    assert_eq!(supervisor.missing(ms(1)), ["a"]);
    assert_eq!(supervisor.wake_at(ms(1)), Some(SETTLED));
    assert!(supervisor.missing(SETTLED).is_empty());
    assert_eq!(supervisor.wake_at(SETTLED), None);
    supervisor.exited(100, Exit::Code(1), ms(500));
    assert_eq!(supervisor.missing(ms(500)), ["a"]);
}

#[test]
fn a_critical_job_that_ended_well_is_up() {
    let mut supervisor =
        supervise(&[service("job", &[], Restart::OnFailure), service("next", &["job"], Restart::Always)]);
    assert_eq!(start_all(&mut supervisor, ms(0)), [0, 1]);
    supervisor.exited(100, Exit::Code(0), ms(1));
    assert!(supervisor.missing(ms(1000)).is_empty());
}

#[test]
fn a_restart_by_hand_does_not_wait() {
    let mut supervisor = supervise(&[service("a", &[], Restart::Never)]);
    start_all(&mut supervisor, ms(0));
    assert_eq!(supervisor.restart("a", ms(1)), Ok(Some(Action::Terminate { unit: 0, pid: 100 })));
    supervisor.exited(100, Exit::Signal(15), ms(2));
    assert_eq!(supervisor.due(ms(2)), [Action::Start(0)]);
    assert_eq!(supervisor.restart("b", ms(2)), Err(NoSuchUnit));
    supervisor.stop();
    assert_eq!(supervisor.restart("a", ms(2)), Err(NoSuchUnit));
}

#[test]
fn strangers_among_the_dead_are_reaped_without_effect() {
    let mut supervisor = supervise(&[service("a", &[], Restart::Always)]);
    start_all(&mut supervisor, ms(0));
    assert_eq!(supervisor.exited(4711, Exit::Code(0), ms(1)), None);
    assert_eq!(first(&supervisor).state.name(), "running");
}

#[test]
fn one_that_announces_itself_is_up_only_then() {
    let notifying = UnitConfig { notifies: true, ..UnitConfig::of_service(&service("db", &[], Restart::Always)) };
    let mut supervisor =
        Supervisor::new([notifying, UnitConfig::of_service(&service("web", &["db"], Restart::Always))]);
    assert_eq!(start_all(&mut supervisor, ms(0)), [0]);
    assert_eq!((first(&supervisor).state.name(), supervisor.missing(ms(1000))), ("starting", vec!["db", "web"]));
    supervisor.ready(0);
    assert_eq!(start_all(&mut supervisor, ms(1000)), [1]);
    assert!(supervisor.missing(ms(2000)).is_empty());
}

#[test]
fn one_that_ends_too_often_within_the_window_fails_until_somebody_starts_it() {
    let crash_loop = Some(CrashLoop { ends: 2, window_seconds: 100 });
    let config = UnitConfig { crash_loop, ..UnitConfig::of_service(&service("a", &[], Restart::Always)) };
    let mut supervisor = Supervisor::new([config]);
    let mut now = ms(0);
    // The third end is outside of the window of the first.
    for gap in [1_000, 90_000, 90_000] {
        start_all(&mut supervisor, now);
        now += ms(gap);
        supervisor.exited(100, Exit::Signal(11), now);
        assert!(matches!(first(&supervisor).state, State::Pausing { .. }), "{now:?}");
        now += ms(2_000);
    }
    start_all(&mut supervisor, now);
    supervisor.exited(100, Exit::Signal(11), now + ms(1));
    assert_eq!((first(&supervisor).state, first(&supervisor).looped), (State::Failed, true));
    assert_eq!(supervisor.due(now + ms(1_000_000)), []);
    supervisor.start_unit("a").expect("it is there");
    assert_eq!(start_all(&mut supervisor, now), [0]);
    assert!(!first(&supervisor).looped);
}

#[test]
fn one_that_was_stopped_by_hand_stays_stopped() {
    let mut supervisor = supervise(&[service("a", &[], Restart::Always)]);
    start_all(&mut supervisor, ms(0));
    assert_eq!(supervisor.stop_unit("a", ms(1)), Ok(Some(Action::Terminate { unit: 0, pid: 100 })));
    supervisor.exited(100, Exit::Signal(15), ms(2));
    assert_eq!((first(&supervisor).state, supervisor.due(ms(100_000))), (State::Stopped, vec![]));
    assert!(supervisor.start_unit("a").is_ok() && supervisor.stop_unit("a", ms(3)) == Ok(None));
    assert_eq!(supervisor.due(ms(3)), []);
    assert!(supervisor.remove(0) && supervisor.find("a").is_err());
}

#[test]
fn units_come_and_go_while_others_keep_their_number() {
    let mut supervisor = supervise(&[service("a", &[], Restart::Always)]);
    let added = supervisor.add(UnitConfig::of_service(&service("b", &["a"], Restart::Always)));
    assert_eq!(start_all(&mut supervisor, ms(0)), [0, added]);
    assert!(!supervisor.remove(added), "it runs");
    assert_eq!(supervisor.unit_of(101), Some(added));
}

proptest! {
    /// Whatever dies whenever or never, a stop ends.
    #[test]
    fn a_stop_always_ends(
        immortal in proptest::collection::btree_set(100..106u32, 0..6),
        edges in proptest::collection::vec((0..6usize, 0..6usize), 0..12),
        deaths in proptest::collection::vec((0..6u32, 0..5000u64), 0..20),
    ) {
        let mut services: Vec<ServiceConfig> = (0..6).map(|i| service(&format!("s{i}"), &[], Restart::Always)).collect();
        for (service, after) in edges {
            if after < service {
                services[service].after.push(format!("s{after}"));
            }
        }
        let mut supervisor = supervise(&services);
        let mut now = ms(0);
        for (victim, gap) in deaths {
            start_all(&mut supervisor, now);
            now += ms(gap);
            supervisor.exited(100 + victim, Exit::Signal(9), now);
        }
        supervisor.stop();
        let deadline = now + 6 * (ms(10_000) + AFTER_KILL);
        loop {
            let actions = supervisor.due(now);
            if actions.is_empty() {
                // What is due next must be announced, or nobody would come back for it.
                let Some(next) = supervisor.wake_at(now) else { break };
                prop_assert!(next > now && next <= deadline);
                now = next;
            }
            for action in actions {
                match action {
                    Action::Kill { pid, .. } if !immortal.contains(&pid) => {
                        supervisor.exited(pid, Exit::Signal(9), now);
                    }
                    Action::Start(unit) => prop_assert!(false, "started {unit} while stopping"),
                    _ => {}
                }
            }
        }
        prop_assert!(supervisor.all_stopped());
    }
}
