//! The virtual board's window: the status as a line of JSON a second, into one port, if the board has it.
//!
//! Invariant: it only ever writes; nothing that comes in from the port is read, so it is no way in.

use crate::file;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Write;

/// Name of the virtio-serial port; real boards have none.
const PORT: &str = "org.osbuild.status.0";

pub struct StatusPort {
    device: File,
}

impl StatusPort {
    pub fn find() -> Option<Self> {
        let entries = std::fs::read_dir("/sys/class/virtio-ports").ok()?;
        let mut names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let name = names
            .find(|name| file::text(format!("/sys/class/virtio-ports/{name}/name")).is_ok_and(|port| port == PORT))?;
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let device = rustix::fs::open(format!("/dev/{name}"), flags, Mode::empty()).ok()?;
        Some(StatusPort { device: File::from(device) })
    }

    /// Nobody listening, or listening too slowly, is no error: the next second brings the next status.
    pub fn write(&mut self, status: &serde_json::Value) {
        let mut line = status.to_string();
        line.push('\n');
        let _ = self.device.write(line.as_bytes());
    }
}
