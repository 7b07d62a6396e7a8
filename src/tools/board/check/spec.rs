//! The files in `tests/board/`: what is written there to checks that can be run.
//!
//! Invariant: a check has exactly one probe, and its patterns compile.

use super::super::BoardError;
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// A file of `tests/board/`, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SuiteFile {
    /// Always 1.
    pub schema: u32,
    /// What these checks show, in a few words.
    pub suite: String,
    /// Products they apply to; empty: all.
    #[serde(default)]
    pub products: Vec<String>,
    pub checks: Vec<CheckFile>,
}

/// One check, as written: a name, one probe, and what the probe's answer must be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CheckFile {
    pub name: String,
    /// Probe: a JSON pointer into the agent's status. With `equals`, `matches`, `minimum` or `exists`.
    #[serde(default)]
    pub status: Option<String>,
    /// Probe: a regular expression that a line of the console matches.
    #[serde(default)]
    pub console: Option<String>,
    /// Probe: a regular expression that no line of the console matches.
    #[serde(default)]
    pub console_never: Option<String>,
    /// Probe: a forwarded TCP port of the guest that accepts a connection. With `matches`: what it says first.
    #[serde(default)]
    pub connect: Option<u16>,
    /// Probe: a forwarded TCP port of the guest that refuses connections.
    #[serde(default)]
    pub refuses: Option<u16>,
    /// Probe: a command run as `user` over ssh that succeeds. With `matches`: what it prints.
    #[serde(default)]
    pub ssh: Option<String>,
    /// Probe: a line typed at the console. With `matches`: what appears after it, or with `never-shows`:
    /// what does not within 3 seconds.
    #[serde(default, rename = "type")]
    pub typed: Option<String>,
    /// Probe: a serial port of the guest, `1` for `ttyS1`. With `writes`: a line that it is sent first; with `matches`:
    /// what the guest says there, after that line if one is sent, at any time otherwise.
    #[serde(default)]
    pub serial: Option<usize>,
    /// The line for `serial`.
    #[serde(default)]
    pub writes: Option<String>,
    /// For `connect` and `refuses`: the isolated network, by its place in the machine's `board: networks:`, from 1.
    #[serde(default)]
    pub network: Option<usize>,
    /// Who logs in over ssh; `root` unless told.
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub equals: Option<Value>,
    #[serde(default)]
    pub matches: Option<String>,
    #[serde(default)]
    pub never_shows: Option<String>,
    #[serde(default)]
    pub minimum: Option<f64>,
    #[serde(default)]
    pub exists: Option<bool>,
    /// Seconds to wait for it to become true; 10 unless told.
    #[serde(default)]
    pub within: Option<u64>,
}

/// A check that can be run.
#[derive(Clone, Debug)]
pub struct Check {
    pub suite: String,
    pub name: String,
    pub probe: Probe,
    pub within: Duration,
}

#[derive(Clone, Debug)]
pub enum Probe {
    Status {
        pointer: String,
        wanted: Wanted,
    },
    Console(Regex),
    ConsoleNever(Regex),
    /// Network 0 is the one that leads out.
    Connect {
        network: usize,
        guest_port: u16,
        says: Option<Regex>,
    },
    Refuses {
        network: usize,
        guest_port: u16,
    },
    Serial {
        number: usize,
        writes: Option<String>,
        says: Option<Regex>,
    },
    Ssh {
        user: String,
        command: String,
        prints: Option<Regex>,
    },
    Typed {
        line: String,
        shows: Regex,
    },
    TypedInVain {
        line: String,
        never_shows: Regex,
    },
}

/// What a value of the status must be.
#[derive(Clone, Debug)]
pub enum Wanted {
    Equals(Value),
    Matches(Regex),
    AtLeast(f64),
    Exists(bool),
}

const WITHIN_SECONDS: u64 = 10;
const WITHIN_LIMIT_SECONDS: u64 = 600;

/// The checks of `file` that apply to `product`.
pub fn checks_for(file: &SuiteFile, product: &str) -> Result<Vec<Check>, BoardError> {
    if file.schema != 1 {
        let reason = format!("this osbuild knows schema 1, not {}", file.schema);
        return Err(BoardError::InvalidCheck { check: file.suite.clone(), reason });
    }
    if !file.products.is_empty() && !file.products.iter().any(|p| p == product) {
        return Ok(Vec::new());
    }
    file.checks.iter().map(|check| check.validate(&file.suite)).collect()
}

impl CheckFile {
    fn validate(&self, suite: &str) -> Result<Check, BoardError> {
        let invalid = |reason: String| BoardError::InvalidCheck { check: self.name.clone(), reason };
        let within = self.within.unwrap_or(WITHIN_SECONDS);
        if within > WITHIN_LIMIT_SECONDS {
            return Err(invalid(format!("`within` is at most {WITHIN_LIMIT_SECONDS} seconds: {within}")));
        }
        let mut probes = self.probes().map_err(&invalid)?;
        let (Some(probe), true) = (probes.pop(), probes.is_empty()) else {
            let known = "status, console, console-never, connect, refuses, serial, ssh, type";
            return Err(invalid(format!("it needs exactly one of {known}")));
        };
        Ok(Check { suite: suite.to_owned(), name: self.name.clone(), probe, within: Duration::from_secs(within) })
    }

    fn probes(&self) -> Result<Vec<Probe>, String> {
        let mut probes = Vec::new();
        let matches = self.matches.as_deref().map(pattern).transpose()?;
        if let Some(pointer) = &self.status {
            probes.push(Probe::Status { pointer: pointer.clone(), wanted: self.wanted(matches.clone())? });
        }
        if let Some(text) = &self.console {
            probes.push(Probe::Console(pattern(text)?));
        }
        if let Some(text) = &self.console_never {
            probes.push(Probe::ConsoleNever(pattern(text)?));
        }
        let network = self.network.unwrap_or(0);
        if self.network.is_some() && self.connect.or(self.refuses).is_none() {
            return Err("`network` belongs to `connect` or `refuses`".to_owned());
        }
        if let Some(guest_port) = self.connect {
            probes.push(Probe::Connect { network, guest_port, says: matches.clone() });
        }
        if let Some(guest_port) = self.refuses {
            probes.push(Probe::Refuses { network, guest_port });
        }
        match (self.serial, &self.writes) {
            (Some(_), None) if matches.is_none() => return Err("`serial` needs `writes`, `matches` or both".to_owned()),
            (Some(number), writes) => {
                probes.push(Probe::Serial { number, writes: writes.clone(), says: matches.clone() })
            }
            (None, Some(_)) => return Err("`writes` belongs to `serial`".to_owned()),
            (None, None) => {}
        }
        if let Some(command) = &self.ssh {
            let user = self.user.clone().unwrap_or_else(|| "root".to_owned());
            probes.push(Probe::Ssh { user, command: command.clone(), prints: matches.clone() });
        }
        if let Some(line) = &self.typed {
            let (line, never_shows) = (line.clone(), self.never_shows.as_deref().map(pattern).transpose()?);
            probes.push(match (matches, never_shows) {
                (Some(shows), None) => Probe::Typed { line, shows },
                (None, Some(never_shows)) => Probe::TypedInVain { line, never_shows },
                _ => return Err("`type` needs either `matches` or `never-shows`".to_owned()),
            });
        }
        Ok(probes)
    }

    fn wanted(&self, matches: Option<Regex>) -> Result<Wanted, String> {
        let mut wanted: Vec<Wanted> = Vec::new();
        wanted.extend(self.equals.clone().map(Wanted::Equals));
        wanted.extend(matches.map(Wanted::Matches));
        wanted.extend(self.minimum.map(Wanted::AtLeast));
        wanted.extend(self.exists.map(Wanted::Exists));
        match (wanted.pop(), wanted.is_empty()) {
            (Some(one), true) => Ok(one),
            _ => Err("`status` needs exactly one of equals, matches, minimum, exists".to_owned()),
        }
    }
}

fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|e| format!("`{text}` is not a regular expression: {e}"))
}

impl Wanted {
    /// None: it holds; otherwise what is wrong.
    pub fn objection(&self, value: Option<&Value>) -> Option<String> {
        let shown = value.map_or_else(|| "nothing".to_owned(), Value::to_string);
        let text = value.map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
        let (holds, wanted) = match self {
            Wanted::Equals(wanted) => (value == Some(wanted), format!("wanted {wanted}")),
            Wanted::Matches(pattern) => {
                (text.is_some_and(|t| pattern.is_match(&t)), format!("wanted a match of `{pattern}`"))
            }
            Wanted::AtLeast(minimum) => {
                (value.and_then(Value::as_f64).is_some_and(|v| v >= *minimum), format!("wanted at least {minimum}"))
            }
            Wanted::Exists(wanted) => (value.is_some_and(|v| !v.is_null()) == *wanted, format!("exists: {wanted}")),
        };
        (!holds).then(|| format!("{wanted}, got {shown}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checks(checks: Value, product: &str) -> Result<Vec<Check>, String> {
        let file = json!({"schema": 1, "suite": "s", "products": ["gateway"], "checks": checks});
        let file: SuiteFile = serde_json::from_value(file).map_err(|e| e.to_string())?;
        checks_for(&file, product).map_err(|e| e.to_string())
    }

    #[test]
    fn a_check_has_one_probe_and_patterns_that_compile() {
        let good = json!([{"name": "a", "status": "/x", "equals": true}, {"name": "b", "connect": 22},
            {"name": "c", "serial": 1, "writes": "7", "matches": "^8$"}, {"name": "d", "refuses": 80, "network": 1}]);
        assert_eq!(checks(good.clone(), "gateway").unwrap().len(), 4);
        assert_eq!(checks(good, "other").unwrap().len(), 0);
        for (bad, reason) in [
            (json!([{"name": "a"}]), "exactly one of status"),
            (json!([{"name": "a", "status": "/x"}]), "exactly one of equals"),
            (json!([{"name": "a", "console": "("}]), "not a regular expression"),
            (json!([{"name": "a", "console": "x", "connect": 2}]), "exactly one of"),
            (json!([{"name": "a", "serial": 1}]), "needs `writes`, `matches` or both"),
            (json!([{"name": "a", "console": "x", "writes": "y"}]), "belongs to `serial`"),
            (json!([{"name": "a", "console": "x", "network": 1}]), "belongs to `connect`"),
            (json!([{"name": "a", "type": "id"}]), "needs either `matches` or `never-shows`"),
            (json!([{"name": "a", "console": "x", "within": 100000}]), "at most"),
            (json!([{"name": "a", "consle": "x"}]), "unknown field"),
        ] {
            let error = checks(bad, "gateway").unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn what_a_status_value_must_be() {
        let table = [
            (Wanted::Equals(json!(true)), json!(true), json!("true")),
            (Wanted::AtLeast(3.0), json!(3), json!(2.5)),
            (Wanted::Matches(Regex::new("^a").unwrap()), json!("ab"), json!("b")),
            (Wanted::Exists(true), json!(0), Value::Null),
        ];
        for (wanted, good, bad) in table {
            assert_eq!(wanted.objection(Some(&good)), None);
            assert!(wanted.objection(Some(&bad)).unwrap().contains("got"));
        }
        assert!(Wanted::Equals(json!(1)).objection(None).unwrap().contains("got nothing"));
    }
}
