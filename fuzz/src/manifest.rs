//! Any bytes as an envelope and as a statement: only what the key signed comes out, and only in one form.

use super::signer;
use osbuild::release::keys::PublicKeys;
use osbuild::release::manifest::{App, Predicate, Statement, PAYLOAD_TYPE};
use osbuild_format::dsse;
use std::collections::BTreeMap;
use std::sync::OnceLock;

pub fn run(bytes: &[u8]) {
    let signed = signed();
    let verified = dsse::verify(bytes, PAYLOAD_TYPE, &signed.keys.release, &signed.keys.key_id());
    assert_eq!(verified.is_ok(), bytes == signed.envelope.as_bytes(), "an envelope that nobody signed passes");
    if let Ok(statement) = Statement::parse(bytes) {
        if let Ok(files) = statement.files() {
            assert!(files.keys().all(|name| !name.contains('/') && !name.starts_with('.')), "a name leads elsewhere");
        }
        assert_eq!(Statement::parse(&statement.to_json()).expect("what is written can be read"), statement);
    }
}

struct Signed {
    keys: PublicKeys,
    statement: Vec<u8>,
    envelope: String,
}

fn signed() -> &'static Signed {
    static SIGNED: OnceLock<Signed> = OnceLock::new();
    SIGNED.get_or_init(|| {
        let keys = signer::keys();
        let statement = statement();
        let envelope = keys.release.sign_statement("a manifest", PAYLOAD_TYPE, &statement).expect("signed");
        Signed { keys: keys.public, statement, envelope }
    })
}

pub fn seeds() -> Vec<Vec<u8>> {
    vec![signed().statement.clone(), signed().envelope.clone().into_bytes()]
}

fn statement() -> Vec<u8> {
    let files = BTreeMap::from([("disk.img".to_owned(), "ab".repeat(32)), ("data.ext4".to_owned(), "cd".repeat(32))]);
    let predicate = Predicate {
        product: "p".into(),
        version: "1".into(),
        machine: "m".into(),
        security_epoch: 1,
        architecture: "x86_64".into(),
        keys: "development".into(),
        root_hash: "ab".repeat(32),
        production: false,
        command_line: "quiet".into(),
        size_bytes: BTreeMap::from([("disk.img".to_owned(), 1)]),
        partition_bytes: BTreeMap::from([("data".to_owned(), 2)]),
        packages: Vec::new(),
        apps: vec![App { id: "a".into(), version: "1.0.0".into(), digest: "cd".repeat(32), packages: Vec::new() }],
        sources: BTreeMap::from([("ef".repeat(32), "a source".to_owned())]),
        layout: None,
        actions: BTreeMap::new(),
    };
    Statement::new(&files, predicate).to_json()
}
