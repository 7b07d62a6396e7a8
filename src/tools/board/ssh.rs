//! A device's address, a user and a key in; an ssh client of the tool tree that runs one command there, out.
//!
//! Invariant: no configuration, agent or key of whoever runs osbuild takes part.

use super::{BoardError, Launch};
use crate::io::file::{self, at};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const KEY_LIMIT_BYTES: u64 = 64 << 10;

#[derive(Clone, Debug)]
pub struct Ssh {
    pub user: String,
    pub address: SocketAddr,
    /// Private key in a format that OpenSSH reads.
    pub key: PathBuf,
    /// Where the keys of devices are kept, whose first one is believed; none: any is believed each time, as of a board
    /// that makes its own on its first boot.
    pub known_hosts: Option<PathBuf>,
}

impl Ssh {
    /// Runs `command` with `input` as what it reads. `folder` is ours, for the copy of the key.
    pub fn launch(
        &self,
        command: &str,
        folder: &Path,
        input: Option<PathBuf>,
        log: Option<PathBuf>,
    ) -> Result<Launch, BoardError> {
        // OpenSSH refuses a key that others may read, whatever a checkout's umask made of it.
        let key = folder.join("ssh-key");
        file::write_atomic(&key, &file::read(&self.key, KEY_LIMIT_BYTES)?, 0o600)?;
        let writable = self.known_hosts.iter().filter_map(|path| path.parent()).map(Path::to_owned).collect();
        Ok(Launch {
            program: "/usr/bin/ssh".to_owned(),
            args: self.args(&key.canonicalize().map_err(at("find", &key))?, command, input.is_some()),
            scratch: folder.to_owned(),
            readable: vec![folder.canonicalize().map_err(at("find", folder))?],
            writable,
            input,
            log,
            ..Launch::default()
        })
    }

    fn args(&self, key: &Path, command: &str, reads: bool) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["-F".into(), "/dev/null".into(), "-i".into(), key.into()];
        args.extend(["-p".into(), self.address.port().to_string().into(), "-T".into()]);
        if !reads {
            // The terminal is not the command's.
            args.push("-n".into());
        }
        let (believe, hosts) = match &self.known_hosts {
            Some(path) => ("accept-new", path.as_os_str()),
            None => ("no", "/dev/null".as_ref()),
        };
        let mut known = OsString::from("UserKnownHostsFile=");
        known.push(hosts);
        let options = [
            "BatchMode=yes".into(),
            "IdentitiesOnly=yes".into(),
            format!("StrictHostKeyChecking={believe}").into(),
            known,
            "LogLevel=ERROR".into(),
            "ConnectTimeout=10".into(),
        ];
        for option in options {
            args.extend(["-o".into(), option]);
        }
        args.extend([format!("{}@{}", self.user, self.address.ip()).into(), "--".into(), command.into()]);
        args
    }
}
