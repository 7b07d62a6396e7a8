//! The virtual board's window: the status as a line of JSON a second, into one port, if the board has it.
//!
//! Invariant: it only ever writes; nothing that comes in from the port is read, so it is no way in.

use crate::file;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Write;

/// Name of the virtio-serial port; real boards have none.
const PORT: &str = "org.osbuild.status.0";

pub struct StatusPort<D = File> {
    device: D,
    /// The last line has no end.
    cut: bool,
}

impl StatusPort {
    pub fn find() -> Option<Self> {
        let entries = std::fs::read_dir("/sys/class/virtio-ports").ok()?;
        let mut names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let name = names
            .find(|name| file::text(format!("/sys/class/virtio-ports/{name}/name")).is_ok_and(|port| port == PORT))?;
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let device = rustix::fs::open(format!("/dev/{name}"), flags, Mode::empty()).ok()?;
        Some(StatusPort { device: File::from(device), cut: false })
    }
}

impl<D: Write> StatusPort<D> {
    /// Nobody listening, or listening too slowly, is no error: the next second brings the next status.
    pub fn write(&mut self, status: &serde_json::Value) {
        let line = format!("{}{status}\n", if self.cut { "\n" } else { "" });
        // The kernel takes 32 KiB at once, and many apps say more.
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            match self.device.write(rest) {
                Ok(count) if count > 0 => rest = &rest[count..],
                _ => break,
            }
        }
        // None of it was taken: what was cut before still is.
        self.cut = if rest.len() == line.len() { self.cut } else { !rest.is_empty() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    /// Takes a few bytes at once, and so many in all.
    struct Slow {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(4).min(self.room);
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room -= count;
            self.taken.extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_long_line_is_whole_and_a_cut_one_spoils_no_other() {
        let mut port = StatusPort { device: Slow { taken: Vec::new(), room: 20 }, cut: false };
        let status = serde_json::json!({"state": "ready"});
        for room in [20, 10, 0, 100] {
            port.device.room = room;
            port.write(&status);
        }
        let text = String::from_utf8(port.device.taken).unwrap();
        let whole = status.to_string();
        assert_eq!(text, format!("{whole}\n{}\n{whole}\n", &whole[..10]));
    }
}
