//! Programs of the virtual board: a name and arguments to a running process on the pinned tool tree.
//!
//! Invariant: a process sees the tool tree and the folders it is given, at their own paths, and no other part
//! of the host's file system; dropping it ends it, by its own id.

use super::stop::{Stop, LOOK};
use super::BoardError;
use crate::io::file::{self, at, FileError};
use osbuild_sys::sandbox::{Child, Confinement, Mount, Network, Root, Sandbox, SandboxError, Stdio};
use std::ffi::OsString;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the board's programs come from: the checked-out tool tree `board`.
#[derive(Clone, Debug)]
pub struct ToolRoot {
    tree: PathBuf,
    stop: Stop,
}

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// Absolute, inside the tree.
    pub program: String,
    pub args: Vec<OsString>,
    /// A folder of ours in which the sandbox may keep its own files while it runs.
    pub scratch: PathBuf,
    /// Folders that keep their path inside the sandbox.
    pub writable: Vec<PathBuf>,
    pub readable: Vec<PathBuf>,
    /// Where its output goes; none: the terminal, which it then also reads from.
    pub log: Option<PathBuf>,
    /// What it reads, where there is a log; none: nothing.
    pub input: Option<PathBuf>,
    /// Whether it may open the host's `/dev/kvm`.
    pub kvm: bool,
}

pub struct Process {
    child: Child,
    stop: Stop,
    launch: Launch,
    ended: Option<String>,
    /// The sandbox's own files; they go with it.
    scratch: tempfile::TempDir,
}

/// How often a wait looks again.
const POLL: Duration = Duration::from_millis(5);
/// The one user and group that the sandbox knows; outside it is whoever runs osbuild.
const USER: u32 = 1000;
/// ssh asks who it is; the tool tree has no accounts, for nobody ever logs in there.
const ACCOUNTS: &[u8] = b"osbuild:x:1000:1000::/nonexistent:/bin/false\n";

impl ToolRoot {
    /// `tree` is the checked-out tool tree.
    pub fn new(tree: PathBuf) -> ToolRoot {
        ToolRoot { tree, stop: Stop::default() }
    }

    /// The same, but no program is waited for once `stop` is wished.
    pub fn until(self, stop: Stop) -> ToolRoot {
        ToolRoot { stop, ..self }
    }

    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// The host's path of a file of the tree.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.tree.join(inside.trim_start_matches('/'))
    }

    pub fn spawn(&self, launch: Launch) -> Result<Process, BoardError> {
        let scratch = tempfile::Builder::new().prefix(SCRATCH_PREFIX).tempdir_in(&launch.scratch);
        let scratch = scratch.map_err(at("create a folder in", &launch.scratch))?;
        let sandbox = self.sandbox(&launch, scratch.path())?;
        let start = |source: SandboxError| BoardError::Start { program: launch.program.clone(), source };
        let child = sandbox.spawn().map_err(start)?;
        Ok(Process { child, stop: self.stop.clone(), launch, ended: None, scratch })
    }

    fn sandbox(&self, launch: &Launch, scratch: &Path) -> Result<Sandbox, BoardError> {
        let [stdin, stdout, stderr] = match &launch.log {
            Some(log) => {
                let out = file::create(log)?;
                let err = out.try_clone().map_err(at("open", log))?;
                let input =
                    launch.input.as_ref().map(|path| file::open(path)).transpose()?.map_or(Stdio::Null, Stdio::File);
                [input, Stdio::File(out), Stdio::File(err)]
            }
            None => [Stdio::Inherit, Stdio::Inherit, Stdio::Inherit],
        };
        let accounts = scratch.join("passwd");
        file::write_atomic(&accounts, ACCOUNTS, 0o644)?;
        let argv = std::iter::once(launch.program.clone().into()).chain(launch.args.iter().cloned()).collect();
        Ok(Sandbox {
            root: Root::Layers { folders: vec![self.tree.clone()], scratch: scratch.join("overlay") },
            mounts: mounts(launch, accounts),
            // Its user network and its forwards are sockets of the host's loopback interface.
            network: Network::Host,
            hostname: "osbuild".to_owned(),
            uid: USER,
            gid: USER,
            outside: None,
            cwd: "/".into(),
            argv,
            env: vec![("PATH".into(), "/usr/sbin:/usr/bin".into()), ("HOME".into(), "/nonexistent".into())],
            stdin,
            stdout,
            stderr,
            // It only needs the modes of the terminal, not to control it.
            terminal: false,
            group: None,
            confinement: Confinement::default(),
        })
    }

    /// Runs to the end; anything but success within `timeout` is an error that shows the log's end.
    pub fn run(&self, launch: Launch, timeout: Duration) -> Result<(), BoardError> {
        let mut process = self.spawn(launch)?;
        match process.wait(timeout)? {
            Some(exit) if exit == SUCCESS => Ok(()),
            Some(_) => Err(process.ended_error()),
            None => Err(BoardError::Silent { program: process.launch.program.clone(), waited: timeout }),
        }
    }
}

/// How the end of a process that succeeded is spelt.
const SUCCESS: &str = "exit status: 0";

impl Process {
    /// How it ended; none while it runs.
    pub fn poll(&mut self) -> Result<Option<&str>, BoardError> {
        if self.ended.is_none() {
            let talk = |source| BoardError::Talk { program: self.launch.program.clone(), source };
            self.ended = self.child.try_wait().map_err(talk)?.map(|status| status.to_string());
        }
        Ok(self.ended.as_deref())
    }

    /// Waits for its end; none when `timeout` passed first.
    pub fn wait(&mut self, timeout: Duration) -> Result<Option<String>, BoardError> {
        let start = Instant::now();
        loop {
            if let Some(exit) = self.poll()? {
                return Ok(Some(exit.to_owned()));
            }
            self.stop.check()?;
            if start.elapsed() >= timeout {
                return Ok(None);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits until `ready` answers, the process ends (an error) or `timeout` passes (an error).
    pub fn wait_until<T>(
        &mut self,
        timeout: Duration,
        mut ready: impl FnMut() -> std::io::Result<Option<T>>,
    ) -> Result<T, BoardError> {
        let start = Instant::now();
        let program = self.launch.program.clone();
        loop {
            if let Some(value) = ready().map_err(|source| BoardError::Talk { program: program.clone(), source })? {
                return Ok(value);
            }
            if self.poll()?.is_some() {
                return Err(self.ended_error());
            }
            self.stop.check()?;
            if start.elapsed() >= timeout {
                return Err(BoardError::Silent { program, waited: timeout });
            }
            std::thread::sleep(POLL);
        }
    }

    pub fn ended_error(&self) -> BoardError {
        BoardError::Ended {
            program: self.launch.program.clone(),
            exit: self.ended.clone().unwrap_or_else(|| "no exit yet".to_owned()),
            tail: self.launch.log.as_deref().map(tail).unwrap_or_default(),
        }
    }

    /// Waits until it has succeeded, however long that takes.
    pub fn finish(&mut self) -> Result<(), BoardError> {
        while self.poll()?.is_none() {
            self.stop.check()?;
            std::thread::sleep(LOOK);
        }
        match self.ended.as_deref() {
            Some(SUCCESS) => Ok(()),
            _ => Err(self.ended_error()),
        }
    }

    /// From now on it is waited for, whatever is wished: its end is under way.
    pub fn wait_in_spite_of_stop(&mut self) {
        self.stop = Stop::default();
    }

    /// Ends it now.
    pub fn stop(&mut self) {
        if self.ended.is_none() {
            self.child.kill();
            self.ended = self.child.wait().ok().map(|status| status.to_string());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
        open_up(self.scratch.path());
    }
}

const SCRATCH_PREFIX: &str = "sandbox-";

/// The overlay's work folder lets nobody in, so it could not be removed. Absent after a failed start.
fn open_up(scratch: &Path) {
    let inner = scratch.join("overlay/work/work");
    let _ = std::fs::set_permissions(inner, std::fs::Permissions::from_mode(0o700));
}

/// Removes what sandboxes left in `folder` when osbuild itself was killed. None may be running there.
pub fn clear_leftovers(folder: &Path) -> Result<(), FileError> {
    for entry in std::fs::read_dir(folder).map_err(at("list", folder))? {
        let path = entry.map_err(at("list", folder))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SCRATCH_PREFIX)) {
            open_up(&path);
            std::fs::remove_dir_all(&path).map_err(at("remove", &path))?;
        }
    }
    Ok(())
}

fn mounts(launch: &Launch, accounts: PathBuf) -> Vec<Mount> {
    let same = |path: &Path| (path.to_owned(), path.to_owned());
    let mut mounts = vec![Mount::Proc, Mount::ReadOnly { from: accounts, to: "/etc/passwd".into() }];
    mounts.push(Mount::Tmpfs { to: "/var/tmp".into(), size_bytes: 1 << 20 });
    // One by one, since `/dev/kvm` could not be added to a ready-made `/dev`.
    let devices = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"].map(Path::new);
    for device in devices.into_iter().chain(launch.kvm.then_some(Path::new("/dev/kvm"))) {
        let (from, to) = same(device);
        mounts.push(Mount::Writable { from, to });
    }
    for folder in &launch.readable {
        let (from, to) = same(folder);
        mounts.push(Mount::ReadOnly { from, to });
    }
    for folder in &launch.writable {
        let (from, to) = same(folder);
        mounts.push(Mount::Writable { from, to });
    }
    mounts
}

/// The last lines of a log that may be long.
fn tail(log: &Path) -> String {
    const TAIL_BYTES: u64 = 4096;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = file::open(log).map_err(|e| e.source)?;
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
