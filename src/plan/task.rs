//! The plan's vocabulary: tasks, their inputs, and what they leave.
//!
//! A task becomes a Remote Execution API v2 `Action` once the digests of its inputs are known; the
//! digest of that action is its key in every cache. Invariant: a task's inputs stand before it in the plan.

pub use crate::model::fetch::{Fetch, FetchPlace};

use super::steps::StepKind;
use crate::model::{Digest, Origin, RelPath};
use std::collections::BTreeMap;

/// Index of a task in [`Plan::tasks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub usize);

/// The whole graph, in a topological order.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub tasks: Vec<Task>,
    /// What the user may ask for by name: `busybox` to its package output, `root.erofs`, ...
    pub goals: BTreeMap<String, OutputRef>,
    /// How to get the blobs that come from outside, by digest.
    pub fetches: BTreeMap<Digest, Fetch>,
}

#[derive(Clone, Debug)]
pub struct Task {
    /// `RECIPE:STEP`, unique in the plan: `busybox:build`.
    pub name: String,
    /// The line that caused the task.
    pub origin: Origin,
    pub command: Command,
    /// The input root: each entry is placed at its path; trees placed at one path are merged, equal
    /// files allowed. Paths are relative to the input root.
    pub inputs: Vec<InputMount>,
    /// Paths, relative to the input root, that the command leaves: files or folders, in any order.
    pub outputs: Vec<RelPath>,
}

#[derive(Clone, Debug)]
pub enum Command {
    /// A process in the sandbox. Its working folder is the input root, at the fixed path `/work`.
    Sandbox {
        argv: Vec<String>,
        env: BTreeMap<String, String>,
        /// The file system it runs on, read-only at `/`; host recipes' outputs are laid over it by the plan.
        tools: Input,
    },
    /// A step of osbuild itself: a pure function from the input root and `parameters` to the outputs.
    /// Its REAPI form is a command whose argv is `osbuild-step NAME VERSION PARAMETERS`.
    Step {
        kind: StepKind,
        /// Canonical JSON.
        parameters: String,
    },
}

#[derive(Clone, Debug)]
pub struct InputMount {
    /// None: the input root itself (for trees only).
    pub path: Option<RelPath>,
    pub source: Input,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file of known content: local (already stored) or listed in [`Plan::fetches`].
    File {
        digest: Digest,
        executable: bool,
    },
    /// A tree already stored, by the digest of its root `Directory` message.
    Tree(Digest),
    Output(OutputRef),
}

/// One output of a task, or, with `below`, a file or folder inside that output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutputRef {
    pub task: TaskId,
    pub output: RelPath,
    pub below: Option<RelPath>,
}
