//! SNTP messages to and from bytes, and the checks an answer must pass (RFC 4330 section 5, RFC 5905).
//!
//! Invariant: an answer that passes belongs to our question and comes from a server that claims to know the time.

use std::time::Duration;

pub const PACKET_BYTES: usize = 48;
/// Seconds from 1900 to 1970.
const UNIX_EPOCH: u64 = 2_208_988_800;
const ERA_SECONDS: u64 = 1 << 32;
/// A server this far from its reference, or an exchange this long, tells nothing useful: 1 s in 16.16 bits.
const LIMIT_ROOT: u32 = 1 << 16;
const LIMIT_ROUND_TRIP: Duration = Duration::from_secs(2);

/// Client, version 4; the transmit time is a random `cookie`, so that it says nothing and only the server can repeat it.
pub fn question(cookie: u64) -> [u8; PACKET_BYTES] {
    let mut bytes = [0; PACKET_BYTES];
    bytes[0] = 4 << 3 | 3;
    bytes[40..48].copy_from_slice(&cookie.to_be_bytes());
    bytes
}

/// When our question left and when the answer came, by our own clock, since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    pub cookie: u64,
    pub sent: Duration,
    pub received: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("it is not an answer to our question")]
    NotOurs,
    #[error("the server asks to be left alone")]
    KissOfDeath,
    #[error("the server does not know the time")]
    Unsynchronised,
    #[error("the answer took too long")]
    Slow,
    #[error("the time is before the release of this software")]
    BeforeFloor,
}

/// How far the true time is ahead of our clock, in microseconds, by the four time stamps of RFC 5905 section 8.
pub fn offset_microseconds(bytes: &[u8], exchange: &Exchange, floor: Duration) -> Result<i64, Rejected> {
    let bytes: &[u8; PACKET_BYTES] =
        bytes.get(..PACKET_BYTES).and_then(|b| b.try_into().ok()).ok_or(Rejected::NotOurs)?;
    let (leap, version, mode) = (bytes[0] >> 6, bytes[0] >> 3 & 7, bytes[0] & 7);
    let u32_at = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let stamp = |at: usize| u64::from(u32_at(at)) << 32 | u64::from(u32_at(at + 4));
    if mode != 4 || !(3..=4).contains(&version) || stamp(24) != exchange.cookie {
        return Err(Rejected::NotOurs);
    }
    match bytes[1] {
        0 => return Err(Rejected::KissOfDeath),
        1..=15 => {}
        _ => return Err(Rejected::Unsynchronised),
    }
    if leap == 3 || stamp(40) == 0 || u32_at(4) > LIMIT_ROOT || u32_at(8) > LIMIT_ROOT {
        return Err(Rejected::Unsynchronised);
    }
    let (arrived, left) = (unix(stamp(32)), unix(stamp(40)));
    if left < floor {
        return Err(Rejected::BeforeFloor);
    }
    let trip = exchange.received.checked_sub(exchange.sent).ok_or(Rejected::Slow)?;
    let kept = left.checked_sub(arrived).ok_or(Rejected::Unsynchronised)?;
    if trip > LIMIT_ROUND_TRIP || kept > trip + Duration::from_millis(1) {
        return Err(Rejected::Slow);
    }
    Ok((difference(arrived, exchange.sent) + difference(left, exchange.received)) / 2)
}

/// Stamps with the highest bit clear are of the era that begins in 2036 (RFC 4330 section 3).
fn unix(stamp: u64) -> Duration {
    let (seconds, fraction) = (stamp >> 32, stamp & 0xffff_ffff);
    let since_1900 = if seconds & 0x8000_0000 == 0 { seconds + ERA_SECONDS } else { seconds };
    let nanoseconds = u32::try_from((fraction * 1_000_000_000) >> 32).expect("less than a second");
    // The highest bit is set or an era is added, so it lies after 1968 at least.
    Duration::new(since_1900.saturating_sub(UNIX_EPOCH), nanoseconds)
}

fn difference(a: Duration, b: Duration) -> i64 {
    let microseconds = |d: Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
    microseconds(a) - microseconds(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FLOOR: Duration = Duration::from_secs(1_767_225_600);
    const COOKIE: u64 = 0x0123_4567_89ab_cdef;

    fn stamp(unix: Duration) -> [u8; 8] {
        let seconds = u32::try_from((unix.as_secs() + UNIX_EPOCH) % ERA_SECONDS).expect("reduced");
        let fraction = u32::try_from((u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000).expect("a fraction");
        (u64::from(seconds) << 32 | u64::from(fraction)).to_be_bytes()
    }

    fn answer(arrived: Duration, left: Duration) -> [u8; PACKET_BYTES] {
        let mut bytes = [0; PACKET_BYTES];
        bytes[..2].copy_from_slice(&[4 << 3 | 4, 2]);
        bytes[24..32].copy_from_slice(&COOKIE.to_be_bytes());
        bytes[32..40].copy_from_slice(&stamp(arrived));
        bytes[40..48].copy_from_slice(&stamp(left));
        bytes
    }

    fn exchange(sent: Duration, round_trip_ms: u64) -> Exchange {
        Exchange { cookie: COOKIE, sent, received: sent + Duration::from_millis(round_trip_ms) }
    }

    #[test]
    fn the_offset_is_that_of_the_middle_of_the_exchange() {
        for true_time in [FLOOR, Duration::from_secs(2_200_000_000), Duration::from_secs(4_000_000_000)] {
            let middle = true_time + Duration::from_millis(20);
            let offset = offset_microseconds(&answer(middle, middle), &exchange(Duration::from_secs(100), 40), FLOOR);
            let wanted = difference(true_time, Duration::from_secs(100));
            assert!((offset.expect("a good answer") - wanted).abs() <= 1, "{true_time:?}");
        }
    }

    #[test]
    fn each_check_has_its_reason() {
        let now = FLOOR + Duration::from_secs(5);
        let good = answer(now, now);
        for (at, value, reason) in [
            (0, 4 << 3 | 3, Rejected::NotOurs),
            (0, 2 << 3 | 4, Rejected::NotOurs),
            (31, 0, Rejected::NotOurs),
            (1, 0, Rejected::KissOfDeath),
            (1, 16, Rejected::Unsynchronised),
            (0, 3 << 6 | 4 << 3 | 4, Rejected::Unsynchronised),
            (5, 2, Rejected::Unsynchronised),
            (9, 2, Rejected::Unsynchronised),
        ] {
            let mut bytes = good;
            bytes[at] = value;
            assert_eq!(offset_microseconds(&bytes, &exchange(now, 10), FLOOR), Err(reason), "byte {at} = {value}");
        }
        let early = FLOOR - Duration::from_secs(1);
        assert_eq!(offset_microseconds(&answer(early, early), &exchange(now, 10), FLOOR), Err(Rejected::BeforeFloor));
        assert_eq!(offset_microseconds(&good, &exchange(now, 3000), FLOOR), Err(Rejected::Slow));
        let later = now + Duration::from_secs(1);
        assert_eq!(offset_microseconds(&answer(now, later), &exchange(now, 10), FLOOR), Err(Rejected::Slow));
        assert_eq!(offset_microseconds(&good[..47], &exchange(now, 10), FLOOR), Err(Rejected::NotOurs));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_beat_the_floor(mut bytes in proptest::collection::vec(any::<u8>(), 0..60), ours: bool, sent in 0..5_000_000_000u64) {
            if ours && bytes.len() >= PACKET_BYTES {
                bytes[0] = 4 << 3 | 4;
                bytes[1] = 1;
                bytes[4..12].fill(0);
                bytes[24..32].copy_from_slice(&COOKIE.to_be_bytes());
                let (from, to) = bytes.split_at_mut(40);
                to[..8].copy_from_slice(&from[32..40]);
            }
            let exchange = exchange(Duration::from_secs(sent), 100);
            if let Ok(offset) = offset_microseconds(&bytes, &exchange, FLOOR) {
                let after = difference(exchange.received, Duration::ZERO) + offset;
                prop_assert!(after >= difference(FLOOR, Duration::ZERO) - 1_000_000);
            }
        }
    }
}
