//! Numbers to as few bytes as they need, and back: LEB128, seven bits a byte, the lowest first.
//!
//! Source: DWARF 5, section 7.6. Invariant: each number has one spelling.

/// Of 64 bits.
const LIMIT_BYTES: usize = 10;

pub fn put(number: u64, into: &mut Vec<u8>) {
    let mut rest = number;
    while rest >= 0x80 {
        into.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}

/// As [`put`], with small negative numbers as short as small positive ones.
pub fn put_signed(number: i64, into: &mut Vec<u8>) {
    put(((number << 1) ^ (number >> 63)) as u64, into);
}

/// The number at the start of `bytes`, which then begin after it. None: they end too early, or it is spelt too long.
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for (place, byte) in bytes.iter().take(LIMIT_BYTES).enumerate() {
        let value = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit; a last byte of zero would be another spelling.
        if place == LIMIT_BYTES - 1 && *byte > 1 || *byte == 0 && place > 0 {
            return None;
        }
        number |= value << (7 * place);
        if byte & 0x80 == 0 {
            *bytes = &bytes[place + 1..];
            return Some(number);
        }
    }
    None
}

pub fn take_signed(bytes: &mut &[u8]) -> Option<i64> {
    take(bytes).map(|number| (number >> 1) as i64 ^ -((number & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn there_is_one_spelling() {
        for bad in
            [&[][..], &[0x80], &[0x80, 0], &[0xff; 10], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]]
        {
            assert_eq!(take(&mut &*bad), None, "{bad:?}");
        }
        let mut bytes = Vec::new();
        put(300, &mut bytes);
        assert_eq!(bytes, [0xac, 2]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number: u64, signed: i64, shift in 0u32..64, tail: [u8; 3]) {
            let (number, signed) = (number >> shift, signed >> shift);
            let mut bytes = Vec::new();
            put(number, &mut bytes);
            put_signed(signed, &mut bytes);
            bytes.extend(tail);
            let mut rest = &bytes[..];
            prop_assert_eq!(take(&mut rest), Some(number));
            prop_assert_eq!(take_signed(&mut rest), Some(signed));
            prop_assert_eq!(rest, &tail[..]);
        }

        #[test]
        fn any_number_that_is_read_is_written_as_it_was(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let mut rest = &bytes[..];
            if let Some(number) = take(&mut rest) {
                let mut again = Vec::new();
                put(number, &mut again);
                prop_assert_eq!(&again[..], &bytes[..bytes.len() - rest.len()]);
            }
        }
    }
}
