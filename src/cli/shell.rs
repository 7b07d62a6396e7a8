//! `osbuild shell TASK`: a shell where a task runs, with what its last failure left.
//!
//! Invariant: nothing that is done in the shell becomes a result; what the failure left is lost by no end of the shell.

use super::project::Project;
use super::report::Failure;
use super::sandbox;
use super::session::{BuildArgs, Session};
use crate::config::diagnostic::suggest;
use crate::exec::local::{Start, Workshop};
use crate::plan::task::{Command, Task};
use std::collections::BTreeMap;

/// `bash` edits lines, but not every tool tree has it.
const SHELL: [&str; 3] = ["/bin/sh", "-c", "command -v bash > /dev/null && exec bash; exec /bin/sh"];

#[derive(Clone, Debug, clap::Args)]
pub struct ShellArgs {
    /// A task, as `RECIPE:STEP`; `osbuild plan` lists them
    pub task: String,
    /// The product whose task it is
    #[arg(long)]
    pub product: Option<String>,
    /// What to run instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    #[command(flatten)]
    pub build: BuildArgs,
}

pub fn shell(project: Project, args: &ShellArgs) -> Result<(), Failure> {
    let session = Session::open(project, args.product.as_deref(), &BTreeMap::new(), &args.build)?;
    let task = find(&session, &args.task)?;
    let Command::Sandbox { argv, .. } = &task.command else {
        let help = "its input is in the cache; `osbuild plan --json` shows its parameters";
        return Err(Failure::new(format!("`{}` is a step of osbuild itself: it has no sandbox", task.name)).help(help));
    };
    let action = sandbox::action(&session, task)?;
    let mut workshop = Workshop::prepare(&session.store, &action)?;
    let state = match workshop.resume(&session.store, &task.name, &action)? {
        Start::Failure => "as its last failure left it",
        Start::Fresh => "before its first command",
        Start::Taken => {
            workshop.remove();
            let message = format!("another shell is open in what the last failure of `{}` left", task.name);
            return Err(Failure::new(message).help("leave it first: two would overwrite each other's files"));
        }
    };
    eprintln!(
        "`{}` {state}; /work is its folder. It runs:\n\n{}\n",
        task.name,
        argv.last().map_or("", |l| l.trim_end())
    );
    let status = sandbox::run(&session, &workshop, task, command(&args.command));
    workshop.remove();
    let status = status?;
    // A shell that a person leaves ends with the status of their last command: that is no failure of ours.
    match status.success() || args.command.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(format!("`{}` ended with {status}", args.command.join(" ")))),
    }
}

/// A program without a path is searched as a shell would; the sandbox itself searches nothing.
fn command(words: &[String]) -> Vec<String> {
    const SEARCH: [&str; 3] = ["/bin/sh", "-c", "exec \"$0\" \"$@\""];
    match words.first() {
        None => SHELL.map(str::to_owned).to_vec(),
        Some(program) if program.contains('/') => words.to_vec(),
        Some(_) => SEARCH.map(str::to_owned).into_iter().chain(words.iter().cloned()).collect(),
    }
}

fn find<'a>(session: &'a Session, name: &str) -> Result<&'a Task, Failure> {
    let tasks = &session.plan.tasks;
    tasks.iter().find(|task| task.name == name).ok_or_else(|| {
        let hint = suggest(name, tasks.iter().map(|task| task.name.as_str()));
        let help = hint.unwrap_or_else(|| "`osbuild plan` lists them".to_owned());
        Failure::new(format!("there is no task `{name}`")).help(help)
    })
}
