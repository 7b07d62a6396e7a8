//! Apps in the main loop: what they say, whether they are well, and what their ends lead to.
//!
//! Invariant: an app gets nothing for the asking that its capabilities do not name.

use super::{Agent, Program};
use crate::apps::notify::{Wish, Word};
use crate::apps::{unit_name, Reason};
use crate::control::{Answer, AppAction};
use crate::end::End;
use crate::network::clock;
use crate::supervise::{Exit, State};
use crate::{log, time};
use serde_json::{json, Value};
use std::time::Duration;

/// An app asks again if it needs longer; one that was taken over must not put updates off for good.
const MOST_DEFERRED: Duration = Duration::from_secs(7 * 24 * 3600);

impl Agent {
    pub(super) fn hear_app(&mut self, id: &str) {
        let words = self.parts.apps.get(id).map(|app| app.notify.take()).unwrap_or_default();
        for word in words {
            if let Some(app) = self.parts.apps.get(id) {
                app.heard(&word);
            }
            match word {
                Word::Ready => {
                    if let Ok(unit) = self.supervisor.find(&unit_name(id)) {
                        self.supervisor.ready(unit);
                    }
                }
                Word::Wish(wish) => self.grant(id, wish),
                Word::Watchdog | Word::Status(_) => {}
            }
        }
    }

    fn grant(&mut self, id: &str, wish: Wish) {
        let Some(app) = self.parts.apps.get(id) else { return };
        if !app.wishes.take(time::now()) {
            return;
        }
        let capabilities = &app.package.manifest.capabilities;
        let (granted, what) = match wish {
            Wish::Reboot => (capabilities.reboot, "reboot"),
            Wish::SetTime(_) => (capabilities.set_time, "set-time"),
            Wish::DeferUpdates(_) => (capabilities.defer_updates, "defer-updates"),
        };
        if !granted {
            app.log.write(log::Level::Warning, log::AGENT, &format!("refused: the app has no capability `{what}`"));
            return;
        }
        self.parts.log.info(&format!("app `{id}` uses its capability `{what}`"));
        match wish {
            Wish::Reboot => self.end(End::Reboot),
            Wish::SetTime(seconds) => {
                let floor = Duration::from_secs(self.parts.config.clock_floor_seconds);
                if let Err(error) = clock::set_by_app(Duration::from_secs(seconds), floor) {
                    self.parts.log.warn(&format!("app `{id}` cannot set the clock: {error}"));
                }
            }
            Wish::DeferUpdates(seconds) => {
                let longest = MOST_DEFERRED.min(Duration::from_secs(u64::from(seconds)));
                self.change_deferrals(|all| all.set(id, time::now() + longest));
            }
        }
    }

    /// Ends those that are not what they promised to be.
    pub(super) fn judge_apps(&mut self) {
        let now = time::now();
        for (unit, program) in &self.programs {
            let Program::App(id) = program else { continue };
            let Some(State::Running { ready, .. }) = self.supervisor.unit(*unit).map(|unit| unit.state) else {
                continue;
            };
            let Some(app) = self.parts.apps.get(id) else { continue };
            if let Some(reason) = app.complaint(ready, now) {
                self.parts.log.warn(&format!("app `{id}` is ended: {reason}"));
                app.kill(Some(reason));
            }
        }
    }

    pub(super) fn apps_wake_at(&self) -> Option<Duration> {
        let due = self.programs.iter().filter_map(|(unit, program)| {
            let (Program::App(id), State::Running { ready, .. }) = (program, self.supervisor.unit(*unit)?.state) else {
                return None;
            };
            let (_, app) = self.parts.apps.iter().find(|(known, _)| known == id)?;
            app.wake_at(ready)
        });
        due.min()
    }

    /// The app's sandbox has ended: how it looks from outside.
    pub(super) fn app_ended(&mut self, id: &str) -> Exit {
        // What it said last may explain its end.
        self.hear_app(id);
        let Some((exit, reason)) = self.parts.apps.ended(id) else { return Exit::Code(0) };
        self.parts.log.info(&format!("app `{id}` ended: {reason}"));
        if let Some(app) = self.parts.apps.get(id) {
            let level = if reason == Reason::Stopped { log::Level::Info } else { log::Level::Warning };
            app.log.write(level, log::AGENT, &format!("ended: {reason}"));
        }
        exit
    }

    /// After every end: one too many has consequences, and who waits for the app's place gets it.
    pub(super) fn app_settled(&mut self, unit: usize, id: &str) {
        self.judge_crash_loop(unit);
        if self.parts.apps.is_being_replaced(id) {
            self.replace_app(id);
        }
    }

    pub(super) fn judge_crash_loop(&mut self, unit: usize) {
        let Some(Program::App(id)) = self.programs.get(&unit) else { return };
        if !self.supervisor.unit(unit).is_some_and(|unit| unit.looped) {
            return;
        }
        let id = id.clone();
        self.parts.log.error(&format!("app `{id}` ends again and again: it is not started any more"));
        self.change_deferrals(|all| all.forget(&id));
        if !self.parts.config.safe_mode {
            return;
        }
        let rule = format!("the app `{id}` ended again and again");
        let Some(stopped) = self.parts.apps.enter_safe_mode(rule.clone()) else { return };
        self.parts.log.error(&format!("safe mode, without apps of third parties: {rule}"));
        for third in stopped {
            self.change_deferrals(|all| all.forget(&third));
            if let Some(app) = self.parts.apps.get(&third) {
                app.blame(Reason::Policy { rule: format!("safe mode, because {rule}") });
            }
            if let Ok(Some(action)) = self.supervisor.stop_unit(&unit_name(&third), time::now()) {
                self.act(action);
            }
        }
    }

    pub(super) fn answer_install(&mut self, file: &str, token: Option<&str>) -> Answer {
        match self.parts.apps.install(file, token, &self.parts.config) {
            Ok(id) => {
                self.parts.log.info(&format!("app `{id}` is installed"));
                self.make_way(&id);
                Answer::Done
            }
            Err(error) => Answer::Refused(crate::error::chain(&error)),
        }
    }

    pub(super) fn answer_app(&mut self, id: &str, action: AppAction) -> Answer {
        let unit = unit_name(id);
        if let (AppAction::Start | AppAction::Restart, Some(reason)) = (action, self.parts.apps.objection(id)) {
            return Answer::Refused(reason);
        }
        let now = time::now();
        let done = match action {
            AppAction::Start => self.supervisor.start_unit(&unit).map(|()| None),
            AppAction::Stop => self.supervisor.stop_unit(&unit, now),
            AppAction::Restart => self.supervisor.restart(&unit, now),
            AppAction::Remove => match self.parts.apps.remove(id) {
                Ok(()) => {
                    self.make_way(id);
                    return Answer::Done;
                }
                Err(error) => return Answer::Refused(crate::error::chain(&error)),
            },
        };
        match done {
            Ok(action) => {
                action.into_iter().for_each(|action| self.act(action));
                Answer::Done
            }
            Err(_) => Answer::Refused(format!("there is no app `{id}` that runs here, or the system is going down")),
        }
    }

    /// The app's place is wanted: it ends first, if it runs.
    fn make_way(&mut self, id: &str) {
        match self.supervisor.stop_unit(&unit_name(id), time::now()) {
            Ok(Some(action)) => self.act(action),
            // It ends already: its end leads to its successor.
            Ok(None) if self.is_running(id) => {}
            _ => self.replace_app(id),
        }
    }

    fn is_running(&self, id: &str) -> bool {
        let unit = self.supervisor.find(&unit_name(id)).ok().and_then(|unit| self.supervisor.unit(unit));
        unit.is_some_and(|unit| unit.state.pid().is_some())
    }

    fn replace_app(&mut self, id: &str) {
        self.change_deferrals(|all| all.forget(id));
        if let Ok(unit) = self.supervisor.find(&unit_name(id)) {
            self.supervisor.remove(unit);
            self.programs.remove(&unit);
        }
        let unit = self.parts.apps.replace(id, &self.parts.config, &self.parts.log);
        if let Some(unit) = unit {
            let held = self.parts.apps.objection(id).is_some();
            let name = unit.name.clone();
            self.programs.insert(self.supervisor.add(unit), Program::App(id.to_owned()));
            if held {
                // Nothing runs yet, so there is nothing to do either.
                let _ = self.supervisor.stop_unit(&name, time::now());
            }
        }
    }

    pub(super) fn apps_status(&self) -> Value {
        self.parts.apps.status(|id| {
            let unit = self.supervisor.units().find(|unit| unit.config.name == unit_name(id));
            let Some(unit) = unit else { return Value::Null };
            let since =
                if let State::Running { since, .. } = unit.state { Some(time::in_milliseconds(since)) } else { None };
            json!({
                "state": unit.state.name(), "pid": unit.state.pid(), "restarts": unit.restarts,
                "since_ms": since, "crash_loop": unit.looped,
            })
        })
    }
}
