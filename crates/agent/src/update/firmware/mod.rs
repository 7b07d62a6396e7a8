//! The choice of a slot as the firmware keeps it: `Boot####`, `BootOrder` and `BootNext`.
//!
//! UEFI 2.10, section 3.1. Invariant: options of others are neither changed nor left out; an option that the order names is
//! written before the order.

pub mod load_option;
pub mod variables;

use crate::boot::slot::Disk;
use osbuild_format::command_line::Slot;
use osbuild_format::gpt::Partition;
use osbuild_update::device::BootManager;
use std::io;
use variables::Variables;

const ORDER: &str = "BootOrder";
const NEXT: &str = "BootNext";

pub struct Firmware<V> {
    variables: V,
    /// What each slot's option has to be.
    options: [(Slot, String, Vec<u8>); 2],
}

impl<V: Variables> Firmware<V> {
    /// Of the disk with both slots.
    pub fn new(disk: &Disk, variables: V) -> io::Result<Self> {
        let option = |slot: Slot| {
            let (number, esp) = esp(disk, slot)?;
            let name = name(slot);
            let bytes = load_option::encode(&name, number, esp);
            Ok::<_, io::Error>((slot, name, bytes))
        };
        Ok(Firmware { variables, options: [option(Slot::A)?, option(Slot::B)?] })
    }

    /// `Boot####` of each slot that has one, and whether it is what it has to be.
    fn find(&self, slot: Slot) -> io::Result<Option<(u16, bool)>> {
        let (_, wanted_name, wanted) = &self.options[place(slot)];
        let mut found = None;
        for number in self.numbers()? {
            let Some(option) = self.option(number)? else { continue };
            if option == *wanted {
                return Ok(Some((number, true)));
            }
            if load_option::parse(&option).is_some_and(|(name, _)| name == *wanted_name) {
                found = found.or(Some((number, false)));
            }
        }
        Ok(found)
    }

    /// Numbers of all options that there are, from the lowest on.
    fn numbers(&self) -> io::Result<Vec<u16>> {
        let number = |name: &String| {
            let digits = name.strip_prefix("Boot").filter(|digits| digits.len() == 4)?;
            u16::from_str_radix(digits, 16).ok()
        };
        let mut numbers: Vec<u16> = self.variables.names()?.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn needed(&self, slot: Slot) -> io::Result<u16> {
        let whole = self.find(slot)?.filter(|(_, whole)| *whole).map(|(number, _)| number);
        whole.ok_or_else(|| io::Error::other(format!("the firmware has no boot option for slot {}", slot.letter())))
    }

    fn order(&self) -> io::Result<Vec<u16>> {
        let order = self.variables.read(ORDER)?.unwrap_or_default();
        Ok(order.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
    }

    /// None: there is none, or one that is longer than any of ours.
    fn option(&self, number: u16) -> io::Result<Option<Vec<u8>>> {
        match self.variables.read(&variable(number)) {
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(None),
            read => read,
        }
    }

    fn slot_of(&self, number: u16) -> io::Result<Option<Slot>> {
        let option = self.option(number)?;
        let slot = self.options.iter().find(|(_, _, bytes)| option.as_ref() == Some(bytes));
        Ok(slot.map(|(slot, _, _)| *slot))
    }
}

impl<V: Variables> BootManager for Firmware<V> {
    fn provide_options(&mut self) -> io::Result<()> {
        for slot in [Slot::A, Slot::B] {
            let number = match self.find(slot)? {
                Some((_, true)) => continue,
                Some((number, false)) => number,
                None => {
                    // Not one that the order still names, after the firmware has lost its option: that place may be the other slot's.
                    let taken = [self.numbers()?, self.order()?].concat();
                    let free = (0..=u16::MAX).find(|number| !taken.contains(number));
                    free.ok_or_else(|| io::Error::other("the firmware has no room for another boot option"))?
                }
            };
            self.variables.write(&variable(number), &self.options[place(slot)].2)?;
        }
        Ok(())
    }

    fn committed(&self) -> io::Result<Option<Slot>> {
        match self.order()?.first() {
            Some(first) => self.slot_of(*first),
            None => Ok(None),
        }
    }

    fn next(&self) -> io::Result<Option<Slot>> {
        match self.variables.read(NEXT)?.as_deref() {
            Some(&[low, high]) => self.slot_of(u16::from_le_bytes([low, high])),
            _ => Ok(None),
        }
    }

    fn set_next(&mut self, slot: Option<Slot>) -> io::Result<()> {
        match slot {
            Some(slot) => self.variables.write(NEXT, &self.needed(slot)?.to_le_bytes()),
            None => self.variables.remove(NEXT),
        }
    }

    fn commit(&mut self, slot: Slot) -> io::Result<()> {
        let mut order = vec![self.needed(slot)?, self.needed(other(slot))?];
        let rest: Vec<u16> = self.order()?.into_iter().filter(|number| !order.contains(number)).collect();
        order.extend(rest);
        let bytes: Vec<u8> = order.into_iter().flat_map(u16::to_le_bytes).collect();
        self.variables.write(ORDER, &bytes)
    }
}

fn esp(disk: &Disk, slot: Slot) -> io::Result<(u32, &Partition)> {
    let label = format!("esp-{}", slot.letter());
    let found = disk.layout.partitions.iter().zip(1..).find(|(partition, _)| partition.name == label);
    let (partition, number) =
        found.ok_or_else(|| io::Error::other(format!("`{}` has no partition `{label}`", disk.name)))?;
    Ok((number, partition))
}

fn name(slot: Slot) -> String {
    format!("osbuild slot {}", slot.letter())
}

fn variable(number: u16) -> String {
    format!("Boot{number:04X}")
}

fn place(slot: Slot) -> usize {
    match slot {
        Slot::A => 0,
        Slot::B => 1,
    }
}

pub fn other(slot: Slot) -> Slot {
    match slot {
        Slot::A => Slot::B,
        Slot::B => Slot::A,
    }
}

#[cfg(test)]
mod tests;
