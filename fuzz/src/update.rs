//! What a device reads of its own updates: the records of their state, boot options, a TPM's answers, a worker's report.

use osbuild_agent::wire::{load_option, tpm, Report};
use osbuild_format::gpt::{types, Guid, Partition};
use osbuild_update::device::{Area, Storage};
use osbuild_update::state::{parse, Found, Journal, State, StateError, RECORD_BYTES};
use sha2::{Digest, Sha256};
use std::io;

/// The file of the state.
struct Records(Vec<u8>);

impl Storage for Records {
    fn size_bytes(&self, _: Area) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
    fn read_at(&self, _: Area, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let range = self.0.get(start..start + bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(range);
        Ok(())
    }
    fn write_at(&mut self, _: Area, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        self.0.get_mut(start..start + bytes.len()).ok_or(io::ErrorKind::WriteZero)?.copy_from_slice(bytes);
        Ok(())
    }
    fn flush(&mut self, _: Area) -> io::Result<()> {
        Ok(())
    }
    fn drop_caches(&mut self, _: Area) -> io::Result<()> {
        Ok(())
    }
}

pub fn run(bytes: &[u8]) {
    records(bytes);
    if let Some((sequence, body)) = bytes.split_first_chunk::<8>() {
        // A digest is what a fuzzer cannot guess.
        records(&record(u64::from_le_bytes(*sequence), body));
    }
    if let Some((name, _)) = load_option::parse(bytes) {
        assert!(!name.contains('\0') && name.len() <= 2 * load_option::LIMIT_BYTES, "a name has an end");
        let (option, guid) = (load_option::encode(&name, 1, &partition()), partition().guid);
        let read = load_option::parse(&option);
        assert!(option.len() > load_option::LIMIT_BYTES || read == Some((name, Some(guid))), "what is made is read");
    }
    if tpm::code(bytes).is_ok() {
        assert!((10..=tpm::LIMIT_BYTES).contains(&bytes.len()), "an answer has a header and a limit");
    }
    let _ = tpm::value(bytes);
    let report = Report::parse(bytes);
    assert_eq!(Report::parse(report.to_line().as_bytes()).text(), report.text(), "a report survives its way");
}

/// Whatever lies in the file: what is written after it was read is what is read next.
fn records(bytes: &[u8]) {
    let mut file = Records(bytes.to_vec());
    file.0.resize(2 * RECORD_BYTES, 0);
    let (mut journal, mut state, found) = Journal::load(&file).expect("it can be read");
    let whole = [&file.0[..RECORD_BYTES], &file.0[RECORD_BYTES..]].into_iter().any(|block| parse(block).is_some());
    assert!(if found == Found::State { whole } else { state == State::default() }, "a state from nowhere");
    state.checked(1_800_000_000, Ok("9.9.9"));
    match journal.save(&mut file, &state) {
        Ok(()) => assert_eq!(Journal::load(&file).expect("it can be read").1, state, "what was saved is lost"),
        Err(StateError::TooLong(_) | StateError::Last) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Magic, sequence number, length, SHA-256 of number and text, text.
fn record(sequence: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("some kilobytes").to_le_bytes();
    let digest = Sha256::new_with_prefix(sequence.to_le_bytes()).chain_update(body).finalize();
    let record = [b"OSBUSTA1", &sequence.to_le_bytes()[..], &length, &digest, body].concat();
    match sequence % 2 {
        0 => record,
        _ => [vec![0; RECORD_BYTES], record].concat(),
    }
}

fn partition() -> Partition {
    let (type_guid, guid) = (types::ESP, Guid([7; 16]));
    Partition { type_guid, guid, name: "esp-a".into(), first_lba: 2048, last_lba: 4095, attributes: 0 }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let candidate = format!(r#"{{"name":"{}","version":"1.0.1","epoch":1}}"#, "ab".repeat(32));
    let phase = |is: &str, more: &str| format!(r#""phase":{{"is":"{is}","candidate":{candidate},"slot":"b"{more}}}"#);
    let header = format!(r#","header":"{}","done":3"#, "cd".repeat(32));
    let ended =
        format!(r#""last":{{"candidate":{candidate},"committed":false,"reason":"x"}},"denied":["{}"]"#, "0".repeat(64));
    let failure = r#""failure":{"version":"1.0.1","why":"source-damaged","reason":"y"}"#;
    let offered = r#""offered":{"version":"1.0.2","since_seconds":7},"checked_seconds":9,"deferred_until_seconds":8"#;
    let bodies = [
        format!("{{{},{failure}}}", phase("installing", &header)),
        format!("{{{},{offered}}}", phase("trial", r#","boots_left":2"#)),
        format!("{{{},{ended}}}", phase("committing", "")),
        format!("{{{},{offered}}}", phase("waiting", "")),
        "{}".to_owned(),
    ];
    let records = (7u64..).zip(&bodies).map(|(sequence, body)| record(sequence, body.as_bytes()));
    let both = [&record(8, bodies[0].as_bytes()), &[0; RECORD_BYTES][..]].concat()[..RECORD_BYTES].to_vec();
    let both = [both, record(9, bodies[1].as_bytes())[RECORD_BYTES..].to_vec()].concat();
    let bare = (7u64..).zip(&bodies).map(|(sequence, body)| [&sequence.to_le_bytes(), body.as_bytes()].concat());
    let reports = [
        r#"{"result":"offered","version":"1.0.1","target":"t","size_bytes":9}"#,
        r#"{"result":"armed","version":"1.0.1"}"#,
        r#"{"result":"not-now","reason":"no","details":{"why":"up-to-date"}}"#,
        r#"{"result":"committed"}"#,
        r#"{"result":"deferred","until_seconds":1}"#,
        r#"{"result":"failed","reason":"why"}"#,
    ];
    let answers = [
        "800200000013000000000000000000000100 00",
        "80020000001d000000000000000a0008000000000000010700000100 00",
        "80010000000a0000018b",
    ];
    let answers = answers.map(|digits| hex::decode(digits.replace(' ', "")).expect("digits"));
    let option = load_option::encode("osbuild slot a", 2, &partition());
    let seeds = records.chain(bare).chain([both, option]).chain(answers);
    seeds.chain(reports.map(|text| text.as_bytes().to_vec())).collect()
}
