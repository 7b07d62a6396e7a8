//! Any packets at the DHCP client's port, with time going on between them: leases stay sane, and it asks no flood.

use osbuild_agent::wire::dhcp::{Client, Output};
use std::time::Duration;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Packets are apart by their length in two bytes; a packet's first byte says how many minutes go by before it.
pub fn run(bytes: &[u8]) {
    let mut now = Duration::ZERO;
    let mut client = Client::new(MAC, "device", now, Box::new(|| 7));
    let mut outputs = client.wake(now);
    let mut rest = bytes;
    while let Some((&[high, low], after)) = rest.split_first_chunk() {
        let (packet, after) = after.split_at(usize::from(u16::from_be_bytes([high, low])).min(after.len()));
        rest = after;
        let Some((minutes, packet)) = packet.split_first() else { continue };
        now += Duration::from_secs(60 * u64::from(*minutes));
        outputs.extend(client.wake(now));
        let answered = client.receive(packet, now);
        assert!(answered.len() <= 3, "one packet must not make a flood: {answered:?}");
        outputs.extend(answered);
        assert!(client.wake(client.wake_at()).len() <= 3);
    }
    for output in outputs {
        match output {
            Output::Configure(lease) => {
                assert!(lease.prefix <= 32 && lease.dns.len() <= 3 && lease.ntp.len() <= 3, "{lease:?}");
                assert!(
                    !lease.address.is_loopback() && !lease.address.is_multicast() && !lease.address.is_unspecified()
                );
            }
            Output::Send { bytes, .. } => assert!((300..=576).contains(&bytes.len())),
            Output::Deconfigure => {}
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let lease = [packet(0, 2), packet(0, 5)].concat();
    let renewed = [lease.clone(), packet(255, 5), packet(255, 5), packet(255, 6)].concat();
    vec![lease, renewed, [packet(0, 2), packet(0, 6)].concat()]
}

/// A server's message of a kind: 2 offers, 5 acknowledges, 6 refuses.
fn packet(minutes: u8, kind: u8) -> Vec<u8> {
    let mut bytes = vec![0; 240];
    bytes[..3].copy_from_slice(&[2, 1, 6]);
    bytes[4..8].copy_from_slice(&7_u32.to_be_bytes());
    bytes[16..20].copy_from_slice(&[10, 0, 2, 15]);
    bytes[28..34].copy_from_slice(&MAC);
    bytes[236..240].copy_from_slice(&[99, 130, 83, 99]);
    bytes.extend([53, 1, kind, 54, 4, 10, 0, 2, 2, 1, 4, 255, 255, 255, 0, 3, 4, 10, 0, 2, 2]);
    bytes.extend([6, 8, 10, 0, 2, 3, 1, 1, 1, 1, 42, 4, 10, 0, 2, 4, 51, 4, 0, 1, 81, 128]);
    bytes.extend([58, 4, 0, 0, 168, 192, 59, 4, 0, 1, 39, 80, 255]);
    let length = u16::try_from(bytes.len() + 1).expect("short").to_be_bytes();
    [&length[..], &[minutes], &bytes].concat()
}
