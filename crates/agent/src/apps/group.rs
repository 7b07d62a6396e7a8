//! An app's limits to its control group, and what the kernel counts there.
//!
//! Source: Linux `Documentation/admin-guide/cgroup-v2.rst`. Invariant: every process of an app is in its group from
//! before its first instruction. (`cgroup.kill` is not used: some kernels of 6.12 end at once what is later made in a group
//! that it was written to. An app ends with the first process of its namespace.)

use crate::error::{AgentError, Doing};
use crate::file;
use osbuild_format::app::Limits;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";
const APPS: &str = "/sys/fs/cgroup/apps";
const CONTROLLERS: &str = "+cpu +memory +pids";
/// Of `cpu.max`, in microseconds.
const PERIOD: u64 = 100_000;
/// The sandbox's own first process, which only reaps.
const OWN_PROCESSES: u32 = 1;

#[derive(Debug)]
pub struct Group {
    folder: PathBuf,
}

/// Once, before the first group.
pub fn prepare() -> Result<(), AgentError> {
    let doing = || "divide the machine into control groups".to_owned();
    file::set(Path::new(ROOT).join("cgroup.subtree_control"), CONTROLLERS).doing(doing)?;
    std::fs::create_dir_all(APPS).doing(doing)?;
    file::set(Path::new(APPS).join("cgroup.subtree_control"), CONTROLLERS).doing(doing)
}

impl Group {
    pub fn make(id: &str, limits: &Limits) -> Result<Group, AgentError> {
        let group = Group { folder: Path::new(APPS).join(id) };
        let doing = || format!("limit what the app `{id}` may use");
        match std::fs::create_dir(&group.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error).doing(doing),
            _ => {}
        }
        for (name, value) in settings(limits) {
            file::set(group.folder.join(name), &value).doing(doing)?;
        }
        Ok(group)
    }

    /// What a process is made in the group with.
    pub fn door(&self) -> io::Result<File> {
        file::open(&self.folder)
    }

    /// How many times a process of it was ended for want of memory.
    pub fn memory_kills(&self) -> u64 {
        let events = file::text(self.folder.join("memory.events")).unwrap_or_default();
        number_after(&events, "oom_kill ").unwrap_or(0)
    }

    pub fn memory_bytes(&self) -> Option<u64> {
        file::text(self.folder.join("memory.current")).ok()?.parse().ok()
    }

    pub fn processes(&self) -> Option<u64> {
        file::text(self.folder.join("pids.current")).ok()?.parse().ok()
    }

    pub fn cpu_microseconds(&self) -> Option<u64> {
        number_after(&file::text(self.folder.join("cpu.stat")).ok()?, "usage_usec ")
    }

    /// It has no processes any more.
    pub fn remove(&self) -> io::Result<()> {
        std::fs::remove_dir(&self.folder)
    }
}

fn settings(limits: &Limits) -> [(&'static str, String); 4] {
    let quota = PERIOD * u64::from(limits.cpu_percent) / 100;
    [
        ("memory.max", limits.memory_bytes.to_string()),
        // Half an app is worth nothing: all of it ends, and the reason is known.
        ("memory.oom.group", "1".to_owned()),
        ("pids.max", (limits.processes.saturating_add(OWN_PROCESSES)).to_string()),
        ("cpu.max", format!("{quota} {PERIOD}")),
    ]
}

fn number_after(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_the_kernel_reads_them() {
        let settings = settings(&Limits { memory_bytes: 1 << 20, cpu_percent: 50, processes: 8, files: 64 });
        let text: Vec<&str> = settings.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(text, ["1048576", "1", "9", "50000 100000"]);
    }

    #[test]
    fn counters_are_found_by_their_whole_name() {
        let events = "low 0\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!((number_after(events, "oom_kill "), number_after(events, "kill ")), (Some(2), None));
    }
}
