//! `Content-Range: bytes 100-199/200` in, the part that it names out.
//!
//! Source: RFC 9110, section 14.4. Invariant: what is taken names its first and its last byte, in this order.

/// First and last byte.
pub fn content_range(value: &str) -> Option<(u64, u64)> {
    let (range, size) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let fits = size == "*" || number(size).is_some_and(|size| last < size);
    (first <= last && fits).then_some((first, last))
}

/// The parser of the standard library takes a `+`.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_a_whole_range_is_taken() {
        assert_eq!(content_range("bytes 0-9/10"), Some((0, 9)));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, 9)));
        for wrong in
            ["", "bytes */10", "bytes 9-5/10", "bytes 0-9/9", "0-9/10", "bytes +0-9/10", "bytes 0-9", "bytes -/10"]
        {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(value in "bytes [-0-9/*+ ]{0,30}") {
            let _ = content_range(&value);
        }
    }
}
