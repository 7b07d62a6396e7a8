//! A device that is reached by ssh: a command of its agent in, what it says out.
//!
//! Invariant: nothing of the client's words is the user's but the address, which is checked first.

use super::super::super::board;
use super::super::super::report::Failure;
use super::super::super::session::Session;
use super::{DeviceArgs, DEVELOPER_KEY, PATIENCE};
use crate::io::file;
use crate::tools::board::ssh::Ssh;
use crate::tools::board::{BoardError, ToolRoot};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// Of the virtual board as its machine declares it.
pub const DEFAULT_ADDRESS: &str = "root@127.0.0.1:2222";

pub struct Remote {
    tools: ToolRoot,
    ssh: Ssh,
    /// Ours, for what a call needs while it runs.
    folder: PathBuf,
}

impl Remote {
    pub fn find(session: &Session, args: &DeviceArgs) -> Result<Remote, Failure> {
        let key = match &args.key {
            Some(key) => key.clone(),
            None => session.project.out("app")?.join(DEVELOPER_KEY),
        };
        if !key.exists() {
            return Err(Failure::new(format!("there is no key `{}` to log in with", key.display()))
                .help("`--key FILE` names yours; `osbuild app run` makes one for the virtual board"));
        }
        let (user, address) = address(&args.ssh)?;
        Remote::at(session, user, address, key)
    }

    pub fn at(session: &Session, user: String, address: SocketAddr, key: PathBuf) -> Result<Remote, Failure> {
        let folder = session.project.out("app")?;
        // A board makes its host key on its first boot, and starts as from the factory often.
        let hosts = folder.join("devices");
        let known_hosts = match address.ip().is_loopback() {
            true => None,
            false => {
                file::create_dir_all(&hosts)?;
                let hosts = hosts.canonicalize().map_err(file::at("find", &hosts))?;
                Some(hosts.join("known_hosts"))
            }
        };
        let ssh = Ssh { user, address, key, known_hosts };
        Ok(Remote { tools: board::tool_root(session)?, ssh, folder })
    }

    pub fn address(&self) -> SocketAddr {
        self.ssh.address
    }

    /// What `command` prints when it succeeds.
    pub fn ask(&self, command: &str, input: Option<&Path>) -> Result<String, Failure> {
        let scratch = tempfile::Builder::new().prefix("ssh-").tempdir_in(&self.folder);
        let scratch = scratch.map_err(file::at("create a folder in", &self.folder))?;
        let log = scratch.path().join("said");
        let launch = self.ssh.launch(command, scratch.path(), input.map(Path::to_owned), Some(log.clone()))?;
        match self.tools.run(launch, PATIENCE) {
            Ok(()) => Ok(file::read_text(&log)?),
            Err(BoardError::Ended { exit, .. }) => Err(self.refusal(&exit, &file::read_text(&log)?)),
            Err(error) => Err(board::failure(error)),
        }
    }

    /// Lets `command` write to this terminal until it ends.
    pub fn show(&self, command: &str) -> Result<(), Failure> {
        let scratch = tempfile::Builder::new().prefix("ssh-").tempdir_in(&self.folder);
        let scratch = scratch.map_err(file::at("create a folder in", &self.folder))?;
        let mut process = self.tools.spawn(self.ssh.launch(command, scratch.path(), None, None)?)?;
        match process.finish() {
            Ok(()) => Ok(()),
            // A Ctrl-C reaches the client as well.
            Err(BoardError::Ended { .. }) if self.tools.stop().check().is_err() => {
                Err(board::failure(BoardError::Interrupted))
            }
            // It has said why itself.
            Err(BoardError::Ended { exit, .. }) => Err(self.refusal(&exit, "")),
            Err(error) => Err(board::failure(error)),
        }
    }

    /// OpenSSH ends with 255 when it got no answer, and with the command's own status otherwise.
    fn refusal(&self, exit: &str, said: &str) -> Failure {
        let (address, said) = (self.ssh.address, said.trim());
        if exit.ends_with(" 255") {
            let failure = Failure::new(format!("no way in to `{}@{address}`: {said}", self.ssh.user));
            return failure
                .help("`osbuild app run NAME` starts the virtual board; `--ssh` and `--key` name another device, `--serial` its console");
        }
        match said.is_empty() {
            true => Failure::new(format!("the device at {address} refused: {exit}")),
            false => Failure::new(format!("the device at {address} says: {said}")),
        }
    }
}

/// `[USER@]HOST[:PORT]`; the name is looked up here, for the client's tool tree knows no hosts.
fn address(text: &str) -> Result<(String, SocketAddr), Failure> {
    let (user, place) = text.split_once('@').unwrap_or(("root", text));
    let bad = |why: &str| Failure::new(format!("this is no device: `{text}`: {why}")).help("as in `root@192.0.2.7:22`");
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if user.is_empty() || user.starts_with('-') || !user.chars().all(plain) {
        return Err(bad("the user is not a user's name"));
    }
    let place = match place.parse::<SocketAddr>() {
        Ok(address) => return Ok((user.to_owned(), address)),
        Err(_) => place,
    };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| bad("the port is not a number"))?),
        None => (place, 22),
    };
    let mut found = (host, port).to_socket_addrs().map_err(|error| bad(&error.to_string()))?;
    let address = found.next().ok_or_else(|| bad("the host has no address"))?;
    Ok((user.to_owned(), address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_user_a_host_and_a_port() {
        let parsed = |text| address(text).map(|(user, address)| format!("{user} {address}")).map_err(|e| e.message);
        assert_eq!(parsed(DEFAULT_ADDRESS).unwrap(), "root 127.0.0.1:2222");
        assert_eq!(parsed("192.0.2.7").unwrap(), "root 192.0.2.7:22");
        assert_eq!(parsed("me@[::1]:24").unwrap(), "me [::1]:24");
        for bad in ["-oProxyCommand=x@192.0.2.7", "@192.0.2.7", "root@192.0.2.7:port"] {
            assert!(parsed(bad).unwrap_err().contains("this is no device"), "{bad}");
        }
    }
}
