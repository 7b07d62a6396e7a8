//! One action in, its outputs in the store out: run in a sandbox on this machine.
//!
//! Invariant: the program sees the tool tree read-only at `/`, the input root at `/work`, an empty `/tmp`, and
//! nothing else; what it leaves counts only when it ended with 0 and every declared output is there.

use super::action::{arguments, environment, Action};
use super::error::TaskError;
use super::step::Outputs;
use crate::io::file::{self, at};
use crate::io::store::{Store, StoreError, StoreLock};
use crate::model::{Digest, RelPath};
use crate::plan::task::Task;
use osbuild_sys::sandbox::{Child, Confinement, Mount, Network, Root, Sandbox, Stdio};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The one user and group that tasks know.
const USER: u32 = 1000;
const TAIL_LINES: usize = 30;
const TAIL_BYTES: u64 = 64 << 10;
/// Written beside what a failed task left, when all of it is there: which action it was.
const ACTION_FILE: &str = "action";
/// Failures of one task whose sandboxes are kept: each may be as large as a kernel's build.
const KEPT_PER_TASK: usize = 4;

/// The folders of one sandbox, below the store.
pub struct Workshop {
    folder: PathBuf,
    input: PathBuf,
    tools: PathBuf,
    /// What the task writes.
    upper: PathBuf,
    /// Held while that is what a failed run left.
    kept: Option<StoreLock>,
}

/// Where a shell starts.
pub enum Start {
    /// Before the task's first command.
    Fresh,
    /// As its last failure left it.
    Failure,
    /// Another process is in what the last failure left.
    Taken,
}

impl Workshop {
    /// Checks the inputs and the tools out.
    pub fn prepare(store: &Store, action: &Action) -> Result<Workshop, StoreError> {
        let tools = action.tools.as_ref().expect("a sandboxed task has a tool tree");
        let tools = store.checkout(tools)?;
        // Removed again when something of the inputs is lost.
        let temporary = store.temporary_folder()?;
        let folder = temporary.path();
        let (input, upper) = (folder.join("input"), folder.join("upper"));
        store.checkout_into(&action.input_root, &input)?;
        for name in ["upper", "work", "tmp"] {
            file::create_dir_all(&folder.join(name))?;
        }
        let tmp = folder.join("tmp");
        std::fs::set_permissions(&tmp, std::fs::Permissions::from_mode(0o1777)).map_err(at("set the mode of", &tmp))?;
        Ok(Workshop { folder: temporary.keep(), input, tools, upper, kept: None })
    }

    /// Works on what the last failed run of the same action left, where it lies: whatever ends us, it stays.
    pub fn resume(&mut self, store: &Store, task: &str, action: &Action) -> Result<Start, StoreError> {
        let kept = failed_folder(store, task, action);
        let Some(lock) = store.try_lock_kept(&action.key())? else { return Ok(Start::Taken) };
        if file::read_text(&kept.join(ACTION_FILE)).is_ok_and(|hex| hex == action.digest.hex()) {
            (self.upper, self.kept) = (kept.join("upper"), Some(lock));
            return Ok(Start::Failure);
        }
        Ok(Start::Fresh)
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
        let mut env = environment(task);
        env.extend(terminal.map(|kind| ("TERM", kind)));
        let sandbox = Sandbox {
            root: Root::Layers { folders: vec![self.tools.clone()], scratch: self.folder.join("root") },
            mounts: vec![
                Mount::Proc,
                Mount::Dev,
                Mount::Writable { from: self.folder.join("tmp"), to: "/tmp".into() },
                Mount::Overlay {
                    lower: vec![self.input.clone()],
                    upper: self.upper.clone(),
                    work: self.folder.join("work"),
                    to: "/work".into(),
                },
            ],
            network: Network::None,
            hostname: "osbuild".to_owned(),
            uid: USER,
            gid: USER,
            outside: None,
            cwd: "/work".into(),
            argv: argv.into_iter().map(Into::into).collect(),
            env: env.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            stdin,
            stdout,
            stderr,
            terminal: terminal.is_some(),
            group: None,
            confinement: Confinement::default(),
        };
        Ok(sandbox.spawn()?)
    }

    /// Moves the declared outputs into the store.
    pub fn collect(&self, store: &Store, paths: &[RelPath]) -> Result<Outputs, TaskError> {
        let mut outputs = Outputs::new();
        for path in paths {
            let place = self.upper.join(path.as_str());
            if std::fs::symlink_metadata(&place).is_err() {
                return Err(TaskError::NoOutput(path.clone()));
            }
            outputs.insert(path.clone(), store.ingest_node(&place, true)?);
        }
        Ok(outputs)
    }

    /// Keeps what the task wrote, in place of what an earlier failure of the same action left; none while somebody
    /// works on that.
    pub fn keep(self, store: &Store, task: &str, action: &Action) -> Result<Option<PathBuf>, StoreError> {
        let lock = store.try_lock_kept(&action.key())?;
        let kept = lock.is_some().then(|| failed_folder(store, task, action));
        if let Some(kept) = &kept {
            file::remove_tree(kept)?;
            file::create_dir_all(kept)?;
            std::fs::rename(&self.upper, kept.join("upper")).map_err(at("keep", kept))?;
            file::write_atomic(&kept.join(ACTION_FILE), action.digest.hex().as_bytes(), 0o644)?;
        }
        self.remove();
        drop(lock);
        forget_earlier(store, task)?;
        Ok(kept)
    }

    pub fn remove(self) {
        // What stays behind is swept when the cache is next opened by a process alone.
        let _ = file::remove_tree(&self.folder);
    }
}

/// Where what a failed task left is kept: products and projects that share a cache have each their own.
pub fn failed_folder(store: &Store, task: &str, action: &Action) -> PathBuf {
    store.root().join("failed").join(format!("{task}-{}", action.key()))
}

/// Removes all but the last failures of the task.
fn forget_earlier(store: &Store, task: &str) -> Result<(), StoreError> {
    let folder = store.root().join("failed");
    let mut kept = Vec::new();
    for name in file::list(&folder)? {
        if let Some(key) = name.strip_prefix(task).and_then(|rest| rest.strip_prefix('-')).filter(|key| key.len() == 16)
        {
            let path = folder.join(&name);
            // Another process may have removed it by now.
            if let Ok(modified) = std::fs::metadata(&path).and_then(|metadata| metadata.modified()) {
                kept.push((modified, path, key.to_owned()));
            }
        }
    }
    kept.sort();
    kept.truncate(kept.len().saturating_sub(KEPT_PER_TASK));
    for (_, path, key) in kept {
        if let Some(_lock) = store.try_lock_kept(&key)? {
            file::remove_tree(&path)?;
        }
    }
    Ok(())
}

/// A finished run: what it left, and its log.
pub struct Finished {
    pub outputs: Outputs,
    pub log: Digest,
}

/// Where what a task prints goes.
pub struct Log {
    /// While it runs. Nobody else writes there: one process at a time has the action.
    pub running: PathBuf,
    /// Once it has ended: the log of the task's last run, of whatever action.
    pub ended: PathBuf,
}

impl Log {
    pub fn new(folder: &Path, task: &str, action: &Action) -> Log {
        let name = format!("{task}.log");
        Log { running: folder.join(format!("{name}.{}", action.key())), ended: folder.join(name) }
    }
}

/// Runs the task. A failure leaves the workshop to be kept.
pub fn run(
    store: &Store,
    task: &Task,
    workshop: &Workshop,
    log: &Log,
    interrupted: &AtomicBool,
) -> Result<Finished, TaskError> {
    let result = run_into(store, task, workshop, log, interrupted);
    // How the task ended is what has to be told, wherever its log is.
    let _ = std::fs::rename(&log.running, &log.ended);
    result
}

fn run_into(
    store: &Store,
    task: &Task,
    workshop: &Workshop,
    log: &Log,
    interrupted: &AtomicBool,
) -> Result<Finished, TaskError> {
    let running = &log.running;
    let out = file::create(running).map_err(StoreError::from)?;
    let err = out.try_clone().map_err(at("open", running)).map_err(StoreError::from)?;
    let stdio = [Stdio::Null, Stdio::File(out), Stdio::File(err)];
    let mut child = workshop.spawn(task, arguments(task), stdio, None)?;
    let status = wait(&mut child, interrupted)?;
    if !status.success() {
        return Err(TaskError::Failed { exit: describe(status), tail: tail(running), log: log.ended.clone() });
    }
    let outputs = workshop.collect(store, &task.outputs)?;
    Ok(Finished { outputs, log: store.put_file(running)? })
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
