//! What the app says about itself to the system: sd_notify(3), a datagram to the socket in `NOTIFY_SOCKET`.

use std::os::unix::net::UnixDatagram;

/// Says it, if somebody wants to hear it: the app also runs on a developer's own machine.
pub fn send(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = UnixDatagram::unbound().and_then(|from| from.send_to(state.as_bytes(), socket));
    if let Err(error) = sent {
        eprintln!("guardian: cannot tell the system `{state}`: {error}");
    }
}
