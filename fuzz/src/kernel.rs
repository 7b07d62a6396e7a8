//! Any datagram of netlink: verdicts, denied packets, records of forbidden system calls.

use osbuild_agent::wire::{audit_record, denied_packets, kernel_verdict};

pub fn run(bytes: &[u8]) {
    if let Some(Err(error)) = kernel_verdict(bytes, 0, u32::MAX) {
        assert!(error.to_string().len() <= 1024, "the kernel's words are bounded");
    }
    // Each takes a header, and an attribute for each of the two things that are told.
    let denied = denied_packets(bytes);
    assert!(denied.len() * 28 <= bytes.len(), "there are no more packets than bytes for them");
    assert!(denied.iter().all(|one| one.what.len() <= 128), "a packet is told in few words");
    if let Some(record) = audit_record(bytes) {
        assert!(!record.call.is_empty() && record.call.len() <= 64, "a call has a short name: {}", record.call);
    }
}

fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).expect("a short message");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0, 2, 7, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(body);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(4 + value.len()).expect("a short value").to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut refusal = (-17_i32).to_ne_bytes().to_vec();
    refusal.extend([0; 16]);
    refusal.extend(attribute(1, b"it is there\0"));
    let packet = |bytes: &[u8]| [vec![2, 0, 0, 1], attribute(10, b"meter\0"), attribute(9, bytes)].concat();
    let mut ipv4 = vec![0x45, 0, 0, 60, 0, 0, 0, 0, 64, 6, 0, 0, 198, 18, 0, 2, 192, 0, 2, 1, 1, 2, 0, 80];
    ipv4.extend([0; 16]);
    let mut ipv6 = vec![0x60, 0, 0, 0, 0, 20, 17, 64];
    ipv6.extend([0; 40]);
    let record = b"audit(1764050000.123:7): auid=4294967295 uid=1048577 gid=1048577 ses=4294967295 pid=99 \
        comm=\"hostile\" exe=\"/usr/bin/hostile\" sig=31 arch=c000003e syscall=165 compat=0 ip=0x7f code=0x80000000";
    vec![
        message(2, &refusal),
        [message(2, &[0; 20]), message(2, &refusal)].concat(),
        message(4 << 8, &packet(&ipv4)),
        message(4 << 8, &packet(&ipv6)),
        message(1326, record),
    ]
}
