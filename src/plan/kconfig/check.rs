//! Requests, waivers and a final configuration in, every broken promise out.
//!
//! Invariant: an empty answer means that each requested option is in the final configuration as requested, or
//! has a waiver that is needed; and that each of them exists.

use super::explain::explain;
use super::{Configuration, Requested, Symbols, Value};
use std::collections::BTreeSet;
use std::fmt;

/// An option that may differ from what a fragment requests, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiver {
    /// `CONFIG_X`.
    pub option: String,
    pub reason: String,
    /// Where it was written: `file:line:column`.
    pub origin: String,
}

/// A request that the final configuration does not meet, or a waiver that nothing needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// `file:line` of the request, or the waiver's origin.
    pub place: String,
    pub message: String,
    pub help: Option<String>,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// Checks the contract; unmet requests come in the order of the fragments' lines, then waivers.
pub fn check(
    requested: &Requested,
    configuration: &Configuration,
    waivers: &[Waiver],
    symbols: &Symbols,
) -> Result<(), Vec<Unmet>> {
    let waived: BTreeSet<&str> = waivers.iter().map(|waiver| bare(&waiver.option)).collect();
    let mut broken = BTreeSet::new();
    let mut problems = Vec::new();
    let mut in_order: Vec<_> = requested.iter().collect();
    in_order.sort_by(|a, b| a.1.place.cmp(&b.1.place));
    for (name, request) in in_order {
        let defined = symbols.by_name.get(name).is_some_and(|symbol| !symbol.definitions.is_empty());
        if defined && configuration.get(name) == &request.value {
            continue;
        }
        broken.insert(name.as_str());
        if waived.contains(name.as_str()) {
            continue;
        }
        let place = request.place.to_string();
        problems.push(match defined {
            false => unknown(place, name, symbols),
            true => differs(place, name, &request.value, symbols, configuration),
        });
    }
    problems.extend(waivers.iter().filter_map(|waiver| unused(waiver, requested, &broken)));
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

fn bare(option: &str) -> &str {
    option.strip_prefix("CONFIG_").unwrap_or(option)
}

fn unknown(place: String, name: &str, symbols: &Symbols) -> Unmet {
    let help = match symbols.nearest(name) {
        Some(near) => format!("did you mean `CONFIG_{near}`?"),
        None => "remove it, or see which version of the source has it".to_owned(),
    };
    Unmet { place, message: format!("no such option: CONFIG_{name}"), help: Some(help) }
}

fn differs(place: String, name: &str, wanted: &Value, symbols: &Symbols, configuration: &Configuration) -> Unmet {
    let got = configuration.get(name);
    let why = explain(name, wanted, symbols, configuration);
    Unmet {
        place,
        message: format!("`CONFIG_{name}={wanted}` is not met: {why}; the final value is: {got}"),
        help: Some("request what it depends on, remove it, or waive it with a reason".to_owned()),
    }
}

fn unused(waiver: &Waiver, requested: &Requested, broken: &BTreeSet<&str>) -> Option<Unmet> {
    let name = bare(&waiver.option);
    let message = match requested.contains_key(name) {
        _ if broken.contains(name) => return None,
        true => format!("the waiver for `CONFIG_{name}` is not needed: the option is as requested"),
        false => format!("the waiver for `CONFIG_{name}` is not needed: no fragment requests the option"),
    };
    Some(Unmet { place: waiver.origin.clone(), message, help: Some("remove the waiver".to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::super::{read, requested};
    use super::*;

    const KCONFIG: &str = "\
config NET
	bool \"net\"
config PCI
	bool
	select GENERIC
config GENERIC
	bool
config VIRTIO_NET
	tristate \"virtio\"
	depends on NET && PCI
config ALWAYS
	bool \"always\" if NET
	default y
choice
	prompt \"how\"
config GZIP
	bool \"gzip\"
config LZ4
	bool \"lz4\"
endchoice
config SIZE
	int \"size\"
	range 1 9
config HELPER
	bool
config USER
	bool \"user\"
	select HELPER if PCI && NET
";

    fn problems(fragment: &str, configuration: &str, waivers: &[Waiver]) -> Vec<String> {
        let symbols = read("Kconfig", "x86", &|_| Some(KCONFIG.to_owned())).expect("the file is valid");
        let requested = requested([("f", fragment)]).expect("the fragment is valid");
        match check(&requested, &Configuration::parse(configuration), waivers, &symbols) {
            Ok(()) => Vec::new(),
            Err(unmet) => unmet.iter().map(|u| format!("{}: {}", u.place, u.message)).collect(),
        }
    }

    #[test]
    fn each_broken_request_names_what_blocked_it() {
        for (fragment, configuration, message) in [
            (
                "CONFIG_VIRTIO_NET=y",
                "CONFIG_NET=y",
                "`CONFIG_VIRTIO_NET=y` is not met: `CONFIG_VIRTIO_NET` depends on `PCI` (Kconfig:10), and `PCI` is: n; the final value is: n",
            ),
            (
                "CONFIG_VIRTIO_NET=y",
                "",
                "`CONFIG_VIRTIO_NET=y` is not met: `CONFIG_VIRTIO_NET` depends on `NET` (Kconfig:10), and `NET` is: n; on `PCI` (Kconfig:10), and `PCI` is: n; the final value is: n",
            ),
            (
                "CONFIG_GZIP=y",
                "CONFIG_LZ4=y",
                "`CONFIG_GZIP=y` is not met: it is one of a choice (Kconfig:14), of which `CONFIG_LZ4` is set; the final value is: n",
            ),
            (
                "CONFIG_GENERIC=y",
                "",
                "`CONFIG_GENERIC=y` is not met: `CONFIG_GENERIC` has no prompt: options that select it are `PCI` (Kconfig:5); the final value is: n",
            ),
            (
                "# CONFIG_GENERIC is not set",
                "CONFIG_GENERIC=y\nCONFIG_PCI=y",
                "`CONFIG_GENERIC=n` is not met: `CONFIG_PCI` selects it (Kconfig:5); the final value is: y",
            ),
            (
                "# CONFIG_ALWAYS is not set",
                "CONFIG_ALWAYS=y",
                "`CONFIG_ALWAYS=n` is not met: its default sets it where it cannot be asked for: `CONFIG_ALWAYS` depends on `NET` (Kconfig:12), and `NET` is: n; the final value is: y",
            ),
            (
                "CONFIG_SIZE=12",
                "CONFIG_SIZE=9",
                "`CONFIG_SIZE=12` is not met: its dependencies hold (Kconfig:21), so its type or its range refuses the value; the final value is: 9",
            ),
            (
                "CONFIG_HELPER=y",
                "CONFIG_USER=y\nCONFIG_NET=y",
                "`CONFIG_HELPER=y` is not met: `CONFIG_HELPER` has no prompt: options that select it are `USER` (Kconfig:28) if `PCI && NET`, and `PCI` is: n, `NET` is: y; the final value is: n",
            ),
            ("CONFIG_VIRTO_NET=y", "", "no such option: CONFIG_VIRTO_NET"),
        ] {
            assert_eq!(problems(fragment, configuration, &[]), [format!("f:1: {message}")]);
        }
    }

    #[test]
    fn a_waiver_covers_one_broken_request_and_must_be_needed() {
        let waiver = |option: &str| Waiver { option: option.into(), reason: "r".into(), origin: "p.yaml:3:5".into() };
        assert!(problems("CONFIG_VIRTIO_NET=y", "", &[waiver("CONFIG_VIRTIO_NET")]).is_empty());
        let unneeded = problems("CONFIG_NET=y", "CONFIG_NET=y", &[waiver("CONFIG_NET"), waiver("CONFIG_PCI")]);
        assert_eq!(
            unneeded,
            [
                "p.yaml:3:5: the waiver for `CONFIG_NET` is not needed: the option is as requested",
                "p.yaml:3:5: the waiver for `CONFIG_PCI` is not needed: no fragment requests the option",
            ]
        );
    }

    #[test]
    fn a_met_contract_is_silent_and_a_misspelling_has_a_hint() {
        assert!(problems("CONFIG_NET=y\n# CONFIG_PCI is not set", "CONFIG_NET=y", &[]).is_empty());
        let symbols = read("Kconfig", "x86", &|_| Some(KCONFIG.to_owned())).expect("the file is valid");
        assert_eq!(symbols.nearest("VIRTO_NET"), Some("VIRTIO_NET"));
        assert_eq!(symbols.nearest("UNLIKE"), None);
    }
}
