//! A plan in, its outputs in the content-addressed store out.
//!
//! Every task is a Remote Execution API v2 action; its digest is the key of its result. Invariant: exec knows
//! commands, steps and trees; it does not know what an image is.

pub mod action;
mod error;
mod fetch;
mod graph;
pub mod local;
mod perform;
pub mod progress;
mod schedule;
pub mod step;

#[cfg(test)]
mod tests;

pub use error::{ExecError, TaskError};
pub use schedule::{Environment, Outcome};

use crate::io::store::{Node, Store};
use crate::plan::task::{Input, OutputRef, Plan};
use progress::Event;
use schedule::End;
use step::Outputs;

/// How often a run starts again because the cache turned out to have lost something.
const REPAIRS: usize = 3;

/// Does everything that `goals` need and the cache does not have.
pub fn run(plan: &Plan, goals: &[OutputRef], env: &Environment) -> Result<Outcome, ExecError> {
    let mut left = REPAIRS;
    loop {
        left -= 1;
        let (outcome, end) = schedule::attempt(plan, goals, env);
        match end {
            None if left > 0 && forget_damaged(plan, goals, &outcome, env) => {}
            None => return Ok(outcome),
            Some(End::Lost(index, _)) if left > 0 && forget_lost(plan, index, &outcome, env) => {}
            Some(End::Lost(_, error) | End::Failed(error)) => return Err(error),
        }
    }
}

/// Forgets the results whose blobs are not all there; whether anything that the task `failed` may use is gone.
fn forget_lost(plan: &Plan, failed: usize, outcome: &Outcome, env: &Environment) -> bool {
    let mut found = plan.tasks[failed]
        .inputs
        .iter()
        .any(|input| matches!(&input.source, Input::File { digest, .. } if !env.store.has(digest)));
    for (index, task) in plan.tasks.iter().enumerate() {
        let (Some(outputs), Some(action)) = (outcome.outputs(index), outcome.action(index)) else { continue };
        if !is_whole(env.store, outputs) {
            env.observer.event(&Event::Repairing { task: &task.name });
            env.store.remove_action_result(action);
            found = true;
        }
    }
    found
}

/// Forgets the results of goals that lost something since; what is only linked to is not read by any task.
fn forget_damaged(plan: &Plan, goals: &[OutputRef], outcome: &Outcome, env: &Environment) -> bool {
    let mut found = false;
    for index in goals.iter().map(|goal| goal.task.0) {
        let (Some(outputs), Some(action)) = (outcome.outputs(index), outcome.action(index)) else { continue };
        if !is_whole(env.store, outputs) {
            env.observer.event(&Event::Repairing { task: &plan.tasks[index].name });
            env.store.remove_action_result(action);
            found = true;
        }
    }
    found
}

/// Whether every blob of `outputs` is in the store.
pub fn is_whole(store: &Store, outputs: &Outputs) -> bool {
    let present = |node: &Node| match node {
        Node::File { digest, .. } | Node::Folder(digest) => store.has(digest),
        Node::Symlink { .. } => true,
    };
    outputs.values().all(|node| {
        let below = match node {
            Node::Folder(tree) => store.walk(tree).map(|entries| entries.iter().all(|entry| present(&entry.node))),
            _ => Ok(true),
        };
        present(node) && below.unwrap_or(false)
    })
}
