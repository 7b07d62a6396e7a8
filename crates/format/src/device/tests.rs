use super::*;
use proptest::prelude::*;
use serde_json::{json, Value};

fn example() -> Value {
    json!({
        "format": 1, "product": "gateway", "version": "1.0.0", "machine": "qemu-x86_64", "hostname": "gateway",
        "console": "ttyS0,115200", "ntp_servers": ["pool.ntp.org", "10.0.2.2"],
        "services": [
            {"name": "web", "argv": ["/usr/sbin/httpd", "-f"], "user": "web", "uid": 101, "gid": 101, "after": ["db"], "critical": true},
            {"name": "db", "argv": ["/usr/bin/db"], "user": "db", "uid": 102, "gid": 102, "restart": "on-failure", "terminal": "/dev/ttyS0"},
        ],
    })
}

fn parse(value: &Value) -> Result<DeviceConfig, String> {
    DeviceConfig::from_json(value.to_string().as_bytes()).map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    })
}

#[test]
fn defaults_are_filled_in_and_survive_a_round_trip() {
    let config = parse(&example()).expect("the example is valid");
    assert_eq!(config.health_deadline_seconds, 60);
    assert_eq!(config.services[0].restart, Restart::Always);
    assert_eq!(config.services[0].stop_timeout_seconds, 10);
    let bytes = config.to_json().expect("still valid");
    assert_eq!(DeviceConfig::from_json(&bytes).expect("what we write, we read"), config);
}

#[test]
fn each_broken_rule_is_named() {
    let long = "x".repeat(5000);
    for (pointer, value, expected) in [
        ("/format", json!(2), "the file has: 2"),
        ("/product", json!("Gate Way"), "`product` is not usable"),
        ("/hostname", json!("-gateway"), "`hostname` is not usable"),
        ("/hostname", json!(""), "`hostname` is not usable"),
        ("/support_until", json!("2031-13-01"), "YYYY-MM-DD"),
        ("/health_deadline_seconds", json!(0), "1 to 3600"),
        ("/clock_floor_seconds", json!(u64::MAX), "before the year 2100"),
        ("/ntp_servers", json!(["a b"]), "a host name"),
        ("/surprise", json!(1), "unknown field"),
        ("/services/0/name", json!("db"), "same name: `db`"),
        ("/services/0/name", json!("../x"), "`services.name` is not usable"),
        ("/services/0/argv", json!([]), "absolute path"),
        ("/services/0/argv", json!(["httpd"]), "absolute path"),
        ("/services/0/argv", json!(["/a", "b\0c"]), "no NUL"),
        ("/services/0/argv", json!(["/a", long]), "4096"),
        ("/services/0/env", json!({"A=B": "x"}), "a variable's name"),
        ("/services/0/uid", json!(u32::MAX), "less than"),
        ("/services/0/after", json!(["nobody"]), "does not exist: `nobody`"),
        ("/services/1/after", json!(["web"]), "db after web after db"),
        ("/services/1/after", json!(["db"]), "db after db"),
        ("/services/1/terminal", json!("/dev/../etc/passwd"), "a path below /dev"),
        ("/services/1/restart", json!("sometimes"), "unknown variant"),
    ] {
        let mut config = example();
        match config.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => {
                let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
                config.pointer_mut(parent).expect("the parent exists")[key] = value;
            }
        }
        let error = parse(&config).expect_err(pointer);
        assert!(error.contains(expected), "{pointer}: {error}");
    }
}

#[test]
fn a_file_over_the_limit_is_refused_unparsed() {
    let bytes = vec![b'['; LIMIT_BYTES + 1];
    assert!(matches!(DeviceConfig::from_json(&bytes), Err(DeviceConfigError::TooLong(_))));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = DeviceConfig::from_json(&bytes);
    }

    /// Whatever graph of `after` comes in, it is either accepted and free of cycles or refused.
    #[test]
    fn any_graph_of_services_is_answered(edges in proptest::collection::vec((0..8usize, 0..8usize), 0..20)) {
        let mut config = parse(&example()).expect("the example is valid");
        let pattern = config.services[1].clone();
        config.services = (0..8).map(|i| ServiceConfig { name: format!("s{i}"), ..pattern.clone() }).collect();
        for (service, after) in &edges {
            config.services[*service].after.push(format!("s{after}"));
        }
        let forward_only = edges.iter().all(|(service, after)| after < service);
        let valid = config.validate();
        prop_assert!(valid.is_ok() || !forward_only);
        if let Err(problem) = valid {
            prop_assert!(matches!(problem, ConfigProblem::Cycle(_)), "{problem}");
        }
    }
}
