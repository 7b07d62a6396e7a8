//! Tokens: for one device, until their end.

use crate::app::token::*;
use proptest::prelude::*;

fn token() -> Token {
    Token { format: FORMAT, device: device_id("m"), sideload: true, downgrade: false, not_after: Some(1000) }
}

#[test]
fn a_token_is_good_on_its_device_until_its_end() {
    let (bytes, device) = (token().to_json(), device_id("m"));
    assert_eq!(Token::from_json(&bytes, &device, 999).expect("good"), token());
    for now in [1000, u64::MAX] {
        assert!(matches!(Token::from_json(&bytes, &device, now), Err(TokenError::Expired(1000))));
    }
    let other = Token::from_json(&bytes, &device_id("n"), 0);
    assert!(matches!(other, Err(TokenError::Device(named)) if named == device));
    let endless = Token { not_after: None, ..token() }.to_json();
    assert!(Token::from_json(&endless, &device, u64::MAX).is_ok());
}

#[test]
fn a_token_grants_nothing_by_itself_and_has_no_unknown_words() {
    let device = device_id("m");
    let bare = format!(r#"{{"format":1,"device":"{device}"}}"#);
    let read = Token::from_json(bare.as_bytes(), &device, 0).expect("good");
    assert!(!read.sideload && !read.downgrade);
    for (text, newer) in [
        (format!(r#"{{"format":2,"device":"{device}"}}"#), true),
        (format!(r#"{{"format":1,"device":"{device}","root":true}}"#), false),
        (r#"{"format":1}"#.to_owned(), false),
        (String::new(), false),
    ] {
        let error = Token::from_json(text.as_bytes(), &device, 0).expect_err(&text);
        assert_eq!(matches!(error, TokenError::Format(2)), newer, "{error}");
    }
}

#[test]
fn a_long_name_of_a_device_is_cut_in_the_error() {
    let bytes = Token { device: "x".repeat(3000), ..token() }.to_json();
    let error = Token::from_json(&bytes, &device_id("m"), 0).expect_err("another device").to_string();
    assert!(error.len() < 160, "{error}");
}

/// Changing it would make every token that has been given out worthless.
#[test]
fn the_id_of_a_device_stays_the_same() {
    let id = device_id("0123456789abcdef0123456789abcdef");
    assert_eq!(id, "8eed1bbc75a22c955fcc5b19a337b731c56e84a776b74d1d252e5ae96fdfdaa7");
    assert_ne!(id, device_id("0123456789abcdef0123456789abcde0"));
}

proptest! {
    #[test]
    fn any_bytes_are_a_token_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), now in any::<u64>()) {
        prop_assert!(Token::from_json(&bytes, "x", now).is_err());
    }
}
