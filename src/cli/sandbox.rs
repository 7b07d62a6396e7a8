//! A task in; its sandbox, with all its inputs there and a person at its terminal, out.
//!
//! Invariant: what is done in such a sandbox never becomes the result of a task.

use super::report::Failure;
use super::session::Session;
use super::terminal;
use crate::exec::action::Action;
use crate::exec::local::Workshop;
use crate::exec::TaskError;
use crate::io::store::Node;
use crate::plan::task::{Command, Input, OutputRef, Task};
use osbuild_sys::sandbox::Stdio;
use std::process::ExitStatus;

/// Makes what `task` uses; its action then says what it would see.
pub fn action(session: &Session, task: &Task) -> Result<Action, Failure> {
    let tools = match &task.command {
        Command::Sandbox { tools, .. } => Some(tools),
        Command::Step { .. } => None,
    };
    let sources = task.inputs.iter().map(|input| &input.source).chain(tools);
    let needed: Vec<OutputRef> = sources
        .filter_map(|input| if let Input::Output(output) = input { Some(output.clone()) } else { None })
        .collect();
    let outcome = session.run(&needed)?;
    let resolve = |input: &Input| match input {
        Input::File { digest, executable } => Ok(Node::File { digest: *digest, executable: *executable }),
        Input::Tree(tree) => Ok(Node::Folder(*tree)),
        Input::Output(reference) => outcome.output(&session.store, &session.plan, reference),
    };
    Ok(Action::new(&session.store, task, &resolve)?)
}

/// Runs `argv` with our terminal when we have one, else with our standard streams.
pub fn run(session: &Session, workshop: &Workshop, task: &Task, argv: Vec<String>) -> Result<ExitStatus, Failure> {
    if terminal::is_here() {
        return terminal::run(session, workshop, task, argv);
    }
    let streams = [Stdio::Inherit, Stdio::Inherit, Stdio::Inherit];
    let mut child = workshop.spawn(task, argv, streams, None)?;
    Ok(child.wait().map_err(TaskError::Wait)?)
}
