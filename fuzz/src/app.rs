//! An app's file, its envelope, its manifest and a capability token: any bytes as each of them.

use super::signer;
use osbuild_format::app::token::{self, Token};
use osbuild_format::app::{is_app_id, package, policy, Manifest, PAYLOAD_TYPE};
use osbuild_format::dsse;
use std::sync::OnceLock;

pub fn run(bytes: &[u8]) {
    if let Ok(envelope) = package::envelope(bytes) {
        let head = package::head(envelope).expect("what is read can be written");
        assert_eq!(head[..], bytes[..head.len()], "a head has one spelling");
        read(envelope);
    }
    read(bytes);
    manifest(bytes);
    if let Ok(token) = Token::from_json(bytes, &device(), 0) {
        let written = token.to_json();
        assert_eq!(Token::from_json(&written, &device(), 0).expect("what is written can be read"), token);
    }
}

fn read(envelope: &[u8]) {
    let signed = signed();
    for (kind, signed) in [(PAYLOAD_TYPE, &signed.app), (token::PAYLOAD_TYPE, &signed.token)] {
        let public = &signer::app_key().verifying_key();
        let verified = dsse::verify(envelope, kind, public, &dsse::key_id(public));
        assert_eq!(verified.is_ok(), envelope == signed.as_bytes(), "an envelope that nobody signed passes");
        if let Ok(payload) = dsse::read_vouched(envelope, kind) {
            manifest(&payload);
        }
    }
}

/// What follows from a valid manifest: names of files, sizes, calls.
fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::from_json(bytes) else { return };
    assert!(is_app_id(&manifest.id) && !manifest.id.contains(['/', '.']), "a name leads elsewhere");
    assert!(
        package::file_bytes(&manifest) < 1 << 35 && package::image_bytes(&manifest).is_multiple_of(4096),
        "a size overflows"
    );
    assert!(!policy::system_calls(&manifest).is_empty());
    // The longest that is read may be longer when it is written, and is then refused.
    if let Ok(written) = manifest.to_json() {
        assert_eq!(Manifest::from_json(&written).expect("what is written can be read"), manifest);
    }
}

struct Signed {
    app: String,
    token: String,
}

fn signed() -> &'static Signed {
    static SIGNED: OnceLock<Signed> = OnceLock::new();
    SIGNED.get_or_init(|| {
        let key = signer::app_key();
        let sign = |kind, payload: &[u8]| dsse::sign(kind, payload, &key, &dsse::key_id(&key.verifying_key()));
        Signed { app: sign(PAYLOAD_TYPE, MANIFEST.as_bytes()), token: sign(token::PAYLOAD_TYPE, &token().to_json()) }
    })
}

fn device() -> String {
    token::device_id("0123456789abcdef0123456789abcdef")
}

fn token() -> Token {
    Token { format: token::FORMAT, device: device(), sideload: true, downgrade: true, not_after: Some(2_000_000_000) }
}

const MANIFEST: &str = r#"{"format":1,"id":"meter","version":"1.2.3","title":"Meter","architecture":"x86_64","abi":{"runtime":1},
    "image":{"data_blocks":7,"root_hash":"abababababababababababababababababababababababababababababababab","salt":"01ff"},
    "argv":["/usr/bin/meter","-v"],"env":{"BROKER":"broker.example"},"capabilities":{
    "connect":[{"host":"broker.example","port":8883,"protocol":"tcp","private":true}],
    "listen":[{"port":1883,"protocol":"tcp","from":"apps"},{"port":53,"protocol":"udp","from":"interface"}],
    "apps":[{"app":"broker","port":1883,"protocol":"tcp"}],"storage_bytes":1048576,"devices":["METER_UART"],
    "interfaces":[{"name":"DOWNSTREAM","address":"192.168.50.1","prefix":24}],"set_time":true},
    "limits":{"memory_bytes":8388608,"cpu_percent":50,"processes":4,"files":64},"ready":"notify",
    "health":{"watchdog":{"seconds":30}},"restart":"on-failure","crash_loop":{"ends":3,"window_seconds":60},"after":["broker"]}"#;

pub fn seeds() -> Vec<Vec<u8>> {
    let signed = signed();
    let unsigned = dsse::unsigned(PAYLOAD_TYPE, MANIFEST.as_bytes());
    let head = package::head(signed.app.as_bytes()).expect("it fits");
    vec![
        MANIFEST.into(),
        token().to_json(),
        unsigned.into_bytes(),
        signed.app.clone().into_bytes(),
        signed.token.clone().into_bytes(),
        head,
    ]
}
