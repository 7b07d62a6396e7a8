//! Order of Debian version numbers. Debian Policy, section 5.6.12.
//!
//! Invariant: a total preorder; versions that differ only in leading zeros are equal.

use std::cmp::Ordering;

/// Compares two versions: `[epoch:]upstream[-revision]`.
pub fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (split(left), split(right));
    number(left.0, right.0).then_with(|| part(left.1, right.1)).then_with(|| part(left.2, right.2))
}

/// Epoch, upstream version, revision.
fn split(version: &str) -> (&str, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
    (epoch, upstream, revision)
}

/// Compares alternately a run of non-digits and a run of digits.
fn part(mut left: &str, mut right: &str) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let (left_text, left_rest) = take(left, |b| !b.is_ascii_digit());
        let (right_text, right_rest) = take(right, |b| !b.is_ascii_digit());
        let order = text(left_text, right_text);
        if order.is_ne() {
            return order;
        }
        let (left_digits, left_rest) = take(left_rest, |b| b.is_ascii_digit());
        let (right_digits, right_rest) = take(right_rest, |b| b.is_ascii_digit());
        let order = number(left_digits, right_digits);
        if order.is_ne() {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
    Ordering::Equal
}

fn take(from: &str, wanted: impl Fn(u8) -> bool) -> (&str, &str) {
    let mut end = from.bytes().position(|b| !wanted(b)).unwrap_or(from.len());
    while !from.is_char_boundary(end) {
        end += 1;
    }
    from.split_at(end)
}

/// `~` sorts before the end, the end before letters, letters before everything else.
fn text(left: &str, right: &str) -> Ordering {
    let weight = |byte: Option<u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(b) if b.is_ascii_alphabetic() => i32::from(b),
        Some(b) => i32::from(b) + 256,
    };
    let length = left.len().max(right.len());
    let byte = |text: &str, index: usize| weight(text.as_bytes().get(index).copied());
    (0..length).map(|i| byte(left, i).cmp(&byte(right, i))).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Decimal numbers of any length.
fn number(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_policy() {
        let ascending = [
            "0~~",
            "0~~a",
            "0~",
            "0",
            "0a",
            "0+",
            "1.0~beta1~svc1",
            "1.0~beta1",
            "1.0",
            "1.0-0.1",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1.1",
            "1.0-2",
            "1.0-10",
            "1.0a-1",
            "1.0+dfsg-1",
            "1.0.1",
            "1.2",
            "1.10",
            "1:0.5",
            "2:0",
        ];
        for (i, left) in ascending.iter().enumerate() {
            for (j, right) in ascending.iter().enumerate() {
                assert_eq!(compare(left, right), i.cmp(&j), "{left} and {right}");
            }
        }
        for (left, right) in [("1.0", "0:1.0"), ("1.0", "1.0-0"), ("1.01", "1.1"), ("", "0"), ("1.0-00", "1.0")] {
            assert_eq!(compare(left, right), Ordering::Equal, "{left} and {right}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_three_versions_are_in_order(a in "[0-9a-z:~+.é-]{0,8}", b in "[0-9a-z:~+.é-]{0,8}", c in "[0-9a-z:~+.é-]{0,8}") {
            proptest::prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                proptest::prop_assert!(compare(&a, &c).is_le());
            }
        }
    }
}
