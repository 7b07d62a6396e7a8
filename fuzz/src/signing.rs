//! A request for signatures, the signatures that come back, and messages to describe to whoever signs: any bytes as each.

use osbuild::release::signer::message::describe;
use osbuild::release::signer::request::{Detached, Entry, Request, Signatures, FORMAT};
use osbuild::release::signer::Exchange;

pub fn run(bytes: &[u8]) {
    for message in [bytes, &[b"DSSEv1 ", bytes].concat()] {
        let text = describe(message);
        assert!(!text.contains(char::is_control), "what strangers say stays on its line");
    }
    // A digest is what a fuzzer cannot guess: the entries are made anew around what they say.
    if let Ok(mut request) = serde_json::from_slice::<Request>(bytes) {
        for entry in &mut request.entries {
            let message = entry.message.clone().into_bytes();
            *entry = Entry::new(&entry.key, entry.key_id.clone(), &entry.algorithm, &entry.what, &message);
        }
        read(request.to_json().as_bytes());
    }
    read(bytes);
}

fn read(bytes: &[u8]) {
    if let Ok(request) = Request::parse(bytes) {
        for entry in &request.entries {
            let message = entry.bytes().expect("of a valid request, every message is whole");
            let again = Entry::new(&entry.key, entry.key_id.clone(), &entry.algorithm, &entry.what, &message);
            assert_eq!(again.sha256, entry.sha256, "a message with another digest");
        }
        assert_eq!(Request::parse(request.to_json().as_bytes()).expect("what is written can be read"), request);
    }
    if let Ok(signatures) = Signatures::parse(bytes) {
        let text = signatures.to_json();
        assert_eq!(Signatures::parse(text.as_bytes()).expect("what is written can be read"), signatures);
        let exchange = Exchange::open(&[signatures], 1).expect("what is valid can be used");
        assert!(exchange.is_open() && exchange.request().entries.is_empty(), "nothing was asked for yet");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let statement =
        b"DSSEv1 28 application/vnd.in-toto+json 40 {\"product\":\"p\",\"predicate\":{\"version\":\"1.0.0\"}}";
    let metadata = br#"{"_type":"timestamp","expires":"2026-01-01T00:00:00Z","version":7}"#;
    let entry = |key: &str, message: &[u8]| Entry::new(key, "ab".repeat(32), "ed25519", "it", message);
    let entries = vec![entry("release", statement), entry("timestamp", metadata)];
    let detached = |entry: &Entry| Detached {
        key_id: entry.key_id.clone(),
        sha256: entry.sha256.clone(),
        signature: "c2lnbmF0dXJl".into(),
    };
    let signatures = Signatures { format: FORMAT, seconds: 7, signatures: entries.iter().map(detached).collect() };
    let request = Request { format: FORMAT, seconds: 7, entries };
    vec![
        request.to_json().into_bytes(),
        signatures.to_json().into_bytes(),
        statement.to_vec(),
        metadata.to_vec(),
        vec![0x31, 0x59, 0x30],
    ]
}
