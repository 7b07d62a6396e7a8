//! Machine code to the same with calls to absolute targets, and back: then calls of one function look alike.
//!
//! A call or jump (`e8`, `e9`) over less than 16 MiB is a number of 25 bits with its sign; its place is added to it modulo 2^25.
//! The highest byte stays 0 or 255, so both ways see the same calls. A call of nothing yet, as a module of the kernel has where a
//! relocation will set it, stays 0; what would become 0 becomes what 0 would have. Invariant: [`to_relative`] undoes
//! [`to_absolute`] on any bytes.

/// `place`: where the first byte lies in its image.
pub fn to_absolute(bytes: &mut [u8], place: u64) {
    convert(bytes, place, u32::wrapping_add);
}

pub fn to_relative(bytes: &mut [u8], place: u64) {
    convert(bytes, place, u32::wrapping_sub);
}

fn convert(bytes: &mut [u8], place: u64, how: fn(u32, u32) -> u32) {
    let mut at = 0;
    while at + 5 <= bytes.len() {
        if bytes[at] & 0xfe != 0xe8 {
            at += 1;
            continue;
        }
        at += 5;
        // What no call is passed over as a whole, so that nothing in it can change what it looks like.
        if !matches!(bytes[at - 1], 0 | 255) {
            continue;
        }
        let value = u32::from_le_bytes(bytes[at - 4..at].try_into().expect("4 bytes"));
        let after = (place as u32).wrapping_add(at as u32);
        let value = match extended(how(value, after)) {
            _ if value == 0 => 0,
            0 => extended(how(0, after)),
            value => value,
        };
        bytes[at - 4..at].copy_from_slice(&value.to_le_bytes());
    }
}

/// Extends bit 24.
fn extended(value: u32) -> u32 {
    ((value << 7) as i32 >> 7) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_calls_of_one_function_look_alike() {
        let mut bytes = [0xe8, 0x10, 0, 0, 0, 0xe8, 0x0b, 0, 0, 0];
        to_absolute(&mut bytes, 0x100);
        assert_eq!(bytes, [0xe8, 0x15, 1, 0, 0, 0xe8, 0x15, 1, 0, 0]);
    }

    #[test]
    fn a_call_that_a_relocation_will_set_stays_as_it_is() {
        let calls = [0xe8, 0, 0, 0, 0, 0xe8, 0xf6, 0xfe, 0xff, 0xff];
        let mut bytes = calls;
        to_absolute(&mut bytes, 0x100);
        // The second one is of the place 0, and takes what the first one left.
        assert_eq!(bytes, [0xe8, 0, 0, 0, 0, 0xe8, 0x0a, 1, 0, 0]);
        to_relative(&mut bytes, 0x100);
        assert_eq!(bytes, calls);
    }

    proptest! {
        #[test]
        fn there_is_a_way_back(
            bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(255), Just(0xe8), Just(0xe9), any::<u8>()], 0..200),
            place in prop_oneof![any::<u64>(), 0..64u64, (1u64 << 25) - 64..1 << 25],
        ) {
            let mut there = bytes.clone();
            to_absolute(&mut there, place);
            to_relative(&mut there, place);
            prop_assert_eq!(there, bytes);
        }
    }
}
