//! Any question of an app to its resolver.

use osbuild_agent::wire::{app_question, dns};
use std::net::Ipv4Addr;

pub fn run(bytes: &[u8]) {
    let Some(question) = app_question::parse(bytes) else { return };
    assert!(question.name.is_ascii() && question.name.len() <= 320, "a name is bounded");
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'?');
    assert!(question.name.bytes().all(known), "a name can be shown: {}", question.name);
    let answer = question.answer(app_question::Code::Good, &[Ipv4Addr::LOCALHOST; 9], 60);
    assert!(answer.len() <= 512, "an answer fits a datagram");
    // What asks for a good name can be read by who asked.
    if let Some(asked) = dns::question(u16::from_be_bytes([bytes[0], bytes[1]]), &question.name) {
        let heard = dns::read(&asked, &answer).filter(|_| bytes.starts_with(&asked));
        assert!(heard.is_none_or(|heard| heard.addresses.len() == 8), "all that fits is heard");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut extended = dns::question(7, "broker.example").expect("a name");
    extended[11] = 1;
    extended.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    let names = ["broker.example", "broker.app", "localhost"];
    let mut seeds: Vec<Vec<u8>> = names.iter().filter_map(|name| dns::question(1, name)).collect();
    seeds.push(extended);
    seeds
}
