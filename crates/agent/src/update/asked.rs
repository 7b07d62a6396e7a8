//! The firmware's choice of a slot for a process that cannot reach it: questions of one byte, answers of one line.
//!
//! Invariant: whatever the process that asks has become, the slot that runs stays the committed one, nothing but the other one is
//! armed, and the flash is not worn out.

use osbuild_format::command_line::Slot;
use osbuild_update::device::BootManager;
use osbuild_update::install::other;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

/// An installation changes three variables at most.
const LIMIT_CHANGES: usize = 16;
/// Errors of the firmware are short.
const LIMIT_ANSWER_BYTES: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Options,
    Committed,
    Next,
    SetNext(Option<Slot>),
    Commit(Slot),
}

impl Question {
    const ALL: [(u8, Question); 8] = [
        (b'o', Question::Options),
        (b'c', Question::Committed),
        (b'n', Question::Next),
        (b'-', Question::SetNext(None)),
        (b'a', Question::SetNext(Some(Slot::A))),
        (b'b', Question::SetNext(Some(Slot::B))),
        (b'A', Question::Commit(Slot::A)),
        (b'B', Question::Commit(Slot::B)),
    ];

    fn of(byte: u8) -> Option<Question> {
        Question::ALL.iter().find(|(known, _)| *known == byte).map(|(_, question)| *question)
    }

    fn to_byte(self) -> u8 {
        // Each question is in the table.
        Question::ALL.iter().find(|(_, known)| *known == self).map_or(0, |(byte, _)| *byte)
    }
}

/// A letter of a slot, or none where there is none to tell; or what went wrong.
type Answer = Result<Option<String>, String>;

/// The side that asks.
pub struct Asked(UnixStream);

impl Asked {
    pub fn new(stream: UnixStream) -> Asked {
        Asked(stream)
    }

    fn ask(&self, question: Question) -> io::Result<Option<Slot>> {
        (&self.0).write_all(&[question.to_byte()])?;
        let mut line = String::new();
        // There is one answer to each question, so nothing is read ahead.
        BufReader::new((&self.0).take(LIMIT_ANSWER_BYTES)).read_line(&mut line)?;
        let answer: Answer =
            serde_json::from_str(&line).map_err(|error| io::Error::other(format!("no answer: {error}")))?;
        Ok(answer.map_err(io::Error::other)?.as_deref().and_then(Slot::from_letter))
    }
}

impl BootManager for Asked {
    fn provide_options(&mut self) -> io::Result<()> {
        self.ask(Question::Options).map(drop)
    }

    fn committed(&self) -> io::Result<Option<Slot>> {
        self.ask(Question::Committed)
    }

    fn next(&self) -> io::Result<Option<Slot>> {
        self.ask(Question::Next)
    }

    fn set_next(&mut self, slot: Option<Slot>) -> io::Result<()> {
        self.ask(Question::SetNext(slot)).map(drop)
    }

    fn commit(&mut self, slot: Slot) -> io::Result<()> {
        self.ask(Question::Commit(slot)).map(drop)
    }
}

/// The side that answers, until the other one is gone.
pub fn answer(stream: &UnixStream, boot: &mut dyn BootManager, running: Slot) -> io::Result<()> {
    let (mut stream, mut byte, mut changes) = (stream, [0], 0);
    while stream.read(&mut byte)? == 1 {
        let answer: Answer = match Question::of(byte[0]) {
            Some(question) => allowed(question, running, &mut changes)
                .and_then(|()| obey(question, boot).map_err(|error| error.to_string()))
                .map(|slot| slot.map(|slot| slot.letter().to_owned())),
            None => Err("this is no question".to_owned()),
        };
        let line = serde_json::to_string(&answer).map_err(io::Error::other)?;
        stream.write_all((line + "\n").as_bytes())?;
    }
    Ok(())
}

fn allowed(question: Question, running: Slot, changes: &mut usize) -> Result<(), String> {
    match question {
        Question::Committed | Question::Next => return Ok(()),
        Question::SetNext(Some(slot)) if slot != other(running) => return Err("this slot runs already".to_owned()),
        Question::Commit(slot) if slot != running => {
            return Err("a slot that does not run is not committed here".to_owned());
        }
        Question::Options | Question::SetNext(_) | Question::Commit(_) => {}
    }
    *changes += 1;
    match *changes {
        changes if changes > LIMIT_CHANGES => Err(format!("more changes than an update makes: {LIMIT_CHANGES}")),
        _ => Ok(()),
    }
}

fn obey(question: Question, boot: &mut dyn BootManager) -> io::Result<Option<Slot>> {
    match question {
        Question::Committed => boot.committed(),
        Question::Next => boot.next(),
        Question::Options => boot.provide_options().map(|()| None),
        Question::SetNext(slot) => boot.set_next(slot).map(|()| None),
        Question::Commit(slot) => boot.commit(slot).map(|()| None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Model {
        committed: Option<Slot>,
        next: Option<Slot>,
        written: usize,
    }

    impl BootManager for Model {
        fn provide_options(&mut self) -> io::Result<()> {
            Err(io::Error::other("no room"))
        }
        fn committed(&self) -> io::Result<Option<Slot>> {
            Ok(self.committed)
        }
        fn next(&self) -> io::Result<Option<Slot>> {
            Ok(self.next)
        }
        fn set_next(&mut self, slot: Option<Slot>) -> io::Result<()> {
            self.written += 1;
            self.next = slot;
            Ok(())
        }
        fn commit(&mut self, slot: Slot) -> io::Result<()> {
            self.written += 1;
            self.committed = Some(slot);
            Ok(())
        }
    }

    /// What the firmware has after `work` has asked.
    fn after(model: Model, work: impl FnOnce(&mut Asked, &UnixStream)) -> Model {
        let (asks, answers) = UnixStream::pair().expect("a pair");
        let raw = asks.try_clone().expect("a copy");
        std::thread::scope(|scope| {
            let answering = scope.spawn(move || {
                let mut model = model;
                answer(&answers, &mut model, Slot::A).expect("until its end");
                model
            });
            let mut asked = Asked::new(asks);
            work(&mut asked, &raw);
            drop((asked, raw));
            answering.join().expect("no panic")
        })
    }

    #[test]
    fn an_installation_gets_what_it_needs() {
        let model = after(Model { next: Some(Slot::B), ..Model::default() }, |asked, _| {
            assert_eq!(asked.committed().expect("answered"), None);
            asked.commit(Slot::A).expect("it runs");
            assert_eq!(asked.committed().expect("answered"), Some(Slot::A));
            assert_eq!(asked.next().expect("answered"), Some(Slot::B));
            asked.set_next(None).expect("disarmed");
            assert_eq!(asked.next().expect("answered"), None);
            asked.set_next(Some(Slot::B)).expect("armed");
            assert_eq!(asked.provide_options().expect_err("an error comes back").to_string(), "no room");
        });
        assert_eq!((model.committed, model.next, model.written), (Some(Slot::A), Some(Slot::B), 3));
    }

    #[test]
    fn who_asks_for_more_gets_nothing() {
        let model = after(Model { committed: Some(Slot::A), ..Model::default() }, |asked, mut raw| {
            assert!(asked
                .commit(Slot::B)
                .expect_err("it has not been healthy")
                .to_string()
                .contains("not committed here"));
            assert!(asked.set_next(Some(Slot::A)).is_err());
            raw.write_all(b"x").expect("written");
            let mut line = String::new();
            BufReader::new(raw).read_line(&mut line).expect("answered");
            assert_eq!(line, "{\"Err\":\"this is no question\"}\n");
            let changed = (0..1000).filter(|_| asked.set_next(Some(Slot::B)).is_ok()).count();
            assert_eq!(changed, LIMIT_CHANGES);
        });
        assert_eq!((model.committed, model.written), (Some(Slot::A), LIMIT_CHANGES));
    }
}
