//! Any answer of a name server, and any name to ask for.

use osbuild_agent::wire::dns::{addresses, question};

pub fn run(bytes: &[u8]) {
    let asked = question(77, "pool.ntp.org").expect("a name");
    assert!(addresses(&asked, bytes).len() <= 8, "addresses are bounded");
    let mut answer = asked.clone();
    answer[2] |= 0x80;
    answer[7] = 255;
    answer.extend(bytes);
    assert!(addresses(&asked, &answer).len() <= 8, "addresses are bounded");
    if let Some(asked) = std::str::from_utf8(bytes).ok().and_then(|name| question(1, name)) {
        assert!(asked.len() <= 512 && addresses(&asked, &asked).is_empty(), "a question is no answer");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut answer = question(77, "pool.ntp.org").expect("a name");
    answer[2] |= 0x80;
    answer[7] = 2;
    let records = [
        0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 4, 1, b'x', 0xc0, 12, 1, b'x', 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10,
        0, 0, 1,
    ];
    answer.extend(records);
    vec![answer, records.to_vec(), b"a.name.example".to_vec()]
}
