//! Ports of the loopback interface for a board's forwards.
//!
//! Invariant: a port it answers with was free a moment ago; QEMU has the last word, and when it says no, other ports
//! are tried.

use super::BoardError;
use crate::model::machine::VirtualBoard;
use std::net::{Ipv4Addr, TcpListener};

/// One forward: a TCP port of the host's loopback interface to one of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// 0: the one that leads out; others are the board's isolated ones in their order.
    pub network: usize,
    pub host: u16,
    pub guest: u16,
}

/// All forwards of a board, as its machine declares them.
pub fn of(board: &VirtualBoard) -> Vec<Forward> {
    let networks = std::iter::once(&board.forwards).chain(board.networks.iter().map(|network| &network.forwards));
    let forward = |network, (&host, &guest): (&u16, &u16)| Forward { network, host, guest };
    networks.enumerate().flat_map(|(network, ports)| ports.iter().map(move |pair| forward(network, pair))).collect()
}

/// The same; a port in use is an error.
pub fn declared(board: &VirtualBoard) -> Result<Vec<Forward>, BoardError> {
    let check = |forward: Forward| match TcpListener::bind((Ipv4Addr::LOCALHOST, forward.host)) {
        Ok(_) => Ok(forward),
        Err(_) => Err(BoardError::PortInUse(forward.host)),
    };
    of(board).into_iter().map(check).collect()
}

/// The same guest ports at whatever host ports are free, so that boards can run side by side.
fn free(forwards: &[Forward]) -> Result<Vec<Forward>, BoardError> {
    let mut held = Vec::new();
    let mut found = Vec::new();
    for &forward in forwards {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(BoardError::NoPort)?;
        let host = listener.local_addr().map_err(BoardError::NoPort)?.port();
        found.push(Forward { host, ..forward });
        // Held until all are found, or the kernel could hand one out twice.
        held.push(listener);
    }
    Ok(found)
}

/// How often a machine is started before the ports are given up.
const STARTS: usize = 3;

/// Starts what listens at free ports. Between finding a port and listening there, another board may take it: then
/// others are found.
pub fn start_at_free<T>(
    forwards: &[Forward],
    mut start: impl FnMut(Vec<Forward>) -> Result<T, BoardError>,
) -> Result<T, BoardError> {
    for _ in 1..STARTS {
        match start(free(forwards)?) {
            Err(error) if lost_a_port(&error) => {}
            started => return started,
        }
    }
    start(free(forwards)?)
}

/// QEMU's words for a forward whose port somebody else has.
fn lost_a_port(error: &BoardError) -> bool {
    matches!(error, BoardError::Ended { tail, .. } if tail.contains("Could not set up host forwarding rule"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::machine::IsolatedNetwork;

    fn ended(tail: &str) -> BoardError {
        BoardError::Ended { program: "qemu".into(), exit: "exit status: 1".into(), tail: tail.into() }
    }

    /// How many starts it took, and how it ended, when QEMU says `tail` the first `times` times.
    fn starts(tail: &str, times: usize) -> (Vec<u16>, Result<(), BoardError>) {
        let mut ports = Vec::new();
        let result = start_at_free(&[Forward { network: 0, host: 2222, guest: 22 }], |forwards| {
            ports.push(forwards[0].host);
            if ports.len() <= times {
                Err(ended(tail))
            } else {
                Ok(())
            }
        });
        (ports, result)
    }

    #[test]
    fn a_port_that_was_lost_meanwhile_is_replaced_at_most_twice() {
        // As QEMU 7.2 has it.
        let lost = "-netdev user,id=net,hostfwd=tcp:127.0.0.1:2222-:22: Could not set up host forwarding rule \
                    'tcp:127.0.0.1:2222-:22'";
        for (times, wanted, fine) in [(0, 1, true), (2, 3, true), (3, 3, false)] {
            let (ports, result) = starts(lost, times);
            assert_eq!((ports.len(), result.is_ok()), (wanted, fine), "{times}");
        }
        let (ports, result) = starts("no bootable device", 1);
        assert!(ports.len() == 1 && result.unwrap_err().to_string().contains("no bootable device"));
    }

    #[test]
    fn a_port_in_use_is_named_and_a_free_one_is_found() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = IsolatedNetwork { guest: [10, 1, 1, 1].into(), forwards: [(port, 80)].into() };
        let mut board = VirtualBoard {
            memory_mib: 128,
            cpus: 1,
            forwards: [(port, 22)].into(),
            serial_ports: 0,
            networks: vec![network],
            disk_bytes: 0,
        };
        assert!(declared(&board).unwrap_err().to_string().contains(&port.to_string()));
        board.forwards.clear();
        assert!(declared(&board).unwrap_err().to_string().contains(&port.to_string()));
        let found = free(&of(&board)).unwrap();
        assert_eq!((found[0].network, found[0].guest), (1, 80));
        assert_ne!(found[0].host, port);
    }
}
