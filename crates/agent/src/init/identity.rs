//! Who this device is: its host name, and a random identity that it keeps for life.
//!
//! Invariant: the identity is made once, survives updates, and is never half written.

use crate::data;
use crate::error::{AgentError, Doing};
use crate::file;
use std::fmt::Write;
use std::io;

/// Where programs look: `/etc/machine-id` is a link to it.
pub const SHOWN: &str = "/run/machine-id";
const KEPT: &str = "/data/osagent/machine-id";

pub fn set_hostname(name: &str) -> Result<(), AgentError> {
    rustix::system::sethostname(name.as_bytes()).doing(|| format!("set the host name `{name}`"))
}

pub fn provide_machine_id() -> Result<(), AgentError> {
    std::fs::create_dir_all(data::OWN_FOLDER).doing(|| format!("make the folder `{}`", data::OWN_FOLDER))?;
    let id = match file::text(KEPT) {
        Ok(text) if is_id(&text) => text,
        // Damaged or not there yet: a new one is better than none.
        _ => {
            let id = random().doing(|| "draw random bytes".to_owned())?;
            file::replace(KEPT, format!("{id}\n").as_bytes(), 0o444).doing(|| format!("write `{KEPT}`"))?;
            id
        }
    };
    file::replace(SHOWN, format!("{id}\n").as_bytes(), 0o444).doing(|| format!("write `{SHOWN}`"))
}

/// The `machine-id` format: 32 hexadecimal digits, in lower case, not all zero.
fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) && text != "0".repeat(32)
}

/// Marked as a random UUID, version 4.
fn random() -> io::Result<String> {
    let mut bytes = crate::random::bytes::<16>()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_known_form_and_differ() {
        let (one, two) = (random().expect("random"), random().expect("random"));
        assert!(is_id(&one) && one != two);
        for bad in ["", "0123", &"0".repeat(32), &"G".repeat(32), &"A".repeat(32)] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
