//! The security epoch in a TPM: a counter, and where it stood when this device was new.
//!
//! A counter that is defined begins where the highest of its TPM has ever been, so its value alone says nothing: the value of the
//! first time is kept beside it, locked for ever. Invariant: the epoch that is read never falls while the two indices are there,
//! whatever becomes of `/data`.

use super::command::{self, Kind};
use osbuild_format::device::update::LIMIT_EPOCH;
use osbuild_update::device::Epoch;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::time::Duration;

pub const DEVICE: &str = "/dev/tpmrm0";
/// Of those that an owner may define (Registry of Reserved TPM 2.0 Handles, section 2.2).
const COUNTER: u32 = 0x0180_0511;
const BASE: u32 = 0x0180_0512;
const ATTEMPTS: u32 = 50;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);

/// A command in, its answer out.
pub trait Tpm {
    fn ask(&mut self, command: &[u8]) -> io::Result<Vec<u8>>;
}

/// The kernel's resource manager: one write and one read for each command.
pub struct TpmDevice(File);

impl TpmDevice {
    pub fn open() -> io::Result<Self> {
        Ok(TpmDevice(OpenOptions::new().read(true).write(true).open(DEVICE)?))
    }
}

impl Tpm for TpmDevice {
    fn ask(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        // One call each: the kernel takes a write as a whole command.
        if self.0.write(command)? != command.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let mut answer = vec![0; command::LIMIT_BYTES];
        let length = self.0.read(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    }
}

pub struct TpmEpoch<T> {
    tpm: std::cell::RefCell<T>,
    base: u64,
}

impl<T: Tpm> TpmEpoch<T> {
    /// Defines what is not there yet. After a power cut at any point it goes on where it was.
    pub fn open(mut tpm: T) -> io::Result<Self> {
        let counter = match read(&mut tpm, COUNTER)? {
            Some(value) => value,
            None => {
                done(
                    "define the counter of the epoch",
                    &mut tpm,
                    &command::define(COUNTER, Kind::Counter),
                    &[command::DEFINED],
                )?;
                done("begin the counter of the epoch", &mut tpm, &command::increment(COUNTER), &[])?;
                read(&mut tpm, COUNTER)?.ok_or_else(|| io::Error::other("the TPM does not keep the epoch's counter"))?
            }
        };
        let base = match read(&mut tpm, BASE)? {
            Some(value) => value,
            None => {
                let define = command::define(BASE, Kind::Fixed);
                done("define the base of the epoch", &mut tpm, &define, &[command::DEFINED])?;
                done("write the base of the epoch", &mut tpm, &command::write(BASE, counter), &[])?;
                counter
            }
        };
        done("lock the base of the epoch", &mut tpm, &command::lock(BASE), &[command::LOCKED])?;
        let epoch = TpmEpoch { tpm: tpm.into(), base };
        epoch.read()?;
        Ok(epoch)
    }
}

impl<T: Tpm> Epoch for TpmEpoch<T> {
    fn read(&self) -> io::Result<u32> {
        let counter = read(&mut *self.tpm.borrow_mut(), COUNTER)?;
        let epoch = counter.and_then(|counter| u32::try_from(counter.checked_sub(self.base)?).ok());
        epoch.ok_or_else(|| io::Error::other("the epoch in the TPM is none: its counter is gone, or before its base"))
    }

    fn raise(&mut self, to: u32) -> io::Result<()> {
        if to > LIMIT_EPOCH {
            return Err(io::Error::other(format!("a security epoch is at most {LIMIT_EPOCH}, not {to}")));
        }
        for _ in self.read()?..to {
            done("raise the epoch", self.tpm.get_mut(), &command::increment(COUNTER), &[])?;
        }
        match self.read()? >= to {
            true => Ok(()),
            false => Err(io::Error::other("the TPM did not count")),
        }
    }
}

/// The value of an index; none: it was never written, or there is none.
fn read(tpm: &mut impl Tpm, index: u32) -> io::Result<Option<u64>> {
    let answer = ask(tpm, &command::read(index))?;
    match command::code(&answer)? {
        0 => command::value(&answer).map(Some),
        command::NO_INDEX | command::NO_SECOND_INDEX | command::UNWRITTEN => Ok(None),
        code => Err(refused("read the epoch", code)),
    }
}

/// Codes of `fine` mean that it was done before.
fn done(doing: &str, tpm: &mut impl Tpm, command: &[u8], fine: &[u32]) -> io::Result<()> {
    match command::code(&ask(tpm, command)?)? {
        0 => Ok(()),
        code if fine.contains(&code) => Ok(()),
        code => Err(refused(doing, code)),
    }
}

fn ask(tpm: &mut impl Tpm, command: &[u8]) -> io::Result<Vec<u8>> {
    let mut answer = tpm.ask(command)?;
    for _ in 1..ATTEMPTS {
        if !command::code(&answer).is_ok_and(|code| command::LATER.contains(&code)) {
            break;
        }
        std::thread::sleep(BETWEEN_ATTEMPTS);
        answer = tpm.ask(command)?;
    }
    Ok(answer)
}

fn refused(doing: &str, code: u32) -> io::Error {
    io::Error::other(format!("the TPM did not {doing}: error 0x{code:03x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// What a TPM keeps, and what it says about it.
    #[derive(Clone, Default)]
    struct Model {
        /// Written value of each index, and whether it is locked.
        indices: BTreeMap<u32, (Option<u64>, bool)>,
        /// The highest value that any counter has had.
        highest: u64,
        /// Commands until the power fails.
        left: Option<usize>,
        /// Increments are put off this often.
        busy: usize,
    }

    impl Model {
        fn keep(&mut self, index: u32, value: Option<u64>, locked: bool) -> u32 {
            self.indices.insert(index, (value, locked));
            0
        }
    }

    impl Tpm for &mut Model {
        fn ask(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
            if let Some(left) = &mut self.left {
                *left = left.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
            }
            let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
            assert_eq!(usize::try_from(number(2)).expect("short"), bytes.len());
            let defines = number(6) == 0x12a;
            let index = if defines { number(31) } else { number(14) };
            let known = self.indices.get(&index).copied();
            let code = match (number(6), known) {
                (0x12a, Some(_)) => command::DEFINED,
                (0x12a, None) => self.keep(index, None, false),
                (_, None) => command::NO_INDEX,
                (0x134, Some(_)) if self.busy > 0 => {
                    self.busy -= 1;
                    0x920
                }
                (0x134, Some((value, locked))) => {
                    self.highest = value.unwrap_or(self.highest) + 1;
                    self.keep(index, Some(self.highest), locked)
                }
                (0x137 | 0x138, Some((_, true))) => command::LOCKED,
                (0x137, Some(_)) => {
                    let value = u64::from_be_bytes(bytes[33..41].try_into().expect("8 bytes"));
                    self.keep(index, Some(value), false)
                }
                (0x138, Some((value, _))) => self.keep(index, value, true),
                (0x14e, Some((None, _))) => command::UNWRITTEN,
                (0x14e, Some((Some(value), _))) => {
                    let head = [0x80, 2, 0, 0, 0, 29, 0, 0, 0, 0, 0, 0, 0, 10, 0, 8];
                    return Ok([&head[..], &value.to_be_bytes(), &[0, 0, 1, 0, 0]].concat());
                }
                (other, _) => panic!("no command of ours: {other:x}"),
            };
            let tag = if code == 0 { 2 } else { 1 };
            let length = 10;
            Ok([&[0x80, tag, 0, 0, 0, length][..], &code.to_be_bytes()].concat())
        }
    }

    #[test]
    fn the_epoch_rises_and_never_falls() {
        let mut model = Model { highest: 41, ..Model::default() };
        let mut epoch = TpmEpoch::open(&mut model).expect("opened");
        assert_eq!(epoch.read().expect("read"), 0, "a TPM that has counted before");
        epoch.raise(3).expect("raised");
        epoch.raise(2).expect("no effect");
        assert_eq!(epoch.read().expect("read"), 3);
        assert!(epoch.raise(LIMIT_EPOCH + 1).is_err());
        assert_eq!(TpmEpoch::open(&mut model).expect("opened again").read().expect("read"), 3);
        // Who takes the counter away does not get the epochs back.
        model.indices.remove(&COUNTER);
        assert!(TpmEpoch::open(&mut model).expect("opened again").read().expect("read") >= 3);
    }

    #[test]
    fn a_tpm_that_spares_its_memory_is_waited_for() {
        let mut model = Model::default();
        TpmEpoch::open(&mut model).expect("opened");
        model.busy = 3;
        let mut epoch = TpmEpoch::open(&mut model).expect("opened again");
        epoch.raise(2).expect("raised");
        assert_eq!(epoch.read().expect("read"), 2);
    }

    #[test]
    fn power_that_fails_between_any_two_commands_leaves_an_epoch_that_goes_on() {
        let mut commands = 0;
        loop {
            let mut model = Model { highest: 7, left: Some(commands), ..Model::default() };
            let whole = TpmEpoch::open(&mut model).and_then(|mut epoch| epoch.raise(2)).is_ok();
            model.left = None;
            let mut epoch = TpmEpoch::open(&mut model).expect("opened");
            assert!(epoch.read().expect("read") <= 2, "after {commands} commands");
            epoch.raise(2).expect("raised");
            assert_eq!(epoch.read().expect("read"), 2, "after {commands} commands");
            if whole {
                break;
            }
            commands += 1;
        }
        assert!(commands > 8, "it was cut nowhere");
    }
}
