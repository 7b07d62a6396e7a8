//! A software TPM 2.0 beside the machine: a state folder to a control socket.
//!
//! Invariant: an empty folder becomes a manufactured TPM; a folder with a state goes on with it.

use super::process::{Launch, Process, ToolRoot};
use super::BoardError;
use std::path::Path;
use std::time::Duration;

const SWTPM: &str = "/usr/bin/swtpm";
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts swtpm and waits for its socket. It ends by itself when QEMU closes the connection.
pub fn start(tools: &ToolRoot, state: &Path, socket: &Path, log: &Path) -> Result<Process, BoardError> {
    let args = [
        "socket".to_owned(),
        "--tpm2".to_owned(),
        "--terminate".to_owned(),
        "--tpmstate".to_owned(),
        format!("dir={}", state.display()),
        "--ctrl".to_owned(),
        format!("type=unixio,path={}", socket.display()),
    ];
    let folder = |path: &Path| path.parent().unwrap_or(Path::new("/")).to_owned();
    let launch = Launch {
        program: SWTPM.to_owned(),
        args: args.into_iter().map(Into::into).collect(),
        writable: vec![state.to_owned(), folder(socket)],
        log: Some(log.to_owned()),
        ..Launch::default()
    };
    let mut process = tools.spawn(launch)?;
    process.wait_until(PATIENCE, || Ok(socket.exists().then_some(())))?;
    Ok(process)
}
