//! The status as JSON to the status as a person reads it.
//!
//! Invariant: any JSON gives a text: what is not there is shown as `-`.

use serde_json::Value;

pub fn render(status: &Value) -> String {
    let field = |pointer: &str| shown(status.pointer(pointer));
    let mut text =
        format!("{} {} on {}: {}\n", field("/product"), field("/version"), field("/machine"), field("/state"),);
    for (title, value) in [
        ("slot", format!("{} ({})", field("/boot/slot"), field("/boot/root_hash"))),
        ("root", format!("{}, {}", field("/boot/root_device"), field("/boot/verity"))),
        ("secure boot", field("/boot/secure_boot")),
        ("lockdown", field("/boot/lockdown")),
        ("up", format!("{} ms, ready after {} ms", field("/uptime_ms"), field("/boot/ready_ms"))),
        ("memory", format!("{} of {} KiB available", field("/memory/available_kib"), field("/memory/total_kib"))),
        ("clock", format!("synchronized: {}", field("/clock/synchronized"))),
        ("network", field("/network/address")),
        ("data", format!("{} of {} bytes free", field("/data/available_bytes"), field("/data/size_bytes"))),
        ("watchdog", format!("of {} s, fed {} ms ago", field("/watchdog_seconds"), field("/watchdog_fed_ms_ago"))),
    ] {
        text.push_str(&format!("{title:>12}: {value}\n"));
    }
    let services = status.pointer("/services").and_then(Value::as_object);
    for (name, service) in services.into_iter().flatten() {
        let field = |name: &str| shown(service.get(name));
        let (state, pid, restarts, exit) = (field("state"), field("pid"), field("restarts"), field("last_exit"));
        text.push_str(&format!("{name:>12}: {state}, pid {pid}, restarts {restarts}, last exit {exit}\n"));
    }
    text
}

/// What is known of updates.
pub fn updates(status: &Value) -> String {
    let field = |pointer: &str| shown(status.pointer(pointer));
    let working = match status.pointer("/progress").is_some_and(Value::is_object) {
        true => format!("{} of {} bytes", field("/progress/done_bytes"), field("/progress/size_bytes")),
        false => field("/working"),
    };
    let with_version = |pointer: &str| match status.pointer(pointer) {
        Some(Value::Object(_)) => {
            format!("{}: {}", field(&format!("{pointer}/version")), field(&format!("{pointer}/reason")))
        }
        _ => "-".to_owned(),
    };
    let mut text = String::new();
    for (title, value) in [
        ("slot", format!("{}, {}", field("/slot"), field("/version"))),
        ("phase", field("/state/phase/is")),
        ("working", working),
        ("epoch", field("/epoch")),
        ("result", field("/text")),
        ("next", field("/waits/reason")),
        ("offered", field("/state/offered/version")),
        ("refused", field("/state/answer/reason")),
        ("failed", with_version("/state/failure")),
        ("last", last_release(status)),
        ("denied", status.pointer("/state/denied").and_then(Value::as_array).map_or(0, Vec::len).to_string()),
        ("unable", field("/unable")),
    ] {
        text.push_str(&format!("{title:>12}: {value}\n"));
    }
    text
}

/// The release that was tried last, and how that ended.
fn last_release(updates: &Value) -> String {
    let field = |pointer: &str| shown(updates.pointer(pointer));
    let version = field("/state/last/candidate/version");
    match updates.pointer("/state/last/committed").and_then(Value::as_bool) {
        Some(true) => format!("{version} is committed"),
        Some(false) => format!("{version} was not kept: {}", field("/state/last/reason")),
        None => "-".to_owned(),
    }
}

/// A line for each app.
pub fn apps(all: &Value) -> String {
    let mut text = String::new();
    for (id, app) in all.as_object().into_iter().flatten() {
        let field = |name: &str| shown(app.get(name));
        let why = match app.pointer("/last_end/text").or(app.get("reason")).and_then(Value::as_str) {
            Some(why) => format!(", last end: {why}"),
            None => String::new(),
        };
        text.push_str(&format!(
            "{id:>16}: {} {}, restarts {}{why}\n",
            field("version"),
            field("state"),
            field("restarts")
        ));
    }
    text
}

fn last_end(app: &Value) -> String {
    let text = shown(app.pointer("/last_end/text"));
    match app.pointer("/last_end/unix_seconds").and_then(Value::as_u64) {
        Some(seconds) => format!("{text}, {}", date(seconds)),
        None => text,
    }
}

/// RFC 3339 of seconds since 1970.
fn date(seconds: u64) -> String {
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let (mut year, mut day) = (1970, days);
    let is_leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    // A clock of nonsense ends somewhere, too.
    while year < 9999 && day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", day + 1)
}

/// All that is known of one app.
pub fn app(app: &Value) -> String {
    let field = |pointer: &str| shown(app.pointer(pointer));
    let mut text = format!("{} ({}) {}: {}\n", field("/id"), field("/title"), field("/version"), field("/state"));
    for (title, value) in [
        ("digest", field("/digest")),
        ("from", format!("{}, third party: {}", field("/origin"), field("/third_party"))),
        ("says", field("/said")),
        ("pid", format!("{}, restarts {}", field("/pid"), field("/restarts"))),
        ("memory", format!("{} of {} bytes", field("/memory_bytes"), field("/memory_limit_bytes"))),
        ("storage", format!("{} of {} bytes", field("/storage_bytes"), field("/storage_limit_bytes"))),
        ("address", field("/address")),
        ("last end", last_end(app)),
        ("refused", field("/reason")),
    ] {
        text.push_str(&format!("{title:>12}: {value}\n"));
    }
    for denial in app.pointer("/denials/last").and_then(Value::as_array).into_iter().flatten() {
        let field = |name: &str| shown(denial.get(name));
        let (what, times, why) = (field("what"), field("times"), field("why"));
        text.push_str(&format!(
            "{:>12}: {what}, {times} times, last {} ms after the start: {why}\n",
            "denied",
            field("at_ms")
        ));
    }
    text
}

/// An entry of the log for a person; a line that is none stays as it is.
pub fn log_line(line: &str) -> String {
    let Ok(entry) = serde_json::from_str::<Value>(line) else { return line.to_owned() };
    let seconds = entry.get("ms").and_then(Value::as_u64).unwrap_or(0) as f64 / 1000.0;
    let field = |name: &str| shown(entry.get(name));
    format!("{seconds:>10.3} {:<7} {}\n", field("level"), field("message"))
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_795_609_124, "2026-11-25T12:18:44Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(date(seconds), expected);
        }
        date(u64::MAX);
    }

    use serde_json::json;

    #[test]
    fn what_is_missing_is_a_dash() {
        let status = json!({"product": "gateway", "state": "ready", "watchdog_fed_ms_ago": 12, "services": {"web": {"state": "running", "pid": 7}}});
        let text = render(&status);
        assert!(text.starts_with("gateway - on -: ready\n"), "{text}");
        assert!(text.contains("    watchdog: of - s, fed 12 ms ago\n"), "{text}");
        assert!(text.ends_with("         web: running, pid 7, restarts -, last exit -\n"), "{text}");
        assert!(!render(&Value::Null).is_empty());
        let denied = json!({"count": 2, "last": [{"at_ms": 9, "what": "tcp 192.0.2.1:80", "why": "so", "times": 2}]});
        let text = app(&json!({"id": "meter", "denials": denied}));
        assert!(text.ends_with("      denied: tcp 192.0.2.1:80, 2 times, last 9 ms after the start: so\n"), "{text}");
    }

    #[test]
    fn whatever_did_not_happen_has_its_reason() {
        let status = json!({
            "slot": "a", "version": "1.0.0", "waits": {"why": "not-due", "reason": "asked again in 7 s"},
            "state": {
                "answer": {"why": "denied", "reason": "2.0.0 was tried"},
                "failure": {"version": "2.0.0", "why": "fetch", "reason": "no route"},
                "last": {"candidate": {"version": "2.0.0"}, "committed": false, "reason": "no web"},
            },
        });
        let text = updates(&status);
        for line in [
            "        next: asked again in 7 s",
            "     refused: 2.0.0 was tried",
            "      failed: 2.0.0: no route",
            "        last: 2.0.0 was not kept: no web",
            "      result: -",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{text}");
        }
        let committed = json!({"state": {"last": {"candidate": {"version": "2.0.0"}, "committed": true}}});
        assert!(updates(&committed).contains("        last: 2.0.0 is committed\n"));
    }
}
