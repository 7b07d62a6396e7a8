//! Any file of a package: what it needs to run is read or refused, in bounded memory.

use osbuild::tree::check::elf;

pub fn run(bytes: &[u8]) {
    if let Some(Ok(needs)) = elf::needs(bytes) {
        assert!(needs.libraries.len() <= 1024 && needs.search.len() <= 1024);
    }
}

/// A dynamic program of 64 bits and one of 32: header, three segments, a dynamic section and its strings.
pub fn seeds() -> Vec<Vec<u8>> {
    vec![program(true), program(false)]
}

fn program(wide: bool) -> Vec<u8> {
    let (header, entry, pair) = if wide { (64, 56, 16) } else { (52, 32, 8) };
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 1 + u8::from(wide), 1, 1];
    bytes.resize(16, 0);
    let word = |value: u64| if wide { value.to_le_bytes().to_vec() } else { (value as u32).to_le_bytes().to_vec() };
    bytes.extend([3, 0, 62, 0, 1, 0, 0, 0]);
    bytes.extend([word(0), word(header), word(0)].concat());
    bytes.extend([0, 0, 0, 0, header as u8, 0, entry as u8, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    let interpreter = header + 3 * entry;
    let strings = interpreter + 8;
    let dynamic = strings + 24;
    let end = dynamic + 5 * pair;
    for (kind, start, size) in [(1_u32, 0, end), (2, dynamic, 5 * pair), (3, interpreter, 8)] {
        bytes.extend(kind.to_le_bytes());
        match wide {
            true => bytes.extend(
                [4_u32.to_le_bytes().to_vec(), word(start), word(start), word(start), word(size), word(size), word(8)]
                    .concat(),
            ),
            false => {
                bytes.extend([word(start), word(start), word(start), word(size), word(size), word(4), word(8)].concat())
            }
        }
    }
    bytes.extend(b"/lib/ld\0\0libc.so\0/opt/lib:/x\0\0\0\0");
    bytes.truncate(dynamic as usize);
    for (tag, value) in [(1, 1), (29, 9), (5, strings), (10, 24), (0, 0)] {
        bytes.extend([word(tag), word(value)].concat());
    }
    bytes
}
