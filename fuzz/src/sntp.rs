//! Any answer of a time server: whatever is believed is not before the floor.

use osbuild_agent::wire::sntp::{offset_microseconds, Correction, Discipline, Exchange};
use std::time::Duration;

const FLOOR: Duration = Duration::from_secs(1_767_225_600);
const COOKIE: u64 = 0x0123_4567_89ab_cdef;

/// Answers of 48 bytes, one after the other, to a clock that follows what it believes.
pub fn run(bytes: &[u8]) {
    let mut discipline = Discipline::default();
    let mut now = FLOOR;
    for answer in bytes.chunks(48) {
        let exchange = Exchange { cookie: COOKIE, sent: now, received: now + Duration::from_millis(20) };
        match offset_microseconds(answer, &exchange, FLOOR) {
            Ok(offset) => {
                let received = i64::try_from(exchange.received.as_micros()).expect("before the year 292277");
                let after = received + offset;
                let floor = i64::try_from(FLOOR.as_micros()).expect("in range");
                assert!(after >= floor - 1_000_000, "the clock would go before its floor");
                if let Correction::Step(_) = discipline.measured(offset) {
                    now = Duration::from_micros(u64::try_from(after).expect("after the floor")).max(FLOOR);
                }
            }
            Err(_) => discipline.failed(),
        }
        assert!(discipline.pause() >= Duration::from_secs(1), "servers are not asked in a loop");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let stamp = |unix: u64| (((unix + 2_208_988_800) % (1 << 32)) << 32).to_be_bytes();
    let answer = |unix: u64| {
        let mut bytes = vec![0; 48];
        bytes[..2].copy_from_slice(&[4 << 3 | 4, 2]);
        bytes[24..32].copy_from_slice(&COOKIE.to_be_bytes());
        bytes[32..40].copy_from_slice(&stamp(unix));
        bytes[40..48].copy_from_slice(&stamp(unix));
        bytes
    };
    let now = FLOOR.as_secs();
    vec![answer(now), [answer(now + 5), answer(now + 5), answer(2_200_000_000)].concat(), answer(0)]
}
