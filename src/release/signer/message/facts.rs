//! The JSON of a statement or of metadata in, a line for whoever signs it out.
//!
//! Invariant: who may sign from now on, and each file and version that it vouches for, is in the line; control characters are
//! not.

/// The values by which people tell statements and metadata apart.
pub fn of(json: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let mut found = Vec::new();
    let places = [("", &value), ("", &value["predicate"]), ("to ", &value["to"]), ("from ", &value["from"])];
    for (of, place) in places {
        for name in ["_type", "id", "product", "machine", "version", "epoch", "expires", "device", "root_hash"] {
            match place.get(name) {
                Some(serde_json::Value::String(text)) => {
                    let text: String = text.chars().take(80).collect();
                    found.push(format!("{of}{name} {}", text.escape_debug()));
                }
                Some(serde_json::Value::Number(number)) => found.push(format!("{of}{name} {number}")),
                _ => {}
            }
        }
    }
    found.extend(contents(&value));
    found.join(", ")
}

/// What it vouches for: who may sign from now on, and which files and versions there are. A root without its keys looks like
/// any other.
fn contents(value: &serde_json::Value) -> Vec<String> {
    let mut found = Vec::new();
    let delegated = value["delegations"]["roles"].as_array().into_iter().flatten();
    let delegated = delegated.map(|role| (word(&role["name"]), role));
    let roles = value["roles"].as_object().into_iter().flatten().map(|(name, role)| (name.clone(), role));
    for (name, role) in roles.chain(delegated) {
        let keys: Vec<String> = role["keyids"].as_array().into_iter().flatten().map(word).collect();
        let paths: Vec<String> = role["paths"].as_array().into_iter().flatten().map(word).collect();
        let of = if paths.is_empty() { String::new() } else { format!(" for {}", paths.join(" ")) };
        found.push(format!("role {name}{of}: {} of the keys {}", role["threshold"], keys.join(" ")));
    }
    for (name, file) in value["meta"].as_object().into_iter().flatten() {
        found.push(format!("{name} {}", file["version"]));
    }
    for (name, target) in value["targets"].as_object().into_iter().flatten() {
        let (sha256, percent) = (word(&target["hashes"]["sha256"]), &target["custom"]["rollout_percent"]);
        found.push(format!("target {name} {sha256} to {percent} %"));
    }
    for subject in value["subject"].as_array().into_iter().flatten() {
        found.push(format!("file {} {}", word(&subject["name"]), word(&subject["digest"]["sha256"])));
    }
    found.into_iter().map(|text| text.escape_debug().to_string()).collect()
}

fn word(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
