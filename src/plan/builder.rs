//! Collects tasks, fetches and problems while the plan is made.
//!
//! Invariant: a task is added after everything it uses, so the plan is in topological order.

use super::app::AppTasks;
use super::local::LocalInputs;
use super::steps::StepKind;
use super::task::{Command, Fetch, Input, InputMount, OutputRef, Plan, Task, TaskId};
use super::Problem;
use crate::config::Config;
use crate::model::lock::Lock;
use crate::model::{AppName, Digest, Origin, RecipeName, RelPath};
use std::collections::{BTreeMap, HashMap};

/// The tasks of one recipe that others build on.
#[derive(Clone, Debug)]
pub(super) struct RecipeTasks {
    /// The whole installed tree.
    pub installed: OutputRef,
    /// What dependents compile and link against, that of the recipe's own dependencies included.
    pub sysroot: OutputRef,
    /// The task with one output folder per package.
    pub packages: TaskId,
}

pub(super) struct PlanBuilder<'a> {
    pub config: &'a Config,
    pub lock: &'a Lock,
    pub local: &'a LocalInputs,
    /// None: planned, and a problem was reported.
    pub recipes: HashMap<RecipeName, Option<RecipeTasks>>,
    /// None: planned, and a problem was reported.
    pub apps: HashMap<AppName, Option<AppTasks>>,
    pub tool_trees: HashMap<String, Input>,
    plan: Plan,
    problems: Vec<Problem>,
}

impl<'a> PlanBuilder<'a> {
    pub fn new(config: &'a Config, lock: &'a Lock, local: &'a LocalInputs) -> Self {
        PlanBuilder {
            config,
            lock,
            local,
            recipes: HashMap::new(),
            apps: HashMap::new(),
            tool_trees: HashMap::new(),
            plan: Plan::default(),
            problems: Vec::new(),
        }
    }

    /// Adds a task with outputs at fixed, valid paths.
    pub fn task(
        &mut self,
        name: String,
        origin: &Origin,
        command: Command,
        inputs: Vec<InputMount>,
        outputs: &[&str],
    ) -> TaskId {
        let outputs = outputs.iter().map(|output| fixed_path(output)).collect();
        self.add(Task { name, origin: origin.clone(), command, inputs, outputs })
    }

    pub fn add(&mut self, task: Task) -> TaskId {
        self.plan.tasks.push(task);
        TaskId(self.plan.tasks.len() - 1)
    }

    /// The tasks of a recipe that was planned.
    pub fn recipe(&self, name: &RecipeName) -> Option<RecipeTasks> {
        self.recipes.get(name)?.clone()
    }

    pub fn goal(&mut self, name: String, output: OutputRef) {
        self.plan.goals.insert(name, output);
    }

    /// An input file that comes from outside.
    pub fn fetched(&mut self, digest: Digest, fetch: Fetch) -> Input {
        self.plan.fetches.entry(digest).or_insert(fetch);
        Input::File { digest, executable: false }
    }

    pub fn problem(&mut self, origin: &Origin, message: String, help: Option<String>) {
        self.problems.push(Problem { origin: origin.clone(), message, help });
    }

    pub fn finish(mut self) -> Result<Plan, Vec<Problem>> {
        if self.problems.is_empty() {
            let trees = std::mem::take(&mut self.tool_trees).into_iter();
            self.plan.goals.extend(trees.filter_map(|(name, input)| match input {
                Input::Output(tree) => Some((format!("tools:{name}"), tree)),
                Input::File { .. } | Input::Tree(_) => None,
            }));
            return Ok(self.plan);
        }
        self.problems.sort_by(|a, b| (&a.origin, &a.message).cmp(&(&b.origin, &b.message)));
        self.problems.dedup();
        Err(self.problems)
    }
}

/// A path that is written in this program.
pub(super) fn fixed_path(text: &str) -> RelPath {
    RelPath::new(text).expect("paths written in the plan are valid")
}

/// `task`'s output of that name.
pub(super) fn output(task: TaskId, name: &str) -> OutputRef {
    OutputRef { task, output: fixed_path(name), below: None }
}

/// Places `source` at `path` of the input root.
pub(super) fn mount(path: &str, source: Input) -> InputMount {
    InputMount { path: Some(fixed_path(path)), source }
}

/// A step of osbuild itself, with its parameters as canonical JSON (serde_json sorts object keys).
pub(super) fn step(kind: StepKind, parameters: &serde_json::Value) -> Command {
    Command::Step { kind, parameters: parameters.to_string() }
}

/// A shell script in the sandbox. `set -eu` is given; the working folder is the input root.
pub(super) fn shell(tools: Input, env: BTreeMap<String, String>, script: String) -> Command {
    let argv = ["/bin/sh", "-euc"].map(str::to_owned).into_iter().chain([script]).collect();
    let mut all = BTreeMap::from([("SOURCE_DATE_EPOCH".to_owned(), "1".to_owned())]);
    all.extend(env);
    Command::Sandbox { argv, env: all, tools }
}
