//! One action in, its outputs in the store out: run in a sandbox on this machine.
//!
//! Invariant: the program sees the tool tree read-only at `/`, the input root at `/work`, an empty `/tmp`, and
//! nothing else; what it leaves counts only when it ended with 0 and every declared output is there.

use super::action::{arguments, environment, Action};
use super::error::TaskError;
use super::step::Outputs;
use crate::io::file::{self, at};
use crate::io::store::{Store, StoreError};
use crate::model::{Digest, RelPath};
use crate::plan::task::Task;
use osbuild_sys::sandbox::{Child, Mount, Network, Sandbox, Stdio};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The one user and group that tasks know.
const USER: u32 = 1000;
const TAIL_LINES: usize = 30;
const TAIL_BYTES: u64 = 64 << 10;
/// Written beside what a failed task left: which action it was.
const ACTION_FILE: &str = "action";

/// The folders of one sandbox, below the store.
pub struct Workshop {
    folder: PathBuf,
    input: PathBuf,
    tools: PathBuf,
}

impl Workshop {
    /// Checks the inputs and the tools out.
    pub fn prepare(store: &Store, action: &Action) -> Result<Workshop, StoreError> {
        let tools = action.tools.as_ref().expect("a sandboxed task has a tool tree");
        let tools = store.checkout(tools)?;
        let folder = store.temporary_folder()?.keep();
        let workshop = Workshop { input: folder.join("input"), tools, folder };
        store.checkout_into(&action.input_root, &workshop.input)?;
        for name in ["upper", "work", "tmp"] {
            file::create_dir_all(&workshop.folder.join(name))?;
        }
        let tmp = workshop.folder.join("tmp");
        std::fs::set_permissions(&tmp, std::fs::Permissions::from_mode(0o1777)).map_err(at("set the mode of", &tmp))?;
        Ok(workshop)
    }

    /// Takes up what the last failed run of the same action left, so that a person can look at it.
    pub fn resume(&self, store: &Store, task: &str, action: &Action) -> Result<bool, StoreError> {
        let kept = failed_folder(store, task);
        let same = file::read_text(&kept.join(ACTION_FILE)).is_ok_and(|hex| hex == action.digest.hex());
        if same {
            let upper = self.folder.join("upper");
            std::fs::remove_dir(&upper).map_err(at("remove", &upper))?;
            std::fs::rename(kept.join("upper"), &upper).map_err(at("move", &upper))?;
            file::remove_tree(&kept)?;
        }
        Ok(same)
    }

    /// Starts `argv` with the task's environment. `terminal` is the kind of terminal (`TERM`) that standard input
    /// is; it becomes the program's controlling terminal.
    pub fn spawn(
        &self,
        task: &Task,
        argv: Vec<String>,
        stdio: [Stdio; 3],
        terminal: Option<&str>,
    ) -> Result<Child, TaskError> {
        let [stdin, stdout, stderr] = stdio;
        let upper = self.folder.join("upper");
        let mut env = environment(task);
        env.extend(terminal.map(|kind| ("TERM", kind)));
        let sandbox = Sandbox {
            root: vec![self.tools.clone()],
            scratch: self.folder.join("root"),
            mounts: vec![
                Mount::Proc,
                Mount::Dev,
                Mount::Writable { from: self.folder.join("tmp"), to: "/tmp".into() },
                Mount::Overlay {
                    lower: vec![self.input.clone()],
                    upper,
                    work: self.folder.join("work"),
                    to: "/work".into(),
                },
            ],
            network: Network::None,
            hostname: "osbuild".to_owned(),
            uid: USER,
            gid: USER,
            cwd: "/work".into(),
            argv: argv.into_iter().map(Into::into).collect(),
            env: env.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            stdin,
            stdout,
            stderr,
            terminal: terminal.is_some(),
        };
        Ok(sandbox.spawn()?)
    }

    /// Moves the declared outputs into the store.
    pub fn collect(&self, store: &Store, paths: &[RelPath]) -> Result<Outputs, TaskError> {
        let mut outputs = Outputs::new();
        for path in paths {
            let place = self.folder.join("upper").join(path.as_str());
            if std::fs::symlink_metadata(&place).is_err() {
                return Err(TaskError::NoOutput(path.clone()));
            }
            outputs.insert(path.clone(), store.ingest_node(&place, true)?);
        }
        Ok(outputs)
    }

    /// Keeps what the task wrote, in place of what its last failure left.
    pub fn keep(self, store: &Store, task: &str, action: &Action) -> Result<PathBuf, StoreError> {
        let kept = failed_folder(store, task);
        file::remove_tree(&kept)?;
        file::create_dir_all(&kept)?;
        std::fs::rename(self.folder.join("upper"), kept.join("upper")).map_err(at("keep", &kept))?;
        file::write_atomic(&kept.join(ACTION_FILE), action.digest.hex().as_bytes(), 0o644)?;
        self.remove();
        Ok(kept)
    }

    pub fn remove(self) {
        // What stays behind is swept when the cache is next opened by a process alone.
        let _ = file::remove_tree(&self.folder);
    }
}

/// Where what a failed task left is kept.
pub fn failed_folder(store: &Store, task: &str) -> PathBuf {
    store.root().join("failed").join(task)
}

/// A finished run: what it left, and its log.
pub struct Finished {
    pub outputs: Outputs,
    pub log: Digest,
}

/// Runs the task; `log` receives what it prints. A failure leaves the workshop to be kept.
pub fn run(
    store: &Store,
    task: &Task,
    workshop: &Workshop,
    log: &Path,
    interrupted: &AtomicBool,
) -> Result<Finished, TaskError> {
    let out = file::create(log).map_err(StoreError::from)?;
    let err = out.try_clone().map_err(at("open", log)).map_err(StoreError::from)?;
    let stdio = [Stdio::Null, Stdio::File(out), Stdio::File(err)];
    let mut child = workshop.spawn(task, arguments(task), stdio, None)?;
    let status = wait(&mut child, interrupted)?;
    if !status.success() {
        return Err(TaskError::Failed { exit: describe(status), tail: tail(log), log: log.to_owned() });
    }
    let outputs = workshop.collect(store, &task.outputs)?;
    Ok(Finished { outputs, log: store.put_file(log)? })
}

/// Looks often at first, so that a short task is not made longer.
fn wait(child: &mut Child, interrupted: &AtomicBool) -> Result<ExitStatus, TaskError> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().map_err(TaskError::Wait)? {
            return Ok(status);
        }
        if interrupted.load(Ordering::Relaxed) {
            return Err(TaskError::Interrupted);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The sandbox's pid 1 passes a signal on as 128 and its number.
fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code @ 129..=192) => format!("signal {}", code - 128),
        Some(code) => format!("exit status {code}"),
        None => status.to_string(),
    }
}

/// The last lines of the log, each indented.
fn tail(log: &Path) -> String {
    let text = file::read_end(log, TAIL_BYTES).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    last.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
