//! Ports of the loopback interface for a board's forwards.
//!
//! Invariant: a port it answers with was free a moment ago; QEMU has the last word.

use super::BoardError;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};

/// One forward: a TCP port of the host's loopback interface to one of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    pub host: u16,
    pub guest: u16,
}

/// The forwards as the machine declares them (host to guest); a port in use is an error.
pub fn declared(forwards: &BTreeMap<u16, u16>) -> Result<Vec<Forward>, BoardError> {
    let check = |(&host, &guest): (&u16, &u16)| match TcpListener::bind((Ipv4Addr::LOCALHOST, host)) {
        Ok(_) => Ok(Forward { host, guest }),
        Err(_) => Err(BoardError::PortInUse(host)),
    };
    forwards.iter().map(check).collect()
}

/// The same guest ports at whatever host ports are free, so that boards can run side by side.
pub fn free(forwards: &BTreeMap<u16, u16>) -> Result<Vec<Forward>, BoardError> {
    let mut held = Vec::new();
    let mut found = Vec::new();
    for &guest in forwards.values() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(BoardError::NoPort)?;
        let host = listener.local_addr().map_err(BoardError::NoPort)?.port();
        found.push(Forward { host, guest });
        // Held until all are found, or the kernel could hand one out twice.
        held.push(listener);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named_and_a_free_one_is_found() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let forwards = BTreeMap::from([(port, 22)]);
        assert!(declared(&forwards).unwrap_err().to_string().contains(&port.to_string()));
        let found = free(&forwards).unwrap();
        assert_eq!(found[0].guest, 22);
        assert_ne!(found[0].host, port);
    }
}
