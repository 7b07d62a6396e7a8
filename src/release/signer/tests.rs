//! Signers of every kind over the same messages.

use super::request::{Detached, Request, RequestError, Signatures};
use super::*;
use crate::io::file;
use crate::release::keys::{create, Purpose};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::OnceLock;

/// A folder of keys that tests copy from: RSA keys take a while to make.
fn made() -> &'static Path {
    static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        create(&folder.path().join("keys"), Purpose::Development).unwrap();
        folder
    });
    Box::leak(folder.path().join("keys").into_boxed_path())
}

fn copy() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    file::copy_tree(made(), &keys).unwrap();
    (folder, keys)
}

fn write(path: &Path, text: &str, mode: u32) {
    file::write_atomic(path, text.as_bytes(), mode).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn keys_of_files_sign_and_equal_messages_get_equal_signatures() {
    for name in ["release", "db", "root"] {
        let signer = Signer::load(made(), name, &Exchange::closed()).unwrap();
        let signature = signer.sign("a message", b"message").unwrap();
        assert!(signer.public().verifies(b"message", &signature) && !signer.public().verifies(b"other", &signature));
        assert_eq!(signer.sign("again", b"message").unwrap(), signature);
    }
}

#[test]
fn what_others_signed_is_found_by_key_and_message_and_the_rest_is_asked_for_once() {
    let (_folder, keys) = copy();
    for name in ["release.key", "db.key"] {
        std::fs::remove_file(keys.join(name)).unwrap();
    }
    let exchange = Exchange::open(&[], 7).unwrap();
    let load = |name: &str, exchange: &Exchange| Signer::load(&keys, name, exchange).unwrap();
    for (name, message) in [("release", &b"one"[..]), ("release", b"two"), ("db", b"one"), ("release", b"one")] {
        assert!(load(name, &exchange).sign("it", message).unwrap_err().is_wanted());
    }
    let request = Request::parse(exchange.request().to_json().as_bytes()).unwrap();
    assert_eq!(
        request.entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(),
        ["db", "release", "release"]
    );
    let signatures = request.entries.iter().map(|entry| {
        let signer = Signer::load(made(), &entry.key, &Exchange::closed()).unwrap();
        let signature = STANDARD.encode(signer.sign("it", &entry.bytes().unwrap()).unwrap());
        Detached { key_id: entry.key_id.clone(), sha256: entry.sha256.clone(), signature }
    });
    let signatures = Signatures { format: request::FORMAT, seconds: request.seconds, signatures: signatures.collect() };
    let signatures = Signatures::parse(signatures.to_json().as_bytes()).unwrap();
    let next = Exchange::open(std::slice::from_ref(&signatures), 9).unwrap();
    for (name, message) in [("release", &b"one"[..]), ("release", b"two"), ("db", b"one")] {
        assert!(load(name, &next).sign("it", message).is_ok());
    }
    assert!(load("db", &next).sign("it", b"three").unwrap_err().is_wanted());
    assert_eq!((next.request().entries.len(), next.request().seconds), (1, 7), "the time of the first request stays");
    // A signature over something else under the name of this message.
    let mut forged = signatures;
    let other = forged.signatures[1].signature.clone();
    forged.signatures[2].signature = other;
    let forged = Exchange::open(&[forged], 9).unwrap();
    let results = [&b"one"[..], b"two"].map(|message| load("release", &forged).sign("it", message).is_ok());
    assert_eq!(results.iter().filter(|good| **good).count(), 1);
}

#[test]
fn a_program_signs_and_what_it_writes_is_not_believed() {
    let (_folder, keys) = copy();
    let sign = |signer: &str| {
        let _ = std::fs::remove_file(keys.join("root.key"));
        write(&keys.join("root.signer"), signer, 0o644);
        let error = |error: &dyn std::error::Error| {
            let cause = error.source().map(ToString::to_string);
            format!("{error}: {}", cause.unwrap_or_default())
        };
        let signer = Signer::load(&keys, "root", &Exchange::closed()).map_err(|found| found.to_string())?;
        signer.sign("it", b"message").map_err(|found| error(&found))
    };
    let good = Signer::load(made(), "root", &Exchange::closed()).unwrap().sign("it", b"message").unwrap();
    write(&keys.join("good"), &STANDARD.encode(&good), 0o644);
    let path = keys.join("good").display().to_string();
    let check_input = "test \"$(cat)\" = message && test \"$OSBUILD_SIGN_KEY\" = root";
    let argv = serde_json::json!({"command": ["sh", "-c", format!("{check_input} && base64 -d {path}")]});
    assert_eq!(sign(&argv.to_string()).unwrap(), good);
    let script = format!("grep -q '\"message\":\"bWVzc2FnZQ==\"' && cat {path}");
    let json = serde_json::json!({"command": {"argv": ["sh", "-c", script], "input": "json"}});
    assert_eq!(sign(&json.to_string()).unwrap(), good);
    for (script, seconds, wanted) in [
        ("cat", 60, "is not valid for its public half"),
        ("exit 3", 60, "exit status: 3"),
        ("sleep 30", 1, "did not end within 1 s"),
        ("cat /dev/zero", 60, "writes more than 4096 bytes"),
        ("head -c 9999 /dev/zero", 60, "writes more than 4096 bytes"),
    ] {
        let signer = serde_json::json!({"command": {"argv": ["sh", "-c", script], "seconds": seconds}});
        let error = sign(&signer.to_string()).unwrap_err();
        assert!(error.contains(wanted), "{script}: {error}");
    }
    for signer in [
        "{}",
        "{\"command\": []}",
        "{\"command\": {\"argv\": [\"x\"], \"seconds\": 0}}",
        "{\"pkcs11\": {}}",
        "{\"command\": {\"argv\": [\"true\"], \"seconds\": 18446744073709551615}}",
    ] {
        assert!(sign(signer).unwrap_err().contains("root.signer` is not a valid signer"), "{signer}");
    }
    write(&keys.join("root.signer"), &argv.to_string(), 0o664);
    let error = Signer::load(&keys, "root", &Exchange::closed()).map(drop).unwrap_err().to_string();
    assert!(error.contains("can be changed by others (mode 664)"), "{error}");
}

proptest! {
    #[test]
    fn no_request_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Request::parse(&bytes).is_err() && Signatures::parse(&bytes).is_err());
    }

    #[test]
    fn a_message_that_is_not_the_one_of_its_digest_is_refused(message in proptest::collection::vec(any::<u8>(), 0..99), more: u8) {
        let mut entry = Entry::new("release", "id".into(), "ed25519", "it", &message);
        prop_assert_eq!(entry.bytes().unwrap(), message.clone());
        entry.message = STANDARD.encode([&message[..], &[more]].concat());
        let request = Request { format: request::FORMAT, seconds: 1, entries: vec![entry] };
        prop_assert!(matches!(Request::parse(request.to_json().as_bytes()), Err(RequestError::Message(_))));
    }
}
