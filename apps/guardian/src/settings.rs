//! The environment to settings.
//!
//! Invariant: a wrong value ends the app at once, with the variable's name.

use std::net::SocketAddrV4;
use std::time::Duration;

#[derive(Debug)]
pub struct Settings {
    /// The app's own address on the isolated network.
    pub listen: SocketAddrV4,
    pub host: String,
    pub port: u16,
    pub connections: usize,
    /// A connection on which neither side says anything for so long is ended.
    pub idle: Duration,
}

const LIMIT_CONNECTIONS: u64 = 64;

impl Settings {
    pub fn from_env() -> Result<Settings, String> {
        Settings::from(|name| std::env::var(name).ok())
    }

    fn from(get: impl Fn(&str) -> Option<String>) -> Result<Settings, String> {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        let need = |name: &str| set(name).ok_or_else(|| format!("`{name}` is not set"));
        let number = |name: &str, usual: u64, most: u64| match set(name) {
            None => Ok(usual),
            Some(text) => text
                .parse()
                .ok()
                .filter(|number| (1..=most).contains(number))
                .ok_or_else(|| format!("`{name}` is a number from 1 to {most}: `{text}`")),
        };
        let listen = need("LISTEN")?;
        let connections = number("CONNECTIONS", 16, LIMIT_CONNECTIONS)?;
        let port = number("UPSTREAM_PORT", 8883, u16::MAX.into())?;
        Ok(Settings {
            listen: listen.parse().map_err(|_| format!("`LISTEN` is an IPv4 address and a port: `{listen}`"))?,
            host: need("UPSTREAM")?,
            port: u16::try_from(port).map_err(|e| e.to_string())?,
            connections: usize::try_from(connections).map_err(|e| e.to_string())?,
            // MQTT clients say something at least every minute or so.
            idle: Duration::from_secs(number("IDLE_SECONDS", 180, 3600)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::from(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let good = [("LISTEN", "192.168.50.1:8883"), ("UPSTREAM", "broker.example")];
        let read = settings(&good).expect("all that is needed");
        assert_eq!((read.port, read.connections, read.idle.as_secs()), (8883, 16, 180));
        for (name, value) in [("LISTEN", "8883"), ("UPSTREAM", ""), ("UPSTREAM_PORT", "0"), ("CONNECTIONS", "65")] {
            let others = good.into_iter().filter(|(known, _)| *known != name);
            let error = settings(&others.chain([(name, value)]).collect::<Vec<_>>()).expect_err(name);
            assert!(error.contains(name), "{error}");
        }
    }
}
