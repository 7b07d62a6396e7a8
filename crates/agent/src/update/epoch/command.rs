//! Commands to a TPM 2.0 about its non-volatile memory, to bytes; and its answers back.
//!
//! Source: TPM 2.0 Library Specification, part 3, sections 31 (non-volatile storage) and 9.3; part 2 for the structures.
//! Invariant: an answer is at most [`LIMIT_BYTES`], and is used only when its length is the one that it states.

use std::io;

/// No answer to a command of ours is longer.
pub const LIMIT_BYTES: usize = 1024;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
/// The owner of the TPM's memory, whose password is empty unless somebody has set it.
const OWNER: u32 = 0x4000_0001;
const PASSWORD: u32 = 0x4000_0009;
const SHA256: u16 = 0x000b;

const DEFINE_SPACE: u32 = 0x12a;
const INCREMENT: u32 = 0x134;
const WRITE: u32 = 0x137;
const WRITE_LOCK: u32 = 0x138;
const READ: u32 = 0x14e;

/// `TPM_RC_HANDLE` for the first handle: there is no such index.
pub const NO_INDEX: u32 = 0x18b;
/// For the second handle.
pub const NO_SECOND_INDEX: u32 = 0x28b;
/// `TPM_RC_NV_UNINITIALIZED`: it was never written.
pub const UNWRITTEN: u32 = 0x14a;
/// `TPM_RC_NV_DEFINED`: there is one already.
pub const DEFINED: u32 = 0x14c;
/// `TPM_RC_NV_LOCKED`.
pub const LOCKED: u32 = 0x148;
/// Warnings that say "later": TPM_RC_YIELDED, TPM_RC_TESTING, TPM_RC_NV_RATE (it spares its memory), TPM_RC_RETRY,
/// TPM_RC_NV_UNAVAILABLE.
pub const LATER: [u32; 5] = [0x908, 0x90a, 0x920, 0x922, 0x923];

/// What an index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 64 bits that only rise.
    Counter,
    /// 8 bytes that can be locked for ever once they are written.
    Fixed,
}

impl Kind {
    /// `TPMA_NV`: whoever reaches the TPM reads and writes (AUTHREAD, AUTHWRITE, NO_DA); what it is.
    fn attributes(self) -> u32 {
        const PLAIN: u32 = 1 << 18 | 1 << 2 | 1 << 25;
        match self {
            Kind::Counter => PLAIN | 1 << 4,
            Kind::Fixed => PLAIN | 1 << 13,
        }
    }
}

pub fn define(index: u32, kind: Kind) -> Vec<u8> {
    let mut public = index.to_be_bytes().to_vec();
    public.extend(SHA256.to_be_bytes());
    public.extend(kind.attributes().to_be_bytes());
    public.extend(sized(&[]));
    public.extend(8u16.to_be_bytes());
    command(DEFINE_SPACE, &[OWNER], &[sized(&[]), sized(&public)].concat())
}

pub fn increment(index: u32) -> Vec<u8> {
    command(INCREMENT, &[index, index], &[])
}

pub fn write(index: u32, value: u64) -> Vec<u8> {
    command(WRITE, &[index, index], &[sized(&value.to_be_bytes()), vec![0, 0]].concat())
}

pub fn lock(index: u32) -> Vec<u8> {
    command(WRITE_LOCK, &[index, index], &[])
}

pub fn read(index: u32) -> Vec<u8> {
    command(READ, &[index, index], &[0, 8, 0, 0])
}

/// The answer's code; 0: it was done.
pub fn code(answer: &[u8]) -> io::Result<u32> {
    let stated = answer.get(2..6).map(number);
    if answer.len() > LIMIT_BYTES || stated.is_none_or(|stated| usize::try_from(stated).ok() != Some(answer.len())) {
        return Err(invalid());
    }
    let code = number(answer.get(6..10).ok_or_else(invalid)?);
    // What comes after a success has a session's part, and nothing comes after an error.
    let tag = u16::from_be_bytes([answer[0], answer[1]]);
    match (tag, code) {
        (SESSIONS, 0) | (NO_SESSIONS, _) => Ok(code),
        _ => Err(invalid()),
    }
}

/// What [`read`] was answered.
pub fn value(answer: &[u8]) -> io::Result<u64> {
    // Header, length of the parameters, length of the value.
    let (length, rest) = answer.get(14..).and_then(|rest| rest.split_first_chunk()).ok_or_else(invalid)?;
    let bytes = rest.first_chunk().filter(|_| u16::from_be_bytes(*length) == 8);
    bytes.map(|bytes| u64::from_be_bytes(*bytes)).ok_or_else(invalid)
}

fn command(code: u32, handles: &[u32], parameters: &[u8]) -> Vec<u8> {
    let mut session = PASSWORD.to_be_bytes().to_vec();
    // No nonce, no attributes, the empty password.
    session.extend([0, 0, 0, 0, 0]);
    let mut rest = code.to_be_bytes().to_vec();
    handles.iter().for_each(|handle| rest.extend(handle.to_be_bytes()));
    rest.extend(length_of_a_command(session.len()).to_be_bytes());
    rest.extend(session);
    rest.extend(parameters);
    let mut bytes = SESSIONS.to_be_bytes().to_vec();
    bytes.extend(length_of_a_command(rest.len() + 6).to_be_bytes());
    bytes.extend(rest);
    bytes
}

fn length_of_a_command(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a command has some dozen bytes")
}

/// `TPM2B`.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a part of a command has some dozen bytes");
    [&length.to_be_bytes(), bytes].concat()
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the TPM's answer is not valid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn commands_have_the_bytes_of_the_specification() {
        let wanted = "8002 00000023 0000014e 01800511 01800511 00000009 40000009 0000 00 0000 0008 0000";
        assert_eq!(osbuild_format::hex::encode(&read(0x0180_0511)), wanted.replace(' ', ""));
        let wanted = "8002 0000002d 0000012a 40000001 00000009 40000009 0000 00 0000 \
                      0000 000e 01800511 000b 02040014 0000 0008";
        assert_eq!(osbuild_format::hex::encode(&define(0x0180_0511, Kind::Counter)), wanted.replace(' ', ""));
    }

    #[test]
    fn an_answer_is_its_code_and_its_value() {
        let answer = |text: &str| osbuild_format::hex::decode(&text.replace(' ', "")).expect("digits");
        let read = answer("8002 0000001d 00000000 0000000a 0008 0000000000000107 0000 01 0000");
        assert_eq!((code(&read).expect("whole"), value(&read).expect("whole")), (0, 0x107));
        assert_eq!(code(&answer("8001 0000000a 0000018b")).expect("whole"), NO_INDEX);
        for bad in ["", "8001", "8001 0000000b 0000018b", "8002 0000000a 0000018b", "8003 0000000a 00000000"] {
            assert!(code(&answer(bad)).is_err(), "{bad}");
        }
        assert!(value(&answer("8002 0000001d 00000000 0000000a 0004 0000000000000107 0000 01 0000")).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = (code(&bytes), value(&bytes));
        }
    }
}
