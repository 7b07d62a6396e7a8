//! QEMU's control socket: commands out, answers in. Source: the QEMU Machine Protocol Specification.
//!
//! Invariant: one command is under way at a time; events between command and answer are kept, at most 1024.

use super::BoardError;
use serde_json::{json, Value};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

pub struct Qmp {
    reader: BufReader<UnixStream>,
    events: VecDeque<String>,
}

const LINE_LIMIT_BYTES: u64 = 1 << 20;
const EVENT_LIMIT: usize = 1024;

impl Qmp {
    /// Takes the greeting and leaves negotiation mode.
    pub fn connect(stream: UnixStream) -> Result<Qmp, BoardError> {
        stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(talk)?;
        let mut qmp = Qmp { reader: BufReader::new(stream), events: VecDeque::new() };
        let greeting = qmp.message()?;
        if greeting.get("QMP").is_none() {
            return Err(BoardError::Refused { command: "greeting".into(), reason: greeting.to_string() });
        }
        qmp.execute("qmp_capabilities")?;
        Ok(qmp)
    }

    /// Runs a command without arguments and returns what it returned.
    pub fn execute(&mut self, command: &str) -> Result<Value, BoardError> {
        let mut line = json!({ "execute": command }).to_string();
        line.push('\n');
        self.reader.get_mut().write_all(line.as_bytes()).map_err(talk)?;
        loop {
            let mut message = self.message()?;
            if let Some(event) = message.get("event").and_then(Value::as_str) {
                self.events.push_back(event.to_owned());
                self.events.truncate(EVENT_LIMIT);
                continue;
            }
            if let Some(error) = message.get("error") {
                let reason = error.get("desc").and_then(Value::as_str).unwrap_or("no reason given").to_owned();
                return Err(BoardError::Refused { command: command.to_owned(), reason });
            }
            return Ok(message.get_mut("return").map(Value::take).unwrap_or_default());
        }
    }

    /// Presses the ACPI power button.
    pub fn press_power_button(&mut self) -> Result<(), BoardError> {
        self.execute("system_powerdown").map(drop)
    }

    /// Presses the reset button.
    pub fn reset(&mut self) -> Result<(), BoardError> {
        self.execute("system_reset").map(drop)
    }

    /// Ends QEMU, flushing its disks.
    pub fn quit(&mut self) -> Result<(), BoardError> {
        self.execute("quit").map(drop)
    }

    /// The names of the events seen so far: `RESET`, `SHUTDOWN`, `WATCHDOG`.
    pub fn events(&mut self) -> Result<Vec<String>, BoardError> {
        self.execute("query-status")?;
        Ok(self.events.iter().cloned().collect())
    }

    fn message(&mut self) -> Result<Value, BoardError> {
        let mut line = Vec::new();
        (&mut self.reader).take(LINE_LIMIT_BYTES).read_until(b'\n', &mut line).map_err(talk)?;
        if line.is_empty() {
            return Err(talk(std::io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_slice(&line).map_err(|e| talk(e.into()))
    }
}

fn talk(source: std::io::Error) -> BoardError {
    BoardError::Talk { program: "QEMU".to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays the other side: sends all of `script` at once and keeps what was asked.
    fn against(script: &str, act: impl FnOnce(&mut Qmp) -> Result<(), BoardError>) -> (Result<(), BoardError>, String) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(script.as_bytes()).unwrap();
        let result = Qmp::connect(ours).and_then(|mut qmp| act(&mut qmp));
        let mut asked = String::new();
        theirs.read_to_string(&mut asked).unwrap();
        (result, asked)
    }

    #[test]
    fn events_between_command_and_answer_are_kept() {
        let script = "{\"QMP\":{}}\n{\"return\":{}}\n{\"event\":\"RESET\"}\n{\"return\":{\"status\":\"running\"}}\n";
        let (result, asked) = against(script, |qmp| {
            assert_eq!(qmp.events()?, ["RESET"]);
            Ok(())
        });
        result.unwrap();
        assert_eq!(asked, "{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"query-status\"}\n");
    }

    #[test]
    fn a_refusal_names_the_command_and_garbage_is_an_error() {
        let script = "{\"QMP\":{}}\n{\"return\":{}}\n{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"}}\n";
        let (result, _) = against(script, Qmp::quit);
        assert_eq!(result.unwrap_err().to_string(), "QEMU refused `quit`: no");
        for garbage in ["nonsense\n", "{}\n"] {
            assert!(against(garbage, |_| Ok(())).0.is_err());
        }
    }
}
