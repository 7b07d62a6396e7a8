//! A task that the cache does not have in; its outputs in the store, and its result in the cache, out.
//!
//! Invariant: one process at a time performs an action, and its result is recorded after all that it names.

use super::action::{self, Action};
use super::error::TaskError;
use super::graph::Index;
use super::local::{self, Log, Workshop};
use super::progress::Event;
use super::schedule::{caught, Run, LOOK};
use super::step::{Outputs, StepContext};
use crate::plan::task::Command;
use std::time::{Duration, Instant};

/// The result of a longer task is on disk before it counts, so that a power cut costs little. Syncing after each
/// short one would cost as much as the task.
const COSTLY: Duration = Duration::from_secs(5);

impl Run<'_> {
    pub(super) fn execute(&self, index: Index, action: &Action) {
        let task = &self.plan.tasks[index];
        let store = self.env.store;
        let mut told = false;
        let lock = loop {
            match store.try_lock_action(&action.digest) {
                Err(error) => return self.failed(index, error.into()),
                Ok(Some(lock)) => break lock,
                // The failure of another task need not wait for a process that may take an hour.
                Ok(None) if self.has_ended() => return,
                Ok(None) => {
                    if !std::mem::replace(&mut told, true) {
                        self.env.observer.event(&Event::Waiting { task: &task.name });
                    }
                    std::thread::sleep(LOOK);
                }
            }
        };
        // Another process may have done it in the meantime.
        if let Some(outputs) = self.cached(action) {
            self.env.observer.event(&Event::Cached { task: &task.name });
            return self.done(index, action.digest, outputs, true);
        }
        self.env.observer.event(&Event::Started { task: &task.name });
        let start = Instant::now();
        // What has been started ends with an event, also when it panics.
        let result = caught(|| self.perform(index, action)).unwrap_or_else(|words| Err(TaskError::Defect(words)));
        drop(lock);
        match result {
            Ok(outputs) => {
                self.env.observer.event(&Event::Finished { task: &task.name, took: start.elapsed() });
                self.done(index, action.digest, outputs, false);
            }
            Err(error) => {
                self.env.observer.event(&match error {
                    TaskError::Interrupted => Event::Stopped { task: &task.name },
                    _ => Event::Failed { task: &task.name },
                });
                self.failed(index, error);
            }
        }
    }

    fn perform(&self, index: Index, action: &Action) -> Result<Outputs, TaskError> {
        let (task, store) = (&self.plan.tasks[index], self.env.store);
        let start = Instant::now();
        action.store(store)?;
        let (outputs, log) = match &task.command {
            Command::Step { kind, parameters } => {
                let step = self.env.steps.get(kind.name).ok_or(TaskError::NoStep(kind.name))?;
                let context = StepContext { store, inputs: &action.input_root, parameters };
                (step(&context).map_err(TaskError::Step)?, None)
            }
            Command::Sandbox { .. } => {
                let finished = self.in_sandbox(index, action)?;
                (finished.outputs, Some(finished.log))
            }
        };
        if start.elapsed() > COSTLY {
            store.sync()?;
        }
        store.put_action_result(&action.digest, &action::to_result(&outputs, log))?;
        Ok(outputs)
    }

    fn in_sandbox(&self, index: Index, action: &Action) -> Result<local::Finished, TaskError> {
        let (task, store) = (&self.plan.tasks[index], self.env.store);
        let log = Log::new(self.env.logs, &task.name, action);
        let workshop = Workshop::prepare(store, action)?;
        let result = local::run(store, task, &workshop, &log, self.env.interrupted);
        match &result {
            Err(TaskError::Failed { .. } | TaskError::NoOutput(_)) => {
                // On a full disk nothing can be kept, but the task's own failure is what has to be told.
                if let Ok(Some(folder)) = workshop.keep(store, &task.name, action) {
                    self.env.observer.event(&Event::Kept { task: &task.name, folder: &folder });
                }
            }
            _ => workshop.remove(),
        }
        result
    }
}
