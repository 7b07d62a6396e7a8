//! What a device knows of an app in; how it is, why it ended and what would help, out.
//!
//! Invariant: pure; a capability is named only where the policy that the agent compiles says that it opens the call.

use super::super::report::Failure;
use osbuild_format::app::policy::{self, SystemCall};
use osbuild_format::app::{Connection, Manifest, Protocol};
use serde_json::Value;

/// Between the status and the log: no line of JSON is like it.
const BORDER: &str = "---- log ----";
const LOG_LINES: u32 = 20;

/// What is asked of the device.
pub fn command(id: &str) -> String {
    format!("osagent app status {id} --json && echo '{BORDER}' && osagent app logs {id} | tail -n {LOG_LINES}")
}

/// `manifest` is the project's, when it has the app.
pub fn explained(said: &str, manifest: Option<&Manifest>) -> Result<String, Failure> {
    let (status, log) = said.split_once(BORDER).unwrap_or((said, ""));
    let status: Value = serde_json::from_str(status).map_err(|error| {
        Failure::new(format!("the device's answer is not JSON: {error}")).help("its agent may be of another version")
    })?;
    let field = |pointer: &str| shown(status.pointer(pointer));
    let mut text = format!("{} {} ({}): {}\n", field("/id"), field("/version"), field("/title"), field("/state"));
    for (title, value) in [
        ("process", format!("{}, {} restarts, {} processes", field("/pid"), field("/restarts"), field("/processes"))),
        ("it says", field("/said")),
        ("memory", format!("{} of {} bytes", field("/memory_bytes"), field("/memory_limit_bytes"))),
        ("storage", format!("{} of {} bytes", field("/storage_bytes"), field("/storage_limit_bytes"))),
        ("refused", field("/reason")),
    ] {
        text += &format!("{title:>10}: {value}\n");
    }
    text += "\nlast ends\n";
    let ends = status.get("ends").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if ends.is_empty() {
        text += "  none yet\n";
    }
    for end in ends.iter().rev().take(5) {
        text += &format!(
            "  {} ({} after {} ms)\n",
            shown(end.get("text")),
            shown(end.get("version")),
            shown(end.get("ran_ms"))
        );
    }
    if let Some(call) = status.pointer("/last_end/reason/name").and_then(Value::as_str) {
        text += &format!("\n{}\n", remedy(call, manifest));
    }
    text += &denials(&status);
    text += "\nlast lines of its log\n";
    log.trim_matches('\n').lines().for_each(|line| text += &format!("  {line}\n"));
    Ok(text)
}

/// What it tried on the network in vain, the newest last; nothing of an app that never did.
fn denials(status: &Value) -> String {
    let last = status.pointer("/denials/last").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if last.is_empty() {
        return String::new();
    }
    let mut text = format!("\ndenied on the network, {} times in all\n", shown(status.pointer("/denials/count")));
    for denial in last {
        let field = |name| shown(denial.get(name));
        text += &format!("  {}: {} ({} times)\n", field("what"), field("why"), field("times"));
    }
    text
}

/// What would let the app make this call.
fn remedy(call: &str, manifest: Option<&Manifest>) -> String {
    let Some(manifest) = manifest else {
        return format!(
            "`{call}` is not allowed; `osbuild app check` lists the calls that are, where the app's project is"
        );
    };
    let cases = |manifest: &Manifest| {
        let calls = policy::system_calls(manifest);
        calls.into_iter().find(|known: &SystemCall| known.name == call).map_or(0, |known| known.cases.len())
    };
    let (now, mut network, mut devices) = (cases(manifest), manifest.clone(), manifest.clone());
    let host = Connection { host: "host".to_owned(), port: 1, protocol: Protocol::Tcp, private: false };
    network.capabilities.connect.push(host);
    devices.capabilities.devices.push("DEVICE".to_owned());
    let mut opens = Vec::new();
    if cases(&network) > now {
        opens.push("`connect`, `listen`, `apps` or `interfaces` (what uses the network)");
    }
    if cases(&devices) > now {
        opens.push("`devices`");
    }
    match (&opens[..], now) {
        ([], 0) => format!("`{call}` is open to no app, whatever its capabilities: the program has to do without"),
        ([], _) => {
            format!("`{call}` is allowed with some arguments only: `osbuild app check {}` says which", manifest.id)
        }
        (opens, _) => {
            format!("more of `{call}` comes with {}, in `capabilities` of app.yaml", opens.join(", and with "))
        }
    }
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
    use serde_json::json;

    fn manifest() -> Manifest {
        let value = json!({
            "format": 1, "id": "meter", "version": "1.0.0", "title": "Meter", "architecture": "x86_64",
            "abi": {"runtime": 1}, "image": {"data_blocks": 1, "root_hash": "0".repeat(64), "salt": ""},
            "argv": ["/usr/bin/meter"],
        });
        Manifest::from_json(value.to_string().as_bytes()).expect("valid")
    }

    #[test]
    fn a_forbidden_call_comes_with_the_capability_that_opens_it() {
        for (call, wanted) in [
            ("socket", "more of `socket` comes with `connect`, `listen`"),
            (
                "ioctl",
                "comes with `connect`, `listen`, `apps` or `interfaces` (what uses the network), and with `devices`",
            ),
            ("mount", "`mount` is open to no app"),
            ("mprotect", "`mprotect` is allowed with some arguments only: `osbuild app check meter`"),
        ] {
            let text = remedy(call, Some(&manifest()));
            assert!(text.contains(wanted), "{text}");
        }
        assert!(remedy("mount", None).contains("where the app's project is"));
    }

    #[test]
    fn any_answer_gives_a_text_or_says_that_it_is_none() {
        let end =
            json!({"text": "forbidden system call: mount", "reason": {"kind": "forbidden-call", "name": "mount"}});
        let denial = json!({"at_ms": 5, "what": "tcp 192.0.2.1:80", "why": "not declared", "times": 2});
        let denials = json!({"count": 3, "last": [denial]});
        let status = json!({"id": "meter", "state": "failed", "ends": [end], "last_end": end, "denials": denials});
        let text = explained(&format!("{status}\n{BORDER}\nhello\n"), Some(&manifest())).expect("explained");
        for part in [
            "meter - (-): failed\n",
            "  forbidden system call: mount (- after - ms)\n",
            "open to no app",
            "\ndenied on the network, 3 times in all\n  tcp 192.0.2.1:80: not declared (2 times)\n",
            "\n  hello\n",
        ] {
            assert!(text.contains(part), "`{part}` is not in:\n{text}");
        }
        assert!(explained("null", None).is_ok());
        assert!(explained("{", None).is_err());
    }
}
