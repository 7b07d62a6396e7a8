//! What a board's test found: outcomes and timings to text, JSON and JUnit XML.
//!
//! Invariant: the same outcomes in the same order; nothing is left out.

use serde_json::{json, Value};
use std::fmt::Write;
use std::time::Duration;

/// How one check went.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub suite: String,
    pub name: String,
    /// None: it holds.
    pub objection: Option<String>,
    pub took: Duration,
}

/// Times of one boot, as seen from outside.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Power on to the line with which the firmware hands over; none when it said no such line.
    pub firmware: Option<Duration>,
    /// That line to `osagent: ready`; none when one of them is missing.
    pub hand_over_to_ready: Option<Duration>,
    /// Power button to power off; none when the guest did not do it itself.
    pub power_off: Option<Duration>,
}

#[derive(Clone, Debug)]
pub struct Report {
    pub product: String,
    /// `kvm`, or `tcg` for software emulation.
    pub accelerator: &'static str,
    pub timings: Timings,
    pub outcomes: Vec<Outcome>,
}

impl Report {
    pub fn passed(&self) -> bool {
        self.failures() == 0 && !self.outcomes.is_empty()
    }

    pub fn failures(&self) -> usize {
        self.outcomes.iter().filter(|o| o.objection.is_some()).count()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut suite = "";
        for outcome in &self.outcomes {
            if outcome.suite != suite {
                suite = &outcome.suite;
                line(&mut text, suite);
            }
            let mark = if outcome.objection.is_none() { "ok  " } else { "FAIL" };
            line(&mut text, &format!("  {mark} {} ({} ms)", outcome.name, outcome.took.as_millis()));
            for wrong in outcome.objection.iter().flat_map(|o| o.lines()) {
                line(&mut text, &format!("         {wrong}"));
            }
        }
        let timings = &self.timings;
        for (what, took) in [
            ("firmware", timings.firmware),
            ("firmware hand-over to ready", timings.hand_over_to_ready),
            ("power button to off", timings.power_off),
        ] {
            let took =
                took.map_or_else(|| "it did not come to that".to_owned(), |took| format!("{} ms", took.as_millis()));
            line(&mut text, &format!("{what}: {took}"));
        }
        let (all, failed) = (self.outcomes.len(), self.failures());
        line(&mut text, &format!("{}: {} passed, {failed} failed ({})", self.product, all - failed, self.accelerator));
        text
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let milliseconds = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let outcome = |o: &Outcome| json!({"suite": o.suite, "name": o.name, "passed": o.objection.is_none(), "objection": o.objection, "milliseconds": milliseconds(o.took)});
        json!({
            "schema": 1,
            "product": self.product,
            "accelerator": self.accelerator,
            "passed": self.passed(),
            "timings": {
                "firmware_ms": self.timings.firmware.map(milliseconds),
                "hand_over_to_ready_ms": self.timings.hand_over_to_ready.map(milliseconds),
                "power_off_ms": self.timings.power_off.map(milliseconds),
            },
            "checks": self.outcomes.iter().map(outcome).collect::<Vec<_>>(),
        })
    }

    /// For CI servers.
    pub fn junit(&self) -> String {
        let (product, tests, failures) = (escape(&self.product), self.outcomes.len(), self.failures());
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        line(&mut xml, &format!("<testsuite name=\"{product}\" tests=\"{tests}\" failures=\"{failures}\">"));
        for outcome in &self.outcomes {
            let (suite, name) = (escape(&outcome.suite), escape(&outcome.name));
            let seconds = outcome.took.as_secs_f64();
            let head = format!("  <testcase classname=\"{suite}\" name=\"{name}\" time=\"{seconds:.3}\"");
            match &outcome.objection {
                Some(wrong) => {
                    line(&mut xml, &format!("{head}><failure message=\"{}\"/></testcase>", escape(wrong)));
                }
                None => line(&mut xml, &format!("{head}/>")),
            }
        }
        line(&mut xml, "</testsuite>");
        xml
    }
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\n', "&#10;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let outcome = |name: &str, objection: Option<&str>| Outcome {
            suite: "secure boot".into(),
            name: name.into(),
            objection: objection.map(str::to_owned),
            took: Duration::from_millis(12),
        };
        let ms = Duration::from_millis;
        Report {
            product: "gateway".into(),
            accelerator: "tcg",
            timings: Timings { firmware: Some(ms(1500)), hand_over_to_ready: Some(ms(2500)), power_off: None },
            outcomes: vec![outcome("is on", None), outcome("locks down", Some("wanted \"a\" < b"))],
        }
    }

    #[test]
    fn every_outcome_is_in_every_form() {
        let report = report();
        let text = report.text();
        assert!(text.contains("secure boot\n  ok   is on (12 ms)\n  FAIL locks down"), "{text}");
        assert!(text.contains("hand-over to ready: 2500 ms") && text.contains("1 passed, 1 failed"), "{text}");
        assert!(text.contains("power button to off: it did not come to that"), "{text}");
        assert_eq!(report.json()["timings"]["power_off_ms"], Value::Null);
        assert_eq!(report.json()["checks"][1]["passed"], false);
        assert!(report.junit().contains("message=\"wanted &quot;a&quot; &lt; b\""), "{}", report.junit());
        assert!(!report.passed());
    }

    #[test]
    fn no_checks_at_all_is_not_a_pass() {
        assert!(!Report { outcomes: Vec::new(), ..report() }.passed());
    }
}
