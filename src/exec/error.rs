//! Why a run did not reach its goals.
//!
//! Invariant: the error names the task and the line of the configuration that caused it.

use super::step::StepError;
use crate::io::store::StoreError;
use crate::model::{Origin, RelPath};
use crate::tools::fetch::FetchError;
use osbuild_sys::sandbox::SandboxError;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    #[error("interrupted; what is finished is kept: run the same command again to go on")]
    Interrupted,
    #[error("task `{task}` failed")]
    Task {
        task: String,
        origin: Origin,
        #[source]
        cause: Box<TaskError>,
    },
    #[error("a source is missing")]
    Fetch(#[source] FetchError),
    #[error("the cache cannot be used")]
    Store(#[from] StoreError),
    #[error("the cache at `{}` is being swept by another osbuild; try again when it is done", .0.display())]
    Swept(PathBuf),
}

/// What went wrong in one task.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error("its program ended with {exit}; the end of its log:\n{tail}\nthe whole log is in `{}`", log.display())]
    Failed { exit: String, tail: String, log: PathBuf },
    #[error("it did not leave its output `{0}`")]
    NoOutput(RelPath),
    #[error("its input `{path}` is not in what `{from}` left")]
    NoInput { path: RelPath, from: String },
    #[error("this osbuild has no step `{0}`")]
    NoStep(&'static str),
    #[error("its sandbox cannot be made")]
    Sandbox(#[from] SandboxError),
    #[error("its program cannot be waited for")]
    Wait(#[source] std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Step(StepError),
    #[error("interrupted")]
    Interrupted,
}

impl TaskError {
    /// Whether a blob that should have been in the cache, but was not, can be the cause.
    pub(super) fn may_be_loss(&self) -> bool {
        matches!(self, TaskError::Store(_) | TaskError::Step(_) | TaskError::NoInput { .. })
    }

    /// What the user can do, where the cause is a known one.
    pub fn help(&self) -> Option<&'static str> {
        let TaskError::Failed { tail, .. } = self else {
            return matches!(self, TaskError::Sandbox(_)).then_some(
                "tasks run in user namespaces: `sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000` \
                 and, on Ubuntu, `kernel.apparmor_restrict_unprivileged_userns=0` switch them on",
            );
        };
        let has = |words: &[&str]| words.iter().any(|word| tail.contains(word));
        if has(&["Network is unreachable", "Could not resolve", "Temporary failure in name resolution"]) {
            return Some("tasks have no network: name what it downloads under `sources` of the recipe");
        }
        if has(&["Read-only file system"]) {
            return Some("a task can write below `/work` and `/tmp` only; what it leaves goes below `$DESTDIR`");
        }
        if has(&["No space left on device"]) {
            return Some("free some space, or `osbuild cache gc`; nothing finished is lost: run the command again");
        }
        None
    }
}
