//! Whom the device trusts for updates: files of the step's input root in, their places in the root out.
//!
//! Invariant: what has no valid form never reaches a device, which would find that out when it needs an update.

use super::compose::Composer;
use super::problem::TreeError;
use super::root::Content;
use crate::io::store::Node;
use crate::model::{Digest, RelPath};
use osbuild_format::device::update::{CA, ROOT};

const LIMIT_BYTES: u64 = 1 << 20;

/// Whether a file has the form that its place asks for.
type Check = fn(&[u8]) -> bool;

pub fn add_all(composer: &mut Composer, inputs: &Digest) -> Result<(), TreeError> {
    let checks: [(&str, &str, Check, &str); 2] = [
        ("update/root.json", ROOT, is_root, "`root` of `update` holds no root metadata: `osbuild repo init` makes it"),
        ("update/ca.pem", CA, is_pem, "`ca` of `update` holds no certificate in PEM form"),
    ];
    for (input, place, is_valid, problem) in checks {
        let Some(Node::File { digest, .. }) = composer.store.lookup(inputs, &RelPath::new(input)?)? else { continue };
        if !is_valid(&composer.store.read(&digest, LIMIT_BYTES)?) {
            composer.problems.add(problem.to_owned());
        }
        let content = Content::File { digest, executable: false };
        composer.generate_content(place.trim_start_matches('/'), content, 0o644)?;
    }
    Ok(())
}

/// Its signatures are checked by whoever trusts it.
fn is_root(bytes: &[u8]) -> bool {
    let parsed = serde_json::from_slice::<serde_json::Value>(bytes).ok();
    parsed.is_some_and(|value| value.pointer("/signed/_type").is_some_and(|kind| kind == "root"))
}

fn is_pem(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).contains("-----BEGIN CERTIFICATE-----")
}
