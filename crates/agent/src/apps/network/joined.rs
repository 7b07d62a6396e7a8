//! An app's manifest and number, to its namespace, joined to the device.
//!
//! Invariant: what fails half way is taken back.

use super::rules::{AppRules, Target};
use super::{inside, link, namespace};
use crate::error::{AgentError, Doing};
use crate::file;
use crate::log::Log;
use osbuild_format::app::{Capabilities, Health, ListenFrom, Manifest};
use osbuild_sys::network::{add_default_route, bring_up, set_address};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

pub struct Joined {
    pub namespace: OwnedFd,
    /// Interfaces of the device that are in it.
    interfaces: Vec<String>,
    /// Without what other apps let it reach.
    pub rules: AppRules,
    pub capabilities: Capabilities,
    /// Where it asks for names.
    pub resolver: Option<UdpSocket>,
}

impl Joined {
    pub fn make(
        index: u32,
        manifest: &Manifest,
        interfaces: &BTreeMap<String, String>,
        log: &Log,
    ) -> Result<Joined, AgentError> {
        let id = &manifest.id;
        let Some((_, address)) = link::addresses(index) else {
            return Err(AgentError::Wrong(format!("there is no network for the app `{id}`: its number is {index}")));
        };
        let made = namespace::make(true)?;
        let own = &manifest.capabilities;
        let mut joined = Joined {
            namespace: made.handle,
            interfaces: Vec::new(),
            rules: own_rules(index, address, manifest, log),
            capabilities: own.clone(),
            resolver: made.resolver,
        };
        // One of a former life of the agent would be in the way.
        let _ = link::delete(index);
        let doing = || format!("join the app `{id}` to the device");
        if let Err(error) = joined.connect().doing(doing).and_then(|()| joined.take_interfaces(manifest, interfaces)) {
            joined.undo(log);
            return Err(error);
        }
        Ok(joined)
    }

    fn connect(&self) -> io::Result<()> {
        let index = self.rules.index;
        let (host, own) = link::addresses(index).ok_or(io::ErrorKind::InvalidInput)?;
        link::make(index, self.namespace.as_fd())?;
        let outer = link::outer(index);
        match file::set(format!("/proc/sys/net/ipv6/conf/{outer}/disable_ipv6"), "1") {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        set_address(&outer, host, link::PREFIX)?;
        bring_up(&outer)?;
        namespace::within(&self.namespace, move || {
            set_address(link::INNER, own, link::PREFIX)?;
            bring_up(link::INNER)?;
            add_default_route(link::INNER, host)
        })
    }

    fn take_interfaces(&mut self, manifest: &Manifest, known: &BTreeMap<String, String>) -> Result<(), AgentError> {
        let own = &manifest.capabilities;
        if own.interfaces.is_empty() {
            return Ok(());
        }
        let rules = inside::Rules::of(own);
        let doing = || format!("guard the interfaces of the app `{}`", manifest.id);
        namespace::within(&self.namespace, move || rules.install()).doing(doing)?;
        for interface in &own.interfaces {
            let Some(name) = known.get(&interface.name).cloned() else {
                let message = format!("this machine has no interface `${}`", interface.name);
                return Err(AgentError::Wrong(message));
            };
            let doing = || format!("give the interface `{name}` to the app `{}`", manifest.id);
            link::give(&name, self.namespace.as_fd()).doing(doing)?;
            self.interfaces.push(name.clone());
            let (theirs, address, prefix) = (name.clone(), interface.address, interface.prefix);
            let set = namespace::within(&self.namespace, move || {
                set_address(&theirs, address, prefix)?;
                bring_up(&theirs)
            });
            set.doing(doing)?;
        }
        Ok(())
    }

    /// Its rules, with what `others` let it reach.
    pub fn rules<'a>(&self, others: impl Iterator<Item = &'a Joined>) -> AppRules {
        let mut rules = self.rules.clone();
        rules.open.extend(others.flat_map(|other| self.reach(other)));
        rules
    }

    /// What it lets `others` reach, by their number.
    pub fn opens_to<'a>(&self, others: impl Iterator<Item = &'a Joined>) -> Vec<(u32, Vec<Target>)> {
        others.map(|other| (other.rules.index, other.reach(self))).collect()
    }

    /// Both have to say so.
    fn reach(&self, other: &Joined) -> Vec<Target> {
        let listens = |port, protocol| {
            let mut listen = other.capabilities.listen.iter();
            listen.any(|l| l.port == port && l.protocol == protocol && l.from != ListenFrom::Interface)
        };
        let wanted = self.capabilities.apps.iter().filter(|wanted| wanted.app == other.rules.id);
        let agreed = wanted.filter(|wanted| listens(wanted.port, wanted.protocol));
        agreed.map(|w| Target { address: other.rules.address, port: w.port, protocol: w.protocol }).collect()
    }

    /// What was made outside of the namespace goes. Interfaces come back now, not some time after its end: who comes
    /// next may want them.
    pub fn undo(&self, log: &Log) {
        for name in &self.interfaces {
            let back = namespace::own().and_then(|home| {
                let name = name.clone();
                namespace::within(&self.namespace, move || link::give(&name, home.as_fd()))
            });
            if let Err(error) = back {
                log.warn(&format!("the interface `{name}` does not come back: {error}"));
            }
        }
        match link::delete(self.rules.index) {
            // ENODEV: it was not made.
            Err(error) if error.raw_os_error() != Some(19) => {
                log.warn(&format!("`{}` is left behind: {error}", link::outer(self.rules.index)));
            }
            _ => {}
        }
    }
}

fn own_rules(index: u32, address: Ipv4Addr, manifest: &Manifest, log: &Log) -> AppRules {
    let own = &manifest.capabilities;
    let mut open = Vec::new();
    for connection in &own.connect {
        let Ok(address) = connection.host.parse::<Ipv4Addr>() else { continue };
        if super::is_reserved(address) {
            log.warn(&format!("the app `{}` never reaches {address}: it is nobody's outside", manifest.id));
        } else {
            open.push(Target { address, port: connection.port, protocol: connection.protocol });
        }
    }
    let from_network = own.listen.iter().filter(|listen| listen.from == ListenFrom::Network);
    let probed = match manifest.health {
        Some(Health::Tcp { port, .. }) => vec![port],
        _ => Vec::new(),
    };
    AppRules {
        index,
        id: manifest.id.clone(),
        address,
        open,
        inbound: from_network.map(|listen| (listen.protocol, listen.port)).collect(),
        probed,
    }
}
