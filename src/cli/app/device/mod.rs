//! A device and the way to it, ssh or a serial line, in; what a command of its agent says there, out.
//!
//! Invariant: what is put into a command's words is an app's id or a name of ours, so no word means more to the device's
//! shell than here; neither way knows what is asked.

mod console;
mod remote;

use super::super::report::Failure;
use super::super::session::Session;
use console::Serial;
use remote::Remote;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What `osbuild app run` lets itself in with.
pub const DEVELOPER_KEY: &str = "developer-key";
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Debug, clap::Args)]
pub struct DeviceArgs {
    /// The device
    #[arg(long, value_name = "[USER@]HOST[:PORT]", default_value = remote::DEFAULT_ADDRESS)]
    pub ssh: String,
    /// The private key that it lets in; that of `osbuild app run` unless told
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The device at the other end of this serial line, by the root's shell on its console: a terminal device at 115200
    /// baud or a socket
    #[arg(long, value_name = "PATH", conflicts_with_all = ["ssh", "key"])]
    pub serial: Option<PathBuf>,
}

pub struct Device(Way);

enum Way {
    Ssh(Remote),
    Serial(Serial),
}

impl Device {
    pub fn find(session: &Session, args: &DeviceArgs) -> Result<Device, Failure> {
        Ok(Device(match &args.serial {
            Some(line) => Way::Serial(session.guard(|| Serial::open(session, line))?),
            None => Way::Ssh(Remote::find(session, args)?),
        }))
    }

    pub fn at(session: &Session, user: String, address: SocketAddr, key: PathBuf) -> Result<Device, Failure> {
        Remote::at(session, user, address, key).map(|remote| Device(Way::Ssh(remote)))
    }

    /// What messages call it.
    pub fn place(&self) -> String {
        match &self.0 {
            Way::Ssh(remote) => remote.address().to_string(),
            Way::Serial(serial) => serial.place(),
        }
    }

    /// What `command` prints when it succeeds; it reads `input`.
    pub fn ask(&self, command: &str, input: Option<&Path>) -> Result<String, Failure> {
        match &self.0 {
            Way::Ssh(remote) => remote.ask(command, input),
            Way::Serial(serial) => serial.ask(command, input),
        }
    }

    /// Lets `command`, which ends by itself, write to this terminal.
    pub fn show(&self, command: &str) -> Result<(), Failure> {
        match &self.0 {
            Way::Ssh(remote) => remote.show(command),
            Way::Serial(serial) => serial.show(command),
        }
    }

    /// The same of one that goes on until Ctrl-C.
    pub fn follow(&self, command: &str) -> Result<(), Failure> {
        match &self.0 {
            Way::Ssh(remote) => remote.show(command),
            Way::Serial(serial) => serial.follow(command),
        }
    }
}
