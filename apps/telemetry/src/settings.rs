//! The environment to settings.
//!
//! Invariant: a wrong value ends the app at once, with the variable's name.

use crate::meter;
use std::path::PathBuf;

pub struct Settings {
    pub uart: PathBuf,
    /// Above all topics: `meters` makes `meters/power`.
    pub topic: String,
    pub brokers: Vec<Broker>,
}

/// Where readings go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub host: String,
    pub port: u16,
    /// Who may vouch for the broker; none: no TLS.
    pub authorities: Option<Authorities>,
}

/// Where the certificates of authorities are, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorities {
    /// In the first of these files that is there.
    Files(Vec<PathBuf>),
    Text(String),
}

/// A new authority put into the app's storage counts before the one of the image.
const AUTHORITIES: [&str; 2] = ["/data/broker-ca.pem", "/etc/ssl/broker-ca.pem"];

impl Settings {
    pub fn from_env() -> Result<Settings, String> {
        Settings::from(|name| std::env::var(name).ok())
    }

    fn from(get: impl Fn(&str) -> Option<String>) -> Result<Settings, String> {
        let set = |name: &str| get(name).filter(|value| !value.is_empty());
        let port = |name: &str, usual: u16| match set(name) {
            None => Ok(usual),
            Some(text) => text.parse().map_err(|_| format!("`{name}` is not a port: `{text}`")),
        };
        let authorities = match set("BROKER_CA") {
            Some(text) if text.contains("-----BEGIN") => Authorities::Text(text),
            Some(path) => Authorities::Files(vec![path.into()]),
            None => Authorities::Files(AUTHORITIES.map(PathBuf::from).to_vec()),
        };
        let mut brokers = Vec::new();
        if let Some(host) = set("BROKER") {
            brokers.push(Broker { host, port: port("BROKER_PORT", 8883)?, authorities: Some(authorities) });
        }
        if let Some(host) = set("LOCAL_BROKER") {
            brokers.push(Broker { host, port: port("LOCAL_BROKER_PORT", 1883)?, authorities: None });
        }
        if brokers.is_empty() {
            return Err("neither `BROKER` nor `LOCAL_BROKER` names a host: nobody would hear of the meter".to_owned());
        }
        let topic = set("TOPIC").unwrap_or_else(|| "meters".to_owned());
        if !topic.split('/').all(meter::is_name) {
            return Err(format!("`TOPIC` is words of a-z 0-9 - _ with `/` between: `{topic}`"));
        }
        let uart = set("METER_UART").unwrap_or_else(|| "/dev/app/METER_UART".to_owned()).into();
        Ok(Settings { uart, topic, brokers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::from(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_upstream_broker_has_tls_and_the_local_one_has_not() {
        let settings = settings(&[("BROKER", "b.example"), ("LOCAL_BROKER", "m.app"), ("TOPIC", "a/b")]).unwrap();
        let [upstream, local] = &settings.brokers[..] else { panic!("two brokers") };
        let files = AUTHORITIES.map(PathBuf::from).to_vec();
        assert_eq!((upstream.port, &upstream.authorities), (8883, &Some(Authorities::Files(files))));
        assert_eq!((local.port, &local.authorities), (1883, &None));
    }

    #[test]
    fn an_authority_is_a_file_or_its_own_text() {
        let pem = "-----BEGIN CERTIFICATE-----\n";
        for (value, wanted) in
            [(pem, Authorities::Text(pem.to_owned())), ("/ca.pem", Authorities::Files(vec!["/ca.pem".into()]))]
        {
            let settings = settings(&[("BROKER", "b"), ("BROKER_CA", value)]).unwrap();
            assert_eq!(settings.brokers[0].authorities, Some(wanted));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (variables, part) in [
            (&[][..], "BROKER"),
            (&[("BROKER", "x"), ("BROKER_PORT", "http")], "BROKER_PORT"),
            (&[("BROKER", "x"), ("TOPIC", "a/#")], "TOPIC"),
        ] {
            assert!(settings(variables).err().unwrap().contains(part));
        }
    }
}
