//! Why a run did not reach its goals.
//!
//! Invariant: the error names the task and the line of the configuration that caused it.

use super::step::StepError;
use crate::io::store::StoreError;
use crate::model::{Origin, RelPath};
use crate::tools::archive::ArchiveError;
use crate::tools::fetch::FetchError;
use crate::tools::source::SourceError;
use osbuild_sys::sandbox::{probe, SandboxError, Unavailable};
use std::error::Error;
use std::path::{Path, PathBuf};

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
    Fetch {
        /// The line that wants it.
        origin: Option<Origin>,
        #[source]
        cause: Box<FetchError>,
    },
    #[error("the cache cannot be used")]
    Store(#[from] StoreError),
    /// A panic: what it said.
    #[error("osbuild itself has a defect: {0}")]
    Defect(String),
}

/// What programs print when they look for a network.
const NO_NETWORK: [&str; 5] = [
    "Network is unreachable",
    "Connection refused",
    "Could not resolve",
    "Temporary failure in name resolution",
    "Name or service not known",
];

const DECLARE: &str = "declare it under `metadata` of the package, `{path: /usr/bin/NAME, mode: \"4755\"}`";

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
    Sandbox(#[source] SandboxError),
    #[error(transparent)]
    NoNamespaces(Unavailable),
    #[error("its program cannot be waited for")]
    Wait(#[source] std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Step(StepError),
    /// A panic in osbuild: what it said.
    #[error("osbuild itself has a defect: {0}")]
    Defect(String),
    #[error("interrupted")]
    Interrupted,
}

impl TaskError {
    /// Whether a blob that should have been in the cache, but was not, can be the cause.
    pub(super) fn may_be_loss(&self) -> bool {
        matches!(self, TaskError::Store(_) | TaskError::Step(_) | TaskError::NoInput { .. })
    }

    /// Whether a shell can be opened where it ran.
    pub fn left_a_sandbox(&self) -> bool {
        matches!(self, TaskError::Failed { .. } | TaskError::NoOutput(_))
    }

    /// What the user can do, where the cause is a known one. Tasks write to the disk of `cache`.
    pub fn help(&self, cache: &Path) -> Option<String> {
        match self {
            TaskError::Failed { tail, .. } => help_for_log(tail, cache),
            TaskError::NoOutput(_) => Some("a task leaves its outputs below `/work`: `$DESTDIR` is one".to_owned()),
            TaskError::NoNamespaces(unavailable) => Some(unavailable.remedy.clone()),
            TaskError::Defect(_) => {
                Some("please report it with the line above that says where; nothing finished is lost".to_owned())
            }
            TaskError::Sandbox(SandboxError::Namespaces(_) | SandboxError::Setup { .. }) => Some(
                "a sandbox needs user namespaces with overlay mounts: Linux 5.11 or newer, and, in a container, leave to \
                 unshare and mount"
                    .to_owned(),
            ),
            TaskError::Step(error) if holds_archive_error(&**error) => Some(
                "the archive is damaged, or was made to do harm: find out which before another one is pinned".to_owned(),
            ),
            TaskError::Step(error) if matches!(error.downcast_ref(), Some(SourceError::SetId(_))) => {
                Some(format!("{DECLARE}; with \"0755\" it runs as whoever starts it"))
            }
            _ => None,
        }
    }
}

/// The system's own words are about something else: a limit of 0 namespaces is `No space left on device`, and where
/// AppArmor restricts them, it is a mount that is denied.
impl From<SandboxError> for TaskError {
    fn from(error: SandboxError) -> Self {
        let may_be_the_host = matches!(error, SandboxError::Namespaces(_) | SandboxError::Setup { .. });
        match may_be_the_host.then(probe) {
            Some(Err(unavailable)) => TaskError::NoNamespaces(unavailable),
            Some(Ok(())) | None => TaskError::Sandbox(error),
        }
    }
}

fn holds_archive_error(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // That the store could not take the content is not the archive's fault.
        if error.downcast_ref::<ArchiveError>().is_some_and(|error| !matches!(error, ArchiveError::Store(_))) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn help_for_log(tail: &str, cache: &Path) -> Option<String> {
    let has = |words: &[&str]| words.iter().any(|word| tail.contains(word));
    if has(&NO_NETWORK) {
        return Some("tasks have no network: name what it downloads under `sources` of the recipe".to_owned());
    }
    if has(&["setuid or setgid, but not in the metadata"]) {
        return Some(format!("{DECLARE}, or clear the bit in `finish` of the recipe"));
    }
    if has(&["Read-only file system"]) {
        let help = "a task can write below `/work` and `/tmp` only; what it leaves goes below `$DESTDIR`";
        return Some(help.to_owned());
    }
    has(&["No space left on device"]).then(|| {
        format!(
            "the disk of `{}` is full: free some space there, run `osbuild cache gc`, or set OSBUILD_CACHE to a folder \
             on another; nothing finished is lost: run the command again",
            cache.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_full_disk_is_not_taken_for_a_host_without_namespaces() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let help = |error: SandboxError| TaskError::from(error).help(Path::new("/cache")).unwrap_or_default();
        let prepare = SandboxError::Prepare { path: "/cache/tmp/work-1/root".into(), source: full() };
        assert_eq!(help(prepare), "", "the remedy of the error itself is the right one");
        let setup = SandboxError::Setup { step: "mount the tool tree".to_owned(), source: full() };
        assert!(help(setup).starts_with("a sandbox needs user namespaces"));
    }
}
