//! Measured values in, one printed line each out, and a verdict at the end.
//!
//! Invariant: every figure is printed before a missed limit fails the benchmark.
#![allow(dead_code)]

use std::process::ExitCode;
use std::time::Duration;

/// Values of one thing, measured several times.
pub struct Sample(Vec<f64>);

impl Sample {
    pub fn new(values: impl IntoIterator<Item = f64>) -> Sample {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        assert!(!values.is_empty(), "nothing was measured");
        Sample(values)
    }

    pub fn milliseconds(times: impl IntoIterator<Item = Duration>) -> Sample {
        Sample::new(times.into_iter().map(|time| time.as_secs_f64() * 1e3))
    }

    pub fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    pub fn min(&self) -> f64 {
        self.0[0]
    }

    pub fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    fn text(&self, unit: &str) -> String {
        format!("{} {unit} (min {}, max {})", short(self.median()), short(self.min()), short(self.max()))
    }
}

/// What missed its limit so far.
#[derive(Default)]
pub struct Verdict {
    missed: Vec<String>,
}

impl Verdict {
    /// Prints the median and compares it.
    pub fn at_most(&mut self, what: &str, sample: &Sample, limit: f64, unit: &str) {
        self.line(what, sample, &format!("at most {}", short(limit)), unit, sample.median() <= limit);
    }

    /// Prints the median and compares it.
    pub fn at_least(&mut self, what: &str, sample: &Sample, limit: f64, unit: &str) {
        self.line(what, sample, &format!("at least {}", short(limit)), unit, sample.median() >= limit);
    }

    /// Prints whether something that is no figure is as it should be.
    pub fn kept(&mut self, what: &str, kept: bool) {
        println!("{what}: {}", if kept { "yes" } else { "no  MISSED" });
        if !kept {
            self.missed.push(what.to_owned());
        }
    }

    /// What was to be compared is not there, which is a miss.
    pub fn unmeasured(&mut self, what: &str) {
        println!("{what}: not measured  MISSED");
        self.missed.push(what.to_owned());
    }

    fn line(&mut self, what: &str, sample: &Sample, limit: &str, unit: &str, kept: bool) {
        let mark = if kept { "" } else { "  MISSED" };
        println!("{what}: {}, limit: {limit}{mark}", sample.text(unit));
        if !kept {
            self.missed.push(what.to_owned());
        }
    }

    /// A failure when anything missed its limit.
    pub fn finish(self) -> ExitCode {
        if self.missed.is_empty() {
            return ExitCode::SUCCESS;
        }
        eprintln!("limits missed: {}", self.missed.join("; "));
        ExitCode::FAILURE
    }
}

/// Prints a figure that has no limit.
pub fn note(what: &str, sample: &Sample, unit: &str) {
    println!("{what}: {}", sample.text(unit));
}

/// Three digits or so.
fn short(value: f64) -> String {
    let digits = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
