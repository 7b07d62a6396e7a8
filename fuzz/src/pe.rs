//! Any bytes as a program with a signature: parsed, hashed, extended and checked; nothing but the signed one passes.

use super::signer;
use osbuild::image::pe::{append, with_certificates, Pe};
use osbuild::image::{authenticode, uki};
use std::sync::OnceLock;

pub fn run(bytes: &[u8]) {
    let signed = signed();
    if let Ok(pe) = Pe::parse(bytes) {
        assert!(pe.certificates.end <= bytes.len() && pe.sections.iter().all(|section| section.raw.end <= bytes.len()));
    }
    if let Ok(extended) = append(bytes, &[(".x", b"content")]) {
        assert!(extended.len() <= bytes.len() + (2 << 20), "two alignments are the most that is added");
    }
    let _ = (authenticode::digest(bytes), uki::read(bytes), with_certificates(bytes, &[0; 8]));
    let passes = |program: &[u8]| authenticode::verify(program, &[&signed.certificate]).is_ok();
    assert_eq!(passes(bytes), bytes == signed.program, "what the signer did not sign passes");
    // The same bytes as a table of signatures.
    let program = with_certificates(&uki(), bytes).expect("a program");
    assert_eq!(passes(&program), program == signed.program, "what the signer did not sign passes");
}

struct Signed {
    program: Vec<u8>,
    certificate: Vec<u8>,
}

fn signed() -> &'static Signed {
    static SIGNED: OnceLock<Signed> = OnceLock::new();
    SIGNED.get_or_init(|| {
        let keys = signer::keys();
        Signed { program: keys.boot.sign("a program", &uki()).expect("signed"), certificate: keys.public.signature_db }
    })
}

pub fn seeds() -> Vec<Vec<u8>> {
    let signed = &signed().program;
    let pe = Pe::parse(signed).expect("a program");
    vec![program(), uki(), signed.clone(), signed[pe.certificates].to_vec()]
}

pub fn uki() -> Vec<u8> {
    let line = format!("quiet osbuild.root-blocks=7 roothash={}", "ab".repeat(32));
    append(&program(), &[(".osrel", b"ID=x\n"), (".cmdline", line.as_bytes())]).expect("appended")
}

/// Headers, one section `.text` and nothing that could run.
pub fn program() -> Vec<u8> {
    let mut bytes = vec![0; 0x400];
    let mut put = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    put(0, u32::from_le_bytes(*b"MZ\0\0"));
    put(0x3c, 0x40);
    put(0x40, u32::from_le_bytes(*b"PE\0\0"));
    // One section, an optional header of 240 bytes.
    put(0x46, 1);
    put(0x54, 240);
    for (at, value) in [(0, 0x20b), (32, 0x1000), (36, 0x200), (60, 0x400), (108, 16)] {
        put(0x58 + at, value);
    }
    let header = 0x58 + 240;
    put(header, u32::from_le_bytes(*b".tex"));
    for (at, value) in [(4, u32::from(b't')), (8, 0x10), (12, 0x1000), (16, 0x200), (20, 0x400)] {
        put(header + at, value);
    }
    bytes.resize(0x600, 0x90);
    bytes
}
