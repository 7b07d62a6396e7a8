//! An ed25519 key pair in OpenSSH's own formats, for the ssh checks of a developer product.
//!
//! Source: OpenSSH `PROTOCOL.key` and RFC 8709. Invariant: equal seeds give equal text; the private form is
//! not encrypted, so it belongs in a file of mode 0600.

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use ed25519_dalek::SigningKey;

const KIND: &[u8] = b"ssh-ed25519";
/// The private part is padded to a multiple of this when there is no cipher.
const BLOCK_BYTES: usize = 8;
const LINE_CHARACTERS: usize = 70;

/// The line for `authorized_keys`.
pub fn public_line(key: &SigningKey, comment: &str) -> String {
    format!("ssh-ed25519 {} {comment}", STANDARD.encode(public_blob(key)))
}

/// The file that `ssh -i` reads.
pub fn private_file(key: &SigningKey, comment: &str) -> String {
    let mut private = Vec::new();
    // Two equal numbers show that a decryption worked; nothing is encrypted here.
    private.extend([0; 8]);
    put(&mut private, KIND);
    put(&mut private, key.verifying_key().as_bytes());
    put(&mut private, &key.to_keypair_bytes());
    put(&mut private, comment.as_bytes());
    for padding in 1..BLOCK_BYTES as u8 {
        if private.len().is_multiple_of(BLOCK_BYTES) {
            break;
        }
        private.push(padding);
    }
    let mut file = b"openssh-key-v1\0".to_vec();
    // Cipher, key derivation and its options: none of them.
    put(&mut file, b"none");
    put(&mut file, b"none");
    put(&mut file, b"");
    // One key.
    file.extend(1u32.to_be_bytes());
    put(&mut file, &public_blob(key));
    put(&mut file, &private);
    let text = STANDARD.encode(file);
    let lines = text.as_bytes().chunks(LINE_CHARACTERS).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
    format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{lines}\n-----END OPENSSH PRIVATE KEY-----\n")
}

fn public_blob(key: &SigningKey) -> Vec<u8> {
    let mut blob = Vec::new();
    put(&mut blob, KIND);
    put(&mut blob, key.verifying_key().as_bytes());
    blob
}

/// A string of the ssh protocol: its length, big-endian, and its bytes.
fn put(blob: &mut Vec<u8>, bytes: &[u8]) {
    blob.extend((bytes.len() as u32).to_be_bytes());
    blob.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;

    /// `ssh-keygen -y -f FILE` of OpenSSH 9.2 printed the public line for this private file.
    #[test]
    fn both_forms_are_pinned() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let public = public_line(&key, "osbuild-development");
        assert_eq!(
            public,
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOpKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs osbuild-development"
        );
        let digest = Digest::of(private_file(&key, "osbuild-development").as_bytes());
        assert_eq!(digest.hex(), "b381f639f62fd25d612e910f81cf33a8fa27d2d105ab85f02383ece25c311b6d");
    }
}
