//! Requests of clients, each to its answer.
//!
//! Invariant: every request is answered, at once; what takes time is only begun.

use super::Agent;
use crate::control::server::Asked;
use crate::control::status::{status, Known};
use crate::control::{Answer, AppAction, Request};
use crate::end::End;
use crate::time;

impl Agent {
    pub(super) fn answer(&mut self, asked: Asked) {
        self.rest_soon();
        let answer = match asked.request {
            Request::Status => Answer::Status(self.status()),
            // An app's unit has a colon in its name; apps are asked for by their id, and safe mode has a word to say.
            Request::Restart { service } if service.contains(':') => {
                Answer::Refused(format!("cannot restart `{service}`: that is not the name of a service"))
            }
            Request::Restart { service } => match self.supervisor.restart(&service, time::now()) {
                Ok(action) => {
                    action.into_iter().for_each(|action| self.act(action));
                    Answer::Done
                }
                Err(error) => Answer::Refused(format!("cannot restart `{service}`: {error}")),
            },
            Request::Apps => Answer::Status(self.apps_status()),
            // What takes the place of an app that is just being stopped would be stopped by nobody.
            Request::Install { .. } | Request::App { action: AppAction::Remove, .. } if self.ending.is_some() => {
                Answer::Refused("the system is going down".to_owned())
            }
            Request::App { id, action } => self.answer_app(&id, action),
            Request::Install { file, token } => self.answer_install(&file, token.as_deref()),
            Request::Updates => Answer::Status(self.updates_status()),
            Request::Update(action) => self.answer_update(action),
            Request::Reboot => {
                self.end(End::Reboot);
                Answer::Done
            }
            Request::PowerOff => {
                self.end(End::PowerOff);
                Answer::Done
            }
        };
        // A client that has gone away needs no answer.
        let _ = asked.answer.send(answer);
    }

    pub(super) fn status(&self) -> serde_json::Value {
        let state = self.ending.map_or(self.health.word(), |_| "stopping");
        status(&Known {
            config: &self.parts.config,
            facts: &self.parts.facts,
            fixed: &self.fixed,
            supervisor: &self.supervisor,
            network: &self.parts.network,
            state,
            ready_ms: self.health.ready_ms(),
            guard: &self.parts.guard,
            device_id: self.parts.apps.device_id(),
            safe_mode: self.parts.apps.safe_mode(),
            updates_deferred_for: self.deferrals.left(time::now()),
            apps: self.apps_status(),
        })
    }
}
