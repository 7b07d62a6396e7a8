//! What a worker has come to, as the last line of JSON that it leaves for PID 1; lines before it say how far it is.
//!
//! Invariant: a last line that is none, or none at all, is a failure; PID 1 does nothing about it but remember.

use super::start::{Beginning, Found};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Of each line with its end: PID 1 reads no more of one, a worker writes no more.
pub const LIMIT_BYTES: usize = 8192;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Report {
    /// This release waits for somebody to install it.
    Offered {
        version: String,
        target: String,
        size_bytes: u64,
    },
    /// It is written, and the firmware starts it next.
    Armed {
        version: String,
        /// What the worker has had of the memory at most; none: the kernel does not say.
        peak_bytes: Option<u64>,
        /// Why it was installed in full; none: by a delta, or it was installed before.
        #[serde(default)]
        full: Option<String>,
    },
    /// Nothing was done, and why.
    NotNow {
        reason: String,
        details: Value,
    },
    /// The slot on trial is the one that the firmware starts from now on.
    Committed {
        /// The device takes no release with a lower one any more.
        epoch: u32,
    },
    /// A device that could not update when it started can now.
    Able {
        found: Found,
    },
    /// It is put off until then, in seconds since 1970.
    Deferred {
        until_seconds: u64,
    },
    Failed {
        reason: String,
    },
}

/// How far an installation is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    pub version: String,
    /// Of the payload, those of a part that is being fetched not among them.
    pub done_bytes: u64,
    pub size_bytes: u64,
}

/// What a worker says, as it comes.
#[derive(Debug, Default)]
pub struct Words {
    /// Of a line that has no end yet.
    open: Vec<u8>,
    /// The last line that was not about progress.
    last: Vec<u8>,
}

impl Words {
    /// The newest progress among `bytes`.
    pub fn hear(&mut self, bytes: &[u8]) -> Option<Progress> {
        let mut newest = None;
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LIMIT_BYTES.saturating_sub(self.open.len());
            self.open.extend(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.open);
                match Progress::parse(&line) {
                    Some(progress) => newest = Some(progress),
                    None => self.last = line,
                }
            }
        }
        newest
    }

    /// What it has come to, now that it has ended.
    pub fn report(&self) -> Report {
        Report::parse(&self.last)
    }
}

impl Progress {
    /// None: the line is something else.
    pub fn parse(line: &[u8]) -> Option<Progress> {
        serde_json::from_slice(line.get(..LIMIT_BYTES).unwrap_or(line)).ok()
    }

    pub fn to_line(&self) -> String {
        within_limit(|most_bytes| line(&Progress { version: start(&self.version, most_bytes), ..*self }))
    }
}

impl Report {
    pub fn parse(line: &[u8]) -> Report {
        let parsed = line.get(..LIMIT_BYTES).map_or(serde_json::from_slice(line), serde_json::from_slice);
        parsed.unwrap_or_else(|_| Report::Failed { reason: "the updater ended without a word".to_owned() })
    }

    /// Texts that have no room in a line are cut: half of a reason is better than none.
    pub fn to_line(&self) -> String {
        within_limit(|most_bytes| line(&self.cut(most_bytes)))
    }

    /// The same, with at most so many bytes of each text.
    fn cut(&self, most_bytes: usize) -> Report {
        match self {
            Report::Offered { version, target, size_bytes } => Report::Offered {
                version: start(version, most_bytes),
                target: start(target, most_bytes),
                size_bytes: *size_bytes,
            },
            Report::Armed { version, peak_bytes, full } => Report::Armed {
                version: start(version, most_bytes),
                peak_bytes: *peak_bytes,
                full: full.as_ref().map(|why| start(why, most_bytes)),
            },
            Report::NotNow { reason, details } => {
                // Half of them would say something else.
                let fits = details.to_string().len() <= most_bytes;
                let details = if fits { details.clone() } else { Value::Null };
                Report::NotNow { reason: start(reason, most_bytes), details }
            }
            Report::Failed { reason } => Report::Failed { reason: start(reason, most_bytes) },
            Report::Able { found } => {
                let beginning = match &found.beginning {
                    Beginning::Trial(version) => Beginning::Trial(start(version, most_bytes)),
                    Beginning::Unable(reason) => Beginning::Unable(start(reason, most_bytes)),
                    other => other.clone(),
                };
                let told = found.told.as_ref().map(|(is_bad, text)| (*is_bad, start(text, most_bytes)));
                Report::Able { found: Found { beginning, told, ..*found } }
            }
            Report::Committed { .. } | Report::Deferred { .. } => self.clone(),
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        match self {
            Report::Offered { version, target, size_bytes } => {
                format!("{version} can be installed: `{target}`, {size_bytes} bytes")
            }
            Report::Armed { version, peak_bytes, full } => {
                let took = peak_bytes.map(|bytes| format!("; that took {} KiB of memory", bytes / 1024));
                let why = full.as_ref().map(|why| format!("; in full, since {why}"));
                format!("{version} is installed and starts next{}{}", took.unwrap_or_default(), why.unwrap_or_default())
            }
            Report::NotNow { reason, .. } => reason.clone(),
            Report::Committed { epoch } => {
                format!("the release that runs is committed, with the security epoch {epoch}")
            }
            Report::Able { .. } => "this device can update again".to_owned(),
            Report::Deferred { until_seconds } => format!("updates are put off until {until_seconds} s since 1970"),
            Report::Failed { reason } => format!("failed: {reason}"),
        }
    }
}

fn line(words: &impl Serialize) -> String {
    serde_json::to_string(words).expect("plain fields have a JSON form") + "\n"
}

/// The line with the longest texts that has room. What JSON writes of a text may be longer than the text, so it is tried.
fn within_limit(line: impl Fn(usize) -> String) -> String {
    let mut most_bytes = LIMIT_BYTES;
    loop {
        let line = line(most_bytes);
        if line.len() <= LIMIT_BYTES || most_bytes == 0 {
            return line;
        }
        most_bytes /= 2;
    }
}

/// At most so many bytes of `text`, in whole characters.
fn start(text: &str, most_bytes: usize) -> String {
    let end = (0..=most_bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn able(version: &str) -> Report {
        let told = Some((true, version.to_owned()));
        let beginning = Beginning::Trial(version.to_owned());
        Report::Able { found: Found { beginning, epoch: Some(u32::MAX), told, forgot: true } }
    }

    #[test]
    fn a_report_survives_its_way_and_silence_is_a_failure() {
        for report in [
            Report::Armed { version: "2.0.0".into(), peak_bytes: Some(1 << 20), full: Some("so".into()) },
            Report::NotNow { reason: "no".into(), details: serde_json::json!({ "why": "up-to-date" }) },
            Report::Committed { epoch: 2 },
            able("2.0.0"),
        ] {
            assert_eq!(Report::parse(report.to_line().as_bytes()), report);
        }
        assert!(matches!(Report::parse(b""), Report::Failed { .. }));
    }

    #[test]
    fn progress_is_no_report_and_a_report_no_progress() {
        let progress = Progress { version: "2.0.0".into(), done_bytes: 1, size_bytes: 2 };
        let line = progress.to_line();
        assert_eq!(Progress::parse(line.as_bytes()), Some(progress));
        assert!(matches!(Report::parse(line.as_bytes()), Report::Failed { .. }));
        assert_eq!(Progress::parse(Report::Committed { epoch: 1 }.to_line().as_bytes()), None);
    }

    #[test]
    fn words_are_heard_however_they_are_cut_and_the_last_line_is_the_report() {
        let progress = |done_bytes| Progress { version: "2.0.0".into(), done_bytes, size_bytes: 20 };
        let report = Report::Armed { version: "2.0.0".into(), peak_bytes: None, full: None };
        let text = [progress(1).to_line(), progress(2).to_line(), report.to_line()].concat();
        for length in 1..text.len() {
            let mut words = Words::default();
            let heard: Vec<Progress> = text.as_bytes().chunks(length).filter_map(|part| words.hear(part)).collect();
            assert_eq!(heard.last(), Some(&progress(2)), "{length}");
            assert_eq!(words.report(), report, "{length}");
        }
        let mut endless = Words::default();
        (0..100).for_each(|_| assert_eq!(endless.hear(&[b'x'; 1024]), None));
        assert_eq!(endless.open.len(), LIMIT_BYTES);
        assert!(matches!(endless.report(), Report::Failed { .. }));
    }

    #[test]
    fn a_long_reason_leaves_programs_what_they_read() {
        let details = serde_json::json!({ "why": "not-due", "at_seconds": 7 });
        let report = Report::NotNow { reason: "é".repeat(LIMIT_BYTES), details: details.clone() };
        let heard = Report::parse(report.to_line().as_bytes());
        let Report::NotNow { reason, details: kept } = heard else { panic!("{heard:?}") };
        assert_eq!(kept, details);
        assert!((LIMIT_BYTES / 4..LIMIT_BYTES).contains(&reason.len()) && reason.chars().all(|c| c == 'é'), "{reason}");
        // A reason that just has room is not cut.
        let fits = Report::Failed { reason: "x".repeat(LIMIT_BYTES - r#"{"result":"failed","reason":""}"#.len() - 1) };
        assert_eq!(fits.to_line().len(), LIMIT_BYTES);
        assert_eq!(Report::parse(fits.to_line().as_bytes()), fits);
    }

    proptest! {
        #[test]
        fn whatever_is_said_has_room_in_a_line_and_is_heard(part in "\\PC{0,9}|[\0-\u{1f}]{1,9}", times in 0usize..9000, kind in 0..5) {
            let text = part.repeat(times.min(70_000 / part.len().max(1)));
            let (version, reason) = (text.clone(), text.clone());
            let report = match kind {
                0 => Report::Offered { version, target: text.clone(), size_bytes: u64::MAX },
                1 => Report::Armed { full: Some(version.clone()), version, peak_bytes: Some(u64::MAX) },
                2 => Report::NotNow { reason, details: serde_json::json!({ "version": version }) },
                3 => able(&text),
                _ => Report::Failed { reason },
            };
            let line = report.to_line();
            prop_assert!(line.len() <= LIMIT_BYTES && line.ends_with('\n'), "{}", line.len());
            let mut words = Words::default();
            prop_assert_eq!(words.hear(line.as_bytes()), None);
            let heard = words.report();
            prop_assert_eq!(std::mem::discriminant(&heard), std::mem::discriminant(&report));
            match &heard {
                Report::Offered { version: said, .. } | Report::Armed { version: said, .. } => prop_assert!(text.starts_with(said)),
                Report::Able { found: Found { beginning: Beginning::Trial(said), .. } } => prop_assert!(text.starts_with(said)),
                Report::NotNow { reason: said, .. } | Report::Failed { reason: said } => prop_assert!(text.starts_with(said)),
                other => prop_assert!(false, "{:?}", other),
            }
            let progress = Progress { version: text.clone(), done_bytes: u64::MAX, size_bytes: u64::MAX };
            let line = progress.to_line();
            prop_assert!(line.len() <= LIMIT_BYTES);
            prop_assert!(Progress::parse(line.as_bytes()).is_some_and(|heard| text.starts_with(&heard.version)));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = (Report::parse(&bytes).text(), Progress::parse(&bytes));
        }
    }
}
