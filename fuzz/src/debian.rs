//! Any text as a package index, a release, a relation and a signed message.

use osbuild::tools::debian::{index::Index, relation, release, resolve, signature, version};

pub fn run(bytes: &[u8]) {
    let verified = signature::verify(bytes, &[]);
    assert!(verified.is_err(), "without keys nothing is signed");
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = (relation::parse(text), release::parse(text, "bookworm"));
    if let Some((left, right)) = text.split_once('\n') {
        assert_eq!(version::compare(left, right), version::compare(right, left).reverse());
    }
    let mut index = Index::default();
    if index.add("bookworm", text).is_ok() {
        let names: Vec<String> = index.names().map(str::to_owned).collect();
        let _ = resolve::resolve(&index, &names, &[]);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let package = |name: &str, more: &str| {
        format!("Package: {name}\nVersion: 1:2.0~rc1-3+deb12u1\nArchitecture: amd64\n{more}Priority: optional\nFilename: pool/main/{name}.deb\nSize: 12\nSHA256: {hash}\n\n")
    };
    let index = [
        package("a", "Depends: b (>= 1.0), c | d, v\nPre-Depends: e\n"),
        package("b", "Provides: v (= 2)\n"),
        package("c", "Depends: a\nConflicts: d\n"),
        package("e", "Description: text\n more\n .\n"),
    ]
    .concat();
    let release = format!("Origin: Debian\nSuite: oldstable\nCodename: bookworm\nDate: Sat, 10 Feb 2024 11:07:25 UTC\nValid-Until: Sat, 17 Feb 2024 11:07:25 UTC\nAcquire-By-Hash: yes\nSHA256:\n {hash} 12 main/binary-amd64/Packages.xz\n");
    let signed = format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{release}-----BEGIN PGP SIGNATURE-----\n\niHUEABYKAB0WIQQAAAAAAAAAAAAAAAAAAAAAAAAAAAUCZQAAAAAKCRAAAAAAAAAA\nAAAAAQDAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n=AAAA\n-----END PGP SIGNATURE-----\n");
    let keys = include_str!("../../src/tools/debian/keys/bookworm-stable.asc");
    let texts = [
        index,
        release,
        signed,
        keys.to_owned(),
        "1:1.0~rc1-2\n1.0-1+b1".into(),
        "a (>= 1) | b [amd64] <!nocheck>, c:any".into(),
    ];
    texts.map(String::into_bytes).to_vec()
}
