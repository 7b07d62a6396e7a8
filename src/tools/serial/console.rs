//! A wire in, a conversation with the shell at its other end out: files brought, commands run, lines followed.
//!
//! Invariant: a file and an output count only when their SHA-256 is the same on both sides; a command is run once.

use super::wire::Wire;
use super::words::{self, Mark, Said};
use super::SerialError;
use crate::model::Digest;
use crate::tools::board::Stop;
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use flate2::read::GzEncoder;
use flate2::Compression;
use rand_core::{OsRng, RngCore};
use std::collections::VecDeque;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

/// On the device, in memory.
const FOLDER: &str = "/run/osbuild-serial";
/// As Base64 it fits into what the kernel keeps of a line that nobody reads yet (64 KiB).
const PART_BYTES: usize = 32 << 10;
const TRIES: u32 = 5;
/// What stays on the line for ever is not taken for the end of a word.
const LINE_LIMIT_BYTES: usize = 64 << 10;
const OUTPUT_LIMIT_BYTES: usize = 8 << 20;
const TAIL_LINES: usize = 8;
/// For an answer to what takes no time on the device; at 115200 baud a part takes four seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than the silence after which a device that was being sent something gives up.
const GREETING: Duration = Duration::from_secs(4);
const GREETINGS: u32 = 4;
const SETTLING: Duration = Duration::from_millis(200);

/// How a command ended, and all it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub status: u8,
    pub output: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// Something runs there.
    Asked,
    /// It takes all that is sent for a part of a file.
    Sending,
}

pub struct Console {
    wire: Wire,
    folder: String,
    session: u32,
    number: u32,
    state: State,
    incoming: Vec<u8>,
    /// What came lately and was no answer, for messages.
    noise: VecDeque<String>,
    is_silent: bool,
    /// Whether a shell has answered.
    is_met: bool,
}

impl Console {
    /// Finds the shell; whatever is at its prompt or in its way is interrupted.
    pub fn open(path: &Path, stop: &Stop) -> Result<Console, SerialError> {
        Console::over(Wire::open(path, stop)?, FOLDER)
    }

    pub(super) fn over(wire: Wire, folder: &str) -> Result<Console, SerialError> {
        let mut console = Console {
            wire,
            folder: folder.to_owned(),
            session: OsRng.next_u32(),
            number: 0,
            state: State::Idle,
            incoming: Vec::new(),
            noise: VecDeque::new(),
            is_silent: true,
            is_met: false,
        };
        console.greet()?;
        let mark = console.mark();
        match console.ask(mark, &mark.folder(folder), PATIENCE)?.as_str() {
            "0" => Ok(console),
            _ => Err(SerialError::Folder { path: console.wire.path().to_owned(), folder: folder.to_owned() }),
        }
    }

    /// Brings what the next command reads; `tell` hears how many of how many bytes are there, compressed.
    pub fn bring(&mut self, content: &[u8], tell: &mut dyn FnMut(u64, u64)) -> Result<(), SerialError> {
        let mut compressed = Vec::new();
        let read = GzEncoder::new(content, Compression::best()).read_to_end(&mut compressed);
        // Of memory, in which nothing fails.
        read.map_err(|source| SerialError::Talk { path: self.wire.path().to_owned(), source })?;
        let all = compressed.len() as u64;
        self.put("input", &compressed, &mut |there| tell(there, all))
    }

    /// Runs `command` in a shell of its own and waits for its end, at most `patience`; it reads what was brought, or
    /// nothing.
    pub fn run(&mut self, command: &str, reads: bool, patience: Duration) -> Result<Ended, SerialError> {
        let [script, said] = self.script(command)?;
        let input = reads.then(|| self.place("input"));
        let mark = self.mark();
        self.type_line(&mark.run(&script, input.as_deref(), &said))?;
        let (answer, mut base64) = self.listen(mark, patience)?;
        let mut words = answer.split(' ');
        let (status, mut digest) = (words.next().unwrap_or_default().to_owned(), words.next().map(str::to_owned));
        for _ in 0..TRIES {
            if let (Some(output), Ok(status)) = (whole(&base64, digest.as_deref()), status.parse()) {
                return Ok(Ended { status, output });
            }
            let mark = self.mark();
            self.type_line(&mark.fetch(&said))?;
            match self.listen(mark, PATIENCE) {
                Ok((answer, again)) => (digest, base64) = (answer.split(' ').nth(1).map(str::to_owned), again),
                Err(SerialError::Late { .. }) => self.greet()?,
                Err(error) => return Err(error),
            }
        }
        Err(self.damaged())
    }

    /// Runs `command` and hands out each line as it comes, until it ends; returns its status. Lines that the kernel cut in
    /// two are lost.
    pub fn follow(&mut self, command: &str, tell: &mut dyn FnMut(&str)) -> Result<u8, SerialError> {
        let [script, status] = self.script(command)?;
        let mark = self.mark();
        self.type_line(&mark.follow(&script, &status))?;
        loop {
            let Some(line) = self.next_line(Instant::now() + PATIENCE)? else { continue };
            match mark.reads(&line) {
                Said::Line(text) => tell(&text),
                Said::Answer(status) => {
                    self.state = State::Idle;
                    return Ok(status.parse().unwrap_or(1));
                }
                _ => self.note(line),
            }
        }
    }

    /// Brings the command; returns where it is, and where what comes of it may lie.
    fn script(&mut self, command: &str) -> Result<[String; 2], SerialError> {
        self.put("script", format!("{command}\n").as_bytes(), &mut |_| {})?;
        Ok([self.place("script"), self.place("said")])
    }

    fn put(&mut self, name: &str, content: &[u8], tell: &mut dyn FnMut(u64)) -> Result<(), SerialError> {
        let file = self.place(name);
        // An empty file is one part of nothing.
        let parts = content.chunks(PART_BYTES).chain(content.is_empty().then_some(content));
        let mut there = 0;
        for (index, part) in parts.enumerate() {
            let digest = Digest::of(part).hex();
            let mut tries = 0;
            while self.send(&file, index, part)?.as_deref() != Some(&*digest) {
                tries += 1;
                if tries == TRIES {
                    return Err(self.damaged());
                }
                // Bytes may be missing, and the device wait for them, or be too many, and stand at its prompt.
                self.greet()?;
            }
            there += part.len() as u64;
            tell(there);
        }
        Ok(())
    }

    /// Sends a part once; returns the SHA-256 of what arrived, if that arrived.
    fn send(&mut self, file: &str, index: usize, part: &[u8]) -> Result<Option<String>, SerialError> {
        let (mark, base64) = (self.mark(), STANDARD.encode(part));
        self.type_line(&mark.receive(file, index, PART_BYTES, base64.len()))?;
        let until = Instant::now() + PATIENCE;
        loop {
            let Some(line) = self.next_line(until)? else { return Ok(None) };
            match mark.reads(&line) {
                Said::Ready => break,
                // Nobody was told that it was ready, so nothing came.
                Said::Answer(_) => return Ok(None),
                _ => self.note(line),
            }
        }
        self.state = State::Sending;
        self.write(base64.as_bytes())?;
        match self.listen(mark, PATIENCE) {
            Ok((answer, _)) => Ok(Some(answer)),
            Err(SerialError::Late { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn ask(&mut self, mark: Mark, line: &str, patience: Duration) -> Result<String, SerialError> {
        self.type_line(line)?;
        self.listen(mark, patience).map(|(answer, _)| answer)
    }

    /// Waits for the answer; returns it with the lines of Base64 before it. While those come, it goes on.
    fn listen(&mut self, mark: Mark, patience: Duration) -> Result<(String, String), SerialError> {
        let (mut until, mut base64, mut begun) = (Instant::now() + patience, String::new(), false);
        while let Some(line) = self.next_line(until)? {
            match mark.reads(&line) {
                Said::Answer(answer) => {
                    self.state = State::Idle;
                    return Ok((answer, base64));
                }
                Said::Begin => begun = true,
                Said::Noise if begun && words::is_base64(&line) => {
                    base64 += &line;
                    until = until.max(Instant::now() + PATIENCE);
                }
                _ => self.note(line),
            }
            if base64.len() > OUTPUT_LIMIT_BYTES / 3 * 4 {
                let path = self.wire.path().to_owned();
                return Err(SerialError::TooLong { path, limit_bytes: OUTPUT_LIMIT_BYTES });
            }
        }
        Err(SerialError::Late { path: self.wire.path().to_owned(), waited: patience, tail: self.tail() })
    }

    /// Brings the shell to its prompt, whatever it did, and the terminal to order.
    fn greet(&mut self) -> Result<(), SerialError> {
        for _ in 0..GREETINGS {
            match self.greet_once() {
                Ok(answer) if answer == "ok" => {
                    self.is_met = true;
                    return Ok(());
                }
                Ok(programs) => {
                    return Err(SerialError::Missing { path: self.wire.path().to_owned(), programs });
                }
                Err(SerialError::Late { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let path = self.wire.path().to_owned();
        match self.is_silent && self.incoming.is_empty() {
            true => Err(SerialError::Silent(path)),
            false => Err(SerialError::NoShell { path, tail: self.tail() }),
        }
    }

    fn greet_once(&mut self) -> Result<String, SerialError> {
        self.write(b"\x03\n")?;
        let settled = Instant::now() + SETTLING;
        while let Some(line) = self.next_line(settled)? {
            self.note(line);
        }
        // A name and a password are not asked for by typing commands at them.
        if words::is_login(&self.open_line()) {
            return Err(SerialError::Login(self.wire.path().to_owned()));
        }
        let mark = self.mark();
        self.ask(mark, &mark.hello(), GREETING)
    }

    fn mark(&mut self) -> Mark {
        self.number = self.number.wrapping_add(1);
        Mark { session: self.session, number: self.number }
    }

    fn place(&self, name: &str) -> String {
        words::place(&self.folder, name)
    }

    fn type_line(&mut self, line: &str) -> Result<(), SerialError> {
        self.state = State::Asked;
        self.write(format!("{line}\n").as_bytes())
    }

    fn write(&mut self, mut out: &[u8]) -> Result<(), SerialError> {
        while !out.is_empty() {
            let moved = self.wire.exchange(&mut out, &mut self.incoming, GREETING)?;
            if !moved {
                let (path, tail) = (self.wire.path().to_owned(), self.tail());
                return Err(SerialError::Late { path, waited: GREETING, tail });
            }
            // A device that talks all the time keeps its newest words.
            let surplus = self.incoming.len().saturating_sub(OUTPUT_LIMIT_BYTES);
            self.incoming.drain(..surplus);
        }
        Ok(())
    }

    /// The next line that is not empty; none when there is none by `until`.
    fn next_line(&mut self, until: Instant) -> Result<Option<String>, SerialError> {
        loop {
            let end = self.incoming.iter().position(|byte| b"\r\n".contains(byte));
            let end = end.or_else(|| (self.incoming.len() >= LINE_LIMIT_BYTES).then_some(LINE_LIMIT_BYTES - 1));
            if let Some(end) = end {
                let line: Vec<u8> = self.incoming.drain(..=end).collect();
                let line = &line[..end];
                if !line.is_empty() {
                    self.is_silent = false;
                    return Ok(Some(String::from_utf8_lossy(line).into_owned()));
                }
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if !self.wire.exchange(&mut &[][..], &mut self.incoming, left)? {
                return Ok(None);
            }
        }
    }

    /// What came since the last end of a line, such as a prompt.
    fn open_line(&self) -> String {
        String::from_utf8_lossy(&self.incoming).into_owned()
    }

    fn note(&mut self, line: String) {
        // The echo of our own words explains nothing.
        if line.contains(&format!("'@{:08x}'", self.session)) {
            return;
        }
        self.noise.push_back(line.chars().filter(|c| !c.is_control()).take(200).collect());
        if self.noise.len() > TAIL_LINES {
            self.noise.pop_front();
        }
    }

    fn tail(&self) -> String {
        let open: String = self.open_line().chars().filter(|c| !c.is_control()).take(200).collect();
        let lines = self.noise.iter().map(String::as_str).chain([open.as_str()]);
        lines.filter(|line| !line.trim().is_empty()).map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }

    fn damaged(&self) -> SerialError {
        SerialError::Damaged { path: self.wire.path().to_owned(), times: TRIES }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if self.state == State::Sending {
            // It would take the words for a part of the file.
            std::thread::sleep(Duration::from_millis(u64::from(words::SILENCE) * 100 + 200));
        }
        if self.state != State::Idle {
            self.wire.part(b"\x03\n");
            std::thread::sleep(SETTLING);
        }
        if self.is_met {
            self.wire.part(words::farewell(&self.folder).as_bytes());
        }
    }
}

/// The bytes, if they are all there.
fn whole(base64: &str, digest: Option<&str>) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(base64).ok()?;
    (Some(Digest::of(&bytes).hex().as_str()) == digest).then_some(bytes)
}
