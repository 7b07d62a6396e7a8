//! A software TPM 2.0 beside the machine: a state folder to a control socket.
//!
//! Invariant: an empty folder becomes a manufactured TPM; a folder with a state goes on with it.

use super::process::{Launch, Process, ToolRoot};
use super::BoardError;
use crate::io::file;
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
        scratch: folder(state),
        writable: vec![state.to_owned(), folder(socket)],
        log: Some(log.to_owned()),
        ..Launch::default()
    };
    let mut process = tools.spawn(launch)?;
    process.wait_until(PATIENCE, || {
        Ok(listens(&file::read_text(Path::new("/proc/net/unix")).map_err(|e| e.source)?, socket).then_some(()))
    })?;
    Ok(process)
}

/// Whether somebody listens at `socket`, by the kernel's table. A connection would tell too, but it would be
/// the one connection that swtpm takes; and the file appears a moment before the socket listens.
fn listens(table: &str, socket: &Path) -> bool {
    const ACCEPTS_CONNECTIONS: &str = "00010000";
    table.lines().any(|line| {
        let mut fields = line.split_whitespace();
        fields.nth(3) == Some(ACCEPTS_CONNECTIONS) && fields.last().map(Path::new) == Some(socket)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_is_only_bound_does_not_listen_yet() {
        let table = "Num RefCount Protocol Flags Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 18127 /tmp/a/tpm.socket\n\
            0000000000000000: 00000002 00000000 00000000 0001 01 18128 /tmp/b/tpm.socket\n";
        assert!(listens(table, Path::new("/tmp/a/tpm.socket")));
        assert!(!listens(table, Path::new("/tmp/b/tpm.socket")));
        assert!(!listens(table, Path::new("/tmp/c/tpm.socket")));
    }
}
