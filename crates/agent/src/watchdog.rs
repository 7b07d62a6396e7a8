//! The machine's watchdog: armed in the initramfs, taken over by the root's PID 1, and fed by whoever can say that the
//! work goes on.
//!
//! Invariant: nothing here feeds by itself: each feeding is one call of a loop that has just gone round. Nothing is fed
//! once the end is certain.

use crate::{end, time};
use osbuild_sys::watchdog::Watchdog;
use std::io;
use std::time::Duration;

const PATH: &str = "/dev/watchdog";
/// What the device is asked for; it may have its own idea.
const SECONDS: u32 = 30;

pub struct Guard {
    watchdog: Option<Watchdog>,
    complain: Box<dyn Fn(&str)>,
    next: Duration,
    fed_at: Option<Duration>,
    failing: bool,
    inherited: bool,
}

impl Guard {
    /// A machine without a watchdog gets a guard that has nothing to feed; `complain` hears of it, and of feedings
    /// that fail.
    pub fn arm(complain: impl Fn(&str) + 'static) -> Self {
        let armed = Watchdog::arm(PATH, SECONDS);
        if let Err(error) = &armed {
            complain(&format!("no watchdog: cannot arm `{PATH}`: {error}"));
        }
        Guard::new(armed.ok(), complain)
    }

    /// With what [`Guard::hand_over`] gave before the exec; arms one that has appeared since if it gave nothing.
    pub fn take_over(number: Option<i32>, complain: impl Fn(&str) + 'static) -> Self {
        match number.map(|number| Watchdog::inherit(number, PATH)) {
            Some(Ok(watchdog)) => Guard::inherited(watchdog, complain),
            Some(Err(error)) => {
                complain(&format!("cannot take the watchdog of the initramfs over: {error}"));
                Guard::arm(complain)
            }
            None => Guard::arm(complain),
        }
    }

    fn inherited(watchdog: Watchdog, complain: impl Fn(&str) + 'static) -> Self {
        Guard { inherited: true, ..Guard::new(Some(watchdog), complain) }
    }

    /// Leaves the device open for the program that this process executes next.
    pub fn hand_over(self) -> Option<i32> {
        let number = self.watchdog?.hand_over();
        if let Err(error) = &number {
            (self.complain)(&format!("cannot hand the watchdog over: {error}"));
        }
        number.ok()
    }

    fn new(watchdog: Option<Watchdog>, complain: impl Fn(&str) + 'static) -> Self {
        let complain = Box::new(complain);
        Guard { watchdog, complain, next: Duration::ZERO, fed_at: None, failing: false, inherited: false }
    }

    /// Feeds if it is time to: call it as often as the work goes on.
    pub fn feed(&mut self) {
        self.feed_at(time::now(), end::is_hopeless());
    }

    fn feed_at(&mut self, now: Duration, hopeless: bool) {
        let Some(watchdog) = self.watchdog.as_mut().filter(|_| now >= self.next && !hopeless) else { return };
        self.next = now + watchdog.interval();
        let fed = watchdog.feed();
        self.note(fed, now);
    }

    /// Complains once for each row of failures: it goes on every few seconds.
    fn note(&mut self, fed: io::Result<()>, now: Duration) {
        match fed {
            Ok(()) => {
                self.fed_at = Some(now);
                self.failing = false;
            }
            Err(error) if !self.failing => {
                self.failing = true;
                (self.complain)(&format!("cannot feed the watchdog: {error}"));
            }
            Err(_) => {}
        }
    }

    /// When to call [`Guard::feed`] again; none: there is nothing to feed.
    pub fn next_feeding(&self) -> Option<Duration> {
        self.watchdog.as_ref().map(|_| self.next)
    }

    pub fn is_armed(&self) -> bool {
        self.watchdog.is_some()
    }

    /// Whether it has guarded the machine since the initramfs.
    pub fn is_inherited(&self) -> bool {
        self.inherited
    }

    /// None: there is none, or it does not tell.
    pub fn timeout_seconds(&self) -> Option<u32> {
        self.watchdog.as_ref()?.timeout_seconds
    }

    /// Since the device last took its food; none: it never did.
    pub fn fed_ms_ago(&self) -> Option<u64> {
        Some(time::in_milliseconds(time::now().saturating_sub(self.fed_at?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// Takes every feeding.
    const HUNGRY: &str = "/dev/null";
    /// Takes none.
    const SICK: &str = "/dev/full";

    fn guard(path: &str) -> (Guard, Rc<RefCell<Vec<String>>>) {
        let complaints = Rc::new(RefCell::new(Vec::new()));
        let heard = complaints.clone();
        let watchdog = Watchdog::arm(path, SECONDS).expect("it is always there");
        (Guard::new(Some(watchdog), move |text| heard.borrow_mut().push(text.to_owned())), complaints)
    }

    #[test]
    fn it_is_fed_when_it_is_time_and_not_before() {
        let (mut guard, complaints) = guard(HUNGRY);
        assert_eq!(guard.fed_ms_ago(), None);
        let second = Duration::from_secs(1);
        // The device does not tell its patience, so once a second.
        for (now, fed_at) in [(5000, 5000), (5999, 5000), (6000, 6000)].map(|(a, b)| (a, Duration::from_millis(b))) {
            guard.feed_at(Duration::from_millis(now), false);
            assert_eq!((guard.fed_at, guard.next_feeding()), (Some(fed_at), Some(fed_at + second)), "{now}");
        }
        assert!(complaints.borrow().is_empty());
    }

    #[test]
    fn a_device_that_takes_no_food_never_counts_as_fed_and_is_told_of_once() {
        let (mut guard, complaints) = guard(SICK);
        (0..3).for_each(|second| guard.feed_at(Duration::from_secs(second), false));
        assert_eq!((guard.is_armed(), guard.fed_ms_ago()), (true, None));
        assert_eq!(complaints.borrow().len(), 1);
        guard.note(Ok(()), Duration::from_secs(3));
        assert!(guard.fed_ms_ago().is_some());
        guard.note(Err(io::ErrorKind::StorageFull.into()), Duration::from_secs(4));
        assert_eq!(complaints.borrow().len(), 2);
        assert_eq!(guard.fed_at, Some(Duration::from_secs(3)));
    }

    #[test]
    fn nothing_is_fed_once_the_end_is_certain() {
        let (mut guard, _) = guard(HUNGRY);
        guard.feed_at(Duration::from_secs(1), true);
        assert_eq!(guard.fed_at, None);
    }

    #[test]
    fn it_goes_from_one_program_to_the_next() {
        let (before, _) = guard(HUNGRY);
        assert!(!before.is_inherited());
        let number = before.hand_over().expect("it has a device");
        let watchdog = Watchdog::inherit(number, HUNGRY).expect("it is open, and the same device");
        let mut after = Guard::inherited(watchdog, |text| panic!("{text}"));
        after.feed();
        assert!(after.is_inherited() && after.fed_ms_ago().is_some());
    }

    #[test]
    fn without_a_watchdog_there_is_nothing_to_do() {
        let mut guard = Guard::new(None, |_| panic!("nothing failed"));
        guard.feed();
        assert_eq!((guard.next_feeding(), guard.is_armed(), guard.fed_ms_ago()), (None, false, None));
    }
}
