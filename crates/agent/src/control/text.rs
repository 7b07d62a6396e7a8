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

    #[test]
    fn what_is_missing_is_a_dash() {
        let status = json!({"product": "gateway", "state": "ready", "watchdog_fed_ms_ago": 12, "services": {"web": {"state": "running", "pid": 7}}});
        let text = render(&status);
        assert!(text.starts_with("gateway - on -: ready\n"), "{text}");
        assert!(text.contains("    watchdog: of - s, fed 12 ms ago\n"), "{text}");
        assert!(text.ends_with("         web: running, pid 7, restarts -, last exit -\n"), "{text}");
        assert!(!render(&Value::Null).is_empty());
    }
}
