//! Which app has which number, for as long as the device lives; and the newest version that each has had.
//!
//! Invariant: a number is given to one app and never to another, not even after the app is gone.

use crate::error::{AgentError, Doing};
use crate::file;
use crate::log::Log;
use osbuild_format::app::{is_app_id, parse_version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

const FOLDER: &str = "/data/osagent/apps";
const PATH: &str = "/data/osagent/apps/ledger.json";
/// Apps' storage; after the loss of the ledger its owners tell the numbers.
const STORAGE: &str = "/data/apps";
const LIMIT_BYTES: usize = 1 << 20;
/// User and group of the app with number 0; what products and packages use is far below.
pub const FIRST_ID: u32 = 1 << 20;
/// As many as there are networks for them.
const LIMIT_NUMBERS: u32 = 1 << 15;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    next: u32,
    apps: BTreeMap<String, Entry>,
    /// Made anew because the file could not be used: what it does not name may be an app's all the same.
    #[serde(skip)]
    is_recovered: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    number: u32,
    /// Newest version ever installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Digest of the package that is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    installed: Option<String>,
}

impl Ledger {
    /// One that cannot be read is made anew from the owners of what apps have stored.
    pub fn load(log: &Log) -> Ledger {
        match file::read(PATH, LIMIT_BYTES) {
            Ok(bytes) => match Ledger::parse(&bytes) {
                Some(ledger) => ledger,
                None => {
                    log.warn(&format!(
                        "`{PATH}` is damaged: apps keep their storage, but installed ones are forgotten"
                    ));
                    Ledger { is_recovered: true, ..Ledger::recovered() }
                }
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ledger::recovered(),
            Err(error) => {
                log.warn(&format!("cannot read `{PATH}`: {error}"));
                Ledger { is_recovered: true, ..Ledger::recovered() }
            }
        }
    }

    fn parse(bytes: &[u8]) -> Option<Ledger> {
        let ledger: Ledger = serde_json::from_slice(bytes).ok()?;
        let mut numbers: Vec<u32> = ledger.apps.values().map(|entry| entry.number).collect();
        numbers.sort_unstable();
        let distinct = numbers.windows(2).all(|pair| pair[0] != pair[1]);
        let below = numbers.iter().all(|number| *number < ledger.next);
        let ids = ledger.apps.keys().all(|id| is_app_id(id));
        (distinct && below && ids && ledger.next <= LIMIT_NUMBERS).then_some(ledger)
    }

    fn recovered() -> Ledger {
        let mut ledger = Ledger::default();
        for entry in std::fs::read_dir(STORAGE).into_iter().flatten().flatten() {
            let number = entry.metadata().ok().and_then(|m| m.uid().checked_sub(FIRST_ID));
            let Some((number, id)) = number.zip(entry.file_name().into_string().ok()) else { continue };
            if is_app_id(&id) && number < LIMIT_NUMBERS {
                ledger.next = ledger.next.max(number + 1);
                ledger.apps.insert(id, Entry { number, ..Entry::default() });
            }
        }
        ledger
    }

    pub fn is_recovered(&self) -> bool {
        self.is_recovered
    }

    /// The number of `id`, which it gets now unless it has one.
    pub fn number(&mut self, id: &str) -> Result<u32, AgentError> {
        let is_new = !self.apps.contains_key(id);
        let number = self.entry(id)?.number;
        if is_new {
            // Not on the disk, the number could be another app's after the next boot, beside what this one stored.
            if let Err(error) = self.save() {
                self.apps.remove(id);
                return Err(error);
            }
        }
        Ok(number)
    }

    /// What is known of `id`; one that is not known gets the next number.
    fn entry(&mut self, id: &str) -> Result<&mut Entry, AgentError> {
        if !self.apps.contains_key(id) {
            if self.next >= LIMIT_NUMBERS {
                return Err(AgentError::Wrong(format!(
                    "there were {LIMIT_NUMBERS} apps: there is no number for `{id}`"
                )));
            }
            self.apps.insert(id.to_owned(), Entry { number: self.next, ..Entry::default() });
            self.next += 1;
        }
        Ok(self.apps.get_mut(id).expect("it is there, or was just put there"))
    }

    /// Newest version of `id` that was ever installed.
    pub fn version(&self, id: &str) -> Option<&str> {
        self.apps.get(id)?.version.as_deref()
    }

    /// Installed apps and the digests of their packages.
    pub fn installed(&self) -> Vec<(String, String)> {
        let one = |(id, entry): (&String, &Entry)| Some((id.clone(), entry.installed.clone()?));
        self.apps.iter().filter_map(one).collect()
    }

    pub fn set_installed(&mut self, id: &str, version: &str, digest: &str) -> Result<(), AgentError> {
        self.note_installed(id, version, digest)?;
        self.save()
    }

    fn note_installed(&mut self, id: &str, version: &str, digest: &str) -> Result<(), AgentError> {
        let entry = self.entry(id)?;
        entry.installed = Some(digest.to_owned());
        if entry.version.as_deref().and_then(parse_version) < parse_version(version) {
            entry.version = Some(version.to_owned());
        }
        Ok(())
    }

    pub fn set_removed(&mut self, id: &str) -> Result<(), AgentError> {
        if let Some(entry) = self.apps.get_mut(id) {
            entry.installed = None;
        }
        self.save()
    }

    fn save(&self) -> Result<(), AgentError> {
        let bytes = serde_json::to_vec(self).expect("text and numbers can be written as JSON");
        std::fs::create_dir_all(FOLDER).doing(|| format!("make `{FOLDER}`"))?;
        file::replace(PATH, &bytes, 0o600).doing(|| format!("write `{PATH}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_ledger_that_gives_a_number_twice_is_damaged() {
        let good = br#"{"next":2,"apps":{"a":{"number":0},"b":{"number":1,"version":"1.0.0"}}}"#;
        assert!(Ledger::parse(good).is_some());
        for bad in [
            &br#"{"next":2,"apps":{"a":{"number":1},"b":{"number":1}}}"#[..],
            br#"{"next":1,"apps":{"a":{"number":1}}}"#,
            br#"{"next":1,"apps":{"../a":{"number":0}}}"#,
            br#"{"next":99999999,"apps":{}}"#,
            b"",
        ] {
            assert_eq!(Ledger::parse(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn an_app_that_is_installed_before_it_has_a_number_gets_one_of_its_own() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.entry("shipped").expect("a number").number, 0);
        ledger.note_installed("brought", "1.0.0", "aa").expect("a number");
        ledger.note_installed("brought", "0.9.0", "bb").expect("it has one");
        assert_eq!(ledger.entry("brought").expect("it has one").number, 1);
        assert_eq!(ledger.version("brought"), Some("1.0.0"));
        let bytes = serde_json::to_vec(&ledger).expect("JSON");
        assert_eq!(Ledger::parse(&bytes), Some(ledger), "the next boot would forget what is installed");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Ledger::parse(&bytes);
        }
    }
}
